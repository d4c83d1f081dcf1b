//! The HTTP library's timer for heads of requests, of which a connection waits for one at a time.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hersh_base::{deadline::Deadline, locked::locked};
use hyper::rt::{Sleep, Timer};

/// The timer of one connection. All its sleeps are one [`Deadline`], since a timer of its own for
/// each request costs more than to read the request.
#[derive(Clone, Debug)]
pub(crate) struct HeadTimer(Arc<Mutex<Deadline>>);

impl HeadTimer {
    pub(crate) fn new(first: Duration) -> Self {
        Self(Arc::new(Mutex::new(Deadline::after(first))))
    }

    fn deadline(&self) -> MutexGuard<'_, Deadline> {
        locked(&self.0)
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.deadline().set_at(deadline.into());
        Box::pin(HeadSleep(self.clone()))
    }

    fn now(&self) -> Instant {
        // The tokio runtime's clock, which tests stop.
        tokio::time::Instant::now().into()
    }
}

struct HeadSleep(HeadTimer);

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.deadline().poll(cx)
    }
}

impl Sleep for HeadSleep {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sleep_ends_when_it_should_however_often_one_was_given_up() {
        let second = Duration::from_secs(1);
        let timer = HeadTimer::new(second);
        let start = timer.now();
        drop(timer.sleep(3 * second));
        drop(timer.sleep_until(start + 2 * second));
        timer.sleep(10 * second).await;
        assert_eq!(timer.now(), start + 10 * second);
    }
}
