//! Checks values of a manifest against their bounds, and makes the error for a value outside of them.

use hersh_wire as wire;

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;
pub(crate) const TIB: u64 = 1 << 40;

/// A manifest that can't be used: the key, its value, and the rule that the value breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value} can't be used: {rule}")]
pub struct ManifestError {
    /// The key as it stands in `hersh.toml`, such as `resources.memory`.
    pub key: String,
    /// The value that the key has.
    pub value: String,
    /// The rule for values of the key.
    pub rule: String,
}

/// Returns the time that was asked for, or `usual_ms`, milliseconds. Refuses a time outside of the bounds.
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

/// Returns the size that was asked for, or `usual`, bytes. Refuses a size outside of the bounds.
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

/// Returns the value that was asked for, or `usual`. Refuses a value outside of the bounds.
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
