//! Counts the connections of each peer, so that none takes every permit.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard},
};

use hersh_base::locked::locked;
use hyper::HeaderMap;

/// The most connections at once from one address; for IPv6 from one /64, which one customer has.
pub(crate) const CONNECTIONS_PER_PEER_MAX: usize = 256;

/// The number of connections of each address. Addresses without connections are not kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionLimits {
    connections: Arc<Mutex<HashMap<IpAddr, usize>>>,
    behind_proxy: bool,
}

/// The permit of a connection, given back when dropped.
#[derive(Debug)]
pub(crate) struct AddressPermit {
    limits: ConnectionLimits,
    peer: Option<IpAddr>,
}

impl ConnectionLimits {
    /// Makes an empty count. With `behind_proxy` all connections come from the proxy, so they are not counted
    /// by address.
    pub(crate) fn new(behind_proxy: bool) -> Self {
        Self {
            behind_proxy,
            ..Self::default()
        }
    }

    /// Returns a permit for one more connection; `None` if the peer has [`CONNECTIONS_PER_PEER_MAX`]. This
    /// machine itself is not counted: many people may stand behind one proxy on it.
    pub(crate) fn enter(&self, peer: IpAddr) -> Option<AddressPermit> {
        let peer = network(peer);
        if self.behind_proxy || peer.is_loopback() {
            return Some(AddressPermit {
                limits: self.clone(),
                peer: None,
            });
        }
        let mut connections = self.lock();
        let count = connections.entry(peer).or_default();
        if *count >= CONNECTIONS_PER_PEER_MAX {
            return None;
        }
        *count += 1;
        Some(AddressPermit {
            limits: self.clone(),
            peer: Some(peer),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        locked(&self.connections)
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let Some(peer) = self.peer else { return };
        let mut connections = self.limits.lock();
        if let Some(count) = connections.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&peer);
            }
        }
    }
}

/// Returns the client that a proxy in front of this host speaks for: the last address that the proxy names,
/// since only that one is the proxy's own word.
pub(crate) fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?;
    let address = last.to_str().ok()?.rsplit(',').next()?.trim();
    address.parse().ok()
}

/// Returns the addresses that count as one peer.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))
        }
        counted @ (IpAddr::V4(_) | IpAddr::V6(_)) => counted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(limits: &ConnectionLimits, peer: &str) -> Vec<AddressPermit> {
        let peer = peer.parse().unwrap();
        std::iter::from_fn(|| limits.enter(peer))
            .take(CONNECTIONS_PER_PEER_MAX + 1)
            .collect()
    }

    #[test]
    fn one_peer_never_has_more_than_its_places_and_gives_them_back() {
        let limits = ConnectionLimits::new(false);
        let mut held = fill(&limits, "192.0.2.1");
        assert_eq!(held.len(), CONNECTIONS_PER_PEER_MAX);
        assert!(limits.enter("::ffff:192.0.2.1".parse().unwrap()).is_none());
        assert!(limits.enter("192.0.2.2".parse().unwrap()).is_some());
        held.pop();
        assert!(limits.enter("192.0.2.1".parse().unwrap()).is_some());
        drop(held);
        assert!(
            limits.lock().is_empty(),
            "nothing is remembered of who left"
        );
    }

    #[test]
    fn a_customers_whole_ipv6_network_is_one_peer() {
        let limits = ConnectionLimits::new(false);
        let held = fill(&limits, "2001:db8::1");
        assert_eq!(held.len(), CONNECTIONS_PER_PEER_MAX);
        assert!(limits.enter("2001:db8::ffff:2".parse().unwrap()).is_none());
        assert!(limits.enter("2001:db8:0:1::1".parse().unwrap()).is_some());
    }

    #[test]
    fn only_the_proxys_own_word_about_the_client_counts() {
        let client = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            forwarded_for(&headers).map(|ip| ip.to_string())
        };
        assert_eq!(client(&["192.0.2.9"]).as_deref(), Some("192.0.2.9"));
        let forged = ["198.51.100.1", "127.0.0.1, 192.0.2.9"];
        assert_eq!(client(&forged).as_deref(), Some("192.0.2.9"));
        assert_eq!(client(&["2001:db8::1"]).as_deref(), Some("2001:db8::1"));
        for none in [&[][..], &["unknown"], &["192.0.2.9, "], &["192.0.2.9:80"]] {
            assert_eq!(client(none), None, "{none:?}");
        }
    }

    #[test]
    fn this_machine_and_a_proxy_in_front_are_not_counted() {
        for (limits, peer) in [
            (ConnectionLimits::new(false), "127.0.0.1"),
            (ConnectionLimits::new(false), "::1"),
            (ConnectionLimits::new(true), "192.0.2.1"),
        ] {
            assert_eq!(
                fill(&limits, peer).len(),
                CONNECTIONS_PER_PEER_MAX + 1,
                "{peer}"
            );
        }
    }
}
