//! The one event loop of a state machine, on tokio.
//!
//! ```text
//!  Handle ── send, call ──► mailbox ──┐            ┌── journal.append (durable first)
//!  Machine::wake ── timer ────────────┼──► step ───┼── publish state ──► Handle, Subscription
//!  running effect ── outcome ─────────┘            ├── answer the caller
//!        ▲                                         └── queue effects ──┐
//!        └──────────────── one at a time, in order ────────────────────┘
//! ```
//! One task owns the state machine. The running effect is a future polled by the same task: there is
//! no task or thread per effect, and an idle state machine holds no timer, queue or future.
//!
//! Guarantees:
//! - A record is durable before its effects run, before its state is seen and before the caller
//!   is answered.
//! - Effects of one state machine run one at a time, in the order in which they were asked for. A cancellation
//!   drops a queued effect. A running effect is told by its [`Cancel`] and gets at most
//!   [`Config::cancel_grace`] to end, before the next begins. Late reports of a cancelled effect are
//!   discarded. An operation that is completed by an event from elsewhere is cancelled in the same way.
//! - A panic in a handler becomes an event.
//! - Every wait ends by an event, a timer or [`Handle::stop`].

mod answer;
mod cancel;
mod clock;
mod driver_loop;
mod handle;
mod journal;
#[cfg(feature = "sim")]
mod memory;
mod runner;
mod shared;

use alloc::sync::Arc;
use core::{future::Future, time::Duration};
use std::string::String;

pub use answer::{Answer, CallError, SendError};
pub use cancel::Cancel;
pub use clock::{Clock, SystemClock, TokioClock};
pub use handle::{Handle, Subscription};
pub use journal::{Journal, JournalError, Right};
#[cfg(feature = "sim")]
pub use memory::MemoryJournal;

use crate::{Capacity, Machine, OpId, Stepper};

/// A state machine whose parts may move between threads, as a driver needs. Every state machine with such parts
/// is one.
pub trait SendMachine:
    Machine<State: Send, Event: Send + Sync, Effect: Send + Sync> + 'static
{
}

impl<M> SendMachine for M where
    M: Machine<State: Send, Event: Send + Sync, Effect: Send + Sync> + 'static
{
}

/// The fate of an operation that was issued before a restart of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovery<E> {
    /// The operation ended, with this outcome.
    Ended(E),
    /// The operation did not end, or nobody can tell: run it again. This is always right, because effects are
    /// idempotent.
    Rerun,
}

/// Carries out the effects of state machines. One value serves any number of state machines.
///
/// The futures are polled by the state machine's own task, so they must not block: hand blocking work
/// to a thread pool and await it.
pub trait Handler<M: Machine>: Send + Sync + 'static {
    /// Carries out `effect` and returns its outcome. Returns `None` for an effect that has no outcome, or
    /// whose outcome comes by another way.
    ///
    /// When `cancel` fires, the future cleans up after itself and ends soon; its outcome is discarded. The
    /// next effect waits for that end. A future that takes longer than [`Config::cancel_grace`] is dropped. A
    /// future that is running when the driver stops is dropped at once, as in a crash, and its operation is
    /// recovered at the next start.
    fn run(
        &self,
        op: OpId,
        effect: M::Effect,
        cancel: Cancel,
    ) -> impl Future<Output = Option<M::Event>> + Send;

    /// Returns, after a restart, what became of `effect`, which was issued at `issued_at_ms` (milliseconds
    /// since the Unix epoch) and whose end was never seen. The driver asks in the order of issue, one at a
    /// time.
    fn recover(
        &self,
        op: OpId,
        effect: &M::Effect,
        issued_at_ms: u64,
    ) -> impl Future<Output = Recovery<M::Event>> + Send;

    /// Returns the event that says that the future of `op` panicked with `message`.
    fn panicked(&self, op: OpId, message: String) -> M::Event;
}

/// Bounds of one driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The largest number of waiting events, by lane.
    pub capacity: Capacity,
    /// The largest number of effects that wait for their turn. While that many wait, the driver takes nothing
    /// from the mailbox, and senders then see a full queue. Outcomes and deadlines are always taken in.
    pub effect_queue: u32,
    /// The longest time for a cancelled effect to clean up.
    pub cancel_grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            capacity: Capacity::default(),
            effect_queue: 64,
            cancel_grace: Duration::from_secs(30),
        }
    }
}

/// A state machine with everything that it needs to run.
pub struct Driver<M: Machine, H, J, C = SystemClock> {
    stepper: Stepper<M>,
    handler: Arc<H>,
    journal: J,
    clock: C,
    config: Config,
    first: Option<M::Event>,
}

impl<M, H, J> Driver<M, H, J>
where
    M: Machine,
{
    /// Returns a driver of `stepper` with the system's clock. Open operations of the stepper are recovered
    /// first, in order. To resume a state machine, fold its journal and pass the result.
    pub fn new(stepper: Stepper<M>, handler: Arc<H>, journal: J) -> Self {
        Self {
            stepper,
            handler,
            journal,
            clock: SystemClock,
            config: Config::default(),
            first: None,
        }
    }
}

impl<M, H, J, C> Driver<M, H, J, C>
where
    M: SendMachine,
    H: Handler<M>,
    J: Journal<M>,
    C: Clock,
{
    /// Sets the clock that the time is taken from.
    pub fn with_clock<D: Clock>(self, clock: D) -> Driver<M, H, J, D> {
        Driver {
            stepper: self.stepper,
            handler: self.handler,
            journal: self.journal,
            clock,
            config: self.config,
            first: self.first,
        }
    }

    /// Sets the bounds.
    #[must_use]
    pub fn with_config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets an event that is taken in before anything else. Open operations are recovered only once it is stored,
    /// except those that it cancels.
    #[must_use]
    pub fn with_first_event(mut self, event: M::Event) -> Self {
        self.first = Some(event);
        self
    }

    /// Returns the state machine's handle and its loop. The state machine lives only while the loop's future is
    /// polled; dropping the future stops the state machine.
    pub fn start(self) -> (Handle<M>, impl Future<Output = ()> + Send + 'static) {
        let (driver_loop, handle) = driver_loop::DriverLoop::new(self);
        (handle, driver_loop)
    }
}
