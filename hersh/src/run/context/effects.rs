//! The hooks that act on the world: a run asks for effects, and takes in what came of them.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use super::Context;
use super::asks::Registration;
use crate::effects::{Act, Promise};
use crate::error::check_name;
use crate::store::{OpenEffect, Progress, SettledResult};
use crate::{EFFECT_NAME_LIMIT, EffectId, Error, HookError, Outcome, Policy, SettledEffect};

/// The effects of one name, from inputs `I` to results `O`. [`Context::effects`] makes it anew in each run.
pub struct Effects<I, O> {
    name: Arc<str>,
    types: PhantomData<fn(I) -> O>,
}

impl Context {
    /// Registers a function that acts on the world: places an order, sends a mail. Runs ask for its calls with
    /// [`Context::start`] and take in what came of them with [`Effects::settled`].
    ///
    /// A run that is to be made again, a replay and a [`crate::testing::Test`] never act, because the function
    /// is called by the engine, beside runs, and only for what a successful run asked for. With a state folder
    /// both what is asked for and what came of it survive the end of the process. What the function promises is
    /// in the [`Policy`]; it gets the id of the effect, which is the same in every attempt.
    ///
    /// Every run makes the closure and the policy, but only those of the registering call are used: the closure
    /// acts for as long as the watcher lives, with what it captured then.
    ///
    /// ```
    /// use hersh::{EffectId, Outcome, Policy};
    /// # use std::collections::BTreeMap;
    /// # #[derive(Clone)] struct Exchange;
    /// # impl Exchange {
    /// #     async fn buy(&self, _: EffectId, units: u64) -> Result<u64, std::io::Error> { Ok(units) }
    /// # }
    /// # let exchange = Exchange;
    /// # let mut test = hersh::testing::Test::new(async move |cx: &mut hersh::Context| -> hersh::Result {
    /// let exchange = exchange.clone();
    /// let buy = cx.effects("buy", Policy::at_least_once(), async move |id, units: u64| {
    ///     exchange.buy(id, units).await // the exchange knows ids: it buys once for each
    /// })?;
    /// if let Some(bought) = buy.settled(cx)? {
    ///     match bought.outcome.result() {
    ///         Ok(units) => drop(cx.update("owned", |owned: u64| owned + units)?),
    ///         Err(why) => cx.log(format!("{} was not bought: {why}", bought.input)),
    ///     }
    /// }
    /// if cx.message().as_deref() == Some("buy") {
    ///     cx.start(&buy, &5)?; // bought after this run is committed
    /// }
    /// # Ok(())
    /// # });
    /// # test.start().ok();
    /// # let id = test.message("buy").ok().asked[0].id;
    /// # test.settle(id, Outcome::Done(5_u64)).ok();
    /// # assert_eq!(test.value::<u64>("owned"), Some(5));
    /// ```
    ///
    /// # Errors
    /// [`HookError`] when the name is unusable or registered with other types, or
    /// [`EFFECT_NAME_LIMIT`] names are registered.
    pub fn effects<I, O, E>(
        &mut self,
        name: &str,
        policy: Policy,
        act: impl AsyncFn(EffectId, I) -> Result<O, E> + 'static,
    ) -> Result<Effects<I, O>, HookError>
    where
        I: Serialize + DeserializeOwned + 'static,
        O: Serialize + DeserializeOwned + 'static,
        E: Into<Error> + 'static,
    {
        const HOOK: &str = "effects";
        let asked = (type_name::<I>(), type_name::<O>());
        if let Some((name, registered)) = self.asks.names.get_key_value(name) {
            if registered.types != asked {
                let shown = |(from, to): (&str, &str)| format!("effects from {from} to {to}");
                return Err(HookError::Clash {
                    hook: HOOK,
                    name: name.to_string(),
                    registered: shown(registered.types),
                    asked: shown(asked),
                });
            }
            return Ok(Effects::new(name.clone()));
        }
        check_name(HOOK, name)?;
        self.in_a_run(HOOK, name)?;
        if self.asks.names.len() >= EFFECT_NAME_LIMIT {
            return Err(HookError::Limit {
                hook: HOOK,
                name: name.into(),
                limit: EFFECT_NAME_LIMIT,
            });
        }
        let name: Arc<str> = name.into();
        let registered = Registration {
            types: asked,
            policy,
        };
        self.asks.names.insert(name.clone(), registered);
        if let Some(desk) = &self.asks.desk {
            desk.register(name.clone(), policy, Act::new(act));
        }
        Ok(Effects::new(name))
    }

    /// Asks for an effect, and returns its id. The ask is committed with all else that the run changes; when
    /// the run fails, nothing was asked for, and a later run is given the same id. The engine acts after the
    /// commit, and the outcome has a run of its own.
    ///
    /// Effects of one name are acted on beside each other, as many as [`Policy::at_once`] says. Those that must
    /// not overtake each other share a key: see [`Context::start_in_order`].
    ///
    /// # Errors
    /// [`HookError`] when the input cannot be written as JSON and read back, is longer than
    /// [`EFFECT_LIMIT_BYTES`](crate::EFFECT_LIMIT_BYTES), or more would be open than
    /// [`EFFECT_LIMIT`](crate::EFFECT_LIMIT) and
    /// [`EFFECT_TOTAL_LIMIT_BYTES`](crate::EFFECT_TOTAL_LIMIT_BYTES) allow: [`HookError::EffectsFull`], after which
    /// a function may do without, or ask again once some are settled.
    pub fn start<I: Serialize + DeserializeOwned, O>(
        &mut self,
        effects: &Effects<I, O>,
        input: &I,
    ) -> Result<EffectId, HookError> {
        self.ask("start", effects, None, input)
    }

