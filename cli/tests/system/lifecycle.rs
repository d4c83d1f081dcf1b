//! Programs from source to Ready and back, in real gVisor.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use crate::support::{
    self, COUNTER_DOCKERFILE, Folder, Host, containers, counter, shell_program, until, web_program,
};
use serde_json::Value;

fn total(host: &Host) -> Value {
    let vars: Value = serde_json::from_str(&host.run(&["-o", "json", "vars", "counter"])).unwrap();
    vars["context"]["total"].clone()
}

#[test]
fn the_counter_in_gvisor_keeps_its_total_across_restarts() {
    let host = Host::start();
    host.run(&["deploy", &counter()]);
    let inspected = host.inspect("counter");
    assert_eq!(inspected["program"]["state"], "Ready");
    let kernel = inspected["receipt"]["kernel"].as_str().unwrap();
    assert!(kernel.to_lowercase().contains("gvisor"), "{kernel}");

    let shown = host.run(&["inspect", "counter"]);
    let url = format!("{}/programs/counter/watcher/", host.address());
    assert!(shown.contains(&url), "{url} is not in {shown}");
    let compose = host.run(&["inspect", "counter", "--compose"]);
    assert!(compose.contains("runtime: \"runsc\""), "{compose}");
    let told = host.run(&["send", "counter", "add 1000", "--wait", "--key", "thousand"]);
    assert_eq!(told.trim(), "1000");
    // What is sent again under its key is not added again.
    let told = host.run(&["send", "counter", "add 1000", "--key", "thousand"]);
    assert!(
        told.contains("it is on disk; it came before under this key"),
        "{told}"
    );
    assert_eq!(total(&host), 1000);
    let inbox = host.run(&["-o", "json", "inbox", "counter"]);
    assert!(inbox.contains("\"setAside\": 0"), "{inbox}");
    let before = inspected["program"]["container_id"].clone();
    host.run(&["restart", "counter"]);
    let after = host.inspect("counter");
    assert_eq!(after["program"]["state"], "Ready");
    assert_ne!(
        after["program"]["container_id"], before,
        "a restart makes a new container"
    );
    assert!(
        total(&host).as_u64().unwrap() >= 1000,
        "the total survived: {}",
        total(&host)
    );

    host.run(&["stop", "counter"]);
    assert_eq!(host.state("counter"), "Stopped");
    assert!(containers("counter").is_empty());
    let told = host.refused(1, &["send", "counter", "add 1"]);
    assert!(told.contains("'hersh start counter' starts it"), "{told}");
    host.run(&["start", "counter"]);
    assert!(total(&host).as_u64().unwrap() >= 1000);
    host.run(&["rm", "counter"]);
    assert!(
        host.refused(4, &["inspect", "counter"])
            .contains("no program is named counter")
    );
    assert!(!host.data().join("programs/counter").exists());
}

#[test]
fn a_stop_during_a_long_build_ends_the_build_at_once() {
    let host = Host::start();
    let folder = Folder::new(&[
        (
            "Dockerfile",
            "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"sleep\", \"63\"]\n",
        ),
        ("hersh.toml", "name = \"slow-build\"\n"),
    ]);
    host.run(&["deploy", "--detach", folder.path()]);
    host.until("slow-build", "Building");
    let is_building = || !build_containers().is_empty();
    until("the build's container runs", is_building);

    let asked = Instant::now();
    let (status, body) = host.post("/programs/slow-build/stop");
    let answered = asked.elapsed();
    assert_eq!(status, 202, "{body}");
    let view: Value = serde_json::from_str(&body).unwrap();
    assert!(
        ["Stopping", "Stopped"].contains(&view["state"].as_str().unwrap()),
        "{view}"
    );
    assert!(
        answered < Duration::from_millis(100),
        "answered after {answered:?}"
    );
    let gone = until("the build is gone from the engine", || !is_building());
    assert!(gone < Duration::from_secs(10), "gone after {gone:?}");
    host.until("slow-build", "Stopped");
    assert!(containers("slow-build").is_empty());
}

/// Containers that run the long step of the test above.
fn build_containers() -> Vec<Value> {
    let is_sleep = |container: &Value| {
        container["Command"]
            .as_str()
            .is_some_and(|c| c.contains("sleep 63"))
    };
    support::all_containers()
        .into_iter()
        .filter(is_sleep)
        .collect()
}

