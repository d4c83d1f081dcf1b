//! The values that properties hold.

use std::fmt;

use hersh_program::{NetworkMode, ProgramId};
use hersh_wire::ByteSize;
use serde::{Deserialize, Serialize};

/// The kernel that answers a program's system calls. The serialized names stay as they are, since older
/// receipts hold them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kernel {
    /// The kernel of gVisor.
    #[default]
    #[serde(rename = "runsc")]
    Gvisor,
    /// The kernel of the machine: for development of Hersh itself on machines without gVisor.
    #[serde(rename = "runc-for-development")]
    Machine,
}

/// Whether something can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Read only.
    ReadOnly,
    /// Read and written.
    Writable,
}

/// A folder or file from outside that an instance sees.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Folder {
    /// The absolute path at which the instance sees the folder.
    pub target: String,
    /// The origin of the folder.
    pub source: Source,
    /// Whether the instance can write there.
    pub access: Access,
}

/// The origin of a folder from outside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The state folder of this program.
    StateOf(ProgramId),
    /// The host's probe, which looks at the kernel from inside the sandbox.
    Tools,
    /// Anything else of the machine. Its path is left out, since a program's owner must not learn it.
    Foreign,
}

/// A folder in memory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemoryFolder {
    /// The absolute path of the folder.
    pub target: String,
    /// The most bytes that the folder may hold; 0 if there is no bound.
    pub size_bytes: u64,
    /// Whether the folder can be written.
    pub access: Access,
    /// Whether no file in the folder can be executed, be a device, or give the rights of another user.
    pub inert: bool,
}

/// What an image holds at the places where folders are mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountPoints {
    /// Folders, or nothing: each mount lies where it was asked for.
    Free,
    /// Something that leads a mount to another place, in words.
    Obstructed(String),
}

/// The networks that an instance reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkReach {
    /// Exactly what this network mode promises.
    Mode(NetworkMode),
    /// Networks that no mode promises, sorted.
    Foreign(Vec<String>),
}

/// The servers that answer name lookups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameServers {
    /// No server answers.
    Nobody,
    /// The name servers of the machine.
    OfMachine,
    /// Other name servers, sorted.
    Others(Vec<String>),
}

/// The kind of an instance's first process, from which all others descend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstProcess {
    /// An init process of the runtime, which passes signals on and waits for orphans.
    Init,
    /// The program's own process.
    Program,
}

/// The largest amount of something that there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// At most this amount.
    AtMost(u64),
    /// Any amount.
    Unbounded,
}

/// Returns the name of a network mode, as manifests write it.
#[must_use]
pub const fn network_name(mode: NetworkMode) -> &'static str {
    match mode {
        NetworkMode::Internal => "internal",
        NetworkMode::None => "none",
        NetworkMode::Egress => "egress",
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOnly => "read-only",
            Self::Writable => "writable",
        })
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.source {
            Source::StateOf(_) => "the program's state",
            Source::Tools => "the host's probe",
            Source::Foreign => "something else of the machine",
        };
        write!(f, "{} ({source}, {})", self.target, self.access)
    }
}

impl fmt::Display for MemoryFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = Bound::of(self.size_bytes);
        let inert = if self.inert { "" } else { ", not inert" };
        write!(f, "{} ({size}, {}{inert})", self.target, self.access)
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(0) => f.write_str("none"),
            Self::AtMost(bytes) => f.write_str(&String::from(ByteSize(*bytes))),
            Self::Unbounded => f.write_str("unbounded"),
        }
    }
}

impl Bound {
    /// Returns a bound of `amount`. An `amount` of 0 means that there is no bound, as many runtimes write
    /// it.
    #[must_use]
    pub const fn of(amount: u64) -> Self {
        match amount {
            0 => Self::Unbounded,
            amount => Self::AtMost(amount),
        }
    }
}

pub(super) fn cores(millis: u32) -> String {
    match millis {
        0 => "unbounded".to_owned(),
        1_000 => "1 core".to_owned(),
        millis => format!("{} cores", f64::from(millis) / 1_000.0),
    }
}

pub(super) fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>, between: &str) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.is_empty() {
        true => "none".to_owned(),
        false => items.join(between),
    }
}
