//! The settings of a host for its engine.

use std::{net::Ipv4Addr, path::PathBuf};

use crate::dockerfile::Registries;
use hersh_sandbox::Kernel;

/// The most members of one network, without those that are being started.
pub const MEMBERS_MAX: usize = 1_000;

/// The socket of the engine, and the settings for what this host runs and builds on it.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// The engine's Unix socket.
    pub socket: PathBuf,
    /// The name that tells this host from others that share the engine: a DNS label.
    pub host_id: String,
    /// The kernel on which programs run.
    pub kernel: Kernel,
    /// The name under which the engine knows gVisor.
    pub gvisor: String,
    /// A /16 whose addresses sandboxes get. It is given out one /22 at a time, and a /22 that clashes is
    /// skipped.
    pub subnet_pool: Ipv4Addr,
    /// The registries from which base images may be fetched.
    pub registries: Registries,
    /// The most members of one network; at most [`MEMBERS_MAX`].
    pub network_members: usize,
    /// Memory of one step of a build, bytes.
    pub build_memory_bytes: u64,
    /// Processor time of one step of a build, thousandths of one core.
    pub build_cpu_millis: i32,
}

impl Default for DockerConfig {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/docker.sock"),
            host_id: "local".to_owned(),
            kernel: Kernel::Gvisor,
            gvisor: "runsc".to_owned(),
            subnet_pool: Ipv4Addr::new(10, 214, 0, 0),
            registries: Registries::default(),
            network_members: MEMBERS_MAX,
            build_memory_bytes: 2 * 1024 * 1024 * 1024,
            build_cpu_millis: 2_000,
        }
    }
}

impl DockerConfig {
    /// Returns the engine's name of the runtime with which programs run.
    pub(crate) fn runtime(&self) -> &str {
        match self.kernel {
            Kernel::Gvisor => &self.gvisor,
            Kernel::Machine => "runc",
        }
    }
}
