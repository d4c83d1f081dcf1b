//! Whether the engine goes on, judged from what its thread left.
//!
//! ```text
//! heartbeat, inbox, variables, journal ──look──► Health ──► turning, or stalled and why
//! ```
//! Idle is healthy, however long, and so is a run that awaits something within its time-out. What
//! is not: a thread that does not come back, and work that does not move.

use std::time::Duration;

use tokio::time::sleep;

use super::Shared;
use super::heartbeat::{Beat, Holder};
use crate::WatcherState;
use crate::base::sync::locked;

/// Longest that the engine's thread may go without a turn while there is something to do.
pub(crate) const TURN_LIMIT_MS: u64 = 10_000;
/// Longest that a run may go on after its time-out.
pub(crate) const LATE_LIMIT_MS: u64 = 5_000;
/// Longest that a save may be under way.
pub(crate) const SAVE_LIMIT_MS: u64 = 10_000;
/// How long after a look that found a stalled engine the next one follows. A process that was
/// frozen as a whole, as for a copy of its state, finds its clock far ahead when it goes on: its
/// engine needs a moment then.
const CHECK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// How the engine is at one moment. Times are engine time, milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    /// The state of the watcher.
    pub(crate) state: WatcherState,
    /// When the run began that is under way.
    pub(crate) run_since_ms: Option<u64>,
    /// When the last run ended.
    pub(crate) last_run_ms: Option<u64>,
    /// When the next tick, poll or retry is due.
    pub(crate) next_due_ms: Option<u64>,
    /// When the oldest save began that is under way, of the context or the journal.
    pub(crate) saving_since_ms: Option<u64>,
    /// Why the engine does not go on; `None` while it does.
    pub(crate) stall: Option<Stall>,
}

/// Why an engine does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stall {
    /// The watcher is over.
    Over,
    /// A run is past its time-out.
    LateRun,
    /// The thread has not come back from this.
    Held(Holder),
    /// A save does not end.
    Save,
    /// The thread should wait for what has come in or is due, and does not take it in.
    NotTakenIn,
}

/// What waits for the engine's thread. Engine time.
struct Waiting {
    /// Since when a message or a request to end waits of which the engine does not know.
    unanswered_since_ms: Option<u64>,
    /// When the first tick or poll of a source is due.
    source_due_ms: Option<u64>,
}

impl Shared {
    /// Returns how the engine is; looks twice before it calls an engine stalled.
    pub(crate) async fn health(&self) -> Health {
        let health = self.check_health();
        match health.stall {
            None | Some(Stall::Over) => health,
            Some(Stall::LateRun | Stall::Held(_) | Stall::Save | Stall::NotTakenIn) => {
                sleep(CHECK_AGAIN_AFTER).await;
                self.check_health()
            }
        }
    }

    fn check_health(&self) -> Health {
        // The clock is read first: what the engine leaves later is then younger, never older.
        self.health_at(self.clock.now_ms())
    }

    /// Returns how the engine is, given the time.
    pub(crate) fn health_at(&self, now_ms: u64) -> Health {
        let beat = self.heartbeat.read();
        let state = self.state();
        let waiting = Waiting {
            unanswered_since_ms: self.inbox.unanswered_since_ms(),
            source_due_ms: self.variables().iter().filter_map(|it| it.due_ms()).min(),
        };
        let saving_since_ms = beat
            .saving_since_ms
            .into_iter()
            .chain(self.journal_saving_since_ms());
        let mut health = Health {
            state,
            run_since_ms: run_since_ms(state, &beat),
            last_run_ms: self.log.last_ended_ms(),
            next_due_ms: None,
            saving_since_ms: saving_since_ms.min(),
            stall: None,
        };
        let retry_ms = beat.due_ms.filter(|_| health.waits_for_retry(&beat));
        health.next_due_ms = retry_ms.into_iter().chain(waiting.source_due_ms).min();
        health.stall = health.find_stall(&beat, &waiting, now_ms);
        health
    }

    /// Returns since when the journal is being written or synced.
    fn journal_saving_since_ms(&self) -> Option<u64> {
        let since = locked(self.journal.as_ref()?).saves.oldest();
        since.map(|since| self.clock.ms_at(since))
    }
}

