//! Makes the kernel forget the connections that sandboxes opened to the outside.
//!
//! A sandbox ends without telling its peers, and the kernel keeps an established connection in its table
//! for five days. The firewall bounds how many connections one address may have. Without this module, a
//! program could fill the machine's table by starting again and again, and the next sandbox with the same
//! address would find the bound used up.
//!
//! ```text
//! list(entries whose source is the address) ─► delete each
//! ```

use std::{
    collections::HashMap,
    io,
    net::Ipv4Addr,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use bollard::models::NetworkSettings;
use hersh_base::locked::locked;
use hersh_program::{ContainerId, NetworkMode};
use rustix::{
    fd::OwnedFd,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
        netlink::{self, SocketAddrNetlink},
        recv, sendto, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};

use hersh_sandbox::property::network_name;

/// How long the kernel may take for one piece of its list.
const ANSWER: Duration = Duration::from_secs(2);
/// The most entries that are deleted at once: far more than the firewall lets one address have.
const ENTRIES_MAX: usize = 16_384;
/// Bytes of one message to or from the kernel.
const MESSAGES_BYTES: usize = 32 * 1024;

/// The messages `IPCTNL_MSG_CT_GET` and `IPCTNL_MSG_CT_DELETE` of `NFNL_SUBSYS_CTNETLINK`.
const GET: u16 = 0x101;
const DELETE: u16 = 0x102;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const HEADER_BYTES: usize = 16;
/// `struct nfgenmsg`: `AF_INET`, version 0, no resource.
const FAMILY: [u8; 4] = [2, 0, 0, 0];

/// `NLA_F_NESTED`, and the mask that leaves an attribute's type without this flag and others.
const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_IP: u16 = 1;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
/// The flag by which the kernel compares only the source of the tuple.
const SOURCE_ONLY: u32 = 1;

/// The addresses of the containers that may open connections to the outside.
#[derive(Default)]
pub(crate) struct Flows(Mutex<HashMap<ContainerId, Ipv4Addr>>);

impl Flows {
    /// Remembers the address of a running container, if the container may open connections to the outside.
    pub(crate) fn note(&self, container: &ContainerId, settings: Option<&NetworkSettings>) {
        let networks = settings.and_then(|it| it.networks.as_ref());
        let egress = format!("hersh-{}-", network_name(NetworkMode::Egress));
        let address = networks.into_iter().flatten().find_map(|(name, endpoint)| {
            let endpoint = name.starts_with(&egress).then_some(endpoint)?;
            endpoint.ip_address.as_ref()?.parse().ok()
        });
        if let Some(address) = address {
            self.addresses().insert(container.clone(), address);
        }
    }

    /// Makes the kernel forget the connections of a container that has ended.
    pub(crate) async fn end(&self, container: &str) {
        let mut found = None;
        self.addresses().retain(|id, address| {
            let is_it = id.as_str() == container;
            found = found.or(is_it.then_some(*address));
            !is_it
        });
        let Some(address) = found else {
            return;
        };
        let forgotten = tokio::task::spawn_blocking(move || forget(address)).await;
        let forgotten = forgotten.unwrap_or_else(|error| Err(io::Error::other(error)));
        if let Err(error) = forgotten {
            tracing::warn!(%error, %address, "the kernel may remember connections of a sandbox that is gone");
        }
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<ContainerId, Ipv4Addr>> {
        locked(&self.0)
    }
}

/// Deletes the entries of the kernel's table for connections that `source` opened.
fn forget(source: Ipv4Addr) -> io::Result<()> {
    let kernel = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::NETFILTER),
    )?;
    set_socket_timeout(&kernel, Timeout::Recv, Some(ANSWER))?;
    let found = list(&kernel, source)?;
    let mut messages = Vec::new();
    for entry in &found {
        if messages.len() + HEADER_BYTES + FAMILY.len() + entry.len() > MESSAGES_BYTES {
            send(&kernel, &messages)?;
            messages.clear();
        }
        messages.extend(message(DELETE, NLM_F_REQUEST, entry));
    }
    // For an entry that is gone meanwhile, the kernel answers with an error. Nobody reads that error.
    send(&kernel, &messages)
}

