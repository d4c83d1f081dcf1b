//! Tells what a change does to the space on the disk, which decides whether the change is let in while
//! there is little space.

use axum::http::Method;
use hersh_journal::WritePurpose;

use crate::disks::{DiskFullError, Disks};

/// The effect of a change on the space on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Footprint {
    /// The change frees space or ends something, so it is always let in.
    Frees,
    /// The change is the business of a running program; the host only writes down that somebody asked.
    Passes,
    /// The change takes space, or leads to something that does.
    Takes,
}

impl Footprint {
    /// Returns the footprint of `method` on the route `path`. Anything that is not known here takes space.
    pub(super) fn of(method: &Method, path: &str) -> Self {
        if path.split('/').any(|part| part == "watcher") {
            Self::Passes
        } else if *method == Method::DELETE || path.ends_with("/stop") {
            Self::Frees
        } else {
            Self::Takes
        }
    }

    /// Checks whether there is space for the change.
    ///
    /// # Errors
    /// [`DiskFullError`] when the change takes space and there is too little.
    pub(super) fn check(self, disks: &Disks) -> Result<(), DiskFullError> {
        match self {
            Self::Frees | Self::Passes => Ok(()),
            Self::Takes => disks.check_last(),
        }
    }

    /// Returns the purpose for which the journal writes the change's row in the audit log.
    pub(super) fn purpose(self) -> WritePurpose {
        match self {
            Self::Frees => WritePurpose::Freeing,
            Self::Passes | Self::Takes => WritePurpose::Ordinary,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_something_is_let_in_always() {
        for (method, path, expected) in [
            (Method::DELETE, "/programs/{id}", Footprint::Frees),
            (Method::DELETE, "/tokens/{token}", Footprint::Frees),
            (Method::POST, "/programs/{id}/stop", Footprint::Frees),
            (Method::POST, "/programs/{id}/start", Footprint::Takes),
            (Method::POST, "/programs", Footprint::Takes),
            (Method::PUT, "/programs/{id}/source", Footprint::Takes),
            (Method::POST, "/tokens", Footprint::Takes),
            (Method::PATCH, "/users/{user}", Footprint::Takes),
            (
                Method::DELETE,
                "/programs/{id}/watcher/{*path}",
                Footprint::Passes,
            ),
        ] {
            assert_eq!(Footprint::of(&method, path), expected, "{method} {path}");
        }
    }
}
