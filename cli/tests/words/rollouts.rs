//! Deploys over a program that runs, the way back, and what is told of revisions.

use serde_json::{Value, json};

use crate::{
    deploys::folder,
    made_up::{Answer, MadeUp, problem, program, told},
};

const SHOP: &str = "GET /programs/shop";
const RESTART: &str = "POST /programs/shop/restart";

/// The program with revision 6 as the current one, and changes.
fn shop(change: &Value) -> String {
    let mut view = json!({ "revision": 6, "wanted_revision": 6, "image_id": "sha256:6" });
    let change = change.as_object().unwrap().clone();
    view.as_object_mut().unwrap().extend(change);
    program(&view)
}

fn rollout(step: &str) -> Value {
    json!({ "revision": 7, "step": step, "fallback": 6 })
}

/// The end of revision 7.
fn end(outcome: &str, more: &Value) -> Value {
    let mut end = json!({ "revision": 7, "outcome": outcome, "at_ms": 1 });
    let more = more.as_object().unwrap().clone();
    end.as_object_mut().unwrap().extend(more);
    json!({ "last_rollout": end })
}

fn cause() -> Value {
    json!({ "code": "exited", "message": "exited with code 3", "logs": ["out of cheese"] })
}

/// What a host answers to a deploy of revision 7 over revision 6, up to its first look at what became of it.
fn begun() -> Vec<Answer> {
    let stored = json!({
        "program_id": "shop", "build_id": "build-mine", "revision": 7, "owner": "ann",
        "state": "Ready", "proxy_url": "/programs/shop/watcher/", "created_at_ms": 1,
    });
    let line = json!({ "line": "step 1 of 2" });
    vec![
        (SHOP, 200, shop(&json!({}))),
        ("PUT /programs/shop/source", 200, stored.to_string()),
        (
            SHOP,
            200,
            shop(&json!({ "wanted_revision": 7, "has_newer_source": true })),
        ),
        (
            RESTART,
            202,
            shop(&json!({ "rollout": rollout("building") })),
        ),
        (
            "GET /programs/shop/builds/build-mine/logs",
            200,
            format!("data: {line}\n\n"),
        ),
    ]
}

fn deploy(looks: Vec<(u16, String)>) -> std::process::Output {
    let home = tempfile::tempdir().unwrap();
    let looks = looks.into_iter().map(|(status, text)| (SHOP, status, text));
    let host = MadeUp::host(begun().into_iter().chain(looks).collect());
    let folder = folder();
    let path = folder.path().to_str().unwrap();
    host.run(home.path(), &["deploy", path, "-m", "faster"])
}

