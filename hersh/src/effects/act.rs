//! A function that acts, with its types erased.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use crate::base::panics::panic_text;
use crate::{EFFECT_LIMIT_BYTES, EffectId, Error};

/// How a call of a function ended that did not panic.
#[derive(Debug)]
pub(super) enum CallEnd {
    /// It succeeded; its result as JSON.
    Done(Arc<str>),
    /// It returned an error.
    Refused(String),
    /// It succeeded, but its result can't be kept; why.
    Unkept(String),
}

type Call = Pin<Box<dyn Future<Output = CallEnd>>>;

type Caller = dyn Fn(EffectId, &str) -> Result<Call, String>;
type Reader = fn(&str) -> Result<(), String>;

/// A function that acts: from the JSON of its input to that of its result.
#[derive(Clone)]
pub(crate) struct Act {
    caller: Rc<Caller>,
    reader: Reader,
}

impl Act {
    /// Erases the types of a function.
    pub(crate) fn new<I, O, E>(act: impl AsyncFn(EffectId, I) -> Result<O, E> + 'static) -> Self
    where
        I: DeserializeOwned + 'static,
        O: Serialize + DeserializeOwned + 'static,
        E: Into<Error> + 'static,
    {
        let act = Rc::new(act);
        let caller = move |id: EffectId, input: &str| -> Result<Call, String> {
            let input: I = serde_json::from_str(input).map_err(|error| error.to_string())?;
            let act = act.clone();
            Ok(Box::pin(async move {
                match act(id, input).await {
                    Ok(output) => written(&output),
                    Err(error) => CallEnd::Refused(error.into().to_string()),
                }
            }))
        };
        Self {
            caller: Rc::new(caller),
            reader: read::<I>,
        }
    }

    /// Returns a call with this input; it begins when it is polled.
    ///
    /// # Errors
    /// Why the text is no input of the function.
    pub(super) fn call(&self, id: EffectId, input: &str) -> Result<Call, String> {
        (self.caller)(id, input)
    }

    /// Returns whether a text is an input of the function. A panic of its `Deserialize` becomes an error.
    ///
    /// # Errors
    /// Why it is none.
    pub(super) fn reads(&self, input: &str) -> Result<(), String> {
        let read = catch_unwind(AssertUnwindSafe(|| (self.reader)(input)));
        read.unwrap_or_else(|panic| Err(panic_text(&*panic)))
    }
}

fn read<T: DeserializeOwned>(json: &str) -> Result<(), String> {
    let read = serde_json::from_str::<T>(json);
    read.map(drop).map_err(|error| error.to_string())
}

fn written<O: Serialize + DeserializeOwned>(output: &O) -> CallEnd {
    match serde_json::to_string(output) {
        Ok(json) if json.len() <= EFFECT_LIMIT_BYTES => match read::<O>(&json) {
            Ok(()) => CallEnd::Done(json.into()),
            // Such as a number that is none: every run that looked at it would fail.
            Err(error) => CallEnd::Unkept(format!(
                "its result does not come back from its JSON: {error}"
            )),
        },
        Ok(json) => CallEnd::Unkept(format!(
            "its result has {} bytes, at most {EFFECT_LIMIT_BYTES} are kept",
            json.len()
        )),
        Err(error) => CallEnd::Unkept(format!("its result can't be written as JSON: {error}")),
    }
}
