//! The table `[deploy]` of a manifest.

use serde::{Deserialize, Serialize};

use crate::Span;

/// How a revision takes the place of the one that runs.
///
/// ```
/// use hersh_wire::{Deploy, DeployStrategy};
///
/// let asked: Deploy = toml::from_str("strategy = \"overlap\"\ndrain = \"10s\"")?;
/// assert_eq!(asked.strategy, Some(DeployStrategy::Overlap));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Deploy {
    /// The strategy; `replace` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<DeployStrategy>,
    /// How long requests may go on with the instance before, once the new one gets all others; 30 s if left out.
    /// Only with `overlap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Span>,
}

/// The strategies of a deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DeployStrategy {
    /// Stops the instance that runs, then starts the new one.
    Replace,
    /// Starts the new instance beside the one that runs, which is stopped once the new one is ready. `/state` is
    /// in memory then, and each instance has its own.
    Overlap,
}
