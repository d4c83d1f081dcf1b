//! The loop around the engine: waits, steps, carries out effects. Owns the engine's thread.
//!
//! One operation (run, save or cleanup) is in progress at a time. While an operation is in
//! progress, the loop goes on taking in events, so a stop or a deadline is decided at once. An
//! operation that the engine aborts is dropped before anything else begins.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hersh_machine::OpId;
use tokio::time::Instant;

use super::managed::CleanupFn;
use super::operation::drive_to_completion;
use super::recorder::Recorder;
use super::step_loop::{AbortCause, StepLoop};
use crate::base::sync::locked;
use crate::effects::Desk;
use crate::engine::{Blame, CarriedSignal, Effect, Event, Note, Outcome, Policy, RunKind};
use crate::error::RunReturn;
use crate::journal::RecordedOutcome;
use crate::shared::{Level, LogKind, Milestone, RunResult};
use crate::store::{Commit, MailChange, SaveResult};
use crate::{Context, Ending, Error, HookError};

/// A watcher with its managed function, as its loop runs it.
pub(crate) struct Runner<F> {
    managed: F,
    cleanup: Option<CleanupFn>,
    cx: Context,
    desk: Rc<Desk>,
    recorder: Recorder,
    step_loop: StepLoop,
    /// Messages whose runs changed nothing, to be noted together.
    ran: Vec<MailChange>,
    /// The run after which the step loop was told when the next timer is due.
    timer_set_in: u64,
}

