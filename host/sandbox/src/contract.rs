//! The contracts that every program keeps, by name.

use serde::{Deserialize, Serialize};

/// One promise about every program that runs. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contract {
    /// The program runs on gVisor's kernel, not on the machine's.
    Gvisor,
    /// The program's root file system can't be written.
    ReadOnlyRoot,
    /// `/state` is the only folder whose content stays, if any does.
    OneWritableVolume,
    /// Nothing of the program is reachable from outside the machine.
    NoPublishedPort,
    /// The program reaches what its network mode says and nothing else.
    Network,
    /// The program has no capabilities, no new privileges, no devices, and nothing shared with the machine.
    /// In a user namespace that it makes itself, a program has all capabilities over what it makes there, in
    /// gVisor's kernel, and none over the sandbox that it was given.
    Privileges,
    /// Memory, processor, processes, temporary space and logs are bounded.
    Limits,
}

impl Contract {
    /// Every contract, in the order in which they are checked.
    pub const ALL: [Self; 7] = [
        Self::Gvisor,
        Self::ReadOnlyRoot,
        Self::OneWritableVolume,
        Self::NoPublishedPort,
        Self::Network,
        Self::Privileges,
        Self::Limits,
    ];

    /// The stable name, as receipts, causes and the API show it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gvisor => "gvisor",
            Self::ReadOnlyRoot => "read-only-root",
            Self::OneWritableVolume => "one-writable-volume",
            Self::NoPublishedPort => "no-published-port",
            Self::Network => "network",
            Self::Privileges => "privileges",
            Self::Limits => "limits",
        }
    }
}

impl core::fmt::Display for Contract {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// A contract that is not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("contract {contract}: found {found}, asked {asked}")]
pub struct Violation {
    /// The contract that is not kept.
    pub contract: Contract,
    /// What was found.
    pub found: String,
    /// What the contract asks for.
    pub asked: String,
}
