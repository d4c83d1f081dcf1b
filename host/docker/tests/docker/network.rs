//! Who reaches whom.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use hersh_program::{Instances, NetworkMode};
use hersh_sandbox::Runtime;

use crate::world::{UNTIL_GO, World, address, until};

/// Answers every connection to port 8080 with a word.
const SERVER: &str = "nc -ll -p 8080 -e echo served";

#[tokio::test]
async fn the_host_reaches_the_program_and_nothing_is_published() {
    let world = World::new();
    let running = world.start(SERVER).await;
    let address = SocketAddr::new(address(&running).await.unwrap(), 8080);
    until("the program answers", || async {
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
    })
    .await;
    let inspected = world.inspect(running.container.as_str()).await;
    assert!(
        inspected
            .host_config
            .unwrap()
            .port_bindings
            .unwrap_or_default()
            .is_empty()
    );
    let ports = inspected
        .network_settings
        .unwrap()
        .ports
        .unwrap_or_default();
    assert!(
        ports.values().flatten().flatten().next().is_none(),
        "{ports:?}"
    );
    world.stop().await;
}

#[tokio::test]
async fn neighbours_the_host_and_the_internet_are_out_of_reach() {
    let world = World::new();
    let neighbour = world.neighbour();
    let image = world.script(SERVER).await;
    let start = |spec| world.runtime.start(spec);
    let other = start(world.spec_of(&neighbour, &image, |_| {}))
        .await
        .unwrap();
    let running = world.start("sleep 1000").await;
    let id = running.container.as_str();

    // Each target answers the host, so that a silence inside means something.
    let service = host_service();
    let other = SocketAddr::new(address(&other).await.unwrap(), 8080);
    let internet: SocketAddr = std::env::var("HERSH_TEST_INTERNET")
        .unwrap()
        .parse()
        .unwrap();
    for target in [other, internet] {
        until("the target answers the host", || async {
            TcpStream::connect_timeout(&target, Duration::from_secs(1)).is_ok()
        })
        .await;
    }
    let bridge = gateway(address(&running).await.unwrap());
    let uplink: IpAddr = "198.51.100.254".parse().unwrap();
    for host in [bridge, uplink] {
        let target = SocketAddr::new(host, service);
        assert!(TcpStream::connect_timeout(&target, Duration::from_secs(1)).is_ok());
    }

    for (host, port) in [
        (other.ip(), other.port()),
        (internet.ip(), internet.port()),
        (bridge, service),
        (uplink, service),
    ] {
        let said = world
            .inside(id, &format!("nc -w 2 {host} {port} </dev/null; echo ended"))
            .await;
        assert!(
            said.contains("ended\n") && !said.contains("served"),
            "{host}: {said}"
        );
        assert!(!said.contains("internet\n"), "{host}: {said}");
    }
    let resolved = world
        .inside(id, "nslookup example.org; echo; ip -6 addr show")
        .await;
    assert!(!resolved.contains("Name:\texample.org"), "{resolved}");
    world
        .runtime
        .stop(&neighbour, Instances::All, Duration::ZERO)
        .await
        .unwrap();
    world.stop().await;
}

