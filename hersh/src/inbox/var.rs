//! A watched variable: what the runs see, and the update that waits for the next run.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use serde::{Serialize, de::DeserializeOwned};

use crate::base::panics::discard;
use crate::base::sync::{Mutex, locked};

/// A value whose type only its variable knows.
pub(crate) type Value = Arc<dyn Any + Send + Sync>;

/// A type whose values may be watched: data that can be shown, recorded and replayed.
///
/// The trait is implemented for every type that fits; there is nothing to do.
pub trait Watchable: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Watchable for T {}

/// One variable, shared by its source, the engine and the API.
pub(crate) struct Var {
    /// The name of the variable.
    pub(crate) name: Arc<str>,
    codec: Codec,
    current: Mutex<CurrentValue>,
    pending: Mutex<Option<Update>>,
    /// When the source looks next, engine time; `NEVER` when no time is set.
    due_ms: AtomicU64,
}

/// Stands for no time at which a source looks next.
const NEVER: u64 = u64::MAX;

/// How values of one type become JSON and come back.
#[derive(Clone, Copy)]
struct Codec {
    show: fn(&(dyn Any + Send + Sync)) -> Result<serde_json::Value, String>,
    write: fn(&(dyn Any + Send + Sync)) -> Result<String, String>,
    read: fn(&str) -> Result<Value, String>,
}

/// A variable as the outside sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The last good value as JSON, unless it cannot be written as JSON.
    pub value: Option<serde_json::Value>,
    /// What is wrong about the variable, if anything.
    pub error: Option<String>,
}

/// What runs see of a variable.
#[derive(Clone)]
pub(crate) struct CurrentValue {
    pub(crate) value: Value,
    pub(crate) error: Option<Arc<str>>,
    pub(crate) updated_at: SystemTime,
    /// True until a source gives a value.
    pub(crate) initial: bool,
    /// The run that took the last update in, 0 for none.
    pub(crate) changed_in_run: u64,
}

/// What waits for the next run: the newest value, and the error of the last attempt.
#[derive(Clone)]
pub(crate) struct Update {
    pub(crate) value: Option<Value>,
    pub(crate) error: Option<Arc<str>>,
    pub(crate) at: SystemTime,
}

impl std::fmt::Debug for Var {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Var")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Var {
    /// Returns a variable with its first value.
    pub(crate) fn new<T: Watchable>(name: Arc<str>, initial: Arc<T>, at: SystemTime) -> Self {
        Self {
            name,
            codec: Codec {
                show: show::<T>,
                write: write::<T>,
                read: read::<T>,
            },
            current: Mutex::new(CurrentValue {
                value: initial,
                error: None,
                updated_at: at,
                initial: true,
                changed_in_run: 0,
            }),
            pending: Mutex::new(None),
            due_ms: AtomicU64::new(NEVER),
        }
    }

    /// Shows when the source of this variable looks next, milliseconds since the Unix epoch; `None`
    /// while it looks.
    pub(crate) fn set_due(&self, at_ms: Option<u64>) {
        self.due_ms.store(at_ms.unwrap_or(NEVER), Ordering::Relaxed);
    }

    /// Returns when the source of this variable looks next, if a time is set.
    #[cfg(feature = "api")]
    pub(crate) fn due_ms(&self) -> Option<u64> {
        let due_ms = self.due_ms.load(Ordering::Relaxed);
        (due_ms != NEVER).then_some(due_ms)
    }

    /// Leaves a value or an error for the next run. Returns true if nothing waited for that run
    /// before. A value replaces a value that waits, so a burst takes the memory of one value.
    pub(crate) fn leave(
        &self,
        value: Option<Value>,
        error: Option<Arc<str>>,
        at: SystemTime,
    ) -> bool {
        let mut pending = locked(&self.pending);
        let waiting = pending.take();
        let is_first = waiting.is_none();
        let waiting = waiting.and_then(|update| update.value);
        let (value, replaced) = match value {
            Some(value) => (Some(value), waiting),
            None => (waiting, None),
        };
        *pending = Some(Update { value, error, at });
        drop(pending);
        discard(replaced);
        is_first
    }

    /// Forgets what waits: nobody watches the variable any more.
    pub(crate) fn forget_update(&self) {
        let waiting = locked(&self.pending).take();
        discard(waiting);
    }

    /// Makes what waits current and returns it.
    pub(crate) fn take_in(&self, run: u64) -> Option<Update> {
        let update = locked(&self.pending).take()?;
        self.apply(update.clone(), run);
        Some(update)
    }

