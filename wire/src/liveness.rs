//! The table `[liveness]` of a manifest.

use serde::{Deserialize, Serialize};

use crate::Span;

/// How to tell that a program that is up still works, and what happens if it does not.
///
/// ```
/// use hersh_wire::{Liveness, LivenessKind};
///
/// let asked: Liveness = toml::from_str("kind = \"http\"\npath = \"/healthz\"\ninterval = \"30s\"")?;
/// assert_eq!(asked.kind, Some(LivenessKind::Http));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Liveness {
    /// The kind of probe. If left out: `http` where a path is given, `heartbeat` where the readiness probe asks
    /// for `/watcher/status`, and otherwise the kind of the readiness probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<LivenessKind>,
    /// Path of an `http` probe; that of the readiness probe if left out, or `/` where that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// From one probe to the next; 10 s if left out. After a probe that failed, the next one comes after a
    /// quarter of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
    /// How long one probe may take; 5 s if left out, and never longer than the interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// The number of probes in a row that have to fail; 3 if left out.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
    /// What happens then; `restart` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
}

/// The kinds of liveness probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum LivenessKind {
    /// The heartbeat of the `hersh` library, at `/watcher/health`.
    Heartbeat,
    /// A GET that answers with a 2xx status.
    Http,
    /// A port that accepts a connection.
    Tcp,
    /// No probe: only the end of the program is noticed.
    None,
}

/// What happens to a program that is up and does not work any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// It is stopped, and started again by its restart policy.
    Restart,
    /// It goes on, and its view says that it does not answer.
    Notify,
}
