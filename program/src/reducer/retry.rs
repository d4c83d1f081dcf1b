//! The part of a program that is about its failures: whether and when it is tried again.

use alloc::sync::Arc;

use hersh_machine::StepContext;

use super::facts::{Facts, after};
use crate::{Cause, Effect, Failed, RestartPolicy, Retry, Rules, State, recovery, recovery::Fault};

impl Facts<'_> {
    /// Forgets earlier failures, because a person gave a command.
    pub(super) fn forget_attempts(&mut self) {
        self.0.attempts = 0;
        self.0.waits = 0;
    }

    /// Counts a start that nobody asked for.
    pub(super) fn count_restart(&mut self, now_ms: u64) {
        match self.0.rules {
            Rules::First => {}
            Rules::Second => self.0.restarts.count(now_ms),
        }
    }

    /// Forgets the waits for causes outside of the program, because it came up.
    pub(super) fn came_up(&mut self) {
        self.0.waits = 0;
    }

    /// Forgets earlier attempts if the execution from `since_ms` to `now_ms` was long enough.
    pub(super) fn ran_since(&mut self, since_ms: u64, now_ms: u64) {
        if now_ms.saturating_sub(since_ms) >= recovery::RESET_AFTER_MS {
            self.0.attempts = 0;
        }
    }

    /// Goes to Error, with a retry if `policy` and the cause allow it.
    pub(super) fn fail(
        &mut self,
        cause: Arc<Cause>,
        policy: RestartPolicy,
        cx: &mut StepContext<Effect>,
    ) -> State {
        let retry = self.retry(&[&cause], policy, cx);
        State::Error(Failed {
            cause,
            retry,
            not_stopped: None,
        })
    }

    /// Goes to Error for `cause` while something may still run. There is a retry only if both causes allow
    /// it.
    pub(super) fn fail_running(
        &mut self,
        cause: Arc<Cause>,
        not_stopped: Arc<Cause>,
        cx: &mut StepContext<Effect>,
    ) -> State {
        let retry = self.retry(&[&cause, &not_stopped], self.policy(), cx);
        State::Error(Failed {
            cause,
            retry,
            not_stopped: Some(not_stopped),
        })
    }

    fn retry(
        &mut self,
        causes: &[&Cause],
        policy: RestartPolicy,
        cx: &mut StepContext<Effect>,
    ) -> Option<Retry> {
        // A failure with two causes is as hard to mend as the harder one.
        let faults = causes.iter().map(|cause| self.fault(policy, cause));
        let fault = faults
            .max()
            .filter(|fault| self.is_retried(policy, *fault))?;
        let after_ms = match (self.0.rules, fault) {
            (Rules::Second, Fault::Outside) => {
                let waits = self.0.waits;
                // A build costs other builds their turn, and a name that is wrong is never right.
                let after_ms = match causes {
                    [Cause::RegistryUnavailable { .. }] => {
                        recovery::back_off_ms(self.0.seed, waits)
                    }
                    _several => recovery::outside_back_off_ms(self.0.seed, waits),
                };
                self.0.waits = self.0.waits.saturating_add(1);
                after_ms
            }
            (Rules::First | Rules::Second, Fault::Outside | Fault::Program | Fault::Deployed) => {
                let after_ms = recovery::back_off_ms(self.0.seed, self.0.attempts);
                self.0.attempts = self.0.attempts.saturating_add(1);
                after_ms
            }
        };
        let due_ms = after(cx.now_ms(), after_ms);
        Some(Retry {
            op: cx.emit(Effect::ScheduleRetry { after_ms, due_ms }),
            due_ms,
        })
    }

    fn fault(&self, policy: RestartPolicy, cause: &Cause) -> Fault {
        let is_build = matches!(
            cause,
            Cause::BuildFailed { .. } | Cause::BuildTimedOut { .. }
        );
        match self.0.rules {
            Rules::First => recovery::first_rules_fault(policy, cause),
            // It was built before, so what keeps it from being built again may pass.
            Rules::Second if is_build && self.has_run_well() => Fault::Program,
            Rules::Second => recovery::fault(policy, cause),
        }
    }

    fn is_retried(&self, policy: RestartPolicy, fault: Fault) -> bool {
        let attempts = self.0.attempts;
        match self.0.rules {
            Rules::First => {
                let most = recovery::FIRST_RULES_ATTEMPTS;
                recovery::retries(policy, Some(most), attempts, fault)
            }
            Rules::Second => {
                let most = self.start_manifest().give_up_after;
                recovery::retries(policy, most, attempts, fault)
            }
        }
    }

    /// Goes to Error without a retry: the program waits for a person.
    pub(super) fn stay_failed(&self, cause: Arc<Cause>) -> State {
        State::Error(Failed {
            cause,
            retry: None,
            not_stopped: None,
        })
    }
}
