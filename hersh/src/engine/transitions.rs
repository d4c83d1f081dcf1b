//! What each event does in each phase. Every arm names the phases it means.

use hersh_machine::{OpId, StepContext};

use super::effect::{Effect, Note};
use super::event::{Blame, Outcome};
use super::state::{AfterSave, CarriedSignal, Phase, Reason, RunKind, State};
use super::steps::{late, unsaved};
use crate::{EndKind, Ending};

impl State {
    pub(super) fn started(&mut self, cx: &mut StepContext<Effect>) {
        match self.phase {
            Phase::NotRun => self.run(RunKind::Init, cx),
            // A second start of the same watcher: it is up or over already.
            Phase::Running { .. }
            | Phase::Saving { .. }
            | Phase::Ready
            | Phase::Delay { .. }
            | Phase::Cleaning { .. }
            | Phase::Ended { .. } => {}
        }
    }

    pub(super) fn end_asked(&mut self, ending: Ending, cx: &mut StepContext<Effect>) {
        let now_ms = cx.now_ms();
        let grace_ms = self.policy.stop_grace_ms;
        match &mut self.phase {
            // Nothing was set up, so there is nothing to clean up.
            Phase::NotRun => self.end(ending, cx),
            Phase::Running {
                op,
                deadline_ms,
                asked,
                ..
            } => match ending.kind {
                EndKind::Stopped => {
                    if asked.is_none() {
                        *deadline_ms = (*deadline_ms).min(now_ms.saturating_add(grace_ms));
                        *asked = Some(ending);
                    }
                }
                EndKind::Killed | EndKind::Crashed => {
                    cx.emit(Effect::Abort { op: *op });
                    self.clean(ending, cx);
                }
            },
            Phase::Saving { then, .. } => then.strengthen(ending),
            Phase::Ready | Phase::Delay { .. } => self.clean(ending, cx),
            Phase::Cleaning {
                op,
                ending: current,
                ..
            } => match ending.kind {
                // The end is on its way.
                EndKind::Stopped => {}
                EndKind::Killed | EndKind::Crashed => {
                    cx.emit(Effect::Abort { op: *op });
                    let ending = current.clone().stronger(ending);
                    self.end(ending, cx);
                }
            },
            Phase::Ended { .. } => {}
        }
    }

    pub(super) fn run_ended(&mut self, op: OpId, outcome: Outcome, cx: &mut StepContext<Effect>) {
        let asked = match &mut self.phase {
            Phase::Running {
                op: current, asked, ..
            } if *current == op => asked.take(),
            // The outcome of a run that was given up: stale.
            Phase::Running { .. }
            | Phase::NotRun
            | Phase::Saving { .. }
            | Phase::Ready
            | Phase::Delay { .. }
            | Phase::Cleaning { .. }
            | Phase::Ended { .. } => return,
        };
        match (outcome, asked) {
            (Outcome::Succeeded { changed, again }, None) => {
                self.again = again;
                if changed {
                    self.save(AfterSave::Continue, cx);
                } else {
                    self.succeeded(cx);
                }
            }
            (Outcome::Succeeded { changed: true, .. }, Some(ending)) => {
                self.save(AfterSave::Clean(ending), cx);
            }
            (Outcome::Succeeded { changed: false, .. }, Some(ending)) => self.clean(ending, cx),
            (Outcome::Steered { ending, changed }, asked) => {
                let ending = asked.map_or(ending.clone(), |asked| asked.stronger(ending));
                if changed {
                    self.save(AfterSave::Clean(ending), cx);
                } else {
                    self.clean(ending, cx);
                }
            }
            (Outcome::Failed { .. }, Some(ending)) => self.clean(ending, cx),
            (Outcome::Failed { reason, blame }, None) => match blame {
                Blame::SetUp if !self.initialised => {
                    self.clean(Ending::new(EndKind::Crashed, reason), cx);
                }
                Blame::Message if self.carried == CarriedSignal::Message => {
                    self.set_aside(&reason, cx);
                }
                Blame::Run | Blame::SetUp | Blame::Message => self.run_failed(&reason, cx),
            },
        }
    }

