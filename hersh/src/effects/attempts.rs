//! Brings one effect to its end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use super::act::{Act, CallEnd};
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
    /// How long one attempt may take.
    pub(super) timeout: Duration,
    /// Whether an attempt that failed is made again.
    pub(super) again: bool,
    /// When it is tried no more, if ever.
    pub(super) until: Option<Instant>,
    /// True when an earlier life of the watcher may have acted on it.
    pub(super) may_have_acted: bool,
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

/// Acts until there is an outcome. `rest` waits between two attempts.
pub(super) async fn settle(act: &Act, task: &Task, rest: impl AsyncFn(Duration)) -> Settlement {
    let mut attempts = 0;
    let earlier = "the watcher ended in the middle".to_owned();
    let mut lost = task.may_have_acted.then_some(earlier);
    let mut pause = FIRST_PAUSE;
    loop {
        attempts += 1;
        // A destructor that panics when a call is dropped must not take the task with it: nobody would ever hear
        // of the effect.
        let attempt = AssertUnwindSafe(attempt(act, task)).catch_unwind().await;
        let last = match attempt.unwrap_or_else(|panic| Attempt::Lost(panic_text(&*panic))) {
            Attempt::Done(output) => {
                let result = SettledResult::Done(output);
                return Settlement { attempts, result };
            }
            Attempt::Unkept(text) => {
                let result = SettledResult::Unknown(kept(&text));
                return Settlement { attempts, result };
            }
            Attempt::Refused(text) => text,
            Attempt::Lost(text) => {
                lost = Some(text.clone());
                text
            }
        };
        let is_over = |until: Instant| Instant::now() + pause >= until;
        if !task.again || task.until.is_some_and(is_over) {
            let result = match lost {
                // An attempt that was lost may have acted, whatever the ones after it said.
                Some(reason) => SettledResult::Unknown(kept(&reason)),
                None => SettledResult::Failed(kept(&last)),
            };
            return Settlement { attempts, result };
        }
        rest(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

async fn attempt(act: &Act, task: &Task) -> Attempt {
    // Reading the input and making the future run a user's code too.
    let call = match act.call(task.id, &task.input) {
        Ok(call) => call,
        Err(error) => return Attempt::Refused(error),
    };
    let limit = task.timeout;
    match timeout(limit, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(CallEnd::Done(output))) => Attempt::Done(output),
        Ok(Ok(CallEnd::Refused(text))) => Attempt::Refused(text),
        Ok(Ok(CallEnd::Unkept(text))) => Attempt::Unkept(text),
        Ok(Err(panic)) => Attempt::Lost(panic_text(&*panic)),
        Err(_) => Attempt::Lost(format!("no answer within {limit:?}")),
    }
}

/// Returns a text as far as it is kept.
fn kept(text: &str) -> Arc<str> {
    let mut end = text.len().min(ERROR_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].into()
}
