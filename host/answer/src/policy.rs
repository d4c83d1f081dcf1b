//! What becomes of a header: whoever reads answers decides.

use http::header::HeaderName;

/// A header that the client may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passing {
    /// One whose value passes as it is, under this name.
    AsItIs(HeaderName),
    /// One whose value says where something is, as the program sees it.
    Reference(HeaderName),
}

/// Says which headers of an answer the client may see.
pub trait Policy {
    /// What the header of this name, in whatever case, is to the client; `None` drops it.
    fn passing(&self, name: &str) -> Option<Passing>;
}

/// A policy by which no header passes.
#[cfg(test)]
pub(crate) struct Nothing;

#[cfg(test)]
impl Policy for Nothing {
    fn passing(&self, _: &str) -> Option<Passing> {
        None
    }
}