fn failed_with(output: &std::process::Output, parts: &[&str]) {
    let said = told(output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[test]
fn a_build_that_fails_is_told_with_what_still_runs() {
    let cause = json!({ "code": "build_failed", "message": "no such file", "logs": ["x"] });
    let failed = end("failed", &json!({ "cause": cause }));
    let output = deploy(vec![(200, shop(&failed))]);
    failed_with(
        &output,
        &[
            "revision 7 is being built; revision 6 runs meanwhile",
            "  step 1 of 2",
            "revision 7 failed: no such file; revision 6 still runs",
        ],
    );
    assert!(!told(&output).contains("| x"), "the log was shown");
}

#[test]
fn a_roll_back_is_told_with_its_cause_and_last_lines() {
    let up = json!({ "revision": 7, "rollout": rollout("settling") });
    let back = end("rolled_back", &json!({ "to": 6, "cause": cause() }));
    let output = deploy(vec![(200, shop(&up)), (200, shop(&back))]);
    failed_with(
        &output,
        &[
            "revision 7 is Ready; revision 6 comes back if it ends within 10 s",
            "revision 7 failed: exited with code 3",
            "  | out of cheese",
            "rolled back: revision 6 runs",
        ],
    );
}

#[test]
fn a_newer_deploy_is_told_before_it_is_done() {
    let by = end("superseded", &json!({ "by": 8 }));
    let mut building = by.clone();
    building["rollout"] = json!({ "revision": 8, "step": "building", "fallback": 6 });
    let waiting = problem(504, "wait_timed_out", "still Ready");
    let output = deploy(vec![(504, waiting), (200, shop(&building))]);
    failed_with(&output, &["deploy of revision 8 took its place"]);
}

#[test]
fn a_deploy_is_done_once_its_revision_has_settled() {
    let up = shop(&json!({ "revision": 7, "rollout": rollout("settling") }));
    let mut settled = end("settled", &json!({}));
    settled["revision"] = 7.into();
    let output = deploy(vec![(200, up.clone()), (200, up), (200, shop(&settled))]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert_eq!(told(&output).matches("comes back if").count(), 1);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("shop is Ready, revision 7"), "{shown}");
}

#[test]
fn a_message_that_no_host_takes_is_not_sent() {
    let home = tempfile::tempdir().unwrap();
    let host = MadeUp::host(begun());
    let folder = folder();
    let path = folder.path().to_str().unwrap();
    let output = host.run(home.path(), &["deploy", path, "-m", "two\nlines"]);
    assert_eq!(output.status.code(), Some(3), "{}", told(&output));
    assert!(told(&output).contains("--message"), "{}", told(&output));
    assert_eq!(host.asked(), Vec::<String>::new());
}

#[test]
fn a_restart_whose_revision_failed_has_failed() {
    let home = tempfile::tempdir().unwrap();
    let back = end("rolled_back", &json!({ "to": 6, "cause": cause() }));
    let host = MadeUp::host(vec![
        (
            RESTART,
            202,
            shop(&json!({ "rollout": rollout("building") })),
        ),
        (SHOP, 200, shop(&back)),
    ]);
    let output = host.run(home.path(), &["restart", "shop"]);
    failed_with(&output, &["rolled back: revision 6 runs"]);
}

#[test]
fn a_roll_back_says_what_runs_then() {
    let home = tempfile::tempdir().unwrap();
    let back = json!({ "revision": 7, "rollout": { "revision": 6, "step": "building", "fallback": 7, "image_id": "sha256:6" } });
    let host = MadeUp::host(vec![
        ("POST /programs/shop/rollback", 202, shop(&back)),
        (SHOP, 200, shop(&json!({}))),
    ]);
    for arguments in [&["rollback", "shop"][..], &["rollback", "shop", "6"]] {
        let output = host.run(home.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        let said = told(&output);
        assert!(said.contains("revision 7 runs meanwhile"), "{said}");
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(shown.contains("shop is Ready, revision 6"), "{shown}");
    }
    let refused = problem(404, "not_found", "there is no revision 9");
    let host = MadeUp::host(vec![("POST /programs/shop/rollback", 404, refused)]);
    let output = host.run(home.path(), &["rollback", "shop", "9"]);
    assert_eq!(output.status.code(), Some(4), "{}", told(&output));
}

/// Two revisions with other memory.
fn revisions() -> Answer {
    let revision = |number: u64, memory: &str| {
        json!({
            "revision": number, "build_id": format!("build-{number}"), "good": number == 6,
            "current": number == 6, "made_at_ms": 1, "by": "ann", "message": "faster",
            "manifest": { "resources": { "memory": memory } },
        })
    };
    let list = json!({ "revisions": [revision(7, "128MiB"), revision(6, "64MiB")] });
    ("GET /programs/shop/revisions", 200, list.to_string())
}

#[test]
fn revisions_are_a_table_for_people_and_json_for_programs() {
    let home = tempfile::tempdir().unwrap();
    let failed = end("failed", &json!({ "cause": cause() }));
    let host = MadeUp::host(vec![revisions(), (SHOP, 200, shop(&failed))]);
    let output = host.run(home.path(), &["revisions", "shop"]);
    let shown = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("REVISION   STATE"), "{shown}");
    assert!(lines[1].starts_with("7          failed"), "{shown}");
    assert!(lines[2].starts_with("6          running"), "{shown}");
    assert!(lines[2].ends_with("faster"), "{shown}");
    let output = host.run(home.path(), &["revisions", "shop", "-o", "json"]);
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list["revisions"][0]["revision"], 7);
}

/// A tree as the host hands it back. All of it is text.
fn tree(steps: &str) -> Answer {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(steps.len() as u64);
    header.set_mode(0o644);
    archive
        .append_data(&mut header, "Dockerfile", steps.as_bytes())
        .unwrap();
    let text = String::from_utf8(archive.into_inner().unwrap()).unwrap();
    ("GET /programs/shop/source", 200, text)
}

#[test]
fn two_revisions_are_compared_by_settings_and_lines() {
    let home = tempfile::tempdir().unwrap();
    let trees = || [tree("FROM a\n"), tree("FROM b\n")];
    let host = || MadeUp::host([vec![revisions()], trees().to_vec()].concat());
    let output = host().run(home.path(), &["diff", "shop", "6", "7"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let shown = String::from_utf8(output.stdout).unwrap();
    for part in [
        "--- revision 6: settings",
        "-memory = \"64MiB\"",
        "+memory = \"128MiB\"",
        "+++ revision 7: Dockerfile",
        "-FROM a",
        "+FROM b",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    let output = host().run(home.path(), &["diff", "shop", "6", "7", "-o", "json"]);
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["files"][0]["path"], "Dockerfile");
    assert_eq!(object["files"][0]["change"], "changed");
    let output = host().run(home.path(), &["diff", "shop", "6", "9"]);
    assert_eq!(output.status.code(), Some(3), "{}", told(&output));
    assert!(told(&output).contains("no revision 9"), "{}", told(&output));
}
