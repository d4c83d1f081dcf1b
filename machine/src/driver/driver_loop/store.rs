//! Storing of records: it makes a record durable while the rest of the state machine stays responsive.

use alloc::boxed::Box;
use core::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::sleep;

use super::{
    super::{
        CallError, Clock, Handler, Journal, JournalError, Right, SendMachine,
        shared::{QueuedEvent, Reply},
    },
    DriverLoop,
};
use crate::{Machine, Step};

const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

type Attempt<M, J> = Pin<Box<dyn Future<Output = StoreResult<M, J>> + Send>>;

/// A journal that is idle, or that is storing a step.
pub(super) struct StepStore<M: Machine, J> {
    journal: Option<J>,
    busy: Option<Attempt<M, J>>,
    /// The last error and the next back-off, from a failure until the next success.
    failing: Option<Box<(JournalError, Duration)>>,
}

/// The end of an attempt to store a step.
struct StoreResult<M: Machine, J> {
    journal: J,
    step: Step<M>,
    reply: Option<Reply<M>>,
    result: Result<(), JournalError>,
}

impl<M: Machine, J> StepStore<M, J> {
    pub(super) fn idle(journal: J) -> Self {
        Self {
            journal: Some(journal),
            busy: None,
            failing: None,
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy.is_some()
    }
}

impl<M, J> StepStore<M, J>
where
    M: SendMachine,
    J: Journal<M>,
{
    /// Begins to store a step. No other step may be in storing.
    pub(super) fn begin(&mut self, step: Step<M>, reply: Option<Reply<M>>, right: Option<Right>) {
        if let Some(journal) = self.journal.take() {
            self.busy = Some(store(journal, step, reply, right, None));
        }
    }
}

fn store<M, J>(
    mut journal: J,
    step: Step<M>,
    reply: Option<Reply<M>>,
    right: Option<Right>,
    delay: Option<Duration>,
) -> Attempt<M, J>
where
    M: SendMachine,
    J: Journal<M>,
{
    Box::pin(async move {
        if let Some(delay) = delay {
            sleep(delay).await;
        }
        let result = journal.append_by(&step.record, right.as_ref()).await;
        StoreResult {
            journal,
            step,
            reply,
            result,
        }
    })
}

impl<M, H, J, C> DriverLoop<M, H, J, C>
where
    M: SendMachine,
    H: Handler<M>,
    J: Journal<M>,
    C: Clock,
{
    /// Goes on storing. A caller is told of the first failure. An event without a caller is tried until it is
    /// stored; meanwhile commands are answered with the journal's error. Returns false when there is nothing
    /// to do until something wakes the task.
    pub(super) fn poll_storing(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(busy) = &mut self.storing.busy else {
            return true;
        };
        match busy.as_mut().poll(cx) {
            Poll::Ready(stored) => {
                self.storing.busy = None;
                self.time.read();
                self.stored(stored);
                true
            }
            Poll::Pending => {
                // A wake-up of the running effect can end this wait too, so poll the effect here.
                if self.outcome.is_none() && self.runner_woken {
                    self.outcome = self.poll_runner(cx).map(Box::new);
                }
                // Park first: a caller that comes after `fetch_or_park` has looked wakes the task again. In the
                // other order, a caller that comes in between would wait for its error.
                let again = self.fetch_or_park(cx);
                self.refuse_callers();
                again
            }
        }
    }

    fn stored(&mut self, stored: StoreResult<M, J>) {
        let StoreResult {
            mut journal,
            step,
            reply,
            result,
        } = stored;
        match (result, reply) {
            (Ok(()), reply) => {
                let record = self.stepper.commit(step);
                journal.stored(self.stepper.state());
                self.storing = StepStore::idle(journal);
                self.complete(record, reply);
            }
            (Err(error), Some(reply)) => {
                self.storing.journal = Some(journal);
                // If the caller has gone away, nobody needs the answer.
                drop(reply.send(Err(CallError::Journal(error))));
            }
            (Err(error), None) => {
                let last = self.storing.failing.take();
                let delay = last.map_or(FIRST_BACK_OFF, |failing| {
                    (failing.1 * 2).min(LONGEST_BACK_OFF)
                });
                self.storing.failing = Some(Box::new((error, delay)));
                self.storing.busy = Some(store(journal, step, None, None, Some(delay)));
            }
        }
    }

    /// Answers every waiting caller with the journal's error, while the journal fails.
    fn refuse_callers(&mut self) {
        let Some(failing) = &self.storing.failing else {
            return;
        };
        let keep = |queued: &mut QueuedEvent<M>| {
            let reply = queued.reply.take();
            let waits = reply.is_some();
            if let Some(reply) = reply {
                drop(reply.send(Err(CallError::Journal(failing.0.clone()))));
            }
            !waits
        };
        self.batch.retain_mut(keep);
        self.shared.lock().mailbox.retain_mut(keep);
    }
}