#[tokio::test]
async fn egress_reaches_the_internet_and_neither_host_nor_neighbour() {
    let world = World::new();
    let neighbour = world.neighbour();
    let image = world.script(SERVER).await;
    let egress = |manifest: &mut hersh_program::Manifest| manifest.network = NetworkMode::Egress;
    let other = world
        .runtime
        .start(world.spec_of(&neighbour, &image, egress))
        .await
        .unwrap();
    let image = world.script("sleep 1000").await;
    let running = world
        .runtime
        .start(world.spec(&image, egress))
        .await
        .unwrap();
    let id = running.container.as_str();

    let internet: SocketAddr = std::env::var("HERSH_TEST_INTERNET")
        .unwrap()
        .parse()
        .unwrap();
    let command = format!("nc -w 5 {} {} </dev/null", internet.ip(), internet.port());
    assert_eq!(world.inside(id, &command).await, "internet\n");

    // It answers this process, so that the silence inside means something.
    let metadata: SocketAddr = "169.254.169.254:80".parse().unwrap();
    accept_in_front("FORWARD", metadata);
    let mut said = String::new();
    let mut stream = TcpStream::connect_timeout(&metadata, Duration::from_secs(5)).unwrap();
    std::io::Read::read_to_string(&mut stream, &mut said).unwrap();
    assert_eq!(said, "internet\n");
    let command = format!("nc -w 2 {} 80 </dev/null; echo ended", metadata.ip());
    let said = world.inside(id, &command).await;
    assert!(
        said.contains("ended\n") && !said.contains("internet"),
        "{said}"
    );

    let service = host_service();
    let bridge = gateway(address(&running).await.unwrap());
    accept_in_front("INPUT", SocketAddr::new(bridge, service));
    for (host, port) in [(address(&other).await.unwrap(), 8080), (bridge, service)] {
        let said = world
            .inside(id, &format!("nc -w 2 {host} {port} </dev/null; echo ended"))
            .await;
        assert!(
            said.contains("ended\n") && !said.contains("served"),
            "{host}: {said}"
        );
    }
    world
        .runtime
        .stop(&neighbour, Instances::All, Duration::ZERO)
        .await
        .unwrap();
    world.stop().await;
}