#[test]
fn a_stop_during_starting_leaves_no_container() {
    let host = Host::start();
    let folder = shell_program(
        "never-ready",
        "exec busybox sleep 600",
        "[timeouts]\nstop = \"1s\"\n",
    );
    host.run(&["deploy", "--detach", folder.path()]);
    host.until("never-ready", "Starting");
    until("its container is there", || {
        !containers("never-ready").is_empty()
    });
    host.run(&["stop", "never-ready"]);
    assert_eq!(host.state("never-ready"), "Stopped");
    assert!(containers("never-ready").is_empty());
}

#[test]
fn an_ended_program_shows_its_last_lines_and_is_retried() {
    let host = Host::start();
    let folder = shell_program(
        "runs-out",
        "echo out of cheese; exit 3",
        "restart = \"never\"\n[readiness]\nkind = \"tcp\"\n",
    );
    let told = host.refused(1, &["deploy", folder.path()]);
    assert!(told.contains("exited with code 3"), "{told}");
    assert!(
        told.contains("out of cheese"),
        "the last lines travel with the cause: {told}"
    );
    let view = host.inspect("runs-out");
    assert_eq!(view["program"]["cause"]["code"], "exited");
    assert!(view["program"]["retry"].is_null());
    assert!(
        containers("runs-out").is_empty(),
        "the dead container is removed"
    );
    assert!(
        host.run(&["logs", "runs-out"]).contains("out of cheese"),
        "its log is kept"
    );
}

#[test]
fn a_ready_program_that_is_killed_comes_back_by_itself() {
    let host = Host::start();
    host.run(&["deploy", web_program("phoenix").path()]);
    let first = host.inspect("phoenix")["program"]["container_id"]
        .as_str()
        .unwrap()
        .to_string();
    let (status, body) = support::ask_engine("POST", &format!("/containers/{first}/kill"));
    assert_eq!(status, 204, "{body}");
    until("another container is Ready", || {
        let program = host.inspect("phoenix")["program"].clone();
        program["state"] == "Ready" && program["container_id"] != first.as_str()
    });
    assert_eq!(containers("phoenix").len(), 1);
}

#[test]
fn an_unchanged_tree_is_not_built_again() {
    let host = Host::start();
    let folder = web_program("edits");
    host.run(&["deploy", folder.path()]);
    let first = host.inspect("edits")["program"].clone();
    let output = host.command(&["deploy", folder.path()]).output().unwrap();
    let said = support::told(&output);
    assert!(said.contains("nothing was restarted"), "{said}");
    let same = host.inspect("edits")["program"].clone();
    assert_eq!(same["container_id"], first["container_id"]);
    // Another environment, and a restart that was asked for, build nothing.
    folder.write("hersh.toml", "name = \"edits\"\n[env]\nLEVEL = \"x\"\n");
    let mut last = same["container_id"].clone();
    for flags in [&[][..], &["--restart"]] {
        host.run(&[&["deploy", folder.path()], flags].concat());
        let again = host.inspect("edits")["program"].clone();
        assert_eq!(
            (&again["build_id"], &again["image_id"]),
            (&first["build_id"], &first["image_id"])
        );
        assert_ne!(again["container_id"], last);
        last = again["container_id"].clone();
    }

    let two = COUNTER_DOCKERFILE.replace("ENTRYPOINT", "ENV HERSH_WATCHER_ID=two\nENTRYPOINT");
    folder.write("Dockerfile", &two);
    host.run(&["deploy", folder.path()]);
    let changed = host.inspect("edits")["program"].clone();
    assert_ne!(changed["build_id"], first["build_id"]);
    assert_eq!(
        support::images("edits").len(),
        2,
        "the image of each revision stays"
    );
    let (status, body) = host.get("/programs/edits/watcher/status");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("two"), "the new source answers: {body}");
}

