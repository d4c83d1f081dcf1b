//! What properties are about.

use std::fmt;

use hersh_program::{NetworkMode, ProgramId};
use hersh_wire::ByteSize;
use serde::{Deserialize, Serialize};

/// The kernel that answers a program's system calls. The written names are those of older receipts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kernel {
    /// gVisor's.
    #[default]
    #[serde(rename = "runsc")]
    Gvisor,
    /// The machine's: for development of Hersh itself on machines without gVisor.
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

/// Something from outside that an instance sees.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Folder {
    /// Where it sees it; absolute.
    pub target: String,
    /// What it is.
    pub source: Source,
    /// Whether it can write there.
    pub access: Access,
}

/// What an instance sees of outside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The state folder of that program.
    StateOf(ProgramId),
    /// What the host brings along to look from inside.
    Tools,
    /// Anything else. Where that lies is not told: it is nothing to a program's owner.
    Foreign,
}

/// A folder in memory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemoryFolder {
    /// Where; absolute.
    pub target: String,
    /// At most this much, bytes; 0 if that is not bounded.
    pub size_bytes: u64,
    /// Whether it can be written.
    pub access: Access,
    /// Whether nothing in it can be executed, be a device, or give another user's rights.
    pub inert: bool,
}

/// What an image has where something is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountPoints {
    /// Folders, or nothing: each mount is where it is asked to be.
    Free,
    /// Something that leads a mount elsewhere.
    Obstructed(String),
}

/// What an instance reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What the mode promises.
    Mode(NetworkMode),
    /// Networks that no mode promises, sorted.
    Foreign(Vec<String>),
}

/// Who answers questions for names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameServers {
    /// Nobody.
    Nobody,
    /// Those of the machine.
    OfMachine,
    /// Others.
    Others(Vec<String>),
}

/// The process that stands above all others of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstProcess {
    /// An init of the runtime's, which hands signals on and waits for orphans.
    Init,
    /// The program's own.
    Program,
}

/// How much of something there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// At most so much.
    AtMost(u64),
    /// Any amount.
    Unbounded,
}

/// The name of a network mode, as manifests write it.
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
    /// At most `amount`, which many runtimes write as 0 if there is no bound.
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
