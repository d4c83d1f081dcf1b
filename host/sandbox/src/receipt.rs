//! The receipt, which a start leaves behind as evidence.

use hersh_base::sandbox::StateBound;
use hersh_program::{ContainerId, ImageId, InstanceNumber, ProgramId};
use serde::{Deserialize, Serialize};

use super::{ContractProofs, Kernel};

/// Evidence of one start: what runs, and what was verified about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The program that was started.
    pub program: ProgramId,
    /// The number of the instance that was started.
    #[serde(default)]
    pub instance: InstanceNumber,
    /// The container that was verified.
    pub container: ContainerId,
    /// The image's content digest.
    pub image: ImageId,
    /// The kernel that was asked for.
    #[serde(rename = "mode")]
    pub asked_kernel: Kernel,
    /// The first line that names the kernel as seen from inside.
    pub kernel: String,
    /// Each contract, with the values that were seen.
    pub contracts: Vec<ContractProofs>,
    /// What bounds `/state`; `None` where it is in memory, and in receipts of older hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateBound>,
    /// The time at which the receipt was made, milliseconds since the Unix epoch.
    pub made_at_ms: u64,
}
