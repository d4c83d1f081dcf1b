//! Why a program failed.

use serde::{Deserialize, Serialize};

/// Why a program is in `Error`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CauseView {
    /// Stable code, such as `build_failed`.
    pub code: String,
    /// The cause, in one sentence.
    pub message: String,
    /// The last lines that were printed, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<String>,
}
