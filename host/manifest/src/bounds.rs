//! Bounds of what a manifest may say, and what one is told that passes them.

use hersh_wire as wire;

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;
pub(crate) const TIB: u64 = 1 << 40;

/// A manifest that can't be used: the key, what it says, what it may say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value} can't be used: {rule}")]
pub struct ManifestError {
    /// The key as it stands in `hersh.toml`, such as `resources.memory`.
    pub key: String,
    /// What it was set to.
    pub value: String,
    /// What it may be.
    pub rule: String,
}

/// A time within its bounds, milliseconds.
pub(crate) fn span(
    key: &str,
    asked: Option<wire::Span>,
    usual_ms: u64,
    min_ms: u64,
    max_ms: u64,
) -> Result<u64, ManifestError> {
    let text = |ms| String::from(wire::Span(ms));
    let asked = asked.map(|span| span.0);
    within(key, asked, usual_ms, min_ms, max_ms).map_err(|error| ManifestError {
        value: text(asked.unwrap_or(usual_ms)),
        rule: format!("use {} to {}", text(min_ms), text(max_ms)),
        ..error
    })
}

/// A size within its bounds, bytes.
pub(crate) fn size(
    key: &str,
    asked: Option<wire::ByteSize>,
    usual: u64,
    min: u64,
    max: u64,
) -> Result<u64, ManifestError> {
    let text = |bytes| String::from(wire::ByteSize(bytes));
    within(key, asked.map(|size| size.0), usual, min, max).map_err(|error| ManifestError {
        value: text(asked.map_or(usual, |size| size.0)),
        rule: format!("use {} to {}", text(min), text(max)),
        ..error
    })
}

/// A value within its bounds.
pub(crate) fn within<T: PartialOrd + std::fmt::Display>(
    key: &str,
    asked: Option<T>,
    usual: T,
    min: T,
    max: T,
) -> Result<T, ManifestError> {
    let value = asked.unwrap_or(usual);
    if (&min..=&max).contains(&&value) {
        return Ok(value);
    }
    Err(ManifestError {
        key: key.into(),
        value: value.to_string(),
        rule: format!("use {min} to {max}"),
    })
}
