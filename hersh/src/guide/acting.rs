//! How a watcher acts on the world: places orders, sends mails, calls tools.
//!
//! A run decides, the engine acts. A run that acts by itself would act again when it is tried again after a
//! failure, when its save fails, and in every replay. So a run *asks* for an effect, and what it asks for is
//! committed with all else that it changes, or not at all. The engine acts after the commit, beside runs, and
//! what came of it is a signal with a run of its own.
//!
//! # An order bot
//!
//! ```
//! use std::time::Duration;
//!
//! use hersh::{Context, EffectId, Outcome, Policy, Result, testing::Test};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Serialize, Deserialize)]
//! struct Order {
//!     units: u64,
//!     limit: f64,
//! }
//!
//! /// Sends an order; the exchange executes it once for each id.
//! async fn place(id: EffectId, order: &Order) -> Result<u64> {
//!     # let _ = id;
//!     // A request with `id` as its idempotency key.
//!     Ok(order.units)
//! }
//!
//! async fn bot(cx: &mut Context) -> Result {
//!     let price = cx.watch_flow("price", 0.0, || futures_util::stream::pending::<Result<f64>>())?;
//!     let policy = Policy::at_least_once().within(Duration::from_secs(30));
//!     let orders = cx.effects("orders", policy, async |id, order: Order| place(id, &order).await)?;
//!
//!     if let Some(order) = orders.settled(cx)? {
//!         match order.outcome {
//!             Outcome::Done(units) => drop(cx.update("owned", |owned: u64| owned + units)?),
//!             Outcome::Failed { error } => cx.log(format!("order {} failed: {error}", order.id)),
//!             Outcome::Unknown { .. } => cx.set("ask the exchange about", &order.id)?,
//!             Outcome::Cancelled => {}
//!         }
//!     }
//!     if price.is_triggered(cx) && *price < 10.0 {
//!         cx.start(&orders, &Order { units: 5, limit: *price })?;
//!     }
//!     Ok(())
//! }
//!
//! // Its test acts on nothing, and makes outcomes up.
//! let mut test = Test::new(bot);
//! test.start().ok();
//! let run = test.change("price", &9.5).ok();
//! assert_eq!(run.asked[0].input["units"], 5);
//! test.settle(run.asked[0].id, Outcome::Done(5_u64)).ok();
//! assert_eq!(test.value::<u64>("owned"), Some(5));
//! ```
//!
//! # What is on disk when
//!
//! | moment | on disk | after a crash here |
//! |---|---|---|
//! | a run is in progress | nothing of it | the run never was |
//! | the run is committed | its context and what it asked for | what it asked for is done |
//! | an effect is acted on | at most once: that it began | at least once: it is done again, with the same id; at most once: its outcome is unknown |
//! | it is known what came of it | the outcome | its run comes |
//! | the run of the outcome is committed | what that run changed; the effect is gone | nothing is left to do |
//!
//! Without a state folder the same holds for as long as the process lives, and the log's last lines tell how many
//! open effects are lost.
//!
//! # Which policy?
//!
//! Can the other side be asked twice and act once? Payment providers, exchanges and message queues often take
//! an idempotency key, or an id of your own for each order: give them the [`EffectId`] and use
//! [`Policy::at_least_once`]. So does whatever may be done twice: setting a value, writing a file, a query.
//!
//! Can it not, and would twice be worse than never? Use [`Policy::at_most_once`], and take care of
//! [`Outcome::Unknown`]: ask the other side what it has done, by another effect, before deciding again.
//!
//! An effect is done exactly once only where both sides take part: no library can know whether a request whose
//! answer was lost was acted on.
//!
//! # An error, or a result?
//!
//! At least once tries again after an error. So return an error for what may be well a moment later, and a
//! result for what is decided: an order that was *rejected* is a result, an exchange that was *busy* is an
//! error. A panic and a time-out say nothing of what was done; when no later attempt succeeds, the outcome is
//! unknown, whatever the errors after them said.
//!
//! # Order and bounds
//!
//! Effects of one name are acted on beside each other, 16 at a time unless [`Policy::at_once`] says otherwise,
//! and may overtake each other. Those that must not share a key: [`Context::start_in_order`]. One that waits for
//! its next attempt keeps its key and takes no place. Outcomes come in the order in which they were committed;
//! outcomes and messages take turns. At most [`EFFECT_LIMIT`](crate::EFFECT_LIMIT) effects are open, with inputs,
//! names and keys of [`EFFECT_TOTAL_LIMIT_BYTES`](crate::EFFECT_TOTAL_LIMIT_BYTES) together: a function that asks
//! for more is refused with [`HookError::EffectsFull`](crate::HookError::EffectsFull). A function that can wait
//! looks at that error and asks again once some are settled; `?` fails the run instead.
//!
//! All open effects are in one file with the context, which each commit writes anew: with 4 MiB of open inputs a
//! commit writes 4 MiB more. Keep inputs small, put what is large where an input can name it, and set
//! [`Policy::within`] where the other side may be away for long.
//!
//! # What goes on after it was dropped
//!
//! A time-out, a cancel and the end of the watcher drop the function's future at its next `await`. A thread of
//! [`crate::blocking`] goes on, beside the next attempt or the next effect of the key: give it an end of its own.
//!
//! # The end of a watcher
//!
//! From the moment that a stop is asked for nothing begins, and what is acted on has as long as a run in progress,
//! [`Builder::stop_grace`](crate::Builder::stop_grace), beside the cleanup. Its outcomes are kept for the next
//! start. A kill drops what is acted on at once.
//!
//! # A change of the program
//!
//! What was asked for by one release is acted on by the next, under the same name. An effect or an outcome whose
//! name no run registers waits for a release that does; `GET /watcher/effects` shows all that are open. An input
//! that the new function cannot read stays open and is told in the log, for a release that can, or until a run
//! cancels it. An outcome that cannot be read is [`HookError::EffectType`](crate::HookError::EffectType): a run
//! that returns it fails and gets the outcome again, a run that goes on has taken it in. A release that changes to
//! at most once acts on nothing again that the one before may have acted on.
#[allow(unused_imports, reason = "for the links above")]
use crate::{Context, EffectId, Outcome, Policy};
