//! A function that acts, with its types erased.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use crate::{EFFECT_LIMIT_BYTES, EffectId, Error};

/// How a call of a function ended that did not panic.
#[derive(Debug)]
pub(super) enum Returned {
    /// It succeeded; its result as JSON.
    Done(Arc<str>),
    /// It returned an error.
    Refused(String),
    /// It succeeded, but its result can't be kept; why.
    Unkept(String),
}

type Call = Pin<Box<dyn Future<Output = Returned>>>;

type Function = dyn Fn(EffectId, &str) -> Result<Call, String>;

/// A function that acts: from the JSON of its input to that of its result.
#[derive(Clone)]
pub(crate) struct Act(Rc<Function>);

impl Act {
    /// Erases the types of a function.
    pub(crate) fn new<I, O, E>(act: impl AsyncFn(EffectId, I) -> Result<O, E> + 'static) -> Self
    where
        I: DeserializeOwned + 'static,
        O: Serialize + 'static,
        E: Into<Error> + 'static,
    {
        let act = Rc::new(act);
        Self(Rc::new(move |id, input| {
            let input: I = serde_json::from_str(input).map_err(|error| error.to_string())?;
            let act = act.clone();
            Ok(Box::pin(async move {
                match act(id, input).await {
                    Ok(output) => written(&output),
                    Err(error) => Returned::Refused(error.into().to_string()),
                }
            }))
        }))
    }

    /// Returns a call with this input; it begins when it is polled.
    ///
    /// # Errors
    /// Why the text is no input of the function.
    pub(super) fn call(&self, id: EffectId, input: &str) -> Result<Call, String> {
        (self.0)(id, input)
    }
}

fn written<O: Serialize>(output: &O) -> Returned {
    match serde_json::to_string(output) {
        Ok(json) if json.len() <= EFFECT_LIMIT_BYTES => Returned::Done(json.into()),
        Ok(json) => Returned::Unkept(format!(
            "its result has {} bytes, at most {EFFECT_LIMIT_BYTES} are kept",
            json.len()
        )),
        Err(error) => Returned::Unkept(format!("its result can't be written as JSON: {error}")),
    }
}
