//! What is asked on a terminal: a real one, which `script` of util-linux makes.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::json;

use crate::made_up::{MadeUp, program, told};

const REMOVAL: &str = "DELETE /programs/shop";

fn host(state: &str) -> MadeUp {
    MadeUp::host(vec![
        (
            "GET /programs/shop",
            200,
            program(&json!({ "state": state })),
        ),
        (REMOVAL, 204, String::new()),
    ])
}

/// Runs `hersh ARGUMENTS` on a terminal at which `typed` is typed.
fn on_terminal(host: &MadeUp, home: &Path, arguments: &str, typed: &str) -> Output {
    let hersh = env!("CARGO_BIN_EXE_hersh");
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--command"])
        .arg(format!("{hersh} --host {} {arguments}", host.address()))
        .arg("/dev/null")
        .env("HOME", home)
        .env("HERSH_TOKEN", "hersh_x")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script is a part of every Debian");
    let mut keyboard = script.stdin.take().unwrap();
    keyboard.write_all(typed.as_bytes()).unwrap();
    // A command that asks nothing may have ended before; an open end is no end of the terminal.
    let output = script.wait_with_output().unwrap();
    drop(keyboard);
    output
}

fn removals(host: &MadeUp) -> usize {
    let asked = host.asked();
    asked.iter().filter(|asked| *asked == REMOVAL).count()
}

#[test]
fn to_remove_what_runs_is_asked_on_a_terminal() {
    let home = tempfile::tempdir().unwrap();
    for (typed, code, removed) in [("n\n", 130, 0), ("\n", 130, 0), ("y\n", 0, 1)] {
        let host = host("Ready");
        let output = on_terminal(&host, home.path(), "rm shop", typed);
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(shown.contains("Remove it? [y/N]"), "{typed:?}: {shown}");
        assert_eq!(output.status.code(), Some(code), "{typed:?}: {shown}");
        assert_eq!(removals(&host), removed, "{typed:?}: {shown}");
        assert_eq!(shown.contains("stays as it is"), removed == 0, "{shown}");
    }
}

#[test]
fn to_remove_is_not_asked_without_need() {
    let home = tempfile::tempdir().unwrap();
    for (state, arguments) in [("Ready", "rm --yes shop"), ("Stopped", "rm shop")] {
        let host = host(state);
        let output = on_terminal(&host, home.path(), arguments, "");
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(!shown.contains("[y/N]"), "{shown}");
        assert_eq!(output.status.code(), Some(0), "{shown}");
        assert_eq!(removals(&host), 1, "{shown}");
    }
}

/// Scripts that remove what runs were written before anybody was asked.
#[test]
fn to_remove_without_a_terminal_asks_nobody() {
    let home = tempfile::tempdir().unwrap();
    let host = host("Ready");
    let output = host.run(home.path(), &["rm", "shop"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert_eq!(removals(&host), 1);
}
