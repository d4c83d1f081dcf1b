//! The plan of addresses: a /16, given out one /22 at a time.
//!
//! A /22 that the engine or something else on this machine uses is skipped.

use std::{net::Ipv4Addr, time::Duration};

use bollard::{Docker, models::NetworkCreateRequest};

use crate::engine::Fault;
use hersh_sandbox::StartError;

/// How many /22 there are in the pool.
pub(super) const SUBNETS: u8 = 64;
/// The prefix length of the pool.
const POOL_BITS: u32 = 16;
/// The prefix length of the subnet of one network.
pub(crate) const SUBNET_BITS: u32 = 22;
/// How long a network that somebody else is making may take to appear.
const APPEAR: Duration = Duration::from_secs(5);
const APPEAR_POLL: Duration = Duration::from_millis(50);

/// Makes the network `name` on the first free /22 of the pool. For each /22, `request` returns the request
/// to the engine, from the number and the first address of the /22.
///
/// # Errors
/// The error for the last request.
pub(crate) async fn create(
    client: &Docker,
    fault: &impl Fn(&bollard::errors::Error) -> Fault,
    pool: Ipv4Addr,
    name: &str,
    request: impl Fn(u8, Ipv4Addr) -> NetworkCreateRequest,
) -> Result<(), StartError> {
    // The engine checks only its own networks, and not the routes of a VPN or of other software.
    let routes = tokio::fs::read_to_string("/proc/net/route").await;
    let routes = routes.unwrap_or_default();
    let mut said = "every subnet of the pool is in use: choose another pool".to_owned();
    for subnet in 0..SUBNETS {
        let [first, second, ..] = pool.octets();
        let base = Ipv4Addr::new(first, second, subnet * 4, 0);
        if is_routed(&routes, base) {
            continue;
        }
        match client
            .create_network(request(subnet, base))
            .await
            .map_err(|it| fault(&it))
        {
            Ok(_) => return Ok(()),
            Err(Fault::Conflict(message) | Fault::Refused(message) | Fault::NotFound(message)) => {
                let overlaps = message.to_lowercase().contains("overlap");
                said = message;
                // The subnet is free, so the name clashes: the name of the network or of its bridge.
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

/// Returns whether the network appears soon: somebody else may be making it at this moment, such as another
/// start or another host on the same engine.
async fn appears(client: &Docker, name: &str) -> bool {
    let look = async {
        while client.inspect_network(name, None).await.is_err() {
            tokio::time::sleep(APPEAR_POLL).await;
        }
    };
    tokio::time::timeout(APPEAR, look).await.is_ok()
}

/// Returns whether one of the host's routes, as `/proc/net/route` lists them, leads into the /22 at `base`.
/// The default route and others that are wider than the pool don't show that an address is in use.
fn is_routed(routes: &str, base: Ipv4Addr) -> bool {
    let number = |field: Option<&str>| {
        let word = u32::from_str_radix(field?, 16).ok()?;
        // The kernel takes the words in network order and prints them as numbers of the machine.
        Some(u32::from_be_bytes(word.to_ne_bytes()))
    };
    routes.lines().skip(1).any(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (route, mask) = (number(fields.nth(1)), number(fields.nth(5)));
        let (Some(route), Some(mask)) = (route, mask) else {
            return false;
        };
        let common = mask & (u32::MAX << (32 - SUBNET_BITS));
        mask.count_ones() >= POOL_BITS && route & common == u32::from(base) & common
    })
}

pub(super) fn failed(fault: Fault) -> StartError {
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
    use crate::MEMBERS_MAX;

    const ROUTES: &str = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
eth0 00000000 016433C6 0003 0 0 0 00000000 0 0 0
hersh0 0000D60A 00000000 0001 0 0 0 00FCFFFF 0 0 0
vpn 0009D60A 00000000 0001 0 0 0 00FFFFFF 0 0 0
wide 0000000A 00000000 0001 0 0 0 000000FF 0 0 0
";

    #[test]
    fn a_thousand_programs_have_addresses_and_ports() {
        // All addresses except the network's own, the broadcast address and the bridge's.
        let addresses = (1 << (32 - SUBNET_BITS)) - 3;
        let ports = 1_023;
        let members = MEMBERS_MAX + hersh_sandbox::STARTS_AT_ONCE;
        assert!(members <= addresses && members <= ports);
        assert_eq!(usize::from(SUBNETS), 1 << (SUBNET_BITS - POOL_BITS));
    }

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
