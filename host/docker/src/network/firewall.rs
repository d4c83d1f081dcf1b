//! Rules that keep a sandbox away from the host and from its neighbours, in addition to the engine's own
//! rules.
//!
//! An internal network keeps its members away from the outside, but not from the host. The bridge has an
//! address of the host. Through this address, every service on 0.0.0.0 and every other address of the
//! host would answer. So the rules drop new connections that come in over a bridge of Hersh. They drop
//! every IPv6 packet, since the networks don't use IPv6. The rules match bridges by name, so they also
//! cover bridges that are made later.
//!
//! Each start checks all of this, and nothing starts when the rules can't be set. The host also checks
//! the rules every half minute, because they are gone when a person reloads the firewall.
//!
//! The rules stand in a table of their own, which comes before those of the engine and of other
//! firewalls. In a chain of another firewall, a rule counts only if no accepting rule stands before it.
//! The engine puts its accepting rules in front whenever it makes a network, and other firewalls do so
//! when they reload. nft puts the whole table in place in one step, so there is no moment with half of
//! the rules.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{io::AsyncWriteExt, process::Command, sync::Mutex};

use super::ports;
use hersh_sandbox::{Contract, StartError, Violation};

/// How often the rules are checked while programs run.
const KEEP: Duration = Duration::from_secs(30);
/// The name of the table with the rules. Change the number whenever you change the rules. Hosts of
/// several releases may share a machine, and with one name each would replace the rules of the other.
/// With two tables, a packet is dropped if either of them drops it.
const TABLE: &str = "hersh_1";
/// The rules for every bridge of Hersh. They replace the rules that the table held before; the
/// connections that were counted stay.
///
/// - Into the machine come only answers to what the host asked.
/// - Link-local addresses can't be reached, since clouds hand out the credentials of the machine there.
/// - Each address may open a bounded number of connections. The kernel keeps the connections of all
///   programs in one table, and one program that fills it would cut off all others. Only the side that
///   opens a connection is counted. The set has room for every address of the networks' pool.
const RULES: &str = r#"
add table inet hersh_1
add set inet hersh_1 flows { type ipv4_addr; size 65535; flags dynamic; }
add chain inet hersh_1 input { type filter hook input priority mangle; policy accept; }
add chain inet hersh_1 forward { type filter hook forward priority mangle; policy accept; }
flush table inet hersh_1
add rule inet hersh_1 input iifname "hersh*" meta nfproto ipv6 drop
add rule inet hersh_1 input iifname "hersh*" ct state != { established, related } drop
add rule inet hersh_1 forward iifname "hersh*" meta nfproto ipv6 drop
add rule inet hersh_1 forward iifname "hersh*" ip daddr 169.254.0.0/16 drop
add rule inet hersh_1 forward iifname "hersh*" ct state new add @flows { ip saddr ct count over 4096 } drop
"#;
/// How long one command may take.
const COMMAND: Duration = Duration::from_secs(10);
/// The table as nft listed it after this process put it in place; `None` until then.
static PUT_IN_PLACE: Mutex<Option<String>> = Mutex::const_new(None);

/// Makes sure that nothing behind `bridge` can open a connection to the host.
pub(crate) async fn close(bridge: &str) -> Result<(), StartError> {
    let folder = bridge_folder(bridge);
    if !folder.is_dir() {
        return Err(violated(
            format!("no bridge {bridge} on this machine"),
            "an engine in the host's own network namespace".to_owned(),
        ));
    }
    // Without this setting, traffic between members of a bridge never passes the engine's rule against
    // it.
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

/// Sets the rules again when they were removed while programs run, such as by a firewall reload. Goes on
/// until the future is dropped.
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

/// Puts the table in place, unless it stands as this process left it. The lock lets in one caller at a
/// time, so the next one finds the table in place.
async fn ensure_all() -> Result<(), StartError> {
    let mut put = PUT_IN_PLACE.lock().await;
    if put.is_some() && *put == listed().await.ok() {
        return Ok(());
    }
    let refused = |said: String| {
        violated(
            format!("a firewall without the table 'inet {TABLE}' ({said})"),
            "that table: install nftables and run the host as root".to_owned(),
        )
    };
    run("nft", &["-f", "-"]).await.map_err(refused)?;
    *put = Some(listed().await.map_err(refused)?);
    Ok(())
}

/// Returns the table as nft lists it, without what its rules have counted: counts change all the time.
async fn listed() -> Result<String, String> {
    run(
        "nft",
        &["--stateless", "--terse", "list", "table", "inet", TABLE],
    )
    .await
}

/// Checks that the rules can be set. Sets them in a network namespace of their own, which ends with the
/// attempt, so the rules of the machine stay as they are.
pub(crate) async fn usable() -> Result<(), String> {
    run("unshare", &["--net", "nft", "-f", "-"]).await.map(drop)
}

/// Isolates the ports of the bridge from each other, so that sandboxes can't reach each other. The host
/// itself is no port, so it still reaches all of them.
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

/// Runs a command with the rules as its input. Returns its output, or the message with which it failed.
async fn run(tool: &str, arguments: &[&str]) -> Result<String, String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut child = Command::new(tool)
        // A service often runs without the folders where these tools live.
        .env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{tool}: {error}"))?;
    if let Some(mut input) = child.stdin.take() {
        // A command that ends without reading its input tells the reason itself.
        let _ = input.write_all(RULES.as_bytes()).await;
    }
    let output = tokio::time::timeout(COMMAND, child.wait_with_output()).await;
    let output = output.map_err(|_late| format!("{tool} does not end"))?;
    let output = output.map_err(|error| format!("{tool}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
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

#[cfg(test)]
mod tests {
    use std::{io::Write, process};

    use super::*;

    /// Returns what a shell prints in a network namespace of its own, where `$RULES` is a file with the
    /// rules.
    fn alone(script: &str) -> String {
        let mut rules = tempfile::NamedTempFile::new().unwrap();
        rules.write_all(RULES.as_bytes()).unwrap();
        let output = process::Command::new("unshare")
            .args(["--net", "sh", "-ec", script])
            .env("RULES", rules.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    }

    const LIST: &str = "nft --stateless --terse list table inet hersh_1";

    #[test]
    fn rules_stand_once_however_often_they_are_set() {
        let once = alone(&format!("nft -f $RULES; {LIST}"));
        let often = alone(&format!(
            "nft -f $RULES; nft -f $RULES; nft -f $RULES; {LIST}"
        ));
        assert_eq!(once, often);
        assert_eq!(once.matches("drop").count(), 5, "{once}");
        assert_eq!(once.matches("priority mangle; policy accept;").count(), 2);
    }

    #[test]
    fn rules_that_are_set_again_keep_what_was_counted() {
        let counted = alone(
            "nft -f $RULES; nft add element inet hersh_1 flows '{ 10.0.0.1 ct count over 4096 }'
             nft -f $RULES; nft list set inet hersh_1 flows",
        );
        assert!(counted.contains("10.0.0.1"), "{counted}");
        assert!(RULES.contains(&format!("flush table inet {TABLE}")));
    }

    #[test]
    fn a_rule_that_somebody_takes_away_shows() {
        let whole = alone(&format!("nft -f $RULES; {LIST}"));
        let less = alone(&format!(
            "nft -f $RULES; nft flush chain inet hersh_1 input; {LIST}"
        ));
        assert_ne!(whole, less);
    }

    #[tokio::test]
    async fn a_machine_that_can_set_the_rules_is_found_usable() {
        assert_eq!(usable().await, Ok(()));
    }
}