impl Health {
    /// Returns true when what the engine wakes for by itself is a retry, not a time-out.
    fn waits_for_retry(&self, beat: &Beat) -> bool {
        let has_operation = self.run_since_ms.is_some() || beat.saving_since_ms.is_some();
        match self.state {
            WatcherState::InitRun | WatcherState::Ready | WatcherState::WaitRecover => {
                !has_operation
            }
            WatcherState::NotRun
            | WatcherState::Running
            | WatcherState::Stopping
            | WatcherState::Stopped
            | WatcherState::Killed
            | WatcherState::Crashed => false,
        }
    }

    /// Returns why the engine does not go on, if it does not.
    fn find_stall(&self, beat: &Beat, waiting: &Waiting, now_ms: u64) -> Option<Stall> {
        match self.state {
            WatcherState::Stopped | WatcherState::Killed | WatcherState::Crashed => {
                return Some(Stall::Over);
            }
            WatcherState::NotRun
            | WatcherState::InitRun
            | WatcherState::Ready
            | WatcherState::Running
            | WatcherState::WaitRecover
            | WatcherState::Stopping => {}
        }
        let is_past = |since: Option<u64>, limit_ms: u64| {
            since.is_some_and(|since| now_ms.saturating_sub(since) > limit_ms)
        };
        let late_ms = beat.run_timeout_ms.saturating_add(LATE_LIMIT_MS);
        if is_past(self.run_since_ms, late_ms) {
            return Some(Stall::LateRun);
        }
        if is_past(self.saving_since_ms, SAVE_LIMIT_MS) {
            return Some(Stall::Save);
        }
        match beat.busy {
            Some((since, holder)) => {
                is_past(Some(since), TURN_LIMIT_MS).then_some(Stall::Held(holder))
            }
            // The thread should have woken up for these. What holds it is neither a run nor a
            // source: a task that was spawned on it, perhaps. A busy thread takes its time for
            // them: what is due while runs follow each other waits for its turn.
            None => [
                waiting.unanswered_since_ms,
                waiting.source_due_ms,
                beat.due_ms,
            ]
            .into_iter()
            .any(|since| is_past(since, TURN_LIMIT_MS))
            .then_some(Stall::NotTakenIn),
        }
    }
}

