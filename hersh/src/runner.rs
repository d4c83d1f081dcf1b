//! The loop around the engine: waits, steps, carries out effects. Owns the engine's thread.
//!
//! One operation (run, save or cleanup) is in progress at a time. While it is, the loop goes on
//! taking in what happens, so a stop or a deadline is decided at once; an operation that the
//! engine aborts is dropped before anything else begins.

use std::sync::Arc;

use hersh_machine::OpId;
use tokio::time::Instant;

use crate::crank::{AbortCause, Core, attend};
use crate::engine::{Effect, Event, Note, Outcome, Policy, RunKind};
use crate::journal::RecordedOutcome;
use crate::logbook::{Level, LogKind, RunResult};
use crate::managed::CleanupFn;
use crate::recorder::Recorder;
use crate::shared::Milestone;
use crate::snapshot::StateDir;
use crate::{Context, EndKind, Ending, Error};

/// A watcher on its way.
pub(crate) struct Runner<F> {
    managed: F,
    cleanup: Option<CleanupFn>,
    cx: Context,
    state_dir: Option<Arc<StateDir>>,
    recorder: Recorder,
    core: Core,
}

/// Longest text of a changed value in the log, bytes.
const CHANGE_LIMIT_BYTES: usize = 200;

impl<F, E> Runner<F>
where
    F: AsyncFnMut(&mut Context) -> Result<(), E>,
    E: Into<Error>,
{
    pub(crate) fn new(
        managed: F,
        cleanup: Option<CleanupFn>,
        cx: Context,
        (state_dir, recorder): (Option<StateDir>, Recorder),
        policy: Policy,
    ) -> Self {
        let core = Core::new(cx.shared.clone(), policy);
        Self {
            managed,
            cleanup,
            cx,
            state_dir: state_dir.map(Arc::new),
            recorder,
            core,
        }
    }

    /// Runs the watcher until it is over.
    pub(crate) async fn drive(&mut self) -> Ending {
        self.core.step(Event::Started);
        loop {
            match self.core.pop_effect() {
                Some((op, Effect::Run { kind, message })) => {
                    self.core.take_turns().await;
                    self.run(op, kind, message).await;
                }
                Some((op, Effect::Save)) => self.save(op).await,
                Some((op, Effect::Cleanup)) => self.clean_up(op).await,
                // Carried out by `attend` at the moment of the step.
                Some((_, Effect::Abort { .. })) => {}
                Some((_, Effect::Note(note))) => self.note(&note),
                None => {
                    if let Some(ending) = self.core.ending().cloned() {
                        self.recorder.finish(&self.cx, &ending);
                        return ending;
                    }
                    let event = self.next().await;
                    self.core.step(event);
                }
            }
        }
    }

    /// The next thing that happens while nothing is in progress.
    async fn next(&mut self) -> Event {
        if let Some(event) = self.core.arrived() {
            return event;
        }
        self.core.look_out().await;
        if !self.cx.shared.inbox.has_news() {
            self.recorder.flush(&self.cx);
        }
        self.core.idle().await
    }

    async fn run(&mut self, op: OpId, kind: RunKind, message: bool) {
        self.cx.begin_run(kind, message, self.core.wall());
        self.cx.shared.publish_run(self.cx.run_number());
        let began = self.core.stepped_at();
        let (managed, cx) = (&mut self.managed, &mut self.cx);
        let work = async move { managed(cx).await };
        let result = attend(&mut self.core, op, work).await;
        let Some(result) = result else {
            let outcome = match self.core.abort_of(op) {
                Some(AbortCause::Late) => RecordedOutcome::TimedOut,
                Some(AbortCause::End) | None => RecordedOutcome::Dropped,
            };
            self.cx.store.discard();
            self.recorder.ran(&mut self.cx, kind, outcome);
            self.recorder.settle(&self.cx, None);
            self.show(began, Some("it was dropped".into()));
            return;
        };
        let (outcome, recorded) = self.outcome(result);
        self.recorder.ran(&mut self.cx, kind, recorded);
        let failure = match &outcome {
            Outcome::Succeeded { .. } => None,
            Outcome::Steered { ending, .. } => Some(ending.reason.clone()),
            Outcome::Failed { reason, .. } => Some(reason.clone()),
        };
        let outcome = self.keep(outcome);
        self.core.step(Event::RunEnded { op, outcome });
        self.show(began, failure);
    }

    /// What came of the managed function, for the engine and for the journal.
    fn outcome(&mut self, result: Result<Result<(), E>, String>) -> (Outcome, RecordedOutcome) {
        let (reason, set_up) = match result {
            Ok(Ok(())) => {
                let changed = false;
                return (Outcome::Succeeded { changed }, RecordedOutcome::Succeeded);
            }
            Ok(Err(error)) => {
                let error: Error = error.into();
                if let Some(ending) = error.control().map(crate::Control::ending) {
                    if ending.kind == EndKind::Crashed {
                        self.cx.store.discard();
                    }
                    let (kind, reason) = (ending.kind, ending.reason.clone());
                    let changed = false;
                    let outcome = Outcome::Steered { ending, changed };
                    return (outcome, RecordedOutcome::Steered { kind, reason });
                }
                let set_up = error.hook().is_some_and(crate::HookError::is_set_up);
                (Arc::from(error.to_string()), set_up)
            }
            Err(panic) => (Arc::from(panic), false),
        };
        self.cx.store.discard();
        let recorded = RecordedOutcome::Failed {
            reason: Arc::clone(&reason),
        };
        (Outcome::Failed { reason, set_up }, recorded)
    }

    /// Finds out what has to be saved; without that, the run is settled.
    fn keep(&mut self, mut outcome: Outcome) -> Outcome {
        let unsaved = self.is_changed();
        if !unsaved {
            self.recorder.settle(&self.cx, None);
        }
        match &mut outcome {
            Outcome::Succeeded { changed } | Outcome::Steered { changed, .. } => *changed = unsaved,
            Outcome::Failed { .. } => {}
        }
        outcome
    }

    /// True when there is something to write; without a state folder a commit is immediate.
    fn is_changed(&mut self) -> bool {
        let changed = !self.cx.store.changes().is_empty();
        if changed && self.state_dir.is_none() {
            self.commit();
            return false;
        }
        if !changed {
            self.cx.store.discard();
        }
        changed
    }

    async fn save(&mut self, op: OpId) {
        let Some(directory) = self.state_dir.clone() else {
            self.commit();
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
                self.recorder.settle(&self.cx, Some("it took too long"));
                return;
            }
        };
        match &result {
            Ok(()) => self.commit(),
            Err(_) => self.cx.store.discard(),
        }
        let unsaved = result.as_ref().err().map(String::as_str);
        self.recorder.settle(&self.cx, unsaved);
        let result = result.map_err(Into::into);
        self.core.step(Event::Saved { op, result });
    }

    async fn clean_up(&mut self, op: OpId) {
        self.cx.shared.inbox.close();
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

    /// Makes what the run changed the context, and says what that was.
    fn commit(&mut self) {
        let run = self.cx.run_number();
        for (key, json) in self.cx.store.changes() {
            let mut end = json.len().min(CHANGE_LIMIT_BYTES);
            while !json.is_char_boundary(end) {
                end -= 1;
            }
            let rest = if end < json.len() { "…" } else { "" };
            let text = format!("{key} = {}{rest}", &json[..end]);
            let shared = &self.cx.shared;
            shared.note(Level::Info, LogKind::Context, run, &text);
        }
        self.cx.store.commit();
    }

    /// Shows how a run ended.
    fn show(&self, began: Instant, failure: Option<Arc<str>>) {
        let ended = self.core.stepped_at();
        self.cx.shared.log.ended(RunResult {
            run: self.cx.run_number(),
            at_ms: self.cx.shared.clock.ms_at(ended),
            took: ended.saturating_duration_since(began),
            failure,
        });
    }

    fn note(&self, note: &Note) {
        let shared = &self.cx.shared;
        let (level, kind, message) = note.line();
        shared.note(level, kind, self.cx.run_number(), &message);
        if *note == Note::Initialised {
            shared.milestone.send_replace(Milestone::Up);
        }
    }
}