    pub(super) fn saved(
        &mut self,
        op: OpId,
        result: Result<(), Reason>,
        cx: &mut StepContext<Effect>,
    ) {
        let then = match &self.phase {
            Phase::Saving {
                op: current, then, ..
            } if *current == op => then.clone(),
            // The outcome of a save that was given up: stale.
            Phase::Saving { .. }
            | Phase::NotRun
            | Phase::Running { .. }
            | Phase::Ready
            | Phase::Delay { .. }
            | Phase::Cleaning { .. }
            | Phase::Ended { .. } => return,
        };
        match (result, then) {
            (Ok(()), AfterSave::Continue) => self.succeeded(cx),
            (Ok(()), AfterSave::Clean(ending)) => self.clean(ending, cx),
            (Ok(()), AfterSave::End(ending)) => self.end(ending, cx),
            (Err(reason), AfterSave::Continue) => self.failed(&unsaved(&reason), cx),
            // The changes of the last run are lost, so this is no clean end.
            (Err(reason), AfterSave::Clean(_)) => {
                self.clean(Ending::new(EndKind::Crashed, unsaved(&reason)), cx);
            }
            (Err(reason), AfterSave::End(_)) => {
                self.end(Ending::new(EndKind::Crashed, unsaved(&reason)), cx);
            }
        }
    }

    pub(super) fn cleanup_ended(
        &mut self,
        op: OpId,
        result: Result<bool, Reason>,
        cx: &mut StepContext<Effect>,
    ) {
        let ending = match &self.phase {
            Phase::Cleaning {
                op: current,
                ending,
                ..
            } if *current == op => ending.clone(),
            // The outcome of a cleanup that was given up: stale.
            Phase::Cleaning { .. }
            | Phase::NotRun
            | Phase::Running { .. }
            | Phase::Saving { .. }
            | Phase::Ready
            | Phase::Delay { .. }
            | Phase::Ended { .. } => return,
        };
        match result {
            Ok(true) => self.save(AfterSave::End(ending), cx),
            Ok(false) => self.end(ending, cx),
            Err(reason) => {
                cx.emit(Effect::Note(Note::CleanupFailed { reason }));
                self.end(ending, cx);
            }
        }
    }

    pub(super) fn deadline_passed(&mut self, op: OpId, cx: &mut StepContext<Effect>) {
        match &self.phase {
            Phase::Running {
                op: current, asked, ..
            } if *current == op => {
                let asked = asked.clone();
                cx.emit(Effect::Abort { op });
                match asked {
                    Some(ending) => self.clean(ending, cx),
                    None => {
                        let limit_ms = self.policy.run_timeout_ms;
                        self.run_failed(&late("the run", limit_ms), cx);
                    }
                }
            }
            Phase::Saving {
                op: current, then, ..
            } if *current == op => {
                let then = then.clone();
                cx.emit(Effect::Abort { op });
                let limit_ms = self.policy.save_timeout_ms;
                let reason = late("saving the context", limit_ms);
                let ending = Ending::new(EndKind::Crashed, reason);
                match then {
                    AfterSave::Continue | AfterSave::Clean(_) => self.clean(ending, cx),
                    AfterSave::End(_) => self.end(ending, cx),
                }
            }
            Phase::Cleaning {
                op: current,
                ending,
                ..
            } if *current == op => {
                let ending = ending.clone();
                cx.emit(Effect::Abort { op });
                let reason = late("the cleanup", self.policy.cleanup_timeout_ms);
                cx.emit(Effect::Note(Note::CleanupFailed { reason }));
                self.end(ending, cx);
            }
            // The deadline of an operation that has ended: stale.
            Phase::Running { .. }
            | Phase::Saving { .. }
            | Phase::Cleaning { .. }
            | Phase::NotRun
            | Phase::Ready
            | Phase::Delay { .. }
            | Phase::Ended { .. } => {}
        }
    }

    pub(super) fn retry_due(&mut self, cx: &mut StepContext<Effect>) {
        match self.phase {
            Phase::Delay { .. } => self.run(RunKind::Recover, cx),
            // The delay was cut short by an end: stale.
            Phase::NotRun
            | Phase::Running { .. }
            | Phase::Saving { .. }
            | Phase::Ready
            | Phase::Cleaning { .. }
            | Phase::Ended { .. } => {}
        }
    }
}
