//! A watched variable: what the runs see, and the update that waits for the next run.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use serde::Serialize;

use crate::inbox::Inbox;
use crate::sync::locked;

type Value = Arc<dyn Any + Send + Sync>;
type Encode = fn(&(dyn Any + Send + Sync)) -> Result<serde_json::Value, String>;

/// One variable, shared by its source, the engine and the API.
pub(crate) struct Var {
    /// Its name.
    pub(crate) name: Arc<str>,
    encode: Encode,
    current: Mutex<Current>,
    pending: Mutex<Option<Update>>,
}

/// A variable as the outside sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Its last good value as JSON, unless it cannot be written as such.
    pub value: Option<serde_json::Value>,
    /// What is wrong about it, if anything.
    pub error: Option<String>,
}

/// What runs see.
#[derive(Clone)]
pub(crate) struct Current {
    pub(crate) value: Value,
    pub(crate) error: Option<Arc<str>>,
    pub(crate) updated_at: SystemTime,
    /// False once a source gave a value.
    pub(crate) initial: bool,
    /// The run that took the last update in, 0 for none.
    pub(crate) changed_in_run: u64,
}

/// A value that waits for the next run. Only the newest is kept.
struct Update {
    value: Value,
    at: SystemTime,
}

impl std::fmt::Debug for Var {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Var")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Var {
    /// A variable with its first value.
    pub(crate) fn new<T>(name: Arc<str>, initial: T, at: SystemTime) -> Self
    where
        T: Serialize + Send + Sync + 'static,
    {
        Self {
            name,
            encode: encode::<T>,
            current: Mutex::new(Current {
                value: Arc::new(initial),
                error: None,
                updated_at: at,
                initial: true,
                changed_in_run: 0,
            }),
            pending: Mutex::new(None),
        }
    }

    /// Leaves a value for the next run, replacing one that waits: a burst costs a slot.
    pub(crate) fn offer<T>(self: &Arc<Self>, value: T, at: SystemTime, inbox: &Inbox)
    where
        T: Send + Sync + 'static,
    {
        let update = Update {
            value: Arc::new(value),
            at,
        };
        let replaced = locked(&self.pending).replace(update);
        if replaced.is_none() {
            inbox.mark_changed(self.clone());
        }
    }

    /// Makes the waiting value the current one.
    pub(crate) fn take_in(&self, run: u64) {
        if let Some(update) = locked(&self.pending).take() {
            let mut current = locked(&self.current);
            current.value = update.value;
            current.updated_at = update.at;
            current.initial = false;
            current.changed_in_run = run;
        }
    }

    /// What runs see now.
    pub(crate) fn current(&self) -> Current {
        locked(&self.current).clone()
    }

    /// The current value for people. Whatever its `Serialize` does, the others are shown.
    pub(crate) fn show(&self) -> Shown {
        let current = self.current();
        let encode = || (self.encode)(current.value.as_ref());
        let value = catch_unwind(AssertUnwindSafe(encode))
            .unwrap_or_else(|_| Err("its Serialize implementation panicked".into()));
        match value {
            Ok(value) => Shown {
                value: Some(value),
                error: current.error.as_deref().map(Into::into),
            },
            Err(error) => Shown {
                value: None,
                error: Some(format!("the value cannot be written as JSON: {error}")),
            },
        }
    }
}

fn encode<T: Serialize + 'static>(
    value: &(dyn Any + Send + Sync),
) -> Result<serde_json::Value, String> {
    let value = value
        .downcast_ref::<T>()
        .ok_or("its type changed, which is a defect in hersh")?;
    serde_json::to_value(value).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::Intake;

    fn var() -> Arc<Var> {
        Arc::new(Var::new("n".into(), 0_u64, SystemTime::UNIX_EPOCH))
    }

    #[test]
    fn only_the_newest_of_a_burst_is_taken_in() {
        let (var, inbox) = (var(), Inbox::new(1));
        for n in 1..=1_000_u64 {
            var.offer(n, SystemTime::UNIX_EPOCH, &inbox);
        }
        let mut intake = Intake::default();
        inbox.begin_run(false, &mut intake);
        assert_eq!(intake.changed.len(), 1);
        intake.changed[0].take_in(7);
        let current = var.current();
        assert_eq!(var.show().value, Some(1_000.into()));
        assert_eq!((current.initial, current.changed_in_run), (false, 7));
        inbox.begin_run(false, &mut Intake::default());
        var.take_in(8);
        assert_eq!(var.current().changed_in_run, 7);
    }

    #[test]
    fn a_value_that_cannot_be_encoded_is_an_error_beside_the_others() {
        struct Bad;
        impl Serialize for Bad {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("no digits left"))
            }
        }
        struct Worse;
        impl Serialize for Worse {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                panic!("no digits at all")
            }
        }
        let at = SystemTime::UNIX_EPOCH;
        for (var, error) in [
            (Var::new("bad".into(), Bad, at), "no digits left"),
            (
                Var::new("worse".into(), Worse, at),
                "its Serialize implementation panicked",
            ),
        ] {
            let error = format!("the value cannot be written as JSON: {error}");
            let (value, error) = (None, Some(error));
            assert_eq!(var.show(), Shown { value, error });
        }
    }
}
