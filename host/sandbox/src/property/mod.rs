//! Properties of how an instance is confined, in words that hold for every runtime.
//!
//! No word of a single runtime stands here. Only the runtime itself knows which option of an engine,
//! which field of a pod or which line of a configuration makes a property true.

mod values;

use std::{collections::BTreeSet, fmt};

use crate::Contract;

pub use values::{
    Access, Bound, FirstProcess, Folder, Kernel, MemoryFolder, MountPoints, NameServers,
    NetworkReach, Source, network_name,
};
use values::{cores, list};

/// One property of an instance: as it was found, or as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Property {
    /// The kernel that answers the instance's system calls; `None` if the kernel is not known.
    Kernel(Option<Kernel>),
    /// Whether the root file system can be written.
    RootFileSystem(Access),
    /// Folders and files from outside, sorted.
    Folders(Vec<Folder>),
    /// Folders in memory, sorted.
    MemoryFolders(Vec<MemoryFolder>),
    /// Whether the image leads a mount to another place, and if so, by what.
    MountPoints(MountPoints),
    /// Ports that others than the host can reach, sorted.
    PublishedPorts(Vec<String>),
    /// The networks that the instance reaches.
    Network(NetworkReach),
    /// The servers that answer the instance's name lookups.
    NameServers(NameServers),
    /// The user and group that the instance runs as, `uid:gid`.
    User(String),
    /// The capabilities that processes of the instance have.
    Capabilities(BTreeSet<String>),
    /// Whether a program in the instance can gain more rights than it started with.
    NewPrivileges(bool),
    /// Devices of the machine, sorted.
    Devices(Vec<String>),
    /// Namespaces that the instance shares with others, sorted.
    SharedNamespaces(Vec<String>),
    /// Who, other than the host, starts the instance again when it ends; `None` if nobody does.
    RestartedBy(Option<String>),
    /// The kind of the instance's first process.
    FirstProcess(FirstProcess),
    /// Settings that belong to no other property, sorted. A setting that nobody thought of shows up here
    /// and is not skipped.
    OtherSettings(Vec<String>),
    /// The bound on memory, bytes.
    Memory(Bound),
    /// The bound on memory that is swapped out, bytes.
    Swap(Bound),
    /// The bound on processor time, thousandths of one core; 0 if there is none.
    Processor(u32),
    /// The bound on the instance's own processes and threads, as its kernel counts them.
    Processes(u32),
    /// The bound on threads of the machine's kernel: the instance's own threads, or those of the gVisor
    /// kernel that runs the instance.
    Threads(u32),
    /// The bound on the output that the runtime keeps, bytes.
    Log(Bound),
}