#[test]
fn only_the_watcher_is_reached_and_only_with_a_token() {
    let host = Host::start();
    host.run(&["deploy", web_program("guarded").path()]);
    assert_eq!(host.get("/programs/guarded/watcher/status").0, 200);
    assert_eq!(host.get("/programs/guarded/proxy/watcher/status").0, 200);
    for path in [
        "/programs/guarded/watcher/%2e%2e/secret",
        "/programs/guarded/www",
        "/programs/other/watcher/status",
    ] {
        assert_eq!(host.get(path).0, 404, "{path}");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_hersh"));
    let output = host
        .command(&["ps"])
        .env("HERSH_TOKEN", "hersh_wrong")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", support::told(&output));
    let output = command
        .args(["--token-file", "/nowhere", "ps"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", support::told(&output));
}

#[test]
fn logs_follow_across_a_restart() {
    let host = Host::start();
    let script = "echo line-from-$$; exec busybox sleep 600";
    let folder = shell_program(
        "talks",
        script,
        "[readiness]\nkind = \"none\"\n[timeouts]\nstop = \"1s\"\n",
    );
    host.run(&["deploy", folder.path()]);
    until("the first line is logged", || {
        host.run(&["logs", "talks"]).contains("line-from-")
    });
    host.run(&["restart", "talks"]);
    let mut following = host
        .command(&["logs", "-f", "talks"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let followed = std::io::BufReader::new(following.stdout.take().unwrap());
    let first = std::io::BufRead::lines(followed)
        .next()
        .expect("a line")
        .unwrap();
    assert!(first.starts_with("line-from-"), "{first}");
    following.kill().unwrap();
    following.wait().unwrap();
    until("both runs are in the log", || {
        host.run(&["logs", "talks"]).matches("line-from-").count() == 2
    });
    let build = host.run(&["logs", "--build", "talks"]);
    assert!(build.contains("COPY busybox"), "{build}");
}

#[test]
fn a_program_that_fills_its_state_is_ended_and_not_tried_again() {
    let host = Host::start();
    let script = "busybox dd if=/dev/zero of=/state/big bs=1024 count=3000; exec busybox sleep 600";
    let manifest =
        "[resources]\nstate = \"1MiB\"\n[readiness]\nkind = \"none\"\n[timeouts]\nstop = \"1s\"\n";
    host.run(&["deploy", shell_program("hoards", script, manifest).path()]);
    host.until("hoards", "Error");
    let program = host.inspect("hoards")["program"].clone();
    assert_eq!(
        program["cause"]["code"], "state_quota_exceeded",
        "{program}"
    );
    assert!(program["retry"].is_null(), "{program}");
    assert!(containers("hoards").is_empty());
}

#[test]
fn ctrl_c_during_a_deploy_says_that_the_host_goes_on() {
    let host = Host::start();
    let folder = Folder::new(&[
        (
            "Dockerfile",
            "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"sleep\", \"47\"]\n",
        ),
        ("hersh.toml", "name = \"patient\"\n"),
    ]);
    let mut command = host.command(&["deploy", folder.path()]);
    let mut child = command
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    // Its build is on the screen, so it is waiting for the end.
    lines
        .find(|line| line.as_ref().unwrap().contains("sleep"))
        .expect("the build is shown")
        .unwrap();
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let last = lines.map(Result::unwrap).last().expect("a last word");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(last.contains("'hersh stop patient' ends it"), "{last}");
    assert_eq!(host.state("patient"), "Building");
    host.run(&["stop", "patient"]);
}

#[test]
fn a_program_without_a_network_is_found_again_by_its_socket() {
    let host = Host::start();
    let folder = web_program("offline");
    let manifest = "name = \"offline\"\nnetwork = \"none\"\n[resources]\nmemory = \"64MiB\"\n";
    folder.write("hersh.toml", manifest);
    host.run(&["deploy", folder.path()]);
    assert_eq!(host.state("offline"), "Ready");
    host.run(&["send", "offline", "add 1000"]);
    let total = || {
        let vars = host.run(&["-o", "json", "vars", "offline"]);
        let vars: Value = serde_json::from_str(&vars).unwrap();
        vars["context"]["total"].as_u64().unwrap_or(0)
    };
    until("the message is counted", || total() >= 1000);
    // Each start finds the socket of the one before, which the program itself can't remove.
    host.run(&["restart", "offline"]);
    assert!(total() >= 1000);
    let container = host.inspect("offline")["program"]["container_id"].clone();
    let killed = format!("/containers/{}/kill", container.as_str().unwrap());
    assert_eq!(support::ask_engine("POST", &killed).0, 204);
    until("it runs again", || {
        let program = host.inspect("offline")["program"].clone();
        program["state"] == "Ready" && program["container_id"] != container
    });
    assert!(total() >= 1000);
}

#[test]
fn a_link_in_place_of_the_socket_leads_nowhere() {
    let host = Host::start();
    let script = "busybox ln -s /run/docker.sock /state/watcher.sock; exec busybox sleep 600";
    let manifest = "network = \"none\"\nrestart = \"never\"\n[readiness]\nkind = \"tcp\"\n[timeouts]\nstart = \"5s\"\nstop = \"1s\"\n";
    let folder = shell_program("linked", script, manifest);
    let told = host.refused(1, &["deploy", folder.path()]);
    assert!(
        told.contains("watcher.sock") && told.contains("a symbolic link"),
        "{told}"
    );
}
