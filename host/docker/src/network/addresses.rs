//! Gives each sandbox on a network the next address that nobody has.
//!
//! An engine would give the lowest free address. Then the next container would get the address of a
//! container that just ended, while the host still takes it for the address of the old program. Requests,
//! with all data in them, would go to a wrong program. Here an address comes again only after all others,
//! and never while a container exists that had it: the host removes a container only after it was told of
//! the container's end.

use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
    sync::Mutex,
};

use bollard::models::{ContainerSummary, NetworkInspect};

use hersh_base::locked::locked;
use hersh_sandbox::StartError;

/// How often a start tries another address when somebody else has taken its address, such as another host
/// on the same engine.
pub(crate) const ATTEMPTS: usize = 4;

/// The number of the last address that was given out, for each network. The first number is random, so that
/// hosts on one engine seldom choose the same address.
#[derive(Debug, Default)]
pub(crate) struct Addresses(Mutex<HashMap<String, u32>>);

/// The addresses of one network, and those of them that somebody has.
#[derive(Clone, Debug)]
pub(crate) struct Subnet {
    /// The address of the network itself.
    base: u32,
    /// How many addresses the network has.
    size: u32,
    taken: HashSet<Ipv4Addr>,
}

impl Addresses {
    /// Returns the next address of a network that nobody has; `None` if there is none.
    pub(super) fn next(&self, network: &str, subnet: &Subnet) -> Option<Ipv4Addr> {
        // All addresses except the network's own, the bridge's, which is the first, and the broadcast
        // address.
        let count = subnet.size.checked_sub(3).filter(|count| *count > 0)?;
        let mut places = locked(&self.0);
        let place = places
            .entry(network.to_owned())
            .or_insert_with(|| getrandom::u32().unwrap_or(0) % count);
        (0..count).find_map(|_| {
            *place = (*place + 1) % count;
            let address = Ipv4Addr::from(subnet.base + 2 + *place);
            (!subnet.taken.contains(&address)).then_some(address)
        })
    }
}

impl Subnet {
    /// Reads the addresses of a network and those that its members have; `None` if the network has no plan
    /// of addresses.
    pub(super) fn of(network: &NetworkInspect) -> Option<Self> {
        let plans = network.ipam.as_ref()?.config.as_ref()?;
        let (base, bits) = plans.first()?.subnet.as_deref()?.split_once('/')?;
        let bits: u32 = bits.parse().ok()?;
        let size = 1_u32.checked_shl(32_u32.checked_sub(bits)?)?;
        let members = network.containers.iter().flat_map(HashMap::values);
        Some(Self {
            base: base.parse::<Ipv4Addr>().ok()?.into(),
            size,
            taken: members
                .filter_map(|member| address(member.ipv4_address.as_deref()?))
                .collect(),
        })
    }

    /// Takes out the addresses that these containers have or had, whether or not they run.
    pub(crate) fn leave_out(&mut self, containers: &[ContainerSummary]) {
        let settings = containers
            .iter()
            .filter_map(|it| it.network_settings.as_ref());
        let endpoints = settings.flat_map(|it| it.networks.iter().flat_map(HashMap::values));
        self.taken.extend(endpoints.filter_map(|endpoint| {
            let given = endpoint.ipam_config.as_ref();
            let given = given.and_then(|given| given.ipv4_address.as_deref());
            address(given.or(endpoint.ip_address.as_deref())?)
        }));
    }
}

/// Returns whether a start failed because somebody else has the address.
pub(crate) fn is_taken(error: &StartError) -> bool {
    matches!(error, StartError::Failed { message, .. } if message.contains("ddress already in use"))
}

/// Reads an address as the engine writes it, alone or with the length of its prefix.
fn address(text: &str) -> Option<Ipv4Addr> {
    text.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subnet(plan: &str, members: &[&str]) -> Subnet {
        let members = members.iter().enumerate();
        let members =
            members.map(|(n, address)| (n.to_string(), json!({ "IPv4Address": address })));
        let network = json!({
            "IPAM": { "Config": [{ "Subnet": plan }] },
            "Containers": members.collect::<serde_json::Map<_, _>>(),
        });
        Subnet::of(&serde_json::from_value(network).unwrap()).unwrap()
    }

    #[test]
    fn an_address_comes_again_only_after_all_others() {
        let addresses = Addresses::default();
        let subnet = subnet("10.214.4.0/22", &[]);
        let round = |_| addresses.next("n", &subnet).unwrap();
        let first: Vec<Ipv4Addr> = (0..1_021).map(round).collect();
        let each: HashSet<&Ipv4Addr> = first.iter().collect();
        assert_eq!(each.len(), 1_021);
        assert!(each.contains(&Ipv4Addr::new(10, 214, 4, 2)));
        assert!(each.contains(&Ipv4Addr::new(10, 214, 7, 254)));
        let again: Vec<Ipv4Addr> = (0..1_021).map(round).collect();
        assert_eq!(first, again);
    }

    #[test]
    fn an_address_that_somebody_has_or_had_is_left_out() {
        let addresses = Addresses::default();
        let mut subnet = subnet("10.214.0.0/29", &["10.214.0.2/29", ""]);
        let dead = json!([
            { "NetworkSettings": { "Networks": { "n": {
                "IPAMConfig": { "IPv4Address": "10.214.0.3" }, "IPAddress": "" } } } },
            { "NetworkSettings": { "Networks": { "n": {
                "IPAMConfig": null, "IPAddress": "10.214.0.4" } } } },
            { "NetworkSettings": { "Networks": { "none": {} } } },
        ]);
        let dead: Vec<ContainerSummary> = serde_json::from_value(dead).unwrap();
        subnet.leave_out(&dead);
        let given = || addresses.next("n", &subnet).unwrap().octets()[3];
        let two: HashSet<u8> = [given(), given()].into();
        assert_eq!(two, HashSet::from([5, 6]));
        subnet
            .taken
            .extend([5, 6].map(|n| Ipv4Addr::new(10, 214, 0, n)));
        assert_eq!(addresses.next("n", &subnet), None);
    }
}
