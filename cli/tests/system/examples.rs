//! The larger examples, from source to Ready in real gVisor.

use std::process::Command;

use serde_json::Value;

use crate::support::{Folder, Host, example, until};

fn vars(host: &Host, program: &str) -> Value {
    serde_json::from_str(&host.run(&["-o", "json", "vars", program])).unwrap()
}

#[test]
fn runs_recorded_in_the_sandbox_replay_outside() {
    let host = Host::start();
    let folder = example("trader");
    host.run(&["deploy", &folder]);
    host.run(&["send", "trader", "buy btc 0.1"]);
    until("the order is filled", || {
        !vars(&host, "trader")["context"]["portfolio"].is_null()
    });
    host.run(&["stop", "trader"]);

    let journal = host.data().join("programs/trader/state/journal");
    let replay = |interval: &str| {
        let mut trader = Command::new(format!("{folder}/trader"));
        trader.env("FEED_INTERVAL_MS", interval);
        let output = trader.env("HERSH_REPLAY", &journal).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), said)
    };
    let (code, said) = replay("100");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("all as recorded"), "{said}");
    let (code, said) = replay("nonsense");
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains("run 1 (start) differs from the journal"),
        "{said}"
    );
}

#[test]
fn uptime_is_ready_though_its_targets_are_out_of_reach() {
    let host = Host::start();
    let folder = example("uptime");
    let read = |name: &str| std::fs::read_to_string(format!("{folder}/{name}")).unwrap();
    let manifest = read("hersh.toml").replace("http://example.com,", "http://127.0.0.1:1,");
    let files = [("Dockerfile", read("Dockerfile")), ("hersh.toml", manifest)];
    let nearby = Folder::new(&files.each_ref().map(|(name, text)| (*name, text.as_str())));
    let binary = format!("{}/uptime", nearby.path());
    std::fs::copy(format!("{folder}/uptime"), binary).unwrap();
    host.run(&["deploy", nearby.path()]);
    until("an outage is seen", || {
        let vars = vars(&host, "uptime");
        let variables = vars["variables"].as_object().unwrap();
        variables.values().any(|it| it["error"].is_string())
    });
    assert_eq!(host.state("uptime"), "Ready");
}