/// Makes the enum of names together with the list of all names. A name that is missing in the list would
/// never be verified.
macro_rules! names {
    ($($name:ident)*) => {
        /// The name of a property. An instance has one property of each name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "each is the property of the same name")]
        pub enum PropertyName {
            $($name,)*
        }

        impl PropertyName {
            /// Every property.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

names! {
    Kernel
    RootFileSystem
    Folders
    MemoryFolders
    MountPoints
    PublishedPorts
    Network
    NameServers
    User
    Capabilities
    NewPrivileges
    Devices
    SharedNamespaces
    RestartedBy
    FirstProcess
    OtherSettings
    Memory
    Swap
    Processor
    Processes
    Threads
    Log
}

impl PropertyName {
    /// Returns the contract that the property belongs to.
    #[must_use]
    pub const fn contract(self) -> Contract {
        match self {
            Self::Kernel => Contract::Gvisor,
            Self::RootFileSystem => Contract::ReadOnlyRoot,
            Self::Folders | Self::MemoryFolders | Self::MountPoints => Contract::OneWritableVolume,
            Self::PublishedPorts => Contract::NoPublishedPort,
            Self::Network | Self::NameServers => Contract::Network,
            Self::User
            | Self::Capabilities
            | Self::NewPrivileges
            | Self::Devices
            | Self::SharedNamespaces
            | Self::RestartedBy
            | Self::FirstProcess
            | Self::OtherSettings => Contract::Privileges,
            Self::Memory
            | Self::Swap
            | Self::Processor
            | Self::Processes
            | Self::Threads
            | Self::Log => Contract::Limits,
        }
    }

    /// Returns the name in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::RootFileSystem => "root file system",
            Self::Folders => "folders from outside",
            Self::MemoryFolders => "folders in memory",
            Self::MountPoints => "mount points",
            Self::PublishedPorts => "published ports",
            Self::Network => "network",
            Self::NameServers => "name servers",
            Self::User => "user",
            Self::Capabilities => "capabilities",
            Self::NewPrivileges => "new privileges",
            Self::Devices => "devices",
            Self::SharedNamespaces => "shared namespaces",
            Self::RestartedBy => "restarted by",
            Self::FirstProcess => "first process",
            Self::OtherSettings => "other settings",
            Self::Memory => "memory",
            Self::Swap => "swap",
            Self::Processor => "processor",
            Self::Processes => "processes",
            Self::Threads => "threads on the machine's kernel",
            Self::Log => "log of the runtime",
        }
    }
}

impl Property {
    /// Returns the name of the property.
    #[must_use]
    pub const fn name(&self) -> PropertyName {
        match self {
            Self::Kernel(_) => PropertyName::Kernel,
            Self::RootFileSystem(_) => PropertyName::RootFileSystem,
            Self::Folders(_) => PropertyName::Folders,
            Self::MemoryFolders(_) => PropertyName::MemoryFolders,
            Self::MountPoints(_) => PropertyName::MountPoints,
            Self::PublishedPorts(_) => PropertyName::PublishedPorts,
            Self::Network(_) => PropertyName::Network,
            Self::NameServers(_) => PropertyName::NameServers,
            Self::User(_) => PropertyName::User,
            Self::Capabilities(_) => PropertyName::Capabilities,
            Self::NewPrivileges(_) => PropertyName::NewPrivileges,
            Self::Devices(_) => PropertyName::Devices,
            Self::SharedNamespaces(_) => PropertyName::SharedNamespaces,
            Self::RestartedBy(_) => PropertyName::RestartedBy,
            Self::FirstProcess(_) => PropertyName::FirstProcess,
            Self::OtherSettings(_) => PropertyName::OtherSettings,
            Self::Memory(_) => PropertyName::Memory,
            Self::Swap(_) => PropertyName::Swap,
            Self::Processor(_) => PropertyName::Processor,
            Self::Processes(_) => PropertyName::Processes,
            Self::Threads(_) => PropertyName::Threads,
            Self::Log(_) => PropertyName::Log,
        }
    }

    /// Returns the value in words, without the name.
    #[must_use]
    pub fn value(&self) -> String {
        match self {
            Self::Kernel(Some(Kernel::Gvisor)) => "gVisor's".to_owned(),
            Self::Kernel(Some(Kernel::Machine)) => "the machine's".to_owned(),
            Self::Kernel(None) => "unknown".to_owned(),
            Self::RootFileSystem(access) => access.to_string(),
            Self::Folders(folders) => list(folders, "; "),
            Self::MemoryFolders(folders) => list(folders, "; "),
            Self::MountPoints(MountPoints::Free) => "not led elsewhere".to_owned(),
            Self::MountPoints(MountPoints::Obstructed(what)) => what.clone(),
            Self::Network(NetworkReach::Mode(mode)) => network_name(*mode).to_owned(),
            Self::Network(NetworkReach::Foreign(networks)) => list(networks, ", "),
            Self::NameServers(NameServers::Nobody) => "none".to_owned(),
            Self::NameServers(NameServers::OfMachine) => "the machine's".to_owned(),
            Self::NameServers(NameServers::Others(servers)) => list(servers, ", "),
            Self::User(user) => user.clone(),
            Self::Capabilities(capabilities) => list(capabilities, ", "),
            Self::NewPrivileges(true) => "possible".to_owned(),
            Self::NewPrivileges(false) => "none".to_owned(),
            Self::PublishedPorts(found)
            | Self::Devices(found)
            | Self::SharedNamespaces(found)
            | Self::OtherSettings(found) => list(found, ", "),
            Self::RestartedBy(who) => who.clone().unwrap_or_else(|| "the host".to_owned()),
            Self::FirstProcess(FirstProcess::Init) => "an init".to_owned(),
            Self::FirstProcess(FirstProcess::Program) => "the program's".to_owned(),
            Self::Memory(bound) | Self::Swap(bound) | Self::Log(bound) => bound.to_string(),
            Self::Processor(millis) => cores(*millis),
            Self::Processes(number) | Self::Threads(number) => number.to_string(),
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name().words(), self.value())
    }
}
