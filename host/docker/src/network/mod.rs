//! The networks of the sandboxes: a few bridges that many sandboxes share. No member of a bridge reaches
//! another member or the host.
//!
//! | network | members reach | closed by |
//! |---|---|---|
//! | `hersh-internal-N`, bridge `hershN` | nobody | an internal network, no traffic between members, firewall |
//! | `hersh-egress-N`, bridge `hersheN` | the internet | no traffic between members, firewall |
//!
//! The host reaches all members. One network holds [`MEMBERS_MAX`](crate::MEMBERS_MAX) members: a Linux
//! bridge takes 1,023 ports, a /22 has 1,021 addresses for members, and starts under way are not counted as
//! members yet. When all networks are full, the next one is made, on a /22 of the pool.
//! [`addresses`](super::addresses) says which address a member gets.

pub(crate) mod addresses;
pub(crate) mod firewall;
pub(crate) mod flows;
pub(crate) mod listeners;
mod ports;
pub(crate) mod subnets;

use std::{collections::HashMap, net::Ipv4Addr};

use bollard::{
    Docker,
    models::{Ipam, IpamConfig, NetworkCreateRequest, NetworkInspect},
};
use hersh_program::NetworkMode;

use self::{
    addresses::{Addresses, Subnet},
    subnets::failed,
};
use crate::{DockerConfig, engine::Fault};
use hersh_sandbox::{Contract, StartError, Violation, property::network_name};

/// The most networks of one kind.
const NETWORKS: u8 = subnets::SUBNETS;
/// How often one start makes a network anew that is gone when the start looks at it.
const MAKINGS_MAX: usize = 5;
pub(super) const NETWORK_LABEL: &str = "hersh.network";
pub(super) const ICC: &str = "com.docker.network.bridge.enable_icc";
pub(super) const BRIDGE: &str = "com.docker.network.bridge.name";

/// The network that a container is to be attached to, with the settings that its mode promises.
pub(super) struct SandboxNetwork {
    /// The engine's name of the network.
    pub(super) name: String,
    pub(super) mode: NetworkMode,
    /// The bridge on the machine; `None` without a network.
    pub(super) bridge: Option<String>,
    /// The addresses of the network; `None` without a network.
    pub(super) subnet: Option<Subnet>,
}

impl SandboxNetwork {
    /// Closes the bridge, so that no sandbox behind it reaches the host. No container may start before
    /// that: its program could reach the host.
    pub(super) async fn close(&self) -> Result<(), StartError> {
        match &self.bridge {
            Some(bridge) => firewall::close(bridge).await,
            None => Ok(()),
        }
    }

    /// Returns the address for one more member; `None` without a network.
    pub(super) fn next_address(
        &self,
        addresses: &Addresses,
    ) -> Result<Option<Ipv4Addr>, StartError> {
        let Some(subnet) = &self.subnet else {
            return Ok(None);
        };
        let address = addresses.next(&self.name, subnet);
        let full = || {
            failed(Fault::Refused(format!(
                "network {} has no address left",
                self.name
            )))
        };
        address.map(Some).ok_or_else(full)
    }
}

/// Finds a network of this mode that has room for a member, or makes one.
pub(super) async fn ensure(
    client: &Docker,
    fault: impl Fn(&bollard::errors::Error) -> Fault,
    config: &DockerConfig,
    mode: NetworkMode,
) -> Result<SandboxNetwork, StartError> {
    if mode == NetworkMode::None {
        return Ok(SandboxNetwork {
            name: "none".to_owned(),
            mode,
            bridge: None,
            subnet: None,
        });
    }
    for number in 0..NETWORKS {
        let network = found_or_made(client, &fault, config, (mode, number)).await?;
        check(&network, mode, number)?;
        let members = network.containers.as_ref().map_or(0, HashMap::len);
        if members < config.network_members {
            let name = engine_name(mode, number);
            return Ok(SandboxNetwork {
                mode,
                bridge: Some(bridge_name(mode, number)),
                subnet: Some(Subnet::of(&network).ok_or_else(|| no_plan(&name))?),
                name,
            });
        }
    }
    Err(StartError::Failed {
        message: format!(
            "all {NETWORKS} networks for mode {} are full: stop programs or add a host",
            network_name(mode)
        ),
        logs: Vec::new(),
    })
}

