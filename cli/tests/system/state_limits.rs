//! What a program keeps in `/state` beyond its limit: before it starts, and on its way out.

use std::{
    fs,
    os::unix::fs::chown,
    time::{Duration, Instant},
};

use crate::support::{Host, containers, shell_program, until};

const MANIFEST: &str = "restart = \"always\"\n[resources]\nstate = \"1MiB\"\n[readiness]\nkind = \"none\"\n[timeouts]\nstop = \"10m\"\n";

#[test]
fn a_program_that_fills_state_while_stopped_is_killed_early() {
    let host = Host::start();
    let script = "b=/bin/busybox; trap '$b dd if=/dev/zero of=/state/big bs=1024 count=3000; while :; do $b sleep 1; done' TERM; while :; do $b sleep 0.1; done";
    host.run(&["deploy", shell_program("defies", script, MANIFEST).path()]);
    let began = Instant::now();
    host.run(&["stop", "defies"]);
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(host.state("defies"), "Stopped");
    assert!(containers("defies").is_empty());
    let big = host.data().join("programs/defies/state/big");
    assert!(big.metadata().unwrap().len() > 1 << 20);

    // What it has written is why it is not started again.
    let said = host.refused(1, &["start", "defies"]);
    assert!(said.contains("raise state under [resources]"), "{said}");
    assert!(host.inspect("defies")["program"]["retry"].is_null());
    assert!(containers("defies").is_empty());
    fs::remove_file(big).unwrap();
    host.run(&["start", "defies"]);
}

#[test]
fn what_is_moved_about_all_the_time_is_counted_under_gvisor() {
    let host = Host::start();
    let script = "b=/bin/busybox; $b mkdir -p /state/a; $b dd if=/dev/zero of=/state/a/big bs=1024 count=3000; while :; do $b mv /state/a /state/b; $b mv /state/b /state/a; done";
    let manifest = MANIFEST.replace("10m", "1s").replace("always", "never");
    host.run(&["deploy", shell_program("moves", script, &manifest).path()]);
    host.until("moves", "Error");
    let program = host.inspect("moves")["program"].clone();
    assert_eq!(
        program["cause"]["code"], "state_quota_exceeded",
        "{program}"
    );
}

#[test]
fn what_one_left_beyond_its_limit_is_told_before_it_starts() {
    let host = Host::start();
    let script = "exec /bin/busybox sleep 600";
    let manifest = MANIFEST.replace("10m", "1s");
    host.run(&["deploy", shell_program("heavy", script, &manifest).path()]);
    host.run(&["stop", "heavy"]);
    let left = host.data().join("programs/heavy/state/left");
    fs::write(&left, vec![1; 5 << 20]).unwrap();
    chown(&left, Some(65_532), Some(65_532)).unwrap();
    let said = host.refused(1, &["start", "heavy"]);
    assert!(said.contains("5 MiB") && said.contains("1 MiB"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.tar");
    host.run(&["state", "copy", "heavy", copy.to_str().unwrap()]);
    assert!(copy.metadata().unwrap().len() > 5 << 20);
    let raised = manifest.replace("1MiB", "16MiB");
    host.run(&["deploy", shell_program("heavy", script, &raised).path()]);
    until("it runs", || host.state("heavy") == "Ready");
}