    /// Makes an update current, as taken in by `run`.
    pub(crate) fn apply(&self, update: Update, run: u64) {
        let mut current = locked(&self.current);
        let replaced = update.value.map(|value| {
            current.initial = false;
            std::mem::replace(&mut current.value, value)
        });
        current.error = update.error;
        current.updated_at = update.at;
        current.changed_in_run = run;
        drop(current);
        discard(replaced);
    }

    /// Replaces all that runs see.
    pub(crate) fn restore(&self, current: CurrentValue) {
        *locked(&self.current) = current;
    }

    /// Returns what runs see now.
    pub(crate) fn current(&self) -> CurrentValue {
        locked(&self.current).clone()
    }

    /// Writes a value of this variable as JSON text. A panic of its `Serialize` becomes an error.
    pub(crate) fn write(&self, value: &Value) -> Result<String, String> {
        guarded(|| (self.codec.write)(value.as_ref()))
    }

    /// Reads the value that JSON text stands for.
    pub(crate) fn read(&self, json: &str) -> Result<Value, String> {
        guarded(|| (self.codec.read)(json))
    }

    /// Returns the current value for people. A panic of its `Serialize` keeps no other variable
    /// from being shown.
    pub(crate) fn show(&self) -> Shown {
        let current = self.current();
        match guarded(|| (self.codec.show)(current.value.as_ref())) {
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

fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err("its Serialize implementation panicked".into()))
}

fn show<T: Watchable>(value: &(dyn Any + Send + Sync)) -> Result<serde_json::Value, String> {
    serde_json::to_value(of_type::<T>(value)?).map_err(|error| error.to_string())
}

fn write<T: Watchable>(value: &(dyn Any + Send + Sync)) -> Result<String, String> {
    serde_json::to_string(of_type::<T>(value)?).map_err(|error| error.to_string())
}

fn read<T: Watchable>(json: &str) -> Result<Value, String> {
    let value: T = serde_json::from_str(json).map_err(|error| error.to_string())?;
    Ok(Arc::new(value))
}

fn of_type<T: 'static>(value: &(dyn Any + Send + Sync)) -> Result<&T, String> {
    let value = value.downcast_ref::<T>();
    value.ok_or_else(|| "its type changed, which is a defect in hersh".into())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::inbox::{Inbox, Intake, NextMessage};

    const AT: SystemTime = SystemTime::UNIX_EPOCH;

    fn var() -> Arc<Var> {
        Arc::new(Var::new("n".into(), Arc::new(0_u64), AT))
    }

    #[test]
    fn only_the_newest_of_a_burst_is_taken_in() {
        let (var, inbox) = (var(), Inbox::new(1));
        for n in 1..=1_000_u64 {
            var.offer(Arc::new(n), AT, &inbox);
        }
        let mut intake = Intake::default();
        inbox.begin_run(NextMessage::Nothing, &mut intake);
        assert_eq!(intake.changed.len(), 1);
        intake.changed[0].take_in(7).unwrap();
        let current = var.current();
        assert_eq!(var.show().value, Some(1_000.into()));
        assert_eq!((current.initial, current.changed_in_run), (false, 7));
        inbox.begin_run(NextMessage::Nothing, &mut Intake::default());
        assert!(var.take_in(8).is_none());
        assert_eq!(var.current().changed_in_run, 7);
    }

    #[test]
    fn a_value_ends_the_error_beside_the_last_good_value() {
        let (var, inbox) = (var(), Inbox::new(1));
        var.offer(Arc::new(1_u64), AT, &inbox);
        var.offer_error("late".into(), AT, &inbox);
        var.take_in(1).unwrap();
        let error = Some("late".into());
        let value = Some(1.into());
        assert_eq!(var.show(), Shown { value, error });
        var.offer_error("later".into(), AT, &inbox);
        var.offer(Arc::new(2_u64), AT, &inbox);
        var.take_in(2).unwrap();
        let (value, error) = (Some(2.into()), None);
        assert_eq!(var.show(), Shown { value, error });
    }

    #[test]
    fn a_value_that_cannot_be_encoded_is_an_error_beside_the_others() {
        #[derive(Deserialize)]
        struct Bad;
        impl Serialize for Bad {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("no digits left"))
            }
        }
        #[derive(Deserialize)]
        struct Worse;
        impl Serialize for Worse {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                panic!("no digits at all")
            }
        }
        for (var, error) in [
            (Var::new("bad".into(), Arc::new(Bad), AT), "no digits left"),
            (
                Var::new("worse".into(), Arc::new(Worse), AT),
                "its Serialize implementation panicked",
            ),
        ] {
            let error = format!("the value cannot be written as JSON: {error}");
            let (value, error) = (None, Some(error));
            assert_eq!(var.show(), Shown { value, error });
        }
    }
}
