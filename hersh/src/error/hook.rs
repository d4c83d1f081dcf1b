//! Errors of hooks. Each names the hook, and the name or key that the hook was called with.

use std::time::Duration;

/// Most watched variables that one watcher may register.
pub const WATCH_LIMIT: usize = 1_000;
/// Most memoised values that one watcher may keep.
pub const MEMO_LIMIT: usize = 1_000;
/// Longest name of a variable, memo or key, bytes.
pub const NAME_LIMIT_BYTES: usize = 256;
/// Shortest interval of a timed hook.
pub const INTERVAL_MIN: Duration = Duration::from_millis(1);
/// Longest interval of a timed hook.
pub const INTERVAL_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// Most keys in the durable context.
pub const CONTEXT_KEY_LIMIT: usize = 1_000;
/// Most bytes that the durable context takes as JSON, keys included.
pub const CONTEXT_LIMIT_BYTES: usize = 4 * 1024 * 1024;
/// Most names of effects that one watcher may register.
pub const EFFECT_NAME_LIMIT: usize = 100;
/// Most effects that may be open: asked for, and their outcomes not taken in.
pub const EFFECT_LIMIT: usize = 10_000;
/// Longest input of an effect, and longest result, as JSON, bytes.
pub const EFFECT_LIMIT_BYTES: usize = 64 * 1024;
/// Most bytes of the inputs of all open effects together, with names and keys. When results of as many bytes wait
/// for their runs, nothing more is acted on until runs have taken some in.
pub const EFFECT_TOTAL_LIMIT_BYTES: usize = 64 * 1024 * 1024;
/// Longest idempotency key of a message, bytes.
pub const KEY_LIMIT_BYTES: usize = 128;
/// Most idempotency keys that are remembered, each for a day at most; the oldest are forgotten first.
pub const KEY_LIMIT: usize = 10_000;
/// Most bytes of the replies that are kept for senders who ask again under their keys; the oldest are forgotten
/// first.
pub const KEY_REPLIES_LIMIT_BYTES: usize = 4 * 1024 * 1024;
/// Longest reply to a message, as JSON, bytes.
pub const REPLY_LIMIT_BYTES: usize = 64 * 1024;

