//! A deadline that is often put off and rarely reached.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// A deadline with a timer behind it. When the deadline is put off, the timer stays as it is. It is set
/// anew only once it has gone off too early.
#[derive(Debug)]
pub struct Deadline {
    at: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Deadline {
    /// Returns a deadline that is `time` from now.
    pub fn after(time: Duration) -> Self {
        let timer = Box::pin(sleep(time));
        let at = timer.deadline();
        Self { at, timer }
    }

    /// Sets the deadline to `time` from now.
    pub fn set(&mut self, time: Duration) {
        self.set_at(Instant::now() + time);
    }

    /// Sets the deadline to `at`.
    pub fn set_at(&mut self, at: Instant) {
        self.at = at;
        if self.timer.deadline() > self.at {
            self.timer.as_mut().reset(self.at);
        }
    }

    /// Returns `Ready` once the time that was set last has come.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.timer.deadline() >= self.at {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_goes_off_at_the_last_time_that_was_set() {
        let start = Instant::now();
        let mut deadline = Deadline::after(2 * SECOND);
        for (set_s, seen_s) in [(5, 5), (1, 6), (30, 36)] {
            deadline.set(set_s * SECOND);
            poll_fn(|cx| deadline.poll(cx)).await;
            assert_eq!(start.elapsed(), seen_s * SECOND);
        }
    }
}
