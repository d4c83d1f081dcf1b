//! Deploys over a program that runs, in real gVisor: what runs is not touched by what fails.

use std::time::Instant;

use serde_json::Value;

use crate::support::{Folder, Host, shell_program, started_at, until, web_program};

/// How often the counter has ticked since it was started: once each second.
fn ticks(host: &Host, program: &str) -> u64 {
    let vars: Value = serde_json::from_str(&host.run(&["-o", "json", "vars", program])).unwrap();
    let count = find(&vars, "ticks").and_then(|ticks| find(ticks, "count"));
    count.and_then(Value::as_u64).unwrap_or(0)
}

/// The sum of a counter, which it keeps in its durable context.
fn total(host: &Host, program: &str) -> Option<u64> {
    let vars: Value = serde_json::from_str(&host.run(&["-o", "json", "vars", program])).unwrap();
    find(&vars, "total").and_then(Value::as_u64)
}

/// The value of a key, however deep.
fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => {
            let below = || map.values().find_map(|value| find(value, key));
            map.get(key).or_else(below)
        }
        Value::Array(values) => values.iter().find_map(|value| find(value, key)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn container(host: &Host, program: &str) -> String {
    let program = host.inspect(program)["program"].clone();
    assert_eq!(program["state"], "Ready", "{program}");
    program["container_id"].as_str().unwrap().to_owned()
}

fn revisions(host: &Host, program: &str) -> Vec<Value> {
    let mut list: Value =
        serde_json::from_str(&host.run(&["-o", "json", "revisions", program])).unwrap();
    serde_json::from_value(list["revisions"].take()).unwrap()
}

/// Waits until the newest revision has run for long enough to be gone back to.
fn until_good(host: &Host, program: &str) {
    until("the revision has settled", || {
        revisions(host, program)[0]["good"] == true
    });
}

#[test]
fn a_broken_dockerfile_costs_a_running_counter_not_one_tick() {
    let host = Host::start();
    host.run(&["deploy", "-m", "first", web_program("steadfast").path()]);
    let before = container(&host, "steadfast");
    let started = started_at(&before);
    until("it ticks", || ticks(&host, "steadfast") > 0);
    let (began, first) = (Instant::now(), ticks(&host, "steadfast"));
    let broken = Folder::new(&[
        (
            "Dockerfile",
            "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"sh\", \"-c\", \"/bin/busybox sleep 4; exit 7\"]\n",
        ),
        ("hersh.toml", "name = \"steadfast\"\n"),
    ]);
    let told = host.refused(1, &["deploy", broken.path()]);
    assert!(told.contains("revision 1 runs meanwhile"), "{told}");
    assert!(told.contains("revision 1 still runs"), "{told}");
    let (last, elapsed) = (ticks(&host, "steadfast"), began.elapsed().as_secs());
    // The clock of the counter and that of this test begin a second anew at other moments.
    assert!(
        last + 1 >= first + elapsed,
        "{first}, {last} after {elapsed} s"
    );
    assert!(elapsed >= 4, "the build took its time: {elapsed} s");
    assert_eq!(container(&host, "steadfast"), before);
    assert_eq!(started_at(&before), started);
    let listed = host.run(&["revisions", "steadfast"]);
    assert!(listed.contains("failed"), "{listed}");
    assert!(listed.contains("first"), "{listed}");
}

#[test]
fn a_revision_that_is_never_ready_gives_way_to_the_old_one() {
    let host = Host::start();
    host.run(&["deploy", web_program("relapsing").path()]);
    until_good(&host, "relapsing");
    host.run(&["send", "relapsing", "add 1000"]);
    until("it keeps the number", || {
        total(&host, "relapsing") == Some(1_000)
    });
    let manifest = "[timeouts]\nstart = \"5s\"\nstop = \"1s\"\n";
    let mute = shell_program("relapsing", "exec busybox sleep 600", manifest);
    let told = host.refused(1, &["deploy", mute.path()]);
    assert!(
        told.contains("revision 2 failed: not ready within"),
        "{told}"
    );
    assert!(told.contains("rolled back: revision 1 runs"), "{told}");
    assert_eq!(
        total(&host, "relapsing"),
        Some(1_000),
        "its context is whole"
    );
    let (status, body) = host.get("/programs/relapsing/watcher/status");
    assert_eq!(status, 200, "{body}");
    let listed = host.run(&["ps"]);
    assert!(listed.contains("revision 2 rolled back"), "{listed}");
    let diff = host.run(&["diff", "relapsing", "1", "2"]);
    assert!(diff.contains("+++ revision 2: Dockerfile"), "{diff}");
    assert!(diff.contains("counter: removed"), "{diff}");
}

#[test]
fn somebody_goes_back_to_the_revision_before() {
    let host = Host::start();
    let folder = web_program("undone");
    host.run(&["deploy", folder.path()]);
    until_good(&host, "undone");
    let manifest = "name = \"undone\"\n[env]\nLEVEL = \"two\"\n[timeouts]\nstop = \"1s\"\n";
    folder.write("hersh.toml", manifest);
    host.run(&["deploy", folder.path()]);
    assert_eq!(host.inspect("undone")["program"]["revision"], 2);
    let shown = host.run(&["rollback", "undone"]);
    assert!(shown.contains("undone is Ready, revision 1"), "{shown}");
    assert_eq!(host.get("/programs/undone/watcher/status").0, 200);
    let refused = host.refused(4, &["rollback", "undone", "9"]);
    assert!(refused.contains("no revision 9"), "{refused}");
}

#[test]
fn a_build_alone_leaves_what_runs_and_waits_for_a_restart() {
    let host = Host::start();
    let folder = web_program("prebuilt");
    host.run(&["deploy", folder.path()]);
    let before = container(&host, "prebuilt");
    folder.write("more.txt", "another tree");
    let told = host.run(&["deploy", "--build-only", folder.path()]);
    assert!(told.contains("revision 2 of prebuilt is built"), "{told}");
    assert!(told.contains("hersh restart prebuilt"), "{told}");
    assert_eq!(container(&host, "prebuilt"), before);
    let again = host.run(&["deploy", "--build-only", folder.path()]);
    assert!(again.contains("revision 2 of prebuilt is built"), "{again}");
    let listed = host.run(&["revisions", "prebuilt"]);
    assert!(listed.contains("wanted"), "{listed}");
    host.run(&["restart", "prebuilt"]);
    assert_eq!(host.inspect("prebuilt")["program"]["revision"], 2);
    let broken = "FROM scratch\nCOPY nowhere /counter\n";
    folder.write("Dockerfile", broken);
    let told = host.refused(1, &["deploy", "--build-only", folder.path()]);
    assert!(told.contains("revision 2 still runs"), "{told}");
}
