//! Restart policies and readiness kinds, with real containers.

use serde_json::Value;

use crate::support::{Host, containers, shell_program, until, web_program};

/// How often the program's journal tells of a start that came up.
fn starts(host: &Host, program: &str) -> usize {
    let (status, body) = host.get(&format!("/programs/{program}/events?limit=1000"));
    assert_eq!(status, 200, "{body}");
    let events: Value = serde_json::from_str(&body).unwrap();
    let events = events.as_array().or_else(|| events["events"].as_array());
    let is_start = |event: &&Value| event["event"]["event"] == "runtime_started";
    events.unwrap().iter().filter(is_start).count()
}

const NO_PROBE: &str = "[readiness]\nkind = \"none\"\n[timeouts]\nstop = \"1s\"\n";

/// Ready at once, and ends with `code` when `/state/end` is there. The file goes with it, so that
/// the next run lasts.
fn ending(name: &str, code: u8, restart: &str) -> crate::support::Folder {
    let script = format!(
        "b=/bin/busybox; until [ -e /state/end ]; do $b sleep 0.1; done; $b rm /state/end; exit {code}"
    );
    shell_program(
        name,
        &script,
        &format!("restart = \"{restart}\"\n{NO_PROBE}"),
    )
}

fn end(host: &Host, program: &str) {
    let state = host.data().join("programs").join(program).join("state");
    std::fs::write(state.join("end"), "").unwrap();
    // The sandbox's user removes it.
    std::os::unix::fs::chown(state.join("end"), Some(65_532), Some(65_532)).unwrap();
}

#[test]
fn each_policy_does_what_it_says_after_each_end() {
    let host = Host::start();
    for (name, code, restart, again, rests) in [
        ("never-fails", 3, "never", false, "Error"),
        ("never-ends", 0, "never", false, "Stopped"),
        ("fails", 3, "on-failure", true, ""),
        ("ends", 0, "on-failure", false, "Stopped"),
        ("always-fails", 3, "always", true, ""),
        ("always-ends", 0, "always", true, ""),
    ] {
        host.run(&["deploy", ending(name, code, restart).path()]);
        assert_eq!(starts(&host, name), 1, "{name}");
        end(&host, name);
        if again {
            until(&format!("{name} runs again"), || {
                starts(&host, name) == 2 && host.state(name) == "Ready"
            });
            assert_eq!(containers(name).len(), 1, "{name}");
        } else {
            host.until(name, rests);
            assert_eq!(starts(&host, name), 1, "{name}");
            assert!(containers(name).is_empty(), "{name}");
        }
    }
}

#[test]
fn running_out_of_memory_is_a_failure_for_the_policy() {
    let host = Host::start();
    let script = "x=0123456789abcdef; /bin/busybox sleep 2; while :; do x=$x$x; done";
    let manifest = format!("restart = \"never\"\n[resources]\nmemory = \"64MiB\"\n{NO_PROBE}");
    let folder = shell_program("glutton", script, &manifest);
    host.run(&["deploy", folder.path()]);
    host.until("glutton", "Error");
    let view = host.inspect("glutton");
    assert_eq!(view["program"]["cause"]["code"], "out_of_memory", "{view}");
    // A kill by itself is none. Its deploy has ended by then: whether a deploy still sees the end of a program that
    // kills itself at once is a race, because nothing says when one without a probe is up.
    let script = "b=/bin/busybox; until [ -e /state/end ]; do $b sleep 0.1; done; kill -9 $$";
    let manifest = format!("restart = \"never\"\n{NO_PROBE}");
    host.run(&["deploy", shell_program("killed", script, &manifest).path()]);
    end(&host, "killed");
    host.until("killed", "Error");
    let view = host.inspect("killed");
    assert_ne!(view["program"]["cause"]["code"], "out_of_memory", "{view}");
}

#[test]
fn each_readiness_kind_waits_for_what_it_names() {
    let host = Host::start();
    host.run(&["deploy", web_program("by-http").path()]);
    assert_eq!(host.state("by-http"), "Ready");

    let listens = "/bin/busybox sleep 1; exec /bin/busybox nc -ll -p 9000 -e /bin/busybox true";
    let manifest = "[readiness]\nkind = \"tcp\"\nport = 9000\n[timeouts]\nstop = \"1s\"\n";
    host.run(&["deploy", shell_program("by-tcp", listens, manifest).path()]);
    assert_eq!(host.state("by-tcp"), "Ready");

    let silent = "exec /bin/busybox sleep 600";
    host.run(&["deploy", shell_program("by-none", silent, NO_PROBE).path()]);
    assert_eq!(host.state("by-none"), "Ready");

    let manifest = "restart = \"never\"\n[readiness]\nkind = \"tcp\"\nport = 9000\n[timeouts]\nstart = \"3s\"\nstop = \"1s\"\n";
    let told = host.refused(
        1,
        &["deploy", shell_program("mute", silent, manifest).path()],
    );
    assert!(told.contains("9000") || told.contains("refused"), "{told}");
    let view = host.inspect("mute");
    assert_eq!(
        view["program"]["cause"]["code"], "not_ready_in_time",
        "{view}"
    );
    assert!(containers("mute").is_empty());
}
