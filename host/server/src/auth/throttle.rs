//! Slows down those who guess tokens.
//!
//! Tokens are 256 random bits, so guessing is hopeless; what a flood of guesses costs is the host's
//! time and its log. An address that failed too often gets a short answer that says when to come
//! back. A valid token is let in all the same: one misconfigured client must not lock out everybody
//! behind its address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Mutex,
};

use hersh_base::locked::locked;

/// The most failures of one address in a window.
pub(crate) const FAILURES_MAX: u32 = 20;
/// The length of a window, milliseconds.
pub(crate) const WINDOW_MS: u64 = 60_000;
/// The most addresses that are remembered. When there are more, all are forgotten: an attacker with so many
/// addresses is not slowed down by this anyway.
const ADDRESSES_MAX: usize = 10_000;

/// Failures by address.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<HashMap<IpAddr, Window>>);

#[derive(Clone, Copy, Debug)]
struct Window {
    began_ms: u64,
    failures: u32,
}

impl Throttle {
    /// Notes a failure. Returns the time until the next window, milliseconds, once there were too many
    /// failures.
    pub(crate) fn failed(&self, peer: IpAddr, now_ms: u64) -> Option<u64> {
        let mut windows = locked(&self.0);
        if windows.len() >= ADDRESSES_MAX {
            windows.retain(|_, window| !window.is_over(now_ms));
            if windows.len() >= ADDRESSES_MAX {
                windows.clear();
            }
        }
        let fresh = Window {
            began_ms: now_ms,
            failures: 0,
        };
        let window = windows.entry(network(peer)).or_insert(fresh);
        if window.is_over(now_ms) {
            *window = fresh;
        }
        window.failures = window.failures.saturating_add(1);
        (window.failures > FAILURES_MAX)
            .then(|| (window.began_ms + WINDOW_MS).saturating_sub(now_ms))
    }
}

impl Window {
    fn is_over(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.began_ms) >= WINDOW_MS
    }
}

/// Returns the addresses that count as one: for IPv6 the /64, since an owner of one address has the /64
/// around it.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            Ipv6Addr::from(network).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_that_fails_too_often_is_told_when_to_come_back() {
        let throttle = Throttle::default();
        let peer = address("192.0.2.1");
        for _ in 0..FAILURES_MAX {
            assert_eq!(throttle.failed(peer, 1_000), None);
        }
        assert_eq!(throttle.failed(peer, 1_500), Some(WINDOW_MS - 500));
        assert_eq!(throttle.failed(address("192.0.2.2"), 1_500), None);
        assert_eq!(
            throttle.failed(peer, 1_000 + WINDOW_MS),
            None,
            "a new window"
        );
    }

    #[test]
    fn addresses_of_one_network_count_together() {
        let throttle = Throttle::default();
        for n in 0..FAILURES_MAX {
            throttle.failed(address(&format!("2001:db8::{n:x}")), 0);
        }
        assert!(throttle.failed(address("2001:db8::ffff"), 0).is_some());
        for n in 0..2 * u32::try_from(ADDRESSES_MAX).unwrap() {
            throttle.failed(IpAddr::V4(n.into()), 0);
        }
        assert!(throttle.0.lock().unwrap().len() <= ADDRESSES_MAX);
    }
}
