//! What keeps a sandbox from the host and from its neighbours, beside the engine's own rules.
//!
//! An internal network keeps its members from the outside, not from the host: the bridge has an
//! address of the host, and through it every service on 0.0.0.0 and every other address of the
//! host would answer. So new connections that come in over a bridge of ours are dropped, in IPv4
//! and, whatever the state, in IPv6, which the networks don't use. One rule covers all bridges,
//! also those made later. All of it is checked at each start and nothing starts when it can't be
//! set; the rules are checked every half minute besides, because a firewall that a person reloads
//! forgets them.
//!
//! The rules stand in the mangle table, which every packet passes before the filter table. In the
//! filter table a rule is worth only what stands behind it, and the engine puts its accepting rules
//! in front whenever it makes a network, as other firewalls do when they reload.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::process::Command;

use super::ports;
use hersh_sandbox::{Contract, StartError, Violation};

/// How often the rules are looked at while programs run.
const KEEP: Duration = Duration::from_secs(30);
/// The table of the rules.
const TABLE: &str = "mangle";
/// Matches every bridge of ours.
const BRIDGES: &str = "hersh+";
/// Answers to what the host asked may come in, nothing else.
const V4_INPUT: &[&str] = &[
    "INPUT",
    "-i",
    BRIDGES,
    "-m",
    "conntrack",
    "!",
    "--ctstate",
    "ESTABLISHED,RELATED",
    "-j",
    "DROP",
];
/// Link-local addresses are the machine's own affair: clouds hand out its credentials there.
const V4_LINK_LOCAL: &[&str] = &[
    "FORWARD",
    "-i",
    BRIDGES,
    "-d",
    "169.254.0.0/16",
    "-j",
    "DROP",
];
/// The machine has one table for the connections of all, and a full one takes in no more: one address
/// has a bounded part of it. Only who opens a connection is counted.
const V4_FLOWS: &[&str] = &[
    "FORWARD",
    "-i",
    BRIDGES,
    "-m",
    "conntrack",
    "--ctstate",
    "NEW",
    "-m",
    "connlimit",
    "--connlimit-saddr",
    "--connlimit-mask",
    "32",
    "--connlimit-above",
    "4096",
    "-j",
    "DROP",
];
const V6_INPUT: &[&str] = &["INPUT", "-i", BRIDGES, "-j", "DROP"];
const V6_FORWARD: &[&str] = &["FORWARD", "-i", BRIDGES, "-j", "DROP"];

/// Sees to it that nothing behind `bridge` reaches the host.
pub(crate) async fn close(bridge: &str) -> Result<(), StartError> {
    let folder = bridge_folder(bridge);
    if !folder.is_dir() {
        return Err(violated(
            format!("no bridge {bridge} on this machine"),
            "an engine in the host's own network namespace".to_owned(),
        ));
    }
    // Without this the engine's rule against traffic between members is never asked.
    let filter = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    match tokio::fs::read_to_string(filter).await {
        Ok(value) if value.trim() == "1" => {}
        found => {
            return Err(violated(
                format!(
                    "{filter} {}",
                    found.map_or_else(|error| error.to_string(), |it| it.trim().to_owned())
                ),
                "1: run 'modprobe br_netfilter && sysctl net.bridge.bridge-nf-call-iptables=1'"
                    .to_owned(),
            ));
        }
    }
    ensure_all().await
}

/// Sets the rules again when somebody's reload forgot them while programs run. Goes on until it is dropped.
pub(crate) async fn keep() {
    let mut rounds = tokio::time::interval(KEEP);
    loop {
        rounds.tick().await;
        if has_bridges()
            && let Err(error) = ensure_all().await
        {
            tracing::error!(%error, "sandboxes may reach this host's services");
        }
    }
}

fn has_bridges() -> bool {
    let interfaces = std::fs::read_dir("/sys/class/net").into_iter().flatten();
    interfaces
        .flatten()
        .any(|entry| entry.file_name().as_encoded_bytes().starts_with(b"hersh"))
}

async fn ensure_all() -> Result<(), StartError> {
    let v4 = async {
        ensure("iptables", V4_FLOWS).await?;
        ensure("iptables", V4_LINK_LOCAL).await?;
        ensure("iptables", V4_INPUT).await
    };
    if !Path::new("/proc/net/if_inet6").exists() {
        return v4.await;
    }
    tokio::try_join!(
        v4,
        ensure("ip6tables", V6_INPUT),
        ensure("ip6tables", V6_FORWARD)
    )?;
    Ok(())
}

/// Whether rules can be read at all.
pub(crate) async fn usable() -> Result<(), String> {
    run("iptables", "-S", &["INPUT"]).await
}

/// Isolates every port of the bridge from every other one. The host itself is no port.
pub(crate) async fn isolate(bridge: &str) -> Result<(), StartError> {
    let listed = bridge_folder(bridge).with_file_name("brif");
    let result = tokio::task::spawn_blocking(move || ports::isolate(&listed)).await;
    result
        .unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(|error| {
            violated(
                format!("ports of {bridge} that can't be isolated ({error})"),
                "a kernel from 4.18 on, and a host that runs as root".to_owned(),
            )
        })
}

fn bridge_folder(bridge: &str) -> PathBuf {
    Path::new("/sys/class/net").join(bridge).join("bridge")
}

/// Adds a rule to the mangle table in front, unless it is there.
async fn ensure(tool: &str, rule: &[&str]) -> Result<(), StartError> {
    if run(tool, "-C", rule).await.is_ok() {
        return Ok(());
    }
    run(tool, "-I", rule).await.map_err(|said| {
        violated(
            format!(
                "a firewall without the rule '{tool} -t {TABLE} -I {}' ({said})",
                rule.join(" ")
            ),
            "that rule: install iptables and run the host as root".to_owned(),
        )
    })
}

async fn run(tool: &str, action: &str, rule: &[&str]) -> Result<(), String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(tool)
        // A service often runs without the folders where these tools live.
        .env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"))
        .args(["--wait", "5", "-t", TABLE, action])
        .args(rule)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("{tool}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

fn violated(found: String, asked: String) -> StartError {
    Violation {
        contract: Contract::Network,
        found,
        asked,
    }
    .into()
}
