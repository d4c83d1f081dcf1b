//! A point in time to wait for that is put off often and reached rarely.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// A timer that stays set when its time is put off, and is set anew only if it goes off early.
#[derive(Debug)]
pub struct Deadline {
    at: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Deadline {
    /// A deadline that is `time` from now.
    pub fn after(time: Duration) -> Self {
        let timer = Box::pin(sleep(time));
        let at = timer.deadline();
        Self { at, timer }
    }

    /// Sets it to `time` from now.
    pub fn set(&mut self, time: Duration) {
        self.set_at(Instant::now() + time);
    }

    /// Sets it to that point in time.
    pub fn set_at(&mut self, at: Instant) {
        self.at = at;
        if self.timer.deadline() > self.at {
            self.timer.as_mut().reset(self.at);
        }
    }

    /// Is ready once the time that was set last has come.
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
