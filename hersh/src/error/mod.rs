//! What a managed function may fail with, and why a start or a hook was refused.
//!
//! ```text
//! control, hook error, any other error ──?──► Error ──► RunReturn (data, for the engine)
//! ```

mod control;
mod hook;
mod returned;
mod start;

use std::fmt;

pub use control::Control;
pub use hook::{
    CONTEXT_KEY_LIMIT, CONTEXT_LIMIT_BYTES, EFFECT_LIMIT, EFFECT_LIMIT_BYTES, EFFECT_NAME_LIMIT,
    EFFECT_TOTAL_LIMIT_BYTES, HookError, INTERVAL_MAX, INTERVAL_MIN, KEY_LIMIT, KEY_LIMIT_BYTES,
    KEY_REPLIES_LIMIT_BYTES, MEMO_LIMIT, NAME_LIMIT_BYTES, REPLY_LIMIT_BYTES, WATCH_LIMIT,
};
pub(crate) use hook::{check_key, check_name};
pub(crate) use returned::RunReturn;
pub use start::StartError;

/// What a managed function returns.
pub type Result<T = ()> = std::result::Result<T, Error>;

/// Why a run did not succeed: any error, made by `?`.
///
/// This type does not implement [`std::error::Error`] itself: that is what lets `?` take every type
/// that does.
pub struct Error {
    inner: Box<dyn std::error::Error + Send + Sync>,
}

/// The longest chain of causes that a search follows.
const CHAIN_LIMIT: usize = 64;

impl Error {
    /// Returns an error that is only a sentence.
    #[must_use]
    pub fn msg(sentence: impl Into<String>) -> Self {
        Self {
            inner: sentence.into().into(),
        }
    }

    /// Wraps an error that is boxed already, such as one from another error library.
    #[must_use]
    pub fn from_boxed(inner: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self { inner }
    }

    /// Returns the control value in this error, however deep it is.
    #[must_use]
    pub fn control(&self) -> Option<&Control> {
        self.find()
    }

    /// Returns the hook error in this error, however deep it is.
    #[must_use]
    pub fn hook(&self) -> Option<&HookError> {
        self.find()
    }

    fn find<T: std::error::Error + 'static>(&self) -> Option<&T> {
        self.chain().find_map(|error| error.downcast_ref())
    }

    fn chain(&self) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
        let first: &(dyn std::error::Error + 'static) = self.inner.as_ref();
        std::iter::successors(Some(first), |error| error.source()).take(CHAIN_LIMIT)
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self {
            inner: Box::new(error),
        }
    }
}

/// Writes the sentence and, after colons, what caused the error.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = String::new();
        for (depth, error) in self.chain().enumerate() {
            let text = error.to_string();
            // Many errors repeat their source in their own sentence.
            if depth == 0 {
                f.write_str(&text)?;
            } else if !last.contains(&text) {
                write!(f, ": {text}")?;
            }
            last = text;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("while handling the order")]
    struct Wrapped(#[source] Control);

    #[test]
    fn wrapped_control_errors_are_seen() {
        let error = Error::from(Wrapped(Control::stop("sold out")));
        assert_eq!(error.control(), Some(&Control::stop("sold out")));
        assert_eq!(
            error.to_string(),
            "while handling the order: stop: sold out"
        );
    }

    #[test]
    fn a_boxed_error_keeps_its_control() {
        let error = Error::from_boxed(Box::new(Wrapped(Control::kill("over"))));
        assert_eq!(error.control(), Some(&Control::kill("over")));
        assert_eq!(error.hook(), None);
    }

    #[test]
    fn a_sentence_is_an_error() {
        assert_eq!(Error::msg("no price yet").to_string(), "no price yet");
        assert_eq!(format!("{:?}", Error::msg("x")), "x");
    }
}
