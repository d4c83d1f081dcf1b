//! Runs the effects of one machine, one at a time, in order.

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
};

use tokio::time::{Sleep, sleep};

use super::{
    Handler, Recovery,
    cancel::{Cancel, CancelCell},
};
use crate::{Machine, OpId, OpenOp};

type Outcome<M> = Pin<Box<dyn Future<Output = Option<<M as Machine>::Event>> + Send>>;

enum Job<M: Machine> {
    Run(OpId, M::Effect),
    Recover(OpenOp<M::Effect>),
}

struct Running<M: Machine> {
    op: OpId,
    future: Outcome<M>,
    /// Set when the operation is cancelled: when the future is given up.
    give_up: Option<Pin<Box<Sleep>>>,
}

pub(super) struct Runner<M: Machine> {
    queue: VecDeque<Job<M>>,
    running: Option<Running<M>>,
    cell: Option<Arc<CancelCell>>,
}

impl<M> Runner<M>
where
    M: Machine + 'static,
    M::Event: Send,
    M::Effect: Send + Sync,
{
    /// A runner that first asks what became of `open`.
    pub(super) fn new(open: &[OpenOp<M::Effect>]) -> Self {
        Self {
            queue: open.iter().cloned().map(Job::Recover).collect(),
            running: None,
            cell: None,
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn push(&mut self, op: OpId, effect: M::Effect) {
        self.queue.push_back(Job::Run(op, effect));
    }

    /// Drops `op` if it waits; tells it if it runs, and gives it `grace` to end.
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

    /// Turns the running effect, and begins the next ones, until one has an outcome or none can
    /// go on.
    pub(super) fn poll<H: Handler<M>>(
        &mut self,
        handler: &Arc<H>,
        cx: &mut Context<'_>,
    ) -> Option<M::Event> {
        loop {
            let mut running = match self.running.take() {
                Some(running) => running,
                None => self.begin(handler)?,
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
                Ok(Poll::Ready(outcome)) => {
                    if running.end() && outcome.is_some() {
                        return outcome;
                    }
                }
                Err(panic) => {
                    if running.end() {
                        return Some(handler.panicked(op, message_of(&*panic)));
                    }
                }
            }
        }
    }

    fn begin<H: Handler<M>>(&mut self, handler: &Arc<H>) -> Option<Running<M>> {
        let job = self.queue.pop_front()?;
        let op = job.op();
        let cancel = CancelCell::token(self.cell.get_or_insert_default(), op);
        let handler = Arc::clone(handler);
        let future: Outcome<M> = match job {
            Job::Run(op, effect) => Box::pin(async move { handler.run(op, effect, cancel).await }),
            Job::Recover(open) => Box::pin(recover(handler, open, cancel)),
        };
        Some(Running {
            op,
            future,
            give_up: None,
        })
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

impl<M: Machine> Running<M> {
    /// Drops the future. True when its outcome counts.
    fn end(self) -> bool {
        let Self {
            future, give_up, ..
        } = self;
        // A panic while dropping is a defect of the handler that must not end the machine; what
        // the future had to report is known already.
        drop(catch_unwind(AssertUnwindSafe(|| drop(future))));
        give_up.is_none()
    }
}

async fn recover<M: Machine, H: Handler<M>>(
    handler: Arc<H>,
    open: OpenOp<M::Effect>,
    cancel: Cancel,
) -> Option<M::Event> {
    let OpenOp {
        op,
        effect,
        issued_at_ms,
    } = open;
    match handler.recover(op, &effect, issued_at_ms).await {
        Recovery::Ended(event) => Some(event),
        // Cancelled while it was being asked about: there is nothing to run any more.
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
