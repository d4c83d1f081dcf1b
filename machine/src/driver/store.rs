//! Making a record durable while the rest of the machine stays responsive.

use alloc::boxed::Box;
use core::{
    future::{Future, poll_fn},
    pin::pin,
    sync::atomic::Ordering,
    task::Poll,
    time::Duration,
};

use tokio::time::sleep;

use super::{
    CallError, Clock, Handler, Journal, JournalError,
    engine::{Engine, answer},
};
use crate::{Machine, RecordOf};

const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

/// How an attempt to make a record durable ended.
pub(super) enum Stored {
    Durable,
    /// Not stored, and the caller is to be told.
    Refused(JournalError),
    /// The loop is to stop; the record may or may not be stored.
    Stopping,
}

impl<M, H, J, C> Engine<M, H, J, C>
where
    M: Machine + 'static,
    M::State: Send,
    M::Event: Send + Sync,
    M::Effect: Send + Sync,
    H: Handler<M>,
    J: Journal<M>,
    C: Clock,
{
    /// Makes `record` durable. A caller is told of the first failure; what nobody waits for is
    /// tried until it is stored, and commands that come meanwhile get the journal's error.
    pub(super) async fn store(&mut self, record: &RecordOf<M>, caller_waits: bool) -> Stored {
        let mut back_off = FIRST_BACK_OFF;
        loop {
            match self.append(record).await {
                Some(Ok(())) => return Stored::Durable,
                Some(Err(error)) if caller_waits => return Stored::Refused(error),
                Some(Err(error)) => {
                    if !self.wait_out(back_off, &error).await {
                        return Stored::Stopping;
                    }
                }
                None => return Stored::Stopping,
            }
            back_off = (back_off * 2).min(LONGEST_BACK_OFF);
        }
    }

    /// One attempt. `None` when the loop is to stop.
    async fn append(&mut self, record: &RecordOf<M>) -> Option<Result<(), JournalError>> {
        let Self {
            journal,
            runner,
            handler,
            outcome,
            shared,
            runner_woken,
            ..
        } = self;
        // The wake-ups of a running effect end in this wait too.
        *runner_woken = true;
        let mut append = pin!(journal.append(record));
        poll_fn(|cx| {
            if let Poll::Ready(result) = append.as_mut().poll(cx) {
                return Poll::Ready(Some(result));
            }
            if outcome.is_none() {
                *outcome = runner.poll(handler, cx).map(Box::new);
            }
            shared.park(&mut shared.lock(), cx.waker());
            if shared.stop_asked.load(Ordering::Acquire) {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    }

    /// Waits before the next attempt, telling every caller why. False when the loop is to stop.
    async fn wait_out(&mut self, back_off: Duration, error: &JournalError) -> bool {
        let mut timer = pin!(sleep(back_off));
        poll_fn(|cx| {
            if self.outcome.is_none() {
                self.outcome = self.runner.poll(&self.handler, cx).map(Box::new);
            }
            self.shared.park(&mut self.shared.lock(), cx.waker());
            self.refuse_callers(error);
            if self.shared.stop_asked.load(Ordering::Acquire) {
                return Poll::Ready(false);
            }
            timer.as_mut().poll(cx).map(|()| true)
        })
        .await
    }

    fn refuse_callers(&mut self, error: &JournalError) {
        let refuse = |queued: &mut super::shared::Queued<M>| {
            let waits = queued.reply.is_some();
            if waits {
                answer::<M>(queued.reply.take(), Err(CallError::Journal(error.clone())));
            }
            !waits
        };
        self.batch.retain_mut(refuse);
        self.shared.lock().mailbox.retain_mut(refuse);
    }
}
