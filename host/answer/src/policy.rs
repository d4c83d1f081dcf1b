//! Says what becomes of a header. The caller of the reader decides it.

use http::header::HeaderName;

/// A header that the client may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VisibleHeader {
    /// A header whose value passes as it is, under this name.
    AsItIs(HeaderName),
    /// A header whose value says where something is, as the program sees it. It passes under this name.
    Url(HeaderName),
}

/// Says which headers of an answer the client may see.
pub trait Policy {
    /// Returns how the header called `name`, in any case, passes to the client; `None` drops it.
    fn passing(&self, name: &str) -> Option<VisibleHeader>;
}

/// A policy by which no header passes.
#[cfg(test)]
pub(crate) struct NoHeaders;

#[cfg(test)]
impl Policy for NoHeaders {
    fn passing(&self, _: &str) -> Option<VisibleHeader> {
        None
    }
}