/// Most messages whose runs changed nothing that are noted together.
const RAN_MAX: usize = 64;
/// Longest time that the end waits for a commit of effects that is under way.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);
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
        (desk, recorder): (Rc<Desk>, Recorder),
        policy: Policy,
    ) -> Self {
        let step_loop = StepLoop::new(cx.shared.clone(), policy);
        Self {
            managed,
            cleanup,
            cx,
            desk,
            recorder,
            step_loop,
            ran: Vec::new(),
            timer_set_in: 0,
        }
    }

    /// Runs the watcher until it is over.
    pub(crate) async fn drive(&mut self) -> Ending {
        self.set_fatal_aside();
        self.step_loop.step(Event::Started);
        loop {
            match self.step_loop.pop_effect() {
                Some((op, Effect::Run { kind, carries })) => {
                    self.step_loop.yield_if_due().await;
                    self.run(op, kind, carries).await;
                }
                Some((op, Effect::Save)) => self.save(op).await,
                Some((_, Effect::SetAside { reason })) => self.set_aside(reason),
                Some((op, Effect::Cleanup)) => self.clean_up(op).await,
                // Carried out by `drive_to_completion` at the moment of the step.
                Some((_, Effect::Abort { .. })) => {}
                Some((_, Effect::Note(note))) => self.note(&note),
                None => {
                    if let Some(ending) = self.step_loop.ending().cloned() {
                        self.end_effects().await;
                        self.recorder.finish(&self.cx, &ending);
                        return ending;
                    }
                    let event = self.next().await;
                    self.step_loop.step(event);
                }
            }
        }
    }

    /// Returns the next event while no operation is in progress.
    async fn next(&mut self) -> Event {
        let run = self.cx.run_number();
        if std::mem::replace(&mut self.timer_set_in, run) != run {
            // Once for each run: after a failed one, a timer that has come waits for the retry.
            self.step_loop.set_timer(self.cx.timers.next_ms());
        }
        if let Some(event) = self.step_loop.arrived() {
            if self.ran.len() >= RAN_MAX {
                self.note_ran();
            }
            return event;
        }
        self.note_ran();
        self.step_loop.spin_before_park().await;
        if !self.cx.shared.inbox.has_news() {
            self.recorder.flush(&self.cx);
        }
        let Some(due) = self.recorder.sync_due() else {
            return self.step_loop.next_when_idle().await;
        };
        tokio::select! {
            biased;
            event = self.step_loop.next_when_idle() => return event,
            () = tokio::time::sleep_until(due) => {}
        }
        self.recorder.sync();
        self.step_loop.next_when_idle().await
    }

    async fn run(&mut self, op: OpId, kind: RunKind, carries: CarriedSignal) {
        self.cx.begin_run(kind, carries, self.step_loop.wall());
        self.cx.shared.publish_run(self.cx.run_number());
        let began = self.step_loop.stepped_at();
        let (managed, cx) = (&mut self.managed, &mut self.cx);
        let work = async move {
            if let Some(suspected) = cx.suspicion() {
                let keeper = &cx.shared.keeper;
                // A disk that does not take it keeps no message from its run.
                let commit = Arc::new(Commit::of_mail(suspected));
                let _ = keeper.commit_alone(commit).await;
            }
            RunReturn::of(managed(cx).await)
        };
        let Some(returned) = drive_to_completion(&mut self.step_loop, op, work).await else {
            let outcome = match self.step_loop.abort_of(op) {
                Some(AbortCause::Late) => RecordedOutcome::TimedOut,
                Some(AbortCause::End) | None => RecordedOutcome::Dropped,
            };
            self.cx.discard();
            self.recorder.ran(&mut self.cx, kind, outcome);
            self.recorder.settle(&self.cx, None);
            self.show(began, Some("it was dropped".into()));
            return;
        };
        let returned = returned.unwrap_or_else(RunReturn::panicked);
        let recorded = RecordedOutcome::of(&returned);
        if !recorded.keeps_changes() {
            self.cx.discard();
        }
        self.recorder.ran(&mut self.cx, kind, recorded);
        let again = self.cx.wants_again();
        let changed = self.settle_changes();
        if !changed {
            self.recorder.settle(&self.cx, None);
        }
        let (outcome, failure) = match returned {
            RunReturn::Well => (Outcome::Succeeded { changed, again }, None),
            RunReturn::Steered(ending) => {
                let reason = ending.reason.clone();
                (Outcome::Steered { ending, changed }, Some(reason))
            }
            RunReturn::Failed { reason, hook } => {
                let blame = hook.map_or(Blame::Run, |hook| blame(&hook));
                let failure = Some(reason.clone());
                (Outcome::Failed { reason, blame }, failure)
            }
        };
        self.step_loop.step(Event::RunEnded { op, outcome });
        self.show(began, failure);
    }

    /// Commits changes that need no write and forgets changes that change nothing. Returns whether
    /// something has to be saved first.
    fn settle_changes(&mut self) -> bool {
        let changes = self.cx.changes();
        if changes.is_empty() {
            self.cx.discard();
            return false;
        }
        let keeper = &self.cx.shared.keeper;
        if !keeper.is_durable() {
            keeper.commit_in_memory(&changes);
        } else if changes.is_repeatable() {
            // If this is lost with the process, the run happens again and changes nothing again.
            self.ran.extend(changes.mail.iter().cloned());
        } else {
            return true;
        }
        self.committed(&changes);
        false
    }

    /// Notes the messages whose runs changed nothing. Those that are lost with the process have another run.
    fn note_ran(&mut self) {
        if !self.ran.is_empty() {
            let mail = std::mem::take(&mut self.ran);
            self.cx.shared.keeper.note(Commit {
                mail,
                ..Commit::default()
            });
        }
    }

    /// Goes on without the messages that ended too many lives. They are not even looked at by a run, which would have to
    /// be told apart in a replay.
    fn set_fatal_aside(&self) {
        let mail = self.cx.shared.post_office.fatal();
        if mail.is_empty() {
            return;
        }
        let text =
            "a message is set aside: the watcher ended again and again in the middle of its run";
        let shared = &self.cx.shared;
        shared.note(Level::Error, LogKind::StateFault, 0, text);
        shared.keeper.note(Commit {
            mail,
            ..Commit::default()
        });
    }

    /// Goes on without the message of the run that failed.
    fn set_aside(&mut self, reason: Arc<str>) {
        let mail = self.cx.set_aside(reason);
        self.cx.shared.keeper.note(Commit {
            mail,
            ..Commit::default()
        });
    }

    async fn save(&mut self, op: OpId) {
        self.note_ran();
        let changes = Arc::new(self.cx.changes());
        let shared = self.cx.shared.clone();
        let work = shared.keeper.commit(changes.clone());
        let since_ms = shared.clock.ms_at(self.step_loop.stepped_at());
        shared.heartbeat.set_saving(Some(since_ms));
        let saved = drive_to_completion(&mut self.step_loop, op, work).await;
        shared.heartbeat.set_saving(None);
        let result = match saved {
            Some(Ok(Ok(SaveResult::Synced))) => Ok(()),
            Some(Ok(Ok(SaveResult::Unsynced(error)))) => {
                let text = format!("the context is saved, but a power cut may undo it: {error}");
                let run = self.cx.run_number();
                shared.note(Level::Error, LogKind::StateFault, run, &text);
                Ok(())
            }
            Some(Ok(Err(error))) => Err(error),
            Some(Err(panic)) => Err(panic),
            // Whether the write still happens is unknown. The watcher ends, and its keeper saves no more.
            None => {
                self.cx.discard();
                self.recorder.settle(&self.cx, Some("it took too long"));
                return;
            }
        };
        match &result {
            Ok(()) => self.committed(&changes),
            Err(_) => self.cx.discard(),
        }
        let unsaved = result.as_ref().err().map(String::as_str);
        self.recorder.settle(&self.cx, unsaved);
        let result = result.map_err(Into::into);
        self.step_loop.step(Event::Saved { op, result });
    }

    async fn clean_up(&mut self, op: OpId) {
        self.cx.shared.inbox.close();
        self.note_ran();
        if self.step_loop.crashes() {
            // Whoever starts the watcher again would only see it crash at the same message, for ever.
            let fatal = self.cx.fatal_message().map(Commit::of_mail);
            fatal
                .into_iter()
                .for_each(|it| self.cx.shared.keeper.note(it));
        }
        self.cx.begin_cleanup();
        if self.step_loop.ends_at_once() {
            self.desk.end();
        }
        let Some(mut cleanup) = self.cleanup.take() else {
            let result = Ok(false);
            self.step_loop.step(Event::CleanupEnded { op, result });
            return;
        };
        let result = drive_to_completion(&mut self.step_loop, op, cleanup.call(&mut self.cx)).await;
        let Some(returned) = result else {
            self.cx.discard();
            return;
        };
        let result = match returned.unwrap_or_else(RunReturn::panicked) {
            RunReturn::Well => Ok(self.settle_changes()),
            RunReturn::Steered(ending) => Err(ending.to_string().into()),
            RunReturn::Failed { reason, .. } => Err(reason),
        };
        if result.is_err() {
            self.cx.discard();
        }
        self.step_loop.step(Event::CleanupEnded { op, result });
    }

    /// Ends what is acted on, once the cleanup is over and saved: neither may take the other's time. What is acted
    /// on has as long as a run in progress, from the moment that the end was asked for, and a kill cuts it short.
    async fn end_effects(&mut self) {
        let grace_over = tokio::time::sleep_until(self.step_loop.grace_over());
        tokio::select! {
            biased;
            () = self.desk.close() => {}
            () = grace_over => {}
            () = self.step_loop.killed() => {}
        }
        self.desk.end();
        let open = locked(&self.cx.shared.ledger).size().effects;
        let keeper = &self.cx.shared.keeper;
        if open > 0 && !keeper.is_durable() {
            let text = format!("{open} effects that are open are lost: there is no state folder");
            let (shared, run) = (&self.cx.shared, self.cx.run_number());
            shared.note(Level::Warn, LogKind::StateFault, run, &text);
        }
        // A disk that hangs must not keep the watcher from ending.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, keeper.close()).await;
    }

    /// Writes what a run changed into the log, and takes it as committed.
    fn committed(&mut self, changes: &Commit) {
        let run = self.cx.run_number();
        let shared = &self.cx.shared;
        for (key, json) in &changes.values {
            let Some(json) = json else {
                let text = format!("{key} is removed");
                shared.note(Level::Info, LogKind::Context, run, &text);
                continue;
            };
            let mut end = json.len().min(CHANGE_LIMIT_BYTES);
            while !json.is_char_boundary(end) {
                end -= 1;
            }
            let rest = if end < json.len() { "…" } else { "" };
            let text = format!("{key} = {}{rest}", &json[..end]);
            shared.note(Level::Info, LogKind::Context, run, &text);
        }
        if let Some((id, effect)) = self.cx.asks.ignored() {
            let name = &effect.effect;
            let text = format!("the outcome of {name} {id} is gone: run {run} did not look at it");
            shared.note(Level::Warn, LogKind::StateFault, run, &text);
        }
        self.cx.committed();
    }

    /// Shows how a run ended.
    fn show(&self, began: Instant, failure: Option<Arc<str>>) {
        let ended = self.step_loop.stepped_at();
        self.cx.shared.log.write_run_end(RunResult {
            run: self.cx.run_number(),
            at_ms: self.cx.shared.clock.ms_at(ended),
            took: ended.saturating_duration_since(began),
            failure,
        });
    }

    fn note(&self, note: &Note) {
        let shared = &self.cx.shared;
        let (level, kind, message) = note.line(shared.inbox.waiting());
        shared.note(level, kind, self.cx.run_number(), &message);
        if *note == Note::Initialised {
            shared.milestone.send_replace(Milestone::Up);
        }
    }
}

/// Returns what a run that failed with an error of a hook is to blame on.
fn blame(hook: &HookError) -> Blame {
    if hook.is_of_message() {
        Blame::Message
    } else if hook.is_set_up() {
        Blame::SetUp
    } else {
        Blame::Run
    }
}
