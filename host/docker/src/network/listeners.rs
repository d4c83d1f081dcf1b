//! Lists the addresses on which a sandbox listens, as the machine's kernel shows them.
//!
//! The sockets of a sandbox that uses the machine's network stack are in the network namespace of its
//! container. A sandbox with gVisor's own stack has no sockets there. The engine's name server listens in
//! each of those namespaces too, and is left out.

use std::{
    fs::File,
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use hersh_program::InstanceId;

use crate::Inner;

/// The most that is read of one list, bytes: a program may have any number of connections.
const LIST_BYTES_MAX: u64 = 256 * 1024;
/// The address of the name server that the engine puts into the namespace of a container.
const NAME_SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));
/// The kernel's number for a socket that listens.
const LISTENS: &str = "0A";

impl Inner {
    /// Returns the addresses on which the instance listens, as far as they can be seen, and no addresses
    /// otherwise.
    pub(crate) async fn listeners(&self, instance: &InstanceId) -> Vec<SocketAddr> {
        let Some(process) = self.first_process(instance).await else {
            return Vec::new();
        };
        let read = tokio::task::spawn_blocking(move || of_process(process));
        let seen = read.await.unwrap_or_default();
        // If the process ended meanwhile, another process may have its number now, and the list may be that
        // one's.
        let is_same = self.first_process(instance).await == Some(process);
        if is_same { seen } else { Vec::new() }
    }

    /// Returns the machine's number of the instance's first process, while that process runs.
    async fn first_process(&self, instance: &InstanceId) -> Option<i64> {
        let state = self.find(instance).await.ok()??.inspected.state?;
        state.pid.filter(|pid| *pid > 0)
    }
}

/// Returns the addresses on which sockets listen in the network namespace of a process.
fn of_process(process: i64) -> Vec<SocketAddr> {
    let list = |name: &str| -> io::Result<String> {
        let file = File::open(format!("/proc/{process}/net/{name}"))?;
        let mut list = String::new();
        file.take(LIST_BYTES_MAX).read_to_string(&mut list)?;
        Ok(list)
    };
    // A machine without IPv6 has no such list.
    let lists = ["tcp", "tcp6"].map(|name| list(name).unwrap_or_default());
    lists.iter().flat_map(|list| listening(list)).collect()
}

/// Reads the listening sockets from the kernel's list of sockets, without the engine's.
fn listening(list: &str) -> impl Iterator<Item = SocketAddr> {
    list.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (own, _peer, state) = (words.next()?, words.next()?, words.next()?);
        let address = (state == LISTENS).then(|| address(own)).flatten()?;
        (address.ip() != NAME_SERVER).then_some(address)
    })
}

/// Reads `0100007F:1F90`: the words of an address as they lie in memory, and a port.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| {
        let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip = match address.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            IpAddr::from(<[u8; 16]>::try_from(words.concat()).ok()?)
        }
        _odd => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn sockets_that_listen_are_seen_with_their_addresses() {
        let bound =
            ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"].map(|at| TcpListener::bind(at).unwrap());
        let seen = of_process(std::process::id().into());
        for listener in bound {
            let address = listener.local_addr().unwrap();
            assert!(seen.contains(&address), "{address}: {seen:?}");
        }
    }

    #[test]
    fn what_is_no_listener_of_the_program_is_passed_over() {
        let list = "  sl  local_address rem_address   st\n\
                    \u{20}  0: 0100007F:1F90 00000000:0000 0A 0 0\n\
                    \u{20}  0: 0B00007F:1F90 00000000:0000 0A 0 0\n\
                    \u{20}  1: 0100007F:1F91 0100007F:C350 01 0 0\n\
                    \u{20}  2: 0100007F 00000000:0000 0A\n   3: x:y z 0A\n   4:\n";
        let seen: Vec<SocketAddr> = listening(list).collect();
        assert_eq!(seen, ["127.0.0.1:8080".parse().unwrap()]);
        assert_eq!(listening("").count(), 0);
        assert_eq!(of_process(0), []);
    }
}
