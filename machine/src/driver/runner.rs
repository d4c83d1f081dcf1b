//! Runs the effects of one state machine, one at a time, in order.

use alloc::{boxed::Box, collections::VecDeque, sync::Arc};
use core::{
    any::Any,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    string::String,
    vec::Vec,
};

use tokio::time::{Sleep, sleep};

use super::{
    Handler, Recovery, SendMachine,
    cancel::{Cancel, CancelCell},
};
use crate::{Machine, OpId, OpenOperation};

/// A running effect. The handler moves into the future and comes back with the outcome: state machines that
/// share a handler then do not contend for its reference count.
type Outcome<M, H> = Pin<Box<dyn Future<Output = (Arc<H>, Option<<M as Machine>::Event>)> + Send>>;

enum Job<M: Machine> {
    Run(OpId, M::Effect),
    Recover(OpenOperation<M::Effect>),
}

struct RunningEffect<M: Machine, H> {
    op: OpId,
    future: Outcome<M, H>,
    /// The time at which the future is given up; set when the operation is cancelled.
    give_up: Option<Pin<Box<Sleep>>>,
}

pub(super) struct Runner<M: Machine, H> {
    queue: VecDeque<Job<M>>,
    running: Option<RunningEffect<M, H>>,
    cell: Option<Arc<CancelCell>>,
    handler: Arc<H>,
    spare: Option<Arc<H>>,
}

impl<M, H> Runner<M, H>
where
    M: SendMachine,
    H: Handler<M>,
{
    /// Returns a runner that first asks the handler what became of the operations in `open`.
    pub(super) fn new(handler: Arc<H>, open: Vec<OpenOperation<M::Effect>>) -> Self {
        Self {
            queue: open.into_iter().map(Job::Recover).collect(),
            running: None,
            cell: None,
            handler,
            spare: None,
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn push(&mut self, op: OpId, effect: M::Effect) {
        if self.running.is_none() && self.queue.is_empty() {
            self.running = Some(self.begin(Job::Run(op, effect)));
        } else {
            self.queue.push_back(Job::Run(op, effect));
        }
    }

    /// Drops `op` if it waits. If `op` runs, tells it and gives it `grace` to end.
    pub(super) fn cancel(&mut self, op: OpId, grace: Duration) {
        if let Some(running) = self.running.as_mut().filter(|running| running.op == op) {
            if running.give_up.is_none() {
                running.give_up = Some(Box::pin(sleep(grace)));
                if let Some(cell) = &self.cell {
                    cell.cancel(op);
                }
            }
        } else {
            self.queue.retain(|job| job.op() != op);
        }
    }

    /// Frees what only a busy runner needs.
    pub(super) fn shrink(&mut self) {
        if self.queue.is_empty() && self.queue.capacity() > 0 {
            self.queue = VecDeque::new();
        }
    }

    /// Polls the running effect, and begins the next ones, until one has an outcome or none can go on.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Option<M::Event> {
        loop {
            let mut running = match self.running.take() {
                Some(running) => running,
                None => {
                    let job = self.queue.pop_front()?;
                    self.begin(job)
                }
            };
            let op = running.op;
            match catch_unwind(AssertUnwindSafe(|| running.future.as_mut().poll(cx))) {
                Ok(Poll::Pending) => {
                    let given_up = running
                        .give_up
                        .as_mut()
                        .is_some_and(|give_up| give_up.as_mut().poll(cx).is_ready());
                    if !given_up {
                        self.running = Some(running);
                        return None;
                    }
                    running.end();
                }
                Ok(Poll::Ready((handler, outcome))) => {
                    self.spare = Some(handler);
                    if running.end() && outcome.is_some() {
                        return outcome;
                    }
                }
                Err(panic) => {
                    if running.end() {
                        return Some(self.handler.panicked(op, message_of(&*panic)));
                    }
                }
            }
        }
    }

    fn begin(&mut self, job: Job<M>) -> RunningEffect<M, H> {
        let op = job.op();
        let cancel = CancelCell::token(self.cell.get_or_insert_default(), op);
        let handler = self.spare.take();
        let handler = handler.unwrap_or_else(|| Arc::clone(&self.handler));
        let future: Outcome<M, H> = match job {
            Job::Run(op, effect) => Box::pin(async move {
                let outcome = handler.run(op, effect, cancel).await;
                (handler, outcome)
            }),
            Job::Recover(open) => Box::pin(async move {
                let outcome = recover(&*handler, open, cancel).await;
                (handler, outcome)
            }),
        };
        RunningEffect {
            op,
            future,
            give_up: None,
        }
    }
}

impl<M: Machine> Job<M> {
    fn op(&self) -> OpId {
        match self {
            Self::Run(op, _) => *op,
            Self::Recover(open) => open.op,
        }
    }
}

impl<M: Machine, H> RunningEffect<M, H> {
    /// Drops the future. Returns whether its outcome counts: not when it was cancelled.
    fn end(self) -> bool {
        let Self {
            future, give_up, ..
        } = self;
        // A panic while dropping is a defect of the handler. It must not end the state machine; the outcome of
        // the future is known already.
        drop(catch_unwind(AssertUnwindSafe(|| drop(future))));
        give_up.is_none()
    }
}

async fn recover<M: Machine, H: Handler<M>>(
    handler: &H,
    open: OpenOperation<M::Effect>,
    cancel: Cancel,
) -> Option<M::Event> {
    let OpenOperation {
        op,
        effect,
        issued_at_ms,
    } = open;
    match handler.recover(op, &effect, issued_at_ms).await {
        Recovery::Ended(event) => Some(event),
        // The operation was cancelled while the handler was asked about it, so it is not run again.
        Recovery::Rerun if cancel.is_cancelled() => None,
        Recovery::Rerun => handler.run(op, effect, cancel).await,
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| String::from(*text)))
        .unwrap_or_else(|| String::from("a panic without a message"))
}
