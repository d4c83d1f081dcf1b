//! The loop around the engine: waits, steps, carries out effects. Owns the engine's thread.
//!
//! One operation (run, save or cleanup) is in progress at a time. While it is, the loop goes on
//! taking in what happens, so a stop or a deadline is decided at once; an operation that the
//! engine aborts is dropped before anything else begins.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt;
use hersh_machine::{Cx, Machine, OpId};

use crate::engine::{Effect, Engine, Event, Note, Outcome, Phase, Policy, RunKind, State};
use crate::logbook::{Level, LogKind};
use crate::managed::{CleanupFn, panic_text};
use crate::shared::{Milestone, Shared};
use crate::snapshot::StateDir;
use crate::{Context, EndKind, Ending, Error};

/// Runs without a pause before the runtime's timers and tasks get their turn.
const RUNS_PER_TURN: u32 = 64;

/// A watcher on its way.
pub(crate) struct Runner<F> {
    managed: F,
    cleanup: Option<CleanupFn>,
    cx: Context,
    state_dir: Option<Arc<StateDir>>,
    core: Core,
}

/// The engine's state and what happens to it.
struct Core {
    state: State,
    next_op: u64,
    effects: VecDeque<(OpId, Effect)>,
    /// The operation that the last step aborted.
    aborted: Option<OpId>,
    shared: Arc<Shared>,
}

impl<F, E> Runner<F>
where
    F: AsyncFnMut(&mut Context) -> Result<(), E>,
    E: Into<Error>,
{
    pub(crate) fn new(
        managed: F,
        cleanup: Option<CleanupFn>,
        cx: Context,
        state_dir: Option<StateDir>,
        policy: Policy,
    ) -> Self {
        let core = Core {
            state: State::new(policy),
            next_op: 1,
            effects: VecDeque::new(),
            aborted: None,
            shared: cx.shared.clone(),
        };
        Self {
            managed,
            cleanup,
            cx,
            state_dir: state_dir.map(Arc::new),
            core,
        }
    }

    /// Runs the watcher until it is over.
    pub(crate) async fn drive(&mut self) -> Ending {
        self.core.step(Event::Started);
        let mut runs = 0;
        loop {
            match self.core.effects.pop_front() {
                Some((op, Effect::Run { kind, message })) => {
                    runs += 1;
                    if runs % RUNS_PER_TURN == 0 {
                        tokio::task::yield_now().await;
                    }
                    self.run(op, kind, message).await;
                }
                Some((op, Effect::Save)) => self.save(op).await,
                Some((op, Effect::Cleanup)) => self.clean_up(op).await,
                // Carried out by `attend` at the moment of the step.
                Some((_, Effect::Abort { .. })) => {}
                Some((_, Effect::Note(note))) => self.core.note(&note, self.cx.run_number()),
                None => {
                    if let Phase::Ended { ending } = &self.core.state.phase {
                        return ending.clone();
                    }
                    let event = self.core.next().await;
                    self.core.step(event);
                }
            }
        }
    }

    async fn run(&mut self, op: OpId, kind: RunKind, message: bool) {
        let (init, recovery) = (kind == RunKind::Init, kind == RunKind::Recover);
        self.cx.begin_run(init, recovery, message);
        self.core.shared.publish_run(self.cx.run_number());
        let (managed, cx) = (&mut self.managed, &mut self.cx);
        let work = async move { managed(cx).await };
        let Some(result) = attend(&mut self.core, op, work).await else {
            self.cx.store.discard();
            return;
        };
        let outcome = match result {
            Ok(Ok(())) => Outcome::Succeeded {
                changed: self.is_changed(),
            },
            Ok(Err(error)) => self.unsuccessful(error.into()),
            Err(panic) => self.failed(panic, false),
        };
        self.core.step(Event::RunEnded { op, outcome });
    }

    /// What an error of the managed function means.
    fn unsuccessful(&mut self, error: Error) -> Outcome {
        let Some(control) = error.control() else {
            let set_up = error.hook().is_some_and(crate::HookError::is_set_up);
            return self.failed(error.to_string(), set_up);
        };
        let ending = control.ending();
        if ending.kind == EndKind::Crashed {
            self.cx.store.discard();
        }
        Outcome::Steered {
            ending,
            changed: self.is_changed(),
        }
    }

    fn failed(&mut self, reason: String, set_up: bool) -> Outcome {
        self.cx.store.discard();
        Outcome::Failed {
            reason: reason.into(),
            set_up,
        }
    }

    /// True when there is something to write; without a state folder a commit is immediate.
    fn is_changed(&mut self) -> bool {
        let changed = self.cx.store.is_changed();
        if changed && self.state_dir.is_none() {
            self.cx.store.commit();
            return false;
        }
        if !changed {
            self.cx.store.discard();
        }
        changed
    }

    async fn save(&mut self, op: OpId) {
        let Some(directory) = self.state_dir.clone() else {
            self.cx.store.commit();
            self.core.step(Event::Saved { op, result: Ok(()) });
            return;
        };
        let values = self.cx.store.merged();
        let work = async {
            // Off this thread: a slow disk must not keep the engine from answering.
            let write = tokio::task::spawn_blocking(move || directory.save(&values));
            write.await
        };
        let result = match attend(&mut self.core, op, work).await {
            Some(Ok(Ok(Ok(())))) => Ok(()),
            Some(Ok(Ok(Err(error)))) => Err(error.to_string()),
            Some(Ok(Err(error))) => Err(error.to_string()),
            Some(Err(panic)) => Err(panic),
            // Whether the write still happens is unknown. The watcher ends, and saves no more.
            None => {
                self.cx.store.discard();
                self.state_dir = None;
                return;
            }
        };
        match &result {
            Ok(()) => self.cx.store.commit(),
            Err(_) => self.cx.store.discard(),
        }
        let result = result.map_err(Into::into);
        self.core.step(Event::Saved { op, result });
    }

    async fn clean_up(&mut self, op: OpId) {
        self.core.shared.inbox.close();
        self.cx.begin_cleanup();
        let Some(mut cleanup) = self.cleanup.take() else {
            let result = Ok(false);
            self.core.step(Event::CleanupEnded { op, result });
            return;
        };
        let result = attend(&mut self.core, op, cleanup.call(&mut self.cx)).await;
        let result = match result {
            Some(Ok(Ok(()))) => Ok(self.is_changed()),
            Some(Ok(Err(error))) => Err(error.to_string()),
            Some(Err(panic)) => Err(panic),
            None => {
                self.cx.store.discard();
                return;
            }
        };
        if result.is_err() {
            self.cx.store.discard();
        }
        let result = result.map_err(Into::into);
        self.core.step(Event::CleanupEnded { op, result });
    }
}

