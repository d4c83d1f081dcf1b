//! Effects in a test: what runs asked for, and outcomes that the test makes up. Nothing is acted on.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use super::signals::json;
use super::{Run, Test};
use crate::base::sync::locked;
use crate::engine::RunKind;
use crate::journal::RecordedSettlement;
use crate::store::{OpenEffect, Progress, SettledResult, Settlement};
use crate::{Context, EffectId, Error, Outcome};

impl<F, E> Test<F>
where
    F: AsyncFnMut(&mut Context) -> Result<(), E>,
    E: Into<Error>,
{
    /// Returns the effects of a name that successful runs asked for and that are not settled, oldest first.
    ///
    /// # Panics
    /// When an input is no `I`.
    #[must_use]
    pub fn started<I: DeserializeOwned>(&self, name: &str) -> Vec<(EffectId, I)> {
        let ledger = locked(&self.rehearsal.cx.shared.ledger);
        let of_name = ledger.open().filter(|(_, effect)| &*effect.effect == name);
        let read = |(number, effect): (u64, &OpenEffect)| {
            let id = effect.id(number);
            match serde_json::from_str(&effect.input) {
                Ok(input) => (id, input),
                Err(error) => panic!("the input of {name} {id} is of another type: {error}"),
            }
        };
        of_name.map(read).collect()
    }

    /// Makes a run with the outcome of an effect. When that run fails, the effect is still not settled.
    ///
    /// # Panics
    /// When no successful run asked for the effect, or it is settled, or the result cannot be written as JSON.
    pub fn settle<O: Serialize>(&mut self, id: EffectId, outcome: Outcome<O>) -> Run {
        let ledger = locked(&self.rehearsal.cx.shared.ledger);
        let open = ledger.number(id).and_then(|number| ledger.get(number));
        let Some(mut effect) = open.cloned() else {
            panic!(
                "effect {id} is not open: ask for it in a run that succeeds, and settle it once"
            );
        };
        drop(ledger);
        let result = match outcome {
            Outcome::Done(output) => SettledResult::Done(json(&effect.effect, &output).into()),
            Outcome::Failed { error } => SettledResult::Failed(Arc::from(error)),
            Outcome::Unknown { reason } => SettledResult::Unknown(Arc::from(reason)),
            Outcome::Cancelled => SettledResult::Cancelled,
        };
        let attempts = 1;
        effect.progress = Progress::Settled(Settlement { attempts, result });
        let settled = RecordedSettlement::of(id, &effect);
        self.run_with(RunKind::Signal, None, Vec::new(), settled)
    }
}
