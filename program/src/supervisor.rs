//! A supervisor: it runs one program's machine, journal and effects on tokio.
//!
//! ```text
//! run ──► call(UserStartRequested) ──► journal ──► answered, Building
//!                                            └──► EffectHandler ──► ... Ready
//! ```

use alloc::{boxed::Box, sync::Arc};

use hersh_machine::{
    RecordOf, Snapshot, Stepper,
    driver::{self, CallError, Clock, Config, Driver, Handle, Journal, Right, SendError},
};

use crate::{
    Cause, Effect, EffectHandler, Event, Lifecycle, Program, Refusal, Rules, State,
    effect_handler::Adapter,
};

/// A record of a program, as its journal stores it.
pub type ProgramRecord = RecordOf<Lifecycle>;
/// A program and its open operations: a fold can start from it.
pub type ProgramSnapshot = Snapshot<Box<Program>, Effect>;
/// The pure half of a supervisor: it folds journals.
pub type ProgramStepper = Stepper<Lifecycle>;

/// The reason why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The program refused the command, for the reason given.
    #[error(transparent)]
    Refused(Refusal),
    /// Too many commands wait: try again later.
    #[error("too many commands wait for this program, try again later")]
    QueueFull,
    /// The program was removed, or its supervisor was stopped.
    #[error("the program is not supervised any more")]
    Stopped,
    /// The command could not be made durable. Nothing has changed.
    #[error(transparent)]
    Journal(driver::JournalError),
}

/// Supervises one program. Cheap to clone; all clones control the same program.
pub struct Supervisor {
    handle: Handle<Lifecycle>,
}

impl Clone for Supervisor {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
        }
    }
}