/// Carries an operation to its end while taking in what happens meanwhile. `None` when the engine
/// aborted it: its future is dropped. A panic is an error with its text.
async fn attend<T>(
    core: &mut Core,
    op: OpId,
    work: impl Future<Output = T>,
) -> Option<Result<T, String>> {
    let mut work = pin!(Some(AssertUnwindSafe(work).catch_unwind()));
    let result = loop {
        let running = async {
            match work.as_mut().as_pin_mut() {
                Some(work) => work.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            result = running => break Some(result.map_err(|panic| panic_text(&*panic))),
            event = core.next() => core.step(event),
        }
        if core.aborted == Some(op) {
            break None;
        }
    };
    // Values of the run may panic while they are dropped; that must not end the thread.
    let dropped = std::panic::catch_unwind(AssertUnwindSafe(|| work.set(None)));
    // A stop that came in during the last stretch is decided before the outcome.
    if let Some(event) = core.shared.inbox.take_end() {
        core.step(event);
    }
    match (result, dropped) {
        _ if core.aborted == Some(op) => None,
        (Some(Ok(_)), Err(panic)) => Some(Err(panic_text(&*panic))),
        (result, _) => result,
    }
}

impl Core {
    /// The next thing that happens: an arrival, or the passing of time.
    async fn next(&self) -> Event {
        loop {
            if let Some(event) = self.shared.inbox.take_event() {
                return event;
            }
            let arrival = self.shared.inbox.arrival();
            match Engine::wake(&self.state) {
                None => arrival.await,
                Some((at_ms, event)) => {
                    tokio::select! {
                        biased;
                        () = arrival => {}
                        () = tokio::time::sleep_until(self.shared.clock.instant_at(at_ms)) => {
                            return event;
                        }
                    }
                }
            }
        }
    }

    fn step(&mut self, event: Event) {
        let now_ms = self.shared.clock.now_ms();
        let mut cx = Cx::new(now_ms, self.next_op);
        let policy = self.state.policy;
        let state = std::mem::replace(&mut self.state, State::new(policy));
        self.state = Engine::reduce(state, event, &mut cx);
        let (effects, next_op) = cx.finish();
        self.next_op = next_op;
        for (op, effect) in effects {
            if let Some(aborted) = Engine::cancels(&effect) {
                self.aborted = Some(aborted);
            }
            self.effects.push_back((op, effect));
        }
        debug_assert_eq!(Engine::invariants(&self.state), Ok(()));
        let (state, failures) = (self.state.public(), self.state.failures);
        self.shared.publish(state, failures, now_ms);
    }

    fn note(&self, note: &Note, run: u64) {
        let (level, kind, message) = note.line();
        let time = self.shared.clock.wall();
        self.shared.log.write(time, level, kind, run, &message);
        if *note == Note::Initialised {
            self.shared.milestone.send_replace(Milestone::Up);
        }
    }
}

impl Note {
    /// How the note reads in the log.
    fn line(&self) -> (Level, LogKind, String) {
        match self {
            Self::Initialised => (Level::Info, LogKind::Lifecycle, "ready".into()),
            Self::RunFailed {
                reason,
                failures,
                retry_after_ms,
                heavy,
            } => {
                let state = if *heavy { " in WaitRecover" } else { "" };
                let text = format!(
                    "run failed ({failures} in a row), next try{state} in {retry_after_ms} ms: \
                     {reason}"
                );
                (Level::Warn, LogKind::StateFault, text)
            }
            Self::Recovered { failures } => {
                let text = format!("recovered after {failures} failed runs");
                (Level::Info, LogKind::StateFault, text)
            }
            Self::CleanupFailed { reason } => {
                let text = format!("cleanup failed: {reason}");
                (Level::Error, LogKind::StateFault, text)
            }
            Self::Ended { ending, unserved } => {
                let level = match ending.kind {
                    EndKind::Stopped => Level::Info,
                    EndKind::Killed => Level::Warn,
                    EndKind::Crashed => Level::Error,
                };
                let text = match unserved {
                    0 => ending.to_string(),
                    count => format!("{ending} ({count} messages were not served)"),
                };
                (level, LogKind::Lifecycle, text)
            }
        }
    }
}
