//! What an effect promises, and how it is tried.

use std::time::Duration;

/// What the effects of one name promise, and how they are tried.
///
/// ```
/// use std::time::Duration;
///
/// use hersh::Policy;
///
/// // Tried again for half a minute; the other side must know the ids.
/// let orders = Policy::at_least_once().within(Duration::from_secs(30)).at_once(4);
/// // Tried once; after a crash nobody knows, and the outcome says so.
/// let mails = Policy::at_most_once().timeout(Duration::from_secs(10));
/// # assert_ne!(orders, mails);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Policy {
    pub(crate) promise: Promise,
    /// How long after it was asked for an effect is tried again.
    pub(crate) within: Option<Duration>,
    /// How long one attempt may take.
    pub(crate) timeout: Duration,
    /// How many effects are acted on at a time.
    pub(crate) at_once: usize,
}

/// Most effects of a name that are acted on at a time.
const AT_ONCE_MAX: usize = 1_000;

/// How many times an effect is acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Once or more: an attempt that failed, or has no known end, is made again.
    AtLeastOnce,
    /// Once or never: no attempt is made again.
    AtMostOnce,
}

impl Policy {
    /// Returns the policy for the other sides that know the id of an effect as an idempotency key, or that
    /// don't mind being asked twice. An attempt that fails, takes too long or is cut off by a crash is made
    /// again with the same id, after 100 ms, then twice as long each time, up to a minute, until one succeeds.
    pub fn at_least_once() -> Self {
        Self {
            promise: Promise::AtLeastOnce,
            within: None,
            timeout: Duration::from_secs(30),
            at_once: 16,
        }
    }

    /// Returns the policy for what must never happen twice, where the other side knows no ids. It is noted on
    /// disk before the one attempt. When that has no known end, because it took too long or the watcher ended
    /// in the middle, the outcome is [`Outcome::Unknown`](crate::Outcome::Unknown): look at the other side. What an
    /// earlier release asked for at least once, and may have acted on, is unknown too.
    ///
    /// It holds as far as the disk does: where a folder can't be synced, which the log tells, a power cut may undo
    /// the note.
    pub fn at_most_once() -> Self {
        Self {
            promise: Promise::AtMostOnce,
            ..Self::at_least_once()
        }
    }

    /// Sets how long after it was asked for an effect is tried again. One attempt is made in any case. Default:
    /// as long as it takes. It says nothing about [`Policy::at_most_once`], which never tries again.
    pub fn within(mut self, time: Duration) -> Self {
        self.within = Some(time);
        self
    }

    /// Sets how long one attempt may take; a longer one is dropped. Default 30 s, at least 1 ms.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// Sets how many effects of the name are acted on at a time. Default 16, at least 1, at most 1,000. One that
    /// waits for its next attempt does not count.
    pub fn at_once(mut self, effects: usize) -> Self {
        self.at_once = effects.clamp(1, AT_ONCE_MAX);
        self
    }
}