/// Why a hook did not do what it was called for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// The name of a variable or key is empty or too long.
    #[error("{hook}: the name {name:?} is not usable: give 1 to {NAME_LIMIT_BYTES} bytes")]
    Name {
        /// The hook.
        hook: &'static str,
        /// The name, cut to 80 characters.
        name: String,
    },
    /// The name is registered for another hook or another type.
    #[error("{hook}({name:?}): registered as {registered}, asked for as {asked}: use another name")]
    Clash {
        /// The hook.
        hook: &'static str,
        /// The name.
        name: String,
        /// What the name was registered as first.
        registered: String,
        /// What this call asks for.
        asked: String,
    },
    /// The watcher already has as many variables or memos as it may have.
    #[error("{hook}({name:?}): the limit of {limit} is reached: register fewer, or clear some")]
    Limit {
        /// The hook.
        hook: &'static str,
        /// The name.
        name: String,
        /// The limit.
        limit: usize,
    },
    /// The interval is zero, too short or too long.
    #[error(
        "{hook}({name:?}): an interval of {every:?} is not usable: \
         give {INTERVAL_MIN:?} to {INTERVAL_MAX:?}"
    )]
    Interval {
        /// The hook.
        hook: &'static str,
        /// The name.
        name: String,
        /// The interval that was asked for.
        every: Duration,
    },
    /// A crontab expression is none, or has no due time.
    #[error(
        "every({name:?}): {cron:?} is no rhythm: {message}; write minute, hour, day of the month, month, day of \
         the week and a time zone, such as \"30 9 * * MON-FRI America/New_York\""
    )]
    Cron {
        /// The name of the timer.
        name: String,
        /// The expression, cut to 80 characters.
        cron: String,
        /// What is wrong with it.
        message: String,
    },
    /// The key is one of the library's own.
    #[error(
        "{hook}: keys that begin with {OWN_KEYS:?} are the library's own: use another than {key:?}"
    )]
    OwnKey {
        /// The hook.
        hook: &'static str,
        /// The key, cut to 80 characters.
        key: String,
    },
    /// Variables and effects are registered, and effects asked for, in a run only, not in the cleanup.
    #[error("{hook}({name:?}): this is done in a run, not in the cleanup")]
    OutsideRun {
        /// The hook.
        hook: &'static str,
        /// The name.
        name: String,
    },
    /// A replayed journal holds something for this variable that is no value of its type.
    #[error("{hook}({name:?}): the recorded value is no {asked}: {message}")]
    Recorded {
        /// The hook.
        hook: &'static str,
        /// The name.
        name: String,
        /// The type asked for.
        asked: &'static str,
        /// The message of the decoder.
        message: String,
    },
    /// The stored value is not of the type asked for.
    #[error("{hook}({key:?}): the stored value is no {asked}: {message}")]
    ContextType {
        /// The hook.
        hook: &'static str,
        /// The key.
        key: String,
        /// The type asked for.
        asked: &'static str,
        /// The message of the decoder.
        message: String,
    },
    /// The new value cannot be written as JSON.
    #[error("{hook}({key:?}): the value cannot be stored as JSON: {message}")]
    ContextEncode {
        /// The hook.
        hook: &'static str,
        /// The key.
        key: String,
        /// The message of the encoder.
        message: String,
    },
    /// The context would grow past its limits.
    #[error(
        "{hook}({key:?}): the context would have {keys} keys and {bytes} bytes, \
         the limits are {CONTEXT_KEY_LIMIT} and {CONTEXT_LIMIT_BYTES}: store less"
    )]
    ContextFull {
        /// The hook.
        hook: &'static str,
        /// The key.
        key: String,
        /// The number of keys that the context would have.
        keys: usize,
        /// The number of bytes that the context would have.
        bytes: usize,
    },
    /// The input of an effect cannot be written as JSON, or is too long.
    #[error("{hook}({name:?}): its input cannot be kept: {message}")]
    EffectInput {
        /// The hook.
        hook: &'static str,
        /// The name of the effect.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// More effects would be open than may be.
    #[error(
        "{hook}({name:?}): {open} effects with {bytes} bytes would be open, the limits are \
         {EFFECT_LIMIT} and {EFFECT_TOTAL_LIMIT_BYTES}: ask for less at a time"
    )]
    EffectsFull {
        /// The hook.
        hook: &'static str,
        /// The name of the effect.
        name: String,
        /// The number of effects that would be open.
        open: usize,
        /// The number of bytes that their inputs would have.
        bytes: usize,
    },
    /// The input or the result of a settled effect is not of the type asked for.
    #[error("{hook}({name:?}): the {part} of effect {id} is no {asked}: {message}")]
    EffectType {
        /// The hook.
        hook: &'static str,
        /// The name of the effect.
        name: String,
        /// The id of the effect.
        id: String,
        /// `input` or `result`.
        part: &'static str,
        /// The type asked for.
        asked: &'static str,
        /// The message of the decoder.
        message: String,
    },
    /// The message of the run cannot be read as the type that was asked for.
    #[error("message_as: the message is no {asked}: {message}")]
    MessageType {
        /// The type that was asked for.
        asked: &'static str,
        /// What is wrong, and where.
        message: String,
    },
    /// There is nothing to reply to.
    #[error("reply: this run has no message: reply only where message() returns one")]
    NoMessage,
    /// The reply cannot be kept.
    #[error(
        "reply: the value cannot be given to whoever waits: {problem}; give JSON of at most {REPLY_LIMIT_BYTES} bytes"
    )]
    Reply {
        /// What is wrong.
        problem: String,
    },
}

impl HookError {
    /// Returns true for the errors of setting a variable up. No retry mends them, so in the first
    /// run they crash the watcher at once.
    pub(crate) fn is_set_up(&self) -> bool {
        match self {
            Self::Name { .. }
            | Self::Clash { .. }
            | Self::Limit { .. }
            | Self::Interval { .. }
            | Self::Cron { .. }
            | Self::OwnKey { .. }
            | Self::Recorded { .. }
            | Self::OutsideRun { .. } => true,
            Self::ContextType { .. }
            | Self::ContextEncode { .. }
            | Self::ContextFull { .. }
            | Self::EffectInput { .. }
            | Self::EffectsFull { .. }
            | Self::EffectType { .. }
            | Self::MessageType { .. }
            | Self::NoMessage
            | Self::Reply { .. } => false,
        }
    }
}

impl HookError {
    /// Returns true for an error of the run's message, which no other run mends.
    pub(crate) fn is_of_message(&self) -> bool {
        matches!(self, Self::MessageType { .. })
    }
}

/// What the library's own keys in the context begin with.
const OWN_KEYS: &str = "hersh:";

/// Refuses a key that is the library's own.
pub(crate) fn check_key(hook: &'static str, key: &str) -> Result<(), HookError> {
    if key.starts_with(OWN_KEYS) {
        return Err(HookError::OwnKey {
            hook,
            key: key.chars().take(80).collect(),
        });
    }
    Ok(())
}

/// Refuses a name that is empty or too long.
pub(crate) fn check_name(hook: &'static str, name: &str) -> Result<(), HookError> {
    if name.is_empty() || name.len() > NAME_LIMIT_BYTES {
        return Err(HookError::Name {
            hook,
            name: name.chars().take(80).collect(),
        });
    }
    Ok(())
}
