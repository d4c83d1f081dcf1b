//! How failures are told.

use serde_json::Value;

use crate::made_up::{MadeUp, hersh, problem, told};

#[test]
fn failures_are_objects_for_programs_and_sentences_for_people() {
    let home = tempfile::tempdir().unwrap();
    let output = hersh(home.path())
        .args(["-o", "json", "--host", "http://127.0.0.1:1", "ps"])
        .env("HERSH_TOKEN", "hersh_x")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", told(&output));
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(error["error"]["code"], "unreachable");
    assert_eq!(error["error"]["exit_code"], 6);
    assert!(
        told(&output).starts_with("hersh: no host answers"),
        "{}",
        told(&output)
    );
}

#[test]
fn an_empty_token_is_said_to_be_empty() {
    let home = tempfile::tempdir().unwrap();
    let output = hersh(home.path())
        .arg("ps")
        .env("HERSH_TOKEN", "")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(
        told(&output).contains("HERSH_TOKEN is empty"),
        "{}",
        told(&output)
    );
}

#[test]
fn a_member_is_told_of_the_own_token_file_and_of_hersh_host() {
    let home = tempfile::tempdir().unwrap();
    let far = |token: bool| {
        let mut command = hersh(home.path());
        command
            .env("HERSH_HOST", "https://hersh.invalid:7700")
            .arg("ps");
        if token {
            let folder = home.path().join(".config/hersh");
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("token"), "hersh_x\n").unwrap();
        }
        command.output().unwrap()
    };
    let output = far(false);
    assert_eq!(output.status.code(), Some(5));
    let said = told(&output);
    assert!(said.contains(".config/hersh/token"), "{said}");
    assert!(!said.contains("admin-token"), "{said}");
    let output = far(true);
    assert_eq!(output.status.code(), Some(6), "{}", told(&output));
    assert!(told(&output).contains("HERSH_HOST"), "{}", told(&output));
}

#[test]
fn a_part_of_the_watchers_api_is_shown_and_the_rest_is_named() {
    let home = tempfile::tempdir().unwrap();
    let context = r#"{"context":{"n":5}}"#.to_owned();
    let part = MadeUp::host(vec![("GET /programs/p/watcher/context", 200, context)]);
    let output = part.run(home.path(), &["vars", "p"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let shown = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(shown.contains("context") && shown.contains('5'), "{shown}");
    assert!(
        told(&output).contains("GET /watcher/varState"),
        "{}",
        told(&output)
    );

    let nothing = MadeUp::host(Vec::new());
    let output = nothing.run(home.path(), &["vars", "p"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told(&output).contains("GET /watcher/context"),
        "{}",
        told(&output)
    );
    let output = nothing.run(home.path(), &["send", "p", "-5"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told(&output).contains("POST /watcher/message"),
        "{}",
        told(&output)
    );

    let taken = r#"{"status":"taken"}"#.to_owned();
    let takes = MadeUp::host(vec![("POST /programs/p/watcher/message", 200, taken)]);
    for message in ["-5", "--flag", "-x y"] {
        let output = takes.run(home.path(), &["send", "p", message]);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{message}: {}",
            told(&output)
        );
        assert_eq!(output.stdout, b"taken\n");
    }
    let output = takes.run(home.path(), &["send", "p", "add", "-5", "-o", "json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["status"], "taken");
}

#[test]
fn a_program_that_is_not_there_is_the_hosts_word() {
    let home = tempfile::tempdir().unwrap();
    let gone = MadeUp::host(vec![(
        "GET /programs/p/watcher/varState",
        404,
        problem(404, "not_found", "no program is named p"),
    )]);
    let output = gone.run(home.path(), &["vars", "p"]);
    assert_eq!(output.status.code(), Some(4), "{}", told(&output));
}

#[test]
fn wrong_usage_is_an_object_for_programs_too() {
    let home = tempfile::tempdir().unwrap();
    for (arguments, said) in [
        (&["-o", "json", "frobnicate"][..], "frobnicate"),
        (&["ps", "--output=json", "--wrong"], "--wrong"),
        (&["rm", "-ojson"], "<PROGRAM>"),
        (&["-o", "json"], "no command"),
        (&["logs", "-fo", "json", "p", "-n", "many"], "many"),
    ] {
        let output = hersh(home.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", told(&output));
        let error: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(error["error"]["code"], "wrong_usage", "{error}");
        assert_eq!(error["error"]["exit_code"], 2);
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(said), "{message}");
        assert!(!message.contains("Usage:"), "{message}");
        assert!(told(&output).contains("--help"), "{}", told(&output));
    }
    for arguments in [
        &["frobnicate"][..],
        &["-o", "table", "frobnicate"],
        &["send", "p", "--wrong-o", "--", "-o", "json"],
        &["ps", "--wrong", "--", "-o", "json"],
    ] {
        let output = hersh(home.path()).args(arguments).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{arguments:?}");
    }
    let help = hersh(home.path()).args(["-o", "json", "--help"]).output();
    assert!(help.unwrap().status.success());
}
