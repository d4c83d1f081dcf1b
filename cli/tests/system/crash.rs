//! `kill -9` of the host in every state that something runs in: on the next start state and
//! engine agree, nothing is duplicated, nothing orphaned, a Ready program was not interrupted.

use crate::support::{self, Folder, Host, containers, shell_program, until, web_program};

#[test]
fn killed_while_building() {
    let mut host = Host::start();
    let folder = Folder::new(&[
        (
            "Dockerfile",
            "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"sleep\", \"7\"]\nENTRYPOINT [\"/bin/busybox\", \"sleep\", \"600\"]\n",
        ),
        (
            "hersh.toml",
            "name = \"cut-build\"\n[readiness]\nkind = \"none\"\n[timeouts]\nstop = \"1s\"\n",
        ),
    ]);
    host.run(&["deploy", "--detach", folder.path()]);
    host.until("cut-build", "Building");
    host.kill();
    host.start_again();
    host.until("cut-build", "Ready");
    assert_eq!(containers("cut-build").len(), 1);
    let is_step = |container: &serde_json::Value| {
        let command = container["Command"].as_str().unwrap_or_default();
        command.contains("sleep 7")
    };
    assert!(
        !support::all_containers().iter().any(is_step),
        "no step of the cut build is left"
    );
}

#[test]
fn killed_while_starting() {
    let mut host = Host::start();
    let script = "busybox sleep 3; mkdir -p /tmp/w/watcher; echo ok > /tmp/w/watcher/status; exec busybox httpd -f -p 8080 -h /tmp/w";
    let script = script.replace("mkdir", "busybox mkdir");
    let folder = shell_program("cut-start", &script, "[timeouts]\nstop = \"1s\"\n");
    host.run(&["deploy", "--detach", folder.path()]);
    host.until("cut-start", "Starting");
    until("its container is there", || {
        !containers("cut-start").is_empty()
    });
    host.kill();
    host.start_again();
    host.until("cut-start", "Ready");
    assert_eq!(containers("cut-start").len(), 1);
}

#[test]
fn killed_while_ready_the_program_never_notices() {
    let mut host = Host::start();
    host.run(&["deploy", web_program("steady").path()]);
    let before = host.inspect("steady")["program"]["container_id"].clone();
    let started = support::started_at(before.as_str().unwrap());
    host.kill();
    assert_eq!(containers("steady").len(), 1);
    host.start_again();
    assert_eq!(host.state("steady"), "Ready");
    assert_eq!(host.inspect("steady")["program"]["container_id"], before);
    assert_eq!(
        support::started_at(before.as_str().unwrap()),
        started,
        "it never ended"
    );
    assert_eq!(host.get("/programs/steady/watcher/status").0, 200);
    assert_eq!(containers("steady").len(), 1);
}

#[test]
fn killed_while_ready_a_program_that_died_meanwhile_comes_back() {
    let mut host = Host::start();
    host.run(&["deploy", web_program("died").path()]);
    let before = host.inspect("died")["program"]["container_id"]
        .as_str()
        .unwrap()
        .to_string();
    host.kill();
    let (status, body) = support::ask_engine("POST", &format!("/containers/{before}/kill"));
    assert_eq!(status, 204, "{body}");
    host.start_again();
    until("it runs again", || {
        let program = host.inspect("died")["program"].clone();
        program["state"] == "Ready" && program["container_id"] != before.as_str()
    });
    assert_eq!(containers("died").len(), 1);
}

#[test]
fn killed_while_stopping() {
    let mut host = Host::start();
    // Deaf to SIGTERM, so that the stop lasts as long as its grace period.
    let script = "trap '' TERM; while true; do busybox sleep 1; done";
    let folder = shell_program(
        "cut-stop",
        script,
        "[readiness]\nkind = \"none\"\n[timeouts]\nstop = \"5s\"\n",
    );
    host.run(&["deploy", folder.path()]);
    host.run(&["stop", "--detach", "cut-stop"]);
    assert_eq!(host.state("cut-stop"), "Stopping");
    host.kill();
    host.start_again();
    host.until("cut-stop", "Stopped");
    assert!(containers("cut-stop").is_empty());
}

