//! How long the user of a connection to a program waits, and what ends the wait early.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use hersh_base::{deadline::Deadline, right::CHECK_INTERVAL};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The wait of one connection's user, set anew for each thing that is waited for.
pub(super) struct Wait {
    /// The time at which the wait ends, or the next look whether it may go on is due.
    deadline: Deadline,
    /// The time at which the wait ends, if a look is due before that.
    late_at: Option<Instant>,
    /// A future that resolves when the instance is not the program's any more.
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// Why a program is waited for no longer.
pub(super) enum WaitEnd {
    /// The instance is not the program's any more.
    Ended,
    /// The time for the wait is over.
    Late,
}

impl Wait {
    pub(super) fn new(time: Duration, ended: CancellationToken) -> Self {
        Self {
            deadline: Deadline::after(time),
            late_at: None,
            ended: Box::pin(ended.cancelled_owned()),
        }
    }

    /// Begins a wait that lasts as long as `time`, without looks.
    pub(super) fn set(&mut self, time: Duration) {
        self.deadline.set(time);
        self.late_at = None;
    }

    /// Begins a wait that lasts as long as `time`, with a look every [`CHECK_INTERVAL`]. The looks cost no
    /// further timer: the timer that is there goes off earlier.
    pub(super) fn set_with_looks(&mut self, time: Duration) {
        let now = Instant::now();
        self.look_until(now, now + time);
    }

    fn look_until(&mut self, now: Instant, late_at: Instant) {
        let look_at = now + CHECK_INTERVAL;
        self.deadline.set_at(look_at.min(late_at));
        self.late_at = (look_at < late_at).then_some(late_at);
    }

    /// Returns why the program is waited for no longer, once that is so.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<WaitEnd> {
        if self.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(WaitEnd::Ended);
        }
        self.deadline.poll(cx).map(|()| WaitEnd::Late)
    }

    /// Does as [`Self::poll`], and calls `may_go_on` at each look. Returns `None` when that returned false.
    pub(super) fn poll_looking(
        &mut self,
        may_go_on: impl Fn() -> bool,
        cx: &mut Context<'_>,
    ) -> Poll<Option<WaitEnd>> {
        loop {
            match (ready!(self.poll(cx)), self.late_at) {
                (WaitEnd::Late, Some(_)) if !may_go_on() => return Poll::Ready(None),
                (WaitEnd::Late, Some(late_at)) => self.look_until(Instant::now(), late_at),
                (why, _) => return Poll::Ready(Some(why)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_is_looked_at_and_lasts_as_long_as_it_may() {
        let start = Instant::now();
        let mut wait = Wait::new(SECOND, CancellationToken::new());
        for (seconds, seen_looks) in [(12, 2), (5, 0), (60, 11)] {
            let looks = Cell::new(0);
            let began = start.elapsed();
            wait.set_with_looks(seconds * SECOND);
            let look = || {
                looks.set(looks.get() + 1);
                true
            };
            let why = poll_fn(|cx| wait.poll_looking(look, cx)).await;
            assert!(matches!(why, Some(WaitEnd::Late)));
            assert_eq!(start.elapsed() - began, seconds * SECOND);
            assert_eq!(looks.get(), seen_looks, "{seconds} s");
        }
        wait.set_with_looks(12 * SECOND);
        let why = poll_fn(|cx| wait.poll_looking(|| false, cx)).await;
        assert!(why.is_none());
    }
}
