//! `hersh host config`, which needs neither engine nor host.

use std::process::Output;

use serde_json::Value;

use crate::support::{hersh, told};

fn config(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    hersh()
        .env_remove("HERSH_LISTEN")
        .envs(variables.iter().copied())
        .arg("host")
        .args(arguments)
        .output()
        .unwrap()
}

/// Value and origin of a setting.
fn shown(output: &Output, key: &str) -> (String, String) {
    assert!(output.status.success(), "{}", told(output));
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let row = rows.into_iter().find(|row| row["key"] == key).unwrap();
    let text = |field: &str| row[field].as_str().unwrap().to_owned();
    (text("value"), text("origin"))
}

#[test]
fn settings_are_read_from_file_environment_and_flags_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("host.toml");
    std::fs::write(&file, "listen = \"127.0.0.1:1\"\n").unwrap();
    let path = file.to_str().unwrap();
    let ask = |variables: &[(&str, &str)], arguments: &[&str]| {
        let output = config(
            variables,
            &[&["config", "-o", "json", "--config", path], arguments].concat(),
        );
        shown(&output, "listen")
    };
    let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(
        ask(&[], &[]),
        pair("127.0.0.1:1", &format!("file {path} line 1"))
    );
    let variable = ("HERSH_LISTEN", "127.0.0.1:2");
    assert_eq!(
        ask(&[variable], &[]),
        pair("127.0.0.1:2", "environment HERSH_LISTEN")
    );
    let flag = ["--listen", "127.0.0.1:3"];
    assert_eq!(
        ask(&[variable], &flag),
        pair("127.0.0.1:3", "flag --listen")
    );

    // Flags count on either side of the word `config`, and a switch needs no value.
    let before = config(
        &[],
        &[
            "--listen",
            "127.0.0.1:4",
            "--insecure-runc",
            "config",
            "-o",
            "json",
        ],
    );
    assert_eq!(
        shown(&before, "listen"),
        pair("127.0.0.1:4", "flag --listen")
    );
    assert_eq!(
        shown(&before, "insecure_runc"),
        pair("true", "flag --insecure-runc")
    );
    let off = config(&[], &["config", "-o", "json", "--insecure-runc=false"]);
    assert_eq!(shown(&off, "insecure_runc").0, "false");
}

#[test]
fn bad_settings_are_refused_with_their_place_before_serving() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("host.toml");
    std::fs::write(&file, "\nlistne = \"127.0.0.1:1\"\n").unwrap();
    for arguments in [vec!["config"], vec![]] {
        let output = config(&[("HERSH_CONFIG", file.to_str().unwrap())], &arguments);
        assert_eq!(output.status.code(), Some(3), "{}", told(&output));
        let message = told(&output);
        assert!(
            message.contains("line 2: no setting \"listne\": did you mean listen?"),
            "{message}"
        );
    }
    let public = config(&[], &["config", "--listen", "0.0.0.0:7700"]);
    assert_eq!(public.status.code(), Some(3), "{}", told(&public));
    assert!(
        told(&public).contains("--behind-tls-proxy"),
        "{}",
        told(&public)
    );
    let shown = String::from_utf8_lossy(&public.stdout);
    assert!(
        shown.contains("flag --listen"),
        "the table is there all the same: {shown}"
    );
}

#[test]
fn the_file_of_defaults_is_a_settings_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("host.toml");
    std::fs::write(&file, config(&[], &["config", "--defaults"]).stdout).unwrap();
    let output = config(&[], &["config", "--config", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", told(&output));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("file "));
}
