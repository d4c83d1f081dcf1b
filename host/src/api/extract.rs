//! Paths, queries and bodies, parsed into types at the door.

use std::time::Duration;

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::request::Parts,
};
use hersh_program::ProgramId;
use hersh_wire::{Code, Span};
use serde::{Deserialize, de::DeserializeOwned};

use super::problem::Failure;

/// The program that the path names.
pub(super) struct Id(pub(super) ProgramId);

/// The query, with unknown keys and bad values refused by name.
pub(super) struct Params<T>(pub(super) T);

/// `?wait=30s`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    wait: Option<Span>,
}

/// The longest that a request may hold for a program to settle.
const WAIT_MAX_MS: u64 = 60 * 60_000;

impl Wait {
    pub(super) fn duration(&self) -> Result<Option<Duration>, Failure> {
        match self.wait {
            Some(Span(ms)) if ms > WAIT_MAX_MS => Err(Failure::new(
                Code::BadRequest,
                "wait is longer than an hour; use at most 1h",
            )),
            Some(Span(ms)) => Ok(Some(Duration::from_millis(ms))),
            None => Ok(None),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Path(fields) = Path::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|error| Failure::new(Code::BadRequest, error.to_string()))?;
        let text = fields
            .iter()
            .find(|(name, _)| name == "id")
            .map_or("", |(_, id)| id);
        // An id that can't be is an id that is not there: one answer for both.
        ProgramId::parse(text)
            .map(Self)
            .map_err(|error| Failure::new(Code::NotFound, format!("no such program: {error}")))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        Query::<T>::from_request_parts(parts, state)
            .await
            .map(|Query(value)| Self(value))
            .map_err(|error| Failure::new(Code::BadRequest, error.body_text()))
    }
}
