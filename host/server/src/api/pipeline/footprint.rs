//! What a change does to the room on the disk, and so whether it is let in while there is little.

use axum::http::Method;
use hersh_journal::Purpose;

use crate::space::{NoSpace, Space};

/// What a change does to the room on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Footprint {
    /// It frees room or ends something, so it is let in always.
    Frees,
    /// It is the business of a program that runs; the host only writes that somebody asked.
    Passes,
    /// It takes room, or leads to something that does.
    Takes,
}

impl Footprint {
    /// That of `method` on the route `path`. What is not known here takes room.
    pub(super) fn of(method: &Method, path: &str) -> Self {
        if path.split('/').any(|part| part == "watcher") {
            Self::Passes
        } else if *method == Method::DELETE || path.ends_with("/stop") {
            Self::Frees
        } else {
            Self::Takes
        }
    }

    /// Whether there is room for it.
    ///
    /// # Errors
    /// [`NoSpace`].
    pub(super) fn check(self, space: &Space) -> Result<(), NoSpace> {
        match self {
            Self::Frees | Self::Passes => Ok(()),
            Self::Takes => space.check_last(),
        }
    }

    /// What its row in the audit log is for.
    pub(super) fn purpose(self) -> Purpose {
        match self {
            Self::Frees => Purpose::Freeing,
            Self::Passes | Self::Takes => Purpose::Ordinary,
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