#[tokio::test]
async fn connections_to_the_outside_are_bounded_and_end_with_it() {
    let world = World::new();
    let _events = world.runtime.events();
    let internet = std::env::var("HERSH_TEST_INTERNET").unwrap();
    let ask = format!("nc -w 5 {} </dev/null", internet.replace(':', " "));
    let image = world.script(&format!("{ask}; {UNTIL_GO}")).await;
    let egress = |manifest: &mut hersh_program::Manifest| manifest.network = NetworkMode::Egress;
    for ends_by_itself in [false, true] {
        let running = world.runtime.start(world.spec(&image, egress)).await;
        let address = address(&running.unwrap()).await.unwrap();
        let rules = std::process::Command::new("nft")
            .args(["--terse", "list", "table", "inet", "hersh_1"])
            .output()
            .unwrap();
        let rules = String::from_utf8(rules.stdout).unwrap();
        // Once, however often a start sees to it.
        let bounds = rules.matches("ct count over 4096 ").count();
        assert_eq!(bounds, 1, "{rules}");
        until("the kernel knows of it", || async {
            known_flows(address) > 0
        })
        .await;
        if ends_by_itself {
            world.go();
        } else {
            world.stop().await;
        }
        until("the kernel forgot it", || async {
            known_flows(address) == 0
        })
        .await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_full_network_is_followed_by_another_one_apart() {
    let world = World::with(|config| config.network_members = 1);
    let neighbour = world.neighbour();
    let image = world.script(SERVER).await;
    let first = world.spec_of(&neighbour, &image, |_| {});
    let first = world.runtime.start(first).await.unwrap();
    let second = world.start("sleep 1000").await;
    let (one, other) = (
        address(&first).await.unwrap(),
        address(&second).await.unwrap(),
    );
    assert_ne!(gateway(one), gateway(other));

    let target = SocketAddr::new(one, 8080);
    until("the first answers the host", || async {
        TcpStream::connect_timeout(&target, Duration::from_secs(1)).is_ok()
    })
    .await;
    let ask = format!("nc -w 2 {one} 8080 </dev/null; echo ended");
    let said = world.inside(second.container.as_str(), &ask).await;
    assert!(
        said.contains("ended\n") && !said.contains("served"),
        "{said}"
    );
    world
        .runtime
        .stop(&neighbour, Instances::All, Duration::ZERO)
        .await
        .unwrap();
    world.stop().await;
}

#[tokio::test]
async fn an_address_that_was_just_left_is_not_the_next_ones() {
    let world = World::new();
    let neighbour = world.neighbour();
    let running = world.start("sleep 1000").await;
    let id = running.container.as_str();
    let taken = address(&running).await.unwrap().to_string();
    // Behind the host's back, so that it still takes the address for the program's.
    let killed = world.engine.kill_container(id, None);
    killed.await.unwrap();
    let is_dead = async || {
        let state = world.inspect(id).await.state.unwrap();
        state.running == Some(false)
    };
    until("it is dead", is_dead).await;
    let image = world.script("sleep 1000").await;
    for _ in 0..3 {
        let spec = world.spec_of(&neighbour, &image, |_| {});
        let other = world.runtime.start(spec).await.unwrap();
        assert_ne!(address(&other).await.unwrap().to_string(), taken);
        let stopped = world
            .runtime
            .stop(&neighbour, Instances::All, Duration::ZERO);
        stopped.await.unwrap();
    }
    // The engine knows which one it had, so no round of all takenes comes by it either.
    let given = world.inspect(id).await.network_settings.unwrap();
    let given = given.networks.unwrap().into_values();
    let given: Vec<_> = given
        .filter_map(|it| it.ipam_config?.ipv4_address)
        .collect();
    assert_eq!(given, [taken]);
    world.stop().await;
}

#[tokio::test]
async fn without_a_network_there_is_only_loopback() {
    let world = World::new();
    let image = world.script("sleep 1000").await;
    let spec = world.spec(&image, |manifest| manifest.network = NetworkMode::None);
    let running = world.runtime.start(spec).await.unwrap();
    assert_eq!(address(&running).await, None);
    let interfaces = world
        .inside(running.container.as_str(), "cut -d: -f1 /proc/net/dev")
        .await;
    let names: Vec<&str> = interfaces.lines().skip(2).map(str::trim).collect();
    assert_eq!(names, ["lo"]);
    world.stop().await;
}

/// How many connections the kernel knows in which this address takes part.
fn known_flows(address: IpAddr) -> usize {
    use rustix::net::{
        AddressFamily, RecvFlags, SendFlags, SocketType, netlink, recv, sendto, socket,
    };
    let IpAddr::V4(address) = address else {
        panic!("{address} is no IPv4 address");
    };
    let kernel = socket(
        AddressFamily::NETLINK,
        SocketType::RAW,
        Some(netlink::NETFILTER),
    )
    .unwrap();
    // "List what is tracked", with nothing else said.
    let mut list = [0; 20];
    list[..8].copy_from_slice(&[20, 0, 0, 0, 1, 1, 1, 3]);
    list[16] = 2;
    let to = netlink::SocketAddrNetlink::new(0, 0);
    sendto(&kernel, &list, SendFlags::empty(), &to).unwrap();
    let (mut count, mut buffer) = (0, vec![0; 65_536]);
    loop {
        let (length, _) = recv(&kernel, buffer.as_mut_slice(), RecvFlags::empty()).unwrap();
        let mut rest = &buffer[..length];
        while rest.len() >= 16 {
            let length = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
            match rest[4] {
                2 => panic!("the kernel does not list connections"),
                3 => return count,
                _ => {}
            }
            let takes_part = |bytes: &[u8]| *bytes == address.octets();
            count += usize::from(rest[..length].windows(4).any(takes_part));
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
    }
}

/// What the engine does when it makes a network and other firewalls when they reload: a rule that
/// accepts, in front of all that stand in the filter table.
fn accept_in_front(chain: &str, target: SocketAddr) {
    let status = std::process::Command::new("iptables")
        .args(["--wait", "5", "-I", chain, "-p", "tcp", "-d"])
        .args([target.ip().to_string(), "--dport".to_owned()])
        .args([target.port().to_string(), "-j".to_owned()])
        .arg("ACCEPT")
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

/// A service on all addresses of the host, that answers with a word; its port.
fn host_service() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            // A client that is gone already is no matter.
            let _ = connection.and_then(|mut it| it.write_all(b"served\n"));
        }
    });
    port
}

/// The host's address on the network of a sandbox: the first of its /22.
fn gateway(address: IpAddr) -> IpAddr {
    let IpAddr::V4(address) = address else {
        panic!("{address} is no IPv4 address");
    };
    std::net::Ipv4Addr::from((u32::from(address) & !0x3ff) + 1).into()
}
