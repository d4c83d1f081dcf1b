//! What is told of programs is how they are, and each deploy tells of what it sent itself.

use serde_json::{Value, json};

use crate::made_up::{Answer, MadeUp, problem, program, told};

const SHOP: &str = "GET /programs/shop";
const AWAY: &str = "the container engine can't start programs";

/// A folder with a program called `shop`.
pub(crate) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "Dockerfile",
        "FROM scratch\nCOPY hersh.toml /\nCMD [\"/a\"]\n",
    );
    write("hersh.toml", "name = \"shop\"\n");
    folder
}

fn stored() -> String {
    json!({
        "program_id": "shop", "build_id": "build-mine", "owner": "ann", "state": "Ready",
        "proxy_url": "/programs/shop/watcher/", "created_at_ms": 1,
    })
    .to_string()
}

fn absent() -> String {
    problem(404, "not_found", "no program is named shop")
}

fn taken() -> Answer {
    let taken = problem(409, "already_exists", "there is a program called shop");
    ("POST /programs", 409, taken)
}

#[test]
fn the_later_of_two_first_deploys_tells_of_its_own_source() {
    let home = tempfile::tempdir().unwrap();
    for (runs, code, said) in [
        ("build-mine", 0, ""),
        ("build-theirs", 1, "another deploy overtook this one"),
    ] {
        let theirs = json!({ "state": "Building", "run_build_id": "build-theirs" });
        let waiting = json!({ "run_build_id": "build-theirs", "has_newer_source": true });
        let host = MadeUp::host(vec![
            (SHOP, 404, absent()),
            taken(),
            (SHOP, 200, program(&theirs)),
            ("PUT /programs/shop/source", 200, stored()),
            (SHOP, 200, program(&waiting)),
            (
                "POST /programs/shop/restart",
                200,
                program(&json!({ "state": "Building" })),
            ),
            (SHOP, 200, program(&json!({ "run_build_id": runs }))),
        ]);
        let folder = folder();
        let output = host.run(home.path(), &["deploy", folder.path().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(code), "{}", told(&output));
        assert!(told(&output).contains(said), "{}", told(&output));
        let shown = String::from_utf8_lossy(&output.stdout);
        assert_eq!(shown.contains("shop is Ready"), code == 0, "{shown}");
        let changes = host.asked();
        let changes: Vec<&str> = changes
            .iter()
            .map(String::as_str)
            .filter(|asked| !asked.starts_with("GET "))
            .collect();
        let expected = [
            "POST /programs",
            "PUT /programs/shop/source",
            "POST /programs/shop/restart",
        ];
        assert_eq!(changes, expected);
    }
}

#[test]
fn a_name_that_a_stranger_took_meanwhile_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let host = MadeUp::host(vec![(SHOP, 404, absent()), taken()]);
    let folder = folder();
    let output = host.run(home.path(), &["deploy", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3), "{}", told(&output));
    assert!(
        told(&output).contains("there is a program called shop"),
        "{}",
        told(&output)
    );
    assert!(!host.asked().iter().any(|asked| asked.starts_with("PUT ")));
}

/// A host whose engine is away, with one program that was Ready and one that was stopped.
fn without_engine() -> MadeUp {
    let ready: Value = serde_json::from_str(&program(&json!({}))).unwrap();
    let mut stopped = ready.clone();
    stopped["program_id"] = "old".into();
    stopped["state"] = "Stopped".into();
    let list = json!({ "programs": [ready, stopped] }).to_string();
    MadeUp::host(vec![
        ("GET /programs", 200, list),
        ("GET /readyz", 503, problem(503, "engine_unavailable", AWAY)),
        (SHOP, 200, program(&json!({}))),
        ("GET /programs/shop/receipt", 404, absent()),
        ("PUT /programs/shop/source", 200, stored()),
    ])
}

#[test]
fn nothing_is_shown_as_running_while_the_engine_is_away() {
    let home = tempfile::tempdir().unwrap();
    let host = without_engine();
    for arguments in [&["ps"][..], &["inspect", "shop"]] {
        let output = host.run(home.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        let shown = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(shown.contains("unknown, was Ready"), "{shown}");
        assert_eq!(shown.matches("Ready").count(), 1, "{shown}");
        assert!(told(&output).contains(AWAY), "{}", told(&output));
        let json = host.run(home.path(), &[arguments, &["-o", "json"]].concat());
        let json: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(json["not_seen_because"], AWAY, "{json}");
    }
    let output = host.run(home.path(), &["ps"]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("Stopped"), "{shown}");
}

#[test]
fn an_unchanged_deploy_is_not_said_to_run_without_an_engine() {
    let home = tempfile::tempdir().unwrap();
    let host = without_engine();
    let folder = folder();
    let output = host.run(home.path(), &["deploy", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(7), "{}", told(&output));
    assert!(!told(&output).contains("and runs"), "{}", told(&output));
    assert!(told(&output).contains(AWAY), "{}", told(&output));
}

#[test]
fn a_host_that_is_full_still_sees_what_runs() {
    let home = tempfile::tempdir().unwrap();
    let list = format!("{{\"programs\":[{}]}}", program(&json!({})));
    let full = problem(507, "storage_full", "the disk is full");
    let host = MadeUp::host(vec![
        ("GET /programs", 200, list),
        ("GET /readyz", 507, full),
    ]);
    let output = host.run(home.path(), &["ps"]);
    let shown = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(shown.contains("Ready"), "{shown}");
    assert!(!shown.contains("unknown"), "{shown}");
}