impl Supervisor {
    /// Starts the supervisor of a program as a task of the current tokio runtime. `stepper` is a new
    /// program's, or after a restart of the host the fold of the program's journal. Then the program is told
    /// of the restart first, and its open operations are recovered after that.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn run<H, J, C>(
        stepper: ProgramStepper,
        handler: Arc<H>,
        journal: J,
        clock: C,
        config: Config,
    ) -> Self
    where
        H: EffectHandler,
        J: Journal<Lifecycle>,
        C: Clock,
    {
        Self::run_with_orphan(stepper, None, handler, journal, clock, config)
    }

    /// Works like [`Supervisor::run`], for a program beside which an instance may still run: `orphan`
    /// says why an instance that the program does not account for could not be removed. The program is told
    /// of it before its open operations are recovered; otherwise one of them could start another instance
    /// beside it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn run_with_orphan<H, J, C>(
        stepper: ProgramStepper,
        orphan: Option<Cause>,
        handler: Arc<H>,
        journal: J,
        clock: C,
        config: Config,
    ) -> Self
    where
        H: EffectHandler,
        J: Journal<Lifecycle>,
        C: Clock,
    {
        let program = stepper.state();
        // A new program has no records, and nothing to be told of.
        let tell = program.instances.is_none()
            || program.rules < Rules::CURRENT
            || orphan.is_some()
            || stepper.seq() > 0 && concerns_restart(&program.state);
        let mut driver = Driver::new(stepper, Arc::new(Adapter(handler)), journal)
            .with_clock(clock)
            .with_config(config);
        if tell {
            driver = driver.with_first_event(Event::HostStarted {
                numbers_instances: true,
                rules: Rules::CURRENT,
                orphan,
            });
        }
        let (handle, run) = driver.start();
        tokio::spawn(run);
        Self { handle }
    }

    /// Puts an event into the program's queue and returns at once. It is meant for facts that the host
    /// observes, such as `InstanceEnded`.
    ///
    /// # Errors
    /// [`SendError`] with the event: the queue is full, or the supervisor is stopped.
    pub fn send(&self, event: Event) -> Result<(), SendError<Event>> {
        self.handle.send(event)
    }

    /// Sends a command and waits until it is durable. From then on its results are seen in
    /// [`Supervisor::state`]; the work itself goes on after the return.
    ///
    /// # Errors
    /// [`CommandError`]: nothing has changed. But if the supervisor stopped while it took the command in, the
    /// command may be in the journal.
    pub async fn call(&self, event: Event) -> Result<(), CommandError> {
        self.call_by(event, None).await
    }

    /// Works like [`Supervisor::call`], for a caller with `right`: the journal stores the event only if the
    /// right holds at that moment.
    ///
    /// # Errors
    /// The errors of [`Supervisor::call`], and [`driver::JournalError::Revoked`] if the right does not hold.
    pub async fn call_by(&self, event: Event, right: Option<Right>) -> Result<(), CommandError> {
        match self.handle.call_by(event, right).await {
            Ok(answer) => answer
                .replies
                .into_iter()
                .find_map(refusal)
                .map_or(Ok(()), Err),
            Err(CallError::QueueFull(_)) => Err(CommandError::QueueFull),
            Err(CallError::Stopped(_)) => Err(CommandError::Stopped),
            Err(CallError::Journal(error)) => Err(CommandError::Journal(error)),
        }
    }

    /// Returns the newest durable state.
    #[must_use]
    pub fn state(&self) -> Program {
        self.with_state(Program::clone)
    }

    /// Returns the result of `read` on the newest durable state, without a copy. `read` must be short: the
    /// machine waits meanwhile.
    pub fn with_state<T>(&self, read: impl FnOnce(&Program) -> T) -> T {
        self.handle.with_state(|program| read(program))
    }

    /// Follows the program's states from here on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        Subscription(self.handle.subscribe())
    }

    /// Waits until no operation is under way that leads to another state, and returns the state. Also returns
    /// when the supervisor has ended.
    pub async fn settled(&self) -> Program {
        self.until(|program| program.state.is_settled()).await
    }

    /// Waits until `reached` holds, and returns the state at that moment. It does not see every state: a
    /// short one may be missed. Also returns when the supervisor has ended. `reached` must be short: the
    /// machine waits meanwhile.
    pub async fn until(&self, reached: impl Fn(&Program) -> bool) -> Program {
        let look = |program: &Program| reached(program).then(|| program.clone());
        let mut subscription = self.handle.subscribe();
        if let Some(program) = self.with_state(look) {
            return program;
        }
        while let Some(seen) = subscription.changed_with(|program| look(program)).await {
            if let Some(program) = seen {
                return program;
            }
        }
        self.state()
    }

    /// Ends the supervisor and leaves the program as it is: instances go on running, and open operations are
    /// recovered when a supervisor is started from the fold of the journal.
    pub fn stop(&self) {
        self.handle.stop();
    }

    /// Waits until the supervisor has ended: it was stopped, or the program was removed.
    pub async fn stopped(&self) {
        self.handle.stopped().await;
    }

    /// Returns whether the supervisor has ended.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.handle.is_stopped()
    }
}

/// Follows the states of one program. A slow reader misses states, but never the newest.
pub struct Subscription(driver::Subscription<Lifecycle>);

impl Subscription {
    /// Returns the newest state and counts it as seen.
    pub fn current(&mut self) -> Program {
        *self.0.current()
    }

    /// Returns the number of the state last seen; every later state has a higher number.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation()
    }

    /// Waits for a state that was not seen yet, and returns it. Returns `None` when the supervisor has ended
    /// and its last state was seen.
    pub async fn changed(&mut self) -> Option<Program> {
        self.0.changed_with(|program| Program::clone(program)).await
    }
}

fn refusal(reply: Effect) -> Option<CommandError> {
    match reply {
        Effect::Refuse { refusal } => Some(CommandError::Refused(refusal)),
        Effect::EnsureProgramFolders { .. }
        | Effect::BuildImage { .. }
        | Effect::StartInstance { .. }
        | Effect::StopInstances { .. }
        | Effect::ObserveInstance { .. }
        | Effect::ScheduleRetry { .. }
        | Effect::Cancel { .. }
        | Effect::RemoveProgram { .. } => None,
    }
}

/// Returns whether `HostStarted` changes a program in this state. The many programs at rest are not told, so
/// that a restart of the host adds no record to their journals.
fn concerns_restart(state: &State) -> bool {
    match state {
        State::Building(_) | State::Starting(_) | State::Ready(_) | State::Stopping(_) => true,
        State::Created | State::Stopped(_) | State::Error(_) | State::Removed => false,
    }
}