    /// Like [`Context::start`], for effects that must come one after the other: of those with one name and one
    /// `key`, the next begins only once it is known what came of the one before, in the order in which they
    /// were asked for.
    ///
    /// ```
    /// # use hersh::Policy;
    /// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
    /// # async fn put(_: &str, _: u64) -> Result<(), std::io::Error> { Ok(()) }
    /// let put = async |_, (file, version): (String, u64)| put(&file, version).await;
    /// let writes = cx.effects("write", Policy::at_least_once(), put)?;
    /// for version in 1..=3 {
    ///     cx.start_in_order(&writes, "a.txt", &("a.txt".to_owned(), version))?;
    /// }
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Context::start`], and when the key is unusable.
    pub fn start_in_order<I: Serialize + DeserializeOwned, O>(
        &mut self,
        effects: &Effects<I, O>,
        key: &str,
        input: &I,
    ) -> Result<EffectId, HookError> {
        check_name("start_in_order", key)?;
        self.ask("start_in_order", effects, Some(key.into()), input)
    }

    /// Cancels an effect, once this run is committed. Its outcome has its run as always:
    /// [`Outcome::Cancelled`] if it had not begun, [`Outcome::Unknown`] if it was being acted on, which is
    /// dropped then, or if an earlier life may have acted on it. An effect that is settled already keeps its
    /// outcome. In the cleanup nothing is cancelled.
    pub fn cancel(&mut self, id: EffectId) {
        if !self.in_cleanup {
            self.asks.cancel(id);
        }
    }

    fn ask<I: Serialize + DeserializeOwned, O>(
        &mut self,
        hook: &'static str,
        effects: &Effects<I, O>,
        key: Option<Arc<str>>,
        input: &I,
    ) -> Result<EffectId, HookError> {
        self.in_a_run(hook, &effects.name)?;
        let refused = |message| HookError::EffectInput {
            hook,
            name: effects.name.to_string(),
            message,
        };
        let Some(registered) = self.asks.names.get(&effects.name) else {
            return Err(refused("its name is not registered in this watcher".into()));
        };
        let once = registered.policy.promise == Promise::AtMostOnce;
        let json = serde_json::to_string(input).map_err(|error| refused(error.to_string()))?;
        // Now, and not when it is acted on: a number that is none, for instance, becomes `null`.
        if let Err(error) = serde_json::from_str::<I>(&json) {
            return Err(refused(format!(
                "it does not come back from its JSON: {error}"
            )));
        }
        if json.len() > crate::EFFECT_LIMIT_BYTES {
            let limit = crate::EFFECT_LIMIT_BYTES;
            let bytes = json.len();
            return Err(refused(format!(
                "it has {bytes} bytes, at most {limit} are taken"
            )));
        }
        let effect = OpenEffect {
            space: 0,
            effect: effects.name.clone(),
            key,
            input: json.into(),
            asked_at_ms: crate::base::clock::epoch_ms(self.now),
            once,
            cancelled: false,
            progress: Progress::Waiting,
        };
        let asked = self.asks.ask(&self.shared.ledger, effect);
        asked.map_err(|size| HookError::EffectsFull {
            hook,
            name: effects.name.to_string(),
            open: size.effects,
            bytes: size.bytes,
        })
    }

    /// Refuses what only a run may do.
    pub(super) fn in_a_run(&self, hook: &'static str, name: &str) -> Result<(), HookError> {
        if self.in_cleanup {
            return Err(HookError::OutsideRun {
                hook,
                name: name.into(),
            });
        }
        Ok(())
    }
}

impl<I, O> Effects<I, O> {
    fn new(name: Arc<str>) -> Self {
        let types = PhantomData;
        Self { name, types }
    }

    /// Returns the name that the effects are registered under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<I: DeserializeOwned, O: DeserializeOwned> Effects<I, O> {
    /// Returns the effect of this name whose outcome this run takes in, if it takes one in: a run has at most
    /// one signal, a message or an outcome. Each outcome has exactly one run that is committed; when a run
    /// fails, its outcome comes again in the next try.
    ///
    /// # Errors
    /// [`HookError::EffectType`] when the input or the result is of another type, as after a change of the program.
    /// A run that returns the error fails, and its outcome comes again; a run that goes on takes it in unread.
    pub fn settled(&self, cx: &Context) -> Result<Option<SettledEffect<I, O>>, HookError> {
        let Some((id, effect)) = cx.asks.taken_as(&self.name) else {
            return Ok(None);
        };
        let Progress::Settled(settlement) = &effect.progress else {
            return Ok(None);
        };
        let outcome = match &settlement.result {
            SettledResult::Done(json) => Outcome::Done(self.read("result", id, json)?),
            SettledResult::Failed(text) => Outcome::Failed {
                error: text.to_string(),
            },
            SettledResult::Unknown(text) => Outcome::Unknown {
                reason: text.to_string(),
            },
            SettledResult::Cancelled => Outcome::Cancelled,
        };
        Ok(Some(SettledEffect {
            id,
            input: self.read("input", id, &effect.input)?,
            outcome,
            attempts: settlement.attempts,
        }))
    }

    fn read<T: DeserializeOwned>(
        &self,
        part: &'static str,
        id: EffectId,
        json: &str,
    ) -> Result<T, HookError> {
        serde_json::from_str(json).map_err(|error| HookError::EffectType {
            hook: "settled",
            name: self.name.to_string(),
            id: id.to_string(),
            part,
            asked: type_name::<T>(),
            message: error.to_string(),
        })
    }
}

impl<I, O> Clone for Effects<I, O> {
    fn clone(&self) -> Self {
        Self::new(self.name.clone())
    }
}

impl<I, O> fmt::Debug for Effects<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Effects").field(&self.name).finish()
    }
}
