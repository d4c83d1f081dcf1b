//! Brings one effect to its end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep, timeout};

use super::act::{Act, Returned};
use super::policy::{Policy, Promise};
use crate::EffectId;
use crate::base::panics::panic_text;
use crate::store::{SettledResult, Settlement};

/// The first pause between two attempts. Each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two attempts.
const LAST_PAUSE: Duration = Duration::from_secs(60);
/// The longest text of an error that is kept, bytes.
const ERROR_BYTES: usize = 4 * 1024;

/// An effect that is to be acted on.
pub(super) struct Task {
    pub(super) id: EffectId,
    pub(super) input: Arc<str>,
    /// When it is given up, if ever.
    pub(super) until: Option<Instant>,
    /// True when an earlier life of the watcher may have acted on it.
    pub(super) inherited: bool,
}

/// How one attempt ended.
enum Attempt {
    Done(Arc<str>),
    /// It returned an error.
    Refused(String),
    /// Nobody knows what it did.
    Lost(String),
    /// It succeeded, and there is nothing to show for it.
    Unkept(String),
}

/// Acts until there is an outcome.
///
/// # Errors
/// The input is none of the function's; nothing was done.
pub(super) async fn settle(act: &Act, task: &Task, policy: &Policy) -> Result<Settlement, String> {
    let mut attempts = 0;
    let mut lost = task
        .inherited
        .then(|| "the watcher ended in the middle".to_owned());
    let mut pause = FIRST_PAUSE;
    loop {
        attempts += 1;
        let last = match attempt(act, task, policy.timeout).await? {
            Attempt::Done(output) => {
                let result = SettledResult::Done(output);
                return Ok(Settlement { attempts, result });
            }
            Attempt::Unkept(text) => {
                let result = SettledResult::Unknown(kept(&text));
                return Ok(Settlement { attempts, result });
            }
            Attempt::Refused(text) => text,
            Attempt::Lost(text) => {
                lost = Some(text.clone());
                text
            }
        };
        let again = match policy.promise {
            Promise::AtMostOnce => false,
            Promise::AtLeastOnce => task
                .until
                .is_none_or(|until| Instant::now() + pause < until),
        };
        if !again {
            let result = match lost {
                // An attempt that was lost may have acted, whatever the ones after it said.
                Some(reason) => SettledResult::Unknown(kept(&reason)),
                None => SettledResult::Failed(kept(&last)),
            };
            return Ok(Settlement { attempts, result });
        }
        sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

async fn attempt(act: &Act, task: &Task, limit: Duration) -> Result<Attempt, String> {
    // Reading the input and making the future run a user's code too.
    let call = catch_unwind(AssertUnwindSafe(|| act.call(task.id, &task.input)));
    let call = match call {
        Ok(call) => call?,
        Err(panic) => return Ok(Attempt::Lost(panic_text(&*panic))),
    };
    let ended = timeout(limit, AssertUnwindSafe(call).catch_unwind()).await;
    Ok(match ended {
        Ok(Ok(Returned::Done(output))) => Attempt::Done(output),
        Ok(Ok(Returned::Refused(text))) => Attempt::Refused(text),
        Ok(Ok(Returned::Unkept(text))) => Attempt::Unkept(text),
        Ok(Err(panic)) => Attempt::Lost(panic_text(&*panic)),
        Err(_) => Attempt::Lost(format!("no answer within {limit:?}")),
    })
}

/// Returns a text as far as it is kept.
fn kept(text: &str) -> Arc<str> {
    let mut end = text.len().min(ERROR_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].into()
}