/// Returns when the run began that is under way. A run that has not awaited anything yet began with
/// the present turn.
fn run_since_ms(state: WatcherState, beat: &Beat) -> Option<u64> {
    let has_turn = match (state, beat.busy) {
        (WatcherState::InitRun | WatcherState::Running, Some((since, Holder::Loop))) => Some(since),
        (_, _) => None,
    };
    let has_turn = has_turn.filter(|_| beat.saving_since_ms.is_none());
    beat.run_since_ms.or(has_turn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;
    use crate::inbox::{Inbox, Var};
    use crate::shared::Logbook;

    fn shared(state: WatcherState) -> Shared {
        let (clock, inbox) = (Clock::paused(0), Inbox::new(1));
        let shared = Shared::new("x".into(), clock, inbox, Logbook::new(None));
        shared.publish(state, 0, 0);
        shared.heartbeat.set_run_timeout(60_000);
        shared
    }

    /// Asserts that the engine goes on up to `last_ms`, and is stalled from then on.
    #[track_caller]
    fn assert_stalls(shared: &Shared, last_ms: u64, stall: Stall) {
        assert_eq!(shared.health_at(last_ms).stall, None);
        assert_eq!(shared.health_at(last_ms + 1).stall, Some(stall));
    }

    #[test]
    fn waiting_is_healthy_for_ever() {
        for state in [
            WatcherState::NotRun,
            WatcherState::InitRun,
            WatcherState::Ready,
        ] {
            let shared = shared(state);
            shared.heartbeat.begin_wait(None);
            assert_eq!(shared.health_at(u64::MAX / 4).stall, None);
        }
    }

    #[test]
    fn a_run_that_awaits_is_late_5_s_after_its_time_out() {
        let shared = shared(WatcherState::Running);
        shared.heartbeat.set_awaiting_run(Some(1_000));
        shared.heartbeat.begin_wait(Some(61_000));
        let health = shared.health_at(30_000);
        assert_eq!(health.run_since_ms, Some(1_000));
        assert_eq!(health.next_due_ms, None, "a time-out is nothing to expect");
        assert_stalls(&shared, 66_000, Stall::LateRun);
    }

    #[test]
    fn a_run_that_never_awaits_is_late_too() {
        let shared = shared(WatcherState::InitRun);
        shared.heartbeat.set_run_timeout(1_000);
        shared.heartbeat.begin_turn(100_000);
        assert_eq!(shared.health_at(100_000).run_since_ms, Some(100_000));
        assert_stalls(&shared, 106_000, Stall::LateRun);
    }

    #[test]
    fn who_holds_the_thread_for_10_s_is_told_apart() {
        for holder in [Holder::Loop, Holder::Source] {
            let shared = shared(WatcherState::Running);
            shared.heartbeat.set_awaiting_run(Some(1_000));
            shared.heartbeat.begin_wait(None);
            let held = shared.heartbeat.begin_poll(50_000, holder);
            assert_eq!(shared.health_at(50_000).run_since_ms, Some(1_000));
            assert_stalls(&shared, 60_000, Stall::Held(holder));
            drop(held);
            assert_eq!(shared.health_at(60_001).stall, None);
        }
    }

    #[test]
    fn a_source_takes_no_time_from_the_turn_that_it_is_part_of() {
        let shared = shared(WatcherState::Ready);
        shared.heartbeat.begin_turn(0);
        drop(shared.heartbeat.begin_poll(9_000, Holder::Source));
        assert_stalls(&shared, 10_000, Stall::Held(Holder::Loop));
        shared.heartbeat.begin_poll(20_000, Holder::Loop).keep();
        assert_stalls(&shared, 30_000, Stall::Held(Holder::Loop));
    }

    #[test]
    fn a_retry_is_expected_and_may_be_overdue_for_10_s() {
        let shared = shared(WatcherState::WaitRecover);
        shared.heartbeat.begin_wait(Some(5_000));
        assert_eq!(shared.health_at(0).next_due_ms, Some(5_000));
        assert_stalls(&shared, 15_000, Stall::NotTakenIn);
        // The thread woke up: what was due is of no concern any more.
        shared.heartbeat.begin_turn(60_000);
        assert_stalls(&shared, 70_000, Stall::Held(Holder::Loop));
    }

    #[test]
    fn a_tick_may_be_overdue_for_10_s_unless_runs_go_on() {
        let shared = shared(WatcherState::Ready);
        let var = Var::new("n".into(), std::sync::Arc::new(0_u8), shared.clock.wall());
        var.set_due(Some(30_000));
        shared.add_variable(var.into());
        shared.heartbeat.begin_wait(None);
        assert_eq!(shared.health_at(0).next_due_ms, Some(30_000));
        assert_stalls(&shared, 40_000, Stall::NotTakenIn);
        shared.heartbeat.begin_turn(90_000);
        assert_eq!(shared.health_at(90_000).stall, None);
    }

    #[test]
    fn what_came_in_may_wait_for_10_s() {
        let shared = shared(WatcherState::Ready);
        shared.heartbeat.begin_wait(None);
        shared.inbox.push_message("a".into(), 7_000).unwrap();
        assert_stalls(&shared, 17_000, Stall::NotTakenIn);
        shared.inbox.take_event().unwrap();
        assert_eq!(shared.health_at(17_001).stall, None);
        let ending = crate::Ending::new(crate::EndKind::Stopped, "enough");
        shared.inbox.request_end(ending, 20_000);
        assert_stalls(&shared, 30_000, Stall::NotTakenIn);
    }

    #[test]
    fn a_save_may_be_under_way_for_10_s() {
        let shared = shared(WatcherState::Running);
        shared.heartbeat.begin_turn(1_000);
        shared.heartbeat.set_saving(Some(1_000));
        shared.heartbeat.begin_wait(Some(31_000));
        let health = shared.health_at(1_000);
        assert_eq!(
            (health.saving_since_ms, health.run_since_ms),
            (Some(1_000), None)
        );
        assert_stalls(&shared, 11_000, Stall::Save);
    }
}
