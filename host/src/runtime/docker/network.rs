//! The networks of the sandboxes: a few bridges that many share, none of whose members reaches
//! another or the host.
//!
//! | network | members reach | closed by |
//! |---|---|---|
//! | `hersh-internal-N`, bridge `hershN` | nobody | an internal network, no traffic between members, firewall |
//! | `hersh-egress-N`, bridge `hersheN` | the internet | no traffic between members, firewall |
//!
//! The host reaches all of them. One network holds [`MEMBERS`] (a Linux bridge takes 1,023 ports);
//! the next is made when one is full, each a /22 of the pool.

use std::{collections::HashMap, net::Ipv4Addr, time::Duration};

use bollard::{
    Docker,
    models::{Ipam, IpamConfig, NetworkCreateRequest, NetworkInspect},
};
use hersh_program::NetworkMode;

use super::{engine::Fault, firewall};
use crate::{
    compose::{Contract, Violation, network_name},
    runtime::StartError,
};

/// The most members of one network.
const MEMBERS: usize = 1_000;
/// The most networks of one kind, and the number of /22 in a /16.
const NETWORKS: u8 = 64;
/// The prefix length of the pool.
const POOL_BITS: u32 = 16;
/// How long a network that somebody else makes may take to be there.
const APPEAR: Duration = Duration::from_secs(5);
const APPEAR_POLL: Duration = Duration::from_millis(50);
const NETWORK_LABEL: &str = "hersh.network";
const ICC: &str = "com.docker.network.bridge.enable_icc";
const BRIDGE: &str = "com.docker.network.bridge.name";

/// The network that a container is to be attached to, seen to keep what its mode promises.
pub(super) struct Known {
    /// The engine's name.
    pub(super) name: String,
    mode: NetworkMode,
    /// The bridge on the host; `None` without a network.
    pub(super) bridge: Option<String>,
}

impl Known {
    /// What [`Sandbox::networks`](crate::compose::Sandbox) calls a network of the engine.
    pub(super) fn mode_name(&self, name: &str) -> String {
        if name == self.name {
            network_name(self.mode).to_owned()
        } else {
            format!("foreign {name}")
        }
    }
}

/// Finds a network of this mode with room, or makes one, and closes it toward the host.
pub(super) async fn ensure(
    client: &Docker,
    fault: impl Fn(&bollard::errors::Error) -> Fault,
    pool: Ipv4Addr,
    mode: NetworkMode,
) -> Result<Known, StartError> {
    if mode == NetworkMode::None {
        return Ok(Known {
            name: "none".to_owned(),
            mode,
            bridge: None,
        });
    }
    for number in 0..NETWORKS {
        let name = format!("hersh-{}-{number}", network_name(mode));
        let network = match client.inspect_network(&name, None).await {
            Ok(network) => network,
            Err(error) => {
                fault(&error).unless_absent().map_err(failed)?;
                create(client, &fault, pool, mode, number, &name).await?;
                client
                    .inspect_network(&name, None)
                    .await
                    .map_err(|error| failed(fault(&error)))?
            }
        };
        check(&network, mode, number)?;
        if network.containers.map_or(0, |members| members.len()) < MEMBERS {
            let bridge = bridge_name(mode, number);
            firewall::close(&bridge).await?;
            return Ok(Known {
                name,
                mode,
                bridge: Some(bridge),
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

fn bridge_name(mode: NetworkMode, number: u8) -> String {
    match mode {
        NetworkMode::Internal | NetworkMode::None => format!("hersh{number}"),
        NetworkMode::Egress => format!("hershe{number}"),
    }
}

/// Makes the network on the first free /22 of the pool.
async fn create(
    client: &Docker,
    fault: &impl Fn(&bollard::errors::Error) -> Fault,
    pool: Ipv4Addr,
    mode: NetworkMode,
    number: u8,
    name: &str,
) -> Result<(), StartError> {
    // The engine looks at its own networks only, not at a VPN's or a colleague's.
    let routes = tokio::fs::read_to_string("/proc/net/route").await;
    let routes = routes.unwrap_or_default();
    let mut said = "every subnet of the pool is in use: choose another pool".to_owned();
    for subnet in 0..NETWORKS {
        let [first, second, ..] = pool.octets();
        let base = Ipv4Addr::new(first, second, subnet * 4, 0);
        if is_routed(&routes, base) {
            continue;
        }
        let request = request(mode, number, name, base);
        match client
            .create_network(request)
            .await
            .map_err(|it| fault(&it))
        {
            Ok(_) => return Ok(()),
            Err(Fault::Conflict(message) | Fault::Refused(message) | Fault::NotFound(message)) => {
                let overlaps = message.to_lowercase().contains("overlap");
                said = message;
                // Not the subnet, so the name: of the network or of its bridge.
                if !overlaps {
                    if appears(client, name).await {
                        return Ok(());
                    }
                    break;
                }
            }
            Err(error @ Fault::Unavailable(_)) => return Err(failed(error)),
        }
    }
    Err(StartError::Failed {
        message: format!("the network {name} could not be made: {said}"),
        logs: Vec::new(),
    })
}

/// Whether somebody else is making the network at this moment, such as another start or another
/// host on the same engine: then it is there soon.
async fn appears(client: &Docker, name: &str) -> bool {
    let look = async {
        while client.inspect_network(name, None).await.is_err() {
            tokio::time::sleep(APPEAR_POLL).await;
        }
    };
    tokio::time::timeout(APPEAR, look).await.is_ok()
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

/// A network with the right name may have been made by anybody.
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

/// Whether one of the host's routes, as `/proc/net/route` lists them, leads into the /22 at `base`.
/// The default route and others wider than the pool say nothing about an address in use.
fn is_routed(routes: &str, base: Ipv4Addr) -> bool {
    let number = |field: Option<&str>| {
        let word = u32::from_str_radix(field?, 16).ok()?;
        // The kernel prints the words of network order as the machine reads them.
        Some(u32::from_be_bytes(word.to_ne_bytes()))
    };
    routes.lines().skip(1).any(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (route, mask) = (number(fields.nth(1)), number(fields.nth(5)));
        let (Some(route), Some(mask)) = (route, mask) else {
            return false;
        };
        let common = mask & 0xffff_fc00;
        mask.count_ones() >= POOL_BITS && route & common == u32::from(base) & common
    })
}

fn is_internal(mode: NetworkMode) -> bool {
    match mode {
        NetworkMode::Internal | NetworkMode::None => true,
        NetworkMode::Egress => false,
    }
}

fn failed(fault: Fault) -> StartError {
    match fault.message() {
        Ok(message) => StartError::Failed {
            message,
            logs: Vec::new(),
        },
        Err(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
eth0 00000000 016433C6 0003 0 0 0 00000000 0 0 0
hersh0 0000D60A 00000000 0001 0 0 0 00FCFFFF 0 0 0
vpn 0009D60A 00000000 0001 0 0 0 00FFFFFF 0 0 0
wide 0000000A 00000000 0001 0 0 0 000000FF 0 0 0
";

    #[test]
    fn subnets_that_something_else_uses_are_known() {
        let routed = |third| is_routed(ROUTES, Ipv4Addr::new(10, 214, third, 0));
        assert!(routed(0), "a network of this host");
        assert!(!routed(4), "free");
        assert!(routed(8), "a smaller network inside it");
        assert!(!routed(12), "free, beside it");
        assert!(
            !is_routed("", Ipv4Addr::new(10, 214, 0, 0)),
            "no routes can be read"
        );
    }
}