/// Returns the network, and makes it if it is not there. If somebody removes it again, it is made again.
async fn found_or_made(
    client: &Docker,
    fault: &impl Fn(&bollard::errors::Error) -> Fault,
    config: &DockerConfig,
    (mode, number): (NetworkMode, u8),
) -> Result<NetworkInspect, StartError> {
    let name = engine_name(mode, number);
    let mut made = 0;
    loop {
        match client
            .inspect_network(&name, None)
            .await
            .map_err(|error| fault(&error))
        {
            Ok(network) => return Ok(network),
            Err(Fault::NotFound(_)) if made < MAKINGS_MAX => made += 1,
            Err(error) => return Err(failed(error)),
        }
        let request = |_subnet, base| request(mode, number, &name, base);
        subnets::create(client, fault, config.subnet_pool, &name, request).await?;
    }
}

fn engine_name(mode: NetworkMode, number: u8) -> String {
    format!("hersh-{}-{number}", network_name(mode))
}

fn no_plan(name: &str) -> StartError {
    StartError::Failed {
        message: format!(
            "network {name} has no plan of its addresses; remove that network and start again"
        ),
        logs: Vec::new(),
    }
}

fn bridge_name(mode: NetworkMode, number: u8) -> String {
    match mode {
        NetworkMode::Internal | NetworkMode::None => format!("hersh{number}"),
        NetworkMode::Egress => format!("hershe{number}"),
    }
}

fn request(mode: NetworkMode, number: u8, name: &str, base: Ipv4Addr) -> NetworkCreateRequest {
    let options = [
        (BRIDGE, bridge_name(mode, number)),
        (ICC, "false".to_owned()),
    ];
    NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".to_owned()),
        internal: Some(is_internal(mode)),
        enable_ipv6: Some(false),
        ipam: Some(Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some(format!("{base}/22")),
                ..IpamConfig::default()
            }]),
            ..Ipam::default()
        }),
        options: Some(HashMap::from(
            options.map(|(key, value)| (key.to_owned(), value)),
        )),
        labels: Some(HashMap::from([(
            NETWORK_LABEL.to_owned(),
            network_name(mode).to_owned(),
        )])),
        ..NetworkCreateRequest::default()
    }
}

/// Checks the settings of a network. A network with the right name may have been made by anybody.
fn check(network: &NetworkInspect, mode: NetworkMode, number: u8) -> Result<(), StartError> {
    let option = |name: &str| network.options.as_ref().and_then(|it| it.get(name));
    let bridge = bridge_name(mode, number);
    let found = [
        format!("driver {}", network.driver.as_deref().unwrap_or("unknown")),
        format!("internal {}", network.internal.unwrap_or(false)),
        format!("ipv6 {}", network.enable_ipv6.unwrap_or(false)),
        format!("icc {}", option(ICC).map_or("true", String::as_str)),
        format!(
            "bridge {}",
            option(BRIDGE).map_or("unnamed", String::as_str)
        ),
    ];
    let asked = [
        "driver bridge".to_owned(),
        format!("internal {}", is_internal(mode)),
        "ipv6 false".to_owned(),
        "icc false".to_owned(),
        format!("bridge {bridge}"),
    ];
    if found == asked {
        return Ok(());
    }
    let name = network.name.as_deref().unwrap_or("unnamed");
    Err(Violation {
        contract: Contract::Network,
        found: format!("network {name} with {}", found.join(", ")),
        asked: format!("{}; remove that network and start again", asked.join(", ")),
    }
    .into())
}

fn is_internal(mode: NetworkMode) -> bool {
    match mode {
        NetworkMode::Internal | NetworkMode::None => true,
        NetworkMode::Egress => false,
    }
}
