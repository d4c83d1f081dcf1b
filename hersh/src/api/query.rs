//! Queries, read strictly: an unknown parameter is refused, not ignored.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};

use super::reply::Failure;

/// Longest part of a query that an error repeats, characters.
const SHOWN_CHARS: usize = 50;

/// The extractor of requests that take no query.
pub(super) struct NoQuery;

impl<S: Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        pairs(&parts.uri, &[]).map(|_| Self)
    }
}

/// Returns the parameters of a query, each of `allowed` at most once.
///
/// # Errors
/// 400 for any other parameter, and for one that is given twice.
pub(super) fn pairs(uri: &Uri, allowed: &[&str]) -> Result<Vec<(String, String)>, Failure> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|error| bad(error.to_string()))?;
    for (index, (key, _)) in pairs.iter().enumerate() {
        if !allowed.contains(&key.as_str()) {
            let key = shown(key);
            return Err(bad(match allowed {
                [] => format!("the query has {key}: this path takes no query"),
                _ => format!("the query has {key}: give only {}", allowed.join(", ")),
            }));
        }
        if pairs[..index].iter().any(|(earlier, _)| earlier == key) {
            let key = shown(key);
            return Err(bad(format!("the query has {key} twice: give it once")));
        }
    }
    Ok(pairs)
}

/// Returns a failure with status 400 and its sentence.
pub(super) fn bad(text: String) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, text)
}

/// Returns a text of the client's, quoted and short.
pub(super) fn shown(text: &str) -> String {
    let short: String = text.chars().take(SHOWN_CHARS).collect();
    format!("{short:?}")
}