/// Lists the entries of connections that `source` opened, each as the attributes that name it.
fn list(kernel: &OwnedFd, source: Ipv4Addr) -> io::Result<Vec<Vec<u8>>> {
    send(
        kernel,
        &message(GET, NLM_F_REQUEST | NLM_F_DUMP, &wish(source)),
    )?;
    let (mut found, mut buffer) = (Vec::new(), vec![0; MESSAGES_BYTES]);
    loop {
        let (length, _) = recv(kernel, buffer.as_mut_slice(), RecvFlags::empty())?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some((kind, body, next)) = first_message(rest) {
            rest = next;
            match kind {
                NLMSG_DONE => return Ok(found),
                NLMSG_ERROR => {
                    let code = body
                        .first_chunk()
                        .map_or(0, |code| i32::from_ne_bytes(*code));
                    return Err(io::Error::from_raw_os_error(code.saturating_neg()));
                }
                _entry => {
                    let attributes = body.get(FAMILY.len()..).unwrap_or_default();
                    // Older kernels ignore the filter and list the entries of all sources.
                    if found.len() < ENTRIES_MAX && source_of(attributes) == Some(source) {
                        found.push(name_of(attributes));
                    }
                }
            }
        }
    }
}

fn send(kernel: &OwnedFd, messages: &[u8]) -> io::Result<()> {
    if !messages.is_empty() {
        let to = SocketAddrNetlink::new(0, 0);
        sendto(kernel, messages, SendFlags::empty(), &to)?;
    }
    Ok(())
}

/// Returns the attributes that ask for the entries of one source.
fn wish(source: Ipv4Addr) -> Vec<u8> {
    let address = attribute(CTA_IP_V4_SRC, &source.octets());
    let tuple = attribute(NESTED | CTA_TUPLE_IP, &address);
    let mut filter = attribute(CTA_FILTER_ORIG_FLAGS, &SOURCE_ONLY.to_ne_bytes());
    filter.extend(attribute(CTA_FILTER_REPLY_FLAGS, &0_u32.to_ne_bytes()));
    let mut all = attribute(NESTED | CTA_TUPLE_ORIG, &tuple);
    all.extend(attribute(NESTED | CTA_FILTER, &filter));
    all
}

fn message(kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let length = HEADER_BYTES + FAMILY.len() + attributes.len();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // The sequence number and the sender.
    bytes.extend([0; 8]);
    bytes.extend(FAMILY);
    bytes.extend(attributes);
    bytes
}

/// Returns one attribute, padded to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Returns the type and body of the first message, and the bytes behind it.
fn first_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?);
    let length = usize::try_from(length).ok()?;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let body = bytes.get(HEADER_BYTES..length)?;
    let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body, rest))
}

/// Returns the value of the first attribute of this type.
fn value(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?);
        let value = bytes.get(4..length)?;
        if kind & TYPE_MASK == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

fn source_of(attributes: &[u8]) -> Option<Ipv4Addr> {
    let tuple = value(attributes, CTA_TUPLE_ORIG)?;
    let address = value(value(tuple, CTA_TUPLE_IP)?, CTA_IP_V4_SRC)?;
    Some(Ipv4Addr::from(*address.first_chunk::<4>()?))
}

/// Returns the attributes that tell an entry from all others.
fn name_of(attributes: &[u8]) -> Vec<u8> {
    let tuple = value(attributes, CTA_TUPLE_ORIG).unwrap_or_default();
    let mut name = attribute(NESTED | CTA_TUPLE_ORIG, tuple);
    if let Some(zone) = value(attributes, CTA_ZONE) {
        name.extend(attribute(CTA_ZONE, zone));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);

    #[test]
    fn an_entry_is_read_back_as_it_was_written() {
        let mut entry = attribute(7, &[9; 5]);
        entry.extend(wish(SOURCE));
        entry.extend(attribute(CTA_ZONE, &[0, 3]));
        assert_eq!(source_of(&entry), Some(SOURCE));
        let name = name_of(&entry);
        assert_eq!(source_of(&name), Some(SOURCE));
        assert_eq!(value(&name, CTA_ZONE), Some([0, 3].as_slice()));
        let mut two = message(GET, 0, &entry);
        two.extend(message(NLMSG_DONE, 0, &[]));
        let (kind, body, rest) = first_message(&two).unwrap();
        assert_eq!((kind, &body[FAMILY.len()..]), (GET, entry.as_slice()));
        assert_eq!(first_message(rest).unwrap().0, NLMSG_DONE);
    }

    #[test]
    fn bytes_that_are_cut_name_nobody() {
        let entry = wish(SOURCE);
        for length in 0..16 {
            assert_eq!(source_of(&entry[..length]), None);
        }
        assert_eq!(value(&[0; 8], CTA_TUPLE_ORIG), None);
        assert!(first_message(&[0; 16]).is_none());
    }
}