#[test]
fn killed_while_removing() {
    let mut host = Host::start();
    let script = "trap '' TERM; while true; do busybox sleep 1; done";
    let folder = shell_program(
        "cut-rm",
        script,
        "[readiness]\nkind = \"none\"\n[timeouts]\nstop = \"3s\"\n",
    );
    host.run(&["deploy", folder.path()]);
    host.run(&["rm", "--detach", "cut-rm"]);
    host.kill();
    host.start_again();
    until("it is gone", || host.get("/programs/cut-rm").0 == 404);
    assert!(containers("cut-rm").is_empty());
    assert!(!host.data().join("programs/cut-rm").exists());
}

#[test]
fn a_second_host_on_the_same_folder_is_refused() {
    let host = Host::start();
    let output = support::hersh()
        .args(["host", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(host.data())
        .arg("--engine")
        .arg(support::engine())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", support::told(&output));
    assert!(
        support::told(&output).contains("another host uses"),
        "{}",
        support::told(&output)
    );
}

#[test]
fn a_token_from_the_machine_lists_and_ends_the_others() {
    let mut host = Host::start();
    host.terminate();
    let token = |more: &[&str]| {
        let mut command = support::hersh();
        command.args(["host", "token", "--data-dir"]);
        command.arg(host.data()).args(more).output().unwrap()
    };
    let listed = token(&[]);
    let (shown, said) = (&listed.stdout, support::told(&listed));
    let shown = String::from_utf8_lossy(shown);
    assert!(listed.status.success(), "{said}");
    assert!(said.contains("2 tokens valid now"), "{said}");
    assert!(
        shown.contains("TOKEN") && shown.contains("--revoke-others")
            || said.contains("--revoke-others")
    );
    assert!(!shown.contains("hersh_"), "no token itself: {shown}");
    let ended = token(&["--revoke-others"]);
    let shown = String::from_utf8_lossy(&ended.stdout);
    assert!(shown.contains("2 other tokens revoked"), "{shown}");
}

#[test]
fn a_journal_is_backed_up_beside_a_host_and_restored_without() {
    let mut host = Host::start();
    host.run(&["deploy", web_program("kept").path()]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let with_journal = |task: &str| {
        let mut command = support::hersh();
        command.args(["-o", "json", "host", task]);
        if task != "check" {
            command.arg(&file);
        }
        command.arg("--data-dir").arg(host.data()).output().unwrap()
    };
    let output = with_journal("backup");
    assert!(output.status.success(), "{}", support::told(&output));
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(made["programs"], 1);
    let output = with_journal("restore");
    assert_eq!(output.status.code(), Some(1), "{}", support::told(&output));
    let output = with_journal("check");
    assert!(output.status.success(), "{}", support::told(&output));

    // What is younger than the backup is not known afterwards, but its state is not lost.
    let manifest = "[readiness]\nkind = \"none\"\n[timeouts]\nstop = \"1s\"\n";
    let script = "echo mine > /state/mine; exec busybox sleep 600";
    host.run(&["deploy", shell_program("younger", script, manifest).path()]);
    until("it has state", || {
        host.data().join("programs/younger/state/mine").exists()
    });
    let container = host.inspect("kept")["program"]["container_id"].clone();
    host.terminate();
    let restore = || {
        let mut command = support::hersh();
        let command = command.args(["host", "restore"]).arg(&file);
        command.arg("--data-dir").arg(host.data()).output().unwrap()
    };
    let output = restore();
    assert!(output.status.success(), "{}", support::told(&output));
    assert!(
        support::told(&output).contains("before-restore"),
        "{}",
        support::told(&output)
    );
    host.start_again();
    assert_eq!(host.state("kept"), "Ready");
    assert_eq!(host.inspect("kept")["program"]["container_id"], container);
    assert_eq!(host.get("/programs/younger").0, 404);
    assert!(containers("younger").is_empty());
    let mut aside = std::fs::read_dir(host.data().join("set-aside")).unwrap();
    let aside = aside
        .next()
        .expect("its folder is set aside")
        .unwrap()
        .path();
    assert_eq!(
        std::fs::read_to_string(aside.join("state/mine")).unwrap(),
        "mine\n"
    );
}
