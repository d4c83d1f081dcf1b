//! The moves that transitions are made of.

use hersh_machine::StepContext;

use super::effect::{Effect, Note};
use super::state::{AfterSave, CarriedSignal, Phase, Reason, RunKind, State};
use crate::{Ending, Verdict};

impl State {
    /// Calls the managed function. A run of kind `Signal` carries a message or a settlement, if one waits;
    /// whatever woke it, a run takes in all pending variable updates.
    pub(super) fn run(&mut self, kind: RunKind, cx: &mut StepContext<Effect>) {
        let carries = match (kind, self.carried) {
            (RunKind::Init, _) => CarriedSignal::Nothing,
            // Each message and each settlement has exactly one run that counts, so that of a failed run comes
            // again.
            (RunKind::Recover, failed) => failed,
            (RunKind::Signal, _) => self.next_signal(),
        };
        match (kind, carries) {
            (_, CarriedSignal::Nothing) => {}
            (RunKind::Signal | RunKind::Init, CarriedSignal::Message) => {
                self.waiting -= 1;
                self.settlement_was_last = false;
            }
            (RunKind::Recover, CarriedSignal::Message) => self.settlement_was_last = false,
            (_, CarriedSignal::Settlement) => self.settlement_was_last = true,
        }
        self.carried = carries;
        self.changed = false;
        let op = cx.emit(Effect::Run { kind, carries });
        self.phase = Phase::Running {
            op,
            kind,
            deadline_ms: cx.now_ms().saturating_add(self.policy.run_timeout_ms),
            asked: None,
        };
    }

    /// Returns whether a signal waits for a run.
    pub(super) fn has_signal(&self) -> bool {
        self.waiting > 0 || self.settled > 0 || self.changed
    }

    /// Returns the signal that the next run carries. Messages and settlements take turns, so that a flood of
    /// the one does not hold up the other.
    fn next_signal(&self) -> CarriedSignal {
        match (self.waiting > 0, self.settled > 0) {
            (false, false) => CarriedSignal::Nothing,
            (true, false) => CarriedSignal::Message,
            (false, true) => CarriedSignal::Settlement,
            (true, true) if self.settlement_was_last => CarriedSignal::Message,
            (true, true) => CarriedSignal::Settlement,
        }
    }

    /// Makes what the run changed durable.
    pub(super) fn save(&mut self, then: AfterSave, cx: &mut StepContext<Effect>) {
        let op = cx.emit(Effect::Save);
        self.phase = Phase::Saving {
            op,
            deadline_ms: cx.now_ms().saturating_add(self.policy.save_timeout_ms),
            then,
        };
    }

    /// Calls the cleanup function on the way to `ending`.
    pub(super) fn clean(&mut self, ending: Ending, cx: &mut StepContext<Effect>) {
        let op = cx.emit(Effect::Cleanup);
        self.phase = Phase::Cleaning {
            op,
            deadline_ms: cx.now_ms().saturating_add(self.policy.cleanup_timeout_ms),
            ending,
        };
    }

    /// Ends the watcher.
    pub(super) fn end(&mut self, ending: Ending, cx: &mut StepContext<Effect>) {
        cx.emit(Effect::Note(Note::Ended {
            ending: ending.clone(),
        }));
        self.phase = Phase::Ended { ending };
    }

    /// Goes on with what waits, after a run succeeded and its changes are durable.
    pub(super) fn succeeded(&mut self, cx: &mut StepContext<Effect>) {
        if !self.initialised {
            cx.emit(Effect::Note(Note::Initialised));
        } else if self.failures > 0 {
            let failures = self.failures;
            cx.emit(Effect::Note(Note::Recovered { failures }));
        }
        self.changed |= std::mem::take(&mut self.again);
        if std::mem::take(&mut self.carried) == CarriedSignal::Settlement {
            self.settled -= 1;
        }
        self.failures = 0;
        self.initialised = true;
        self.phase = Phase::Ready;
        self.wake_if_ready(cx);
    }

    /// Waits for the next try after a run failed by itself. After too many, gives up on its message, if it has
    /// one, or else on the watcher.
    pub(super) fn run_failed(&mut self, reason: &Reason, cx: &mut StepContext<Effect>) {
        let verdict = self.policy.recovery.after(self.failures.saturating_add(1));
        match (verdict, self.carried) {
            (Verdict::Crash, CarriedSignal::Message) => self.set_aside(reason, cx),
            (_, _) => self.failed(reason, cx),
        }
    }

    /// Goes on without the message of the run that failed, which people look at.
    pub(super) fn set_aside(&mut self, reason: &Reason, cx: &mut StepContext<Effect>) {
        let (reason, failures) = (reason.clone(), self.failures.saturating_add(1));
        cx.emit(Effect::SetAside {
            reason: reason.clone(),
        });
        cx.emit(Effect::Note(Note::MessageSetAside { reason, failures }));
        self.again = false;
        self.carried = CarriedSignal::Nothing;
        self.failures = 0;
        self.phase = Phase::Ready;
        self.wake_if_ready(cx);
    }

    /// Waits for the next try, or gives up, after a run failed or could not be saved.
    pub(super) fn failed(&mut self, reason: &Reason, cx: &mut StepContext<Effect>) {
        self.again = false;
        self.failures = self.failures.saturating_add(1);
        let (after_ms, heavy) = match self.policy.recovery.after(self.failures) {
            Verdict::Retry { after_ms } => (after_ms, false),
            Verdict::Recover { after_ms } => (after_ms, true),
            Verdict::Crash => {
                let failures = self.failures;
                let text = format!("{failures} failed runs in a row; the last: {reason}");
                self.clean(Ending::new(crate::EndKind::Crashed, text), cx);
                return;
            }
        };
        cx.emit(Effect::Note(Note::RunFailed {
            reason: reason.clone(),
            failures: self.failures,
            retry_after_ms: after_ms,
            heavy,
        }));
        self.phase = Phase::Delay {
            due_ms: cx.now_ms().saturating_add(after_ms),
            heavy,
        };
    }

    /// Starts the next run if nothing is going on and a signal waits.
    pub(super) fn wake_if_ready(&mut self, cx: &mut StepContext<Effect>) {
        match self.phase {
            Phase::Ready if self.has_signal() => self.run(RunKind::Signal, cx),
            // Signals wait while something else goes on; after the end they stay unserved.
            Phase::Ready
            | Phase::NotRun
            | Phase::Running { .. }
            | Phase::Saving { .. }
            | Phase::Delay { .. }
            | Phase::Cleaning { .. }
            | Phase::Ended { .. } => {}
        }
    }
}

impl AfterSave {
    /// Takes in a wish to end, which follows the save.
    pub(super) fn strengthen(&mut self, ending: Ending) {
        *self = match self.clone() {
            Self::Continue => Self::Clean(ending),
            Self::Clean(current) => Self::Clean(current.stronger(ending)),
            Self::End(current) => Self::End(current.stronger(ending)),
        };
    }
}

/// Returns the reason of a failure to save.
pub(super) fn unsaved(reason: &Reason) -> Reason {
    format!("the context could not be saved: {reason}").into()
}

/// Returns the reason of a failure to end in time.
pub(super) fn late(what: &str, limit_ms: u64) -> Reason {
    format!("{what} did not end within {limit_ms} ms").into()
}
