//! The known reasons why this reader takes what hyper does not.

use super::{Difference, End, Kind};

/// The most bytes that hyper takes of all extensions of a body's chunks together.
const EXTENSIONS_BYTES_MAX: usize = 16 * 1024;

/// A reason why this reader takes what hyper refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownDifference {
    /// Hyper bounds the extensions of all chunks of a body together. This reader bounds each line and keeps
    /// no extension, so a long stream may sign each of its chunks.
    Extensions,
}

impl KnownDifference {
    /// All known reasons.
    pub const ALL: [Self; 1] = [Self::Extensions];

    /// Returns the reason for a difference about `answer`, if it is known.
    pub(super) fn of(difference: &Difference, answer: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|known| known.explains(difference, answer))
    }

    fn explains(self, difference: &Difference, answer: &[u8]) -> bool {
        let Difference { kind, ours, hyper } = difference;
        match self {
            Self::Extensions => {
                let beside_body = answer.len() - ours.body.len();
                let is_refused = *kind != Kind::Head && hyper.end == End::Broken;
                is_refused
                    && ours.body.starts_with(&hyper.body)
                    && beside_body > EXTENSIONS_BYTES_MAX
                    && answer.contains(&b';')
            }
        }
    }
}
