//! How an operation (a run, a save, a cleanup) comes to its end while events go on reaching the
//! engine.
//!
//! ```text
//! poll ──ready──────────────────────────────► outcome
//!   └───pending──► poll, or take an event in ──► outcome, or aborted by the engine
//! ```

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::Poll;

use futures_util::FutureExt;
use hersh_machine::OpId;

use super::step_loop::StepLoop;
use crate::base::panics::panic_text;
use crate::shared::Holder;

/// Carries an operation to its end while taking in events. Returns `None` when the engine aborted
/// the operation; its future is dropped then. A panic becomes an error with the panic's text.
pub(crate) async fn drive_to_completion<T>(
    step_loop: &mut StepLoop,
    op: OpId,
    work: impl Future<Output = T>,
) -> Option<Result<T, String>> {
    let mut work = pin!(Some(AssertUnwindSafe(work).catch_unwind()));
    // Most runs end without ever waiting; those need no look at anything else.
    let at_once = poll_fn(|cx| {
        Poll::Ready(match work.as_mut().as_pin_mut() {
            Some(work) => work.poll(cx),
            None => Poll::Pending,
        })
    });
    let at_once = at_once.await;
    let result = match at_once {
        Poll::Ready(result) => Some(result.map_err(|panic| panic_text(&*panic))),
        Poll::Pending => {
            step_loop.show_awaiting_run();
            let result = wait(step_loop, op, work.as_mut()).await;
            step_loop.shared.heartbeat.set_awaiting_run(None);
            result
        }
    };
    // Values of the run may panic while they are dropped; that must not end the thread.
    let dropped = catch_unwind(AssertUnwindSafe(|| work.set(None)));
    // A request to end that came in during the last poll is taken in before the outcome.
    if let Some(event) = step_loop.shared.inbox.take_end() {
        step_loop.step(event);
    }
    match (result, dropped) {
        _ if step_loop.abort_of(op).is_some() => None,
        (Some(Ok(_)), Err(panic)) => Some(Err(panic_text(&*panic))),
        (result, _) => result,
    }
}

/// Waits for work that did not end at once. Returns `None` when the engine aborted it meanwhile.
async fn wait<T>(
    step_loop: &mut StepLoop,
    op: OpId,
    mut work: Pin<&mut Option<impl Future<Output = std::thread::Result<T>>>>,
) -> Option<Result<T, String>> {
    loop {
        let shared = &step_loop.shared;
        let running = poll_fn(|cx| {
            let Some(work) = work.as_mut().as_pin_mut() else {
                return Poll::Pending;
            };
            let held = shared.begin_poll(Holder::Loop);
            let polled = work.poll(cx);
            if polled.is_ready() {
                held.keep();
            }
            polled
        });
        tokio::select! {
            biased;
            result = running => {
                return Some(result.map_err(|panic| panic_text(&*panic)));
            }
            event = step_loop.next() => step_loop.step(event),
        }
        if step_loop.abort_of(op).is_some() {
            return None;
        }
    }
}
