//! What the command says to people and to programs, beside a host that is made up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that fails says where"
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Output},
};

use serde_json::Value;

/// The command without anything of this machine's user.
fn hersh(home: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hersh"));
    command.env_clear().env("HOME", home);
    command
}

fn told(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A host that answers each path with a status and a text, until the test ends; its address.
fn host(answers: &'static [(&'static str, u16, &'static str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answer(stream, answers));
        }
    });
    format!("http://{address}")
}

fn answer(stream: TcpStream, answers: &[(&str, u16, &str)]) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let target = line.split(' ').nth(1).unwrap_or("").to_owned();
    let mut length = 0;
    loop {
        let mut head = String::new();
        if reader.read_line(&mut head).unwrap_or(0) < 3 {
            break;
        }
        if let Some(value) = head.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let found = answers.iter().find(|(path, ..)| target == *path);
    let (_, status, text) = found.copied().unwrap_or(("", 404, "nothing here"));
    let answer = format!(
        "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    );
    let _ = (&stream).write_all(answer.as_bytes());
}

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
    let run = |host: &str, arguments: &[&str]| {
        hersh(home.path())
            .args(["--host", host])
            .args(arguments)
            .env("HERSH_TOKEN", "hersh_x")
            .output()
            .unwrap()
    };
    let part = host(&[("/programs/p/watcher/context", 200, r#"{"context":{"n":5}}"#)]);
    let output = run(&part, &["vars", "p"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let shown = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(shown.contains("context") && shown.contains('5'), "{shown}");
    assert!(
        told(&output).contains("GET /watcher/varState"),
        "{}",
        told(&output)
    );

    let nothing = host(&[]);
    let output = run(&nothing, &["vars", "p"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told(&output).contains("GET /watcher/context"),
        "{}",
        told(&output)
    );
    let output = run(&nothing, &["send", "p", "-5"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told(&output).contains("POST /watcher/message"),
        "{}",
        told(&output)
    );

    let takes = host(&[("/programs/p/watcher/message", 200, r#"{"status":"taken"}"#)]);
    for message in ["-5", "--flag", "-x y"] {
        let output = run(&takes, &["send", "p", message]);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{message}: {}",
            told(&output)
        );
        assert_eq!(output.stdout, b"taken\n");
    }
    let output = run(&takes, &["send", "p", "add", "-5", "-o", "json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["status"], "taken");
}

#[test]
fn a_program_that_is_not_there_is_the_hosts_word() {
    let home = tempfile::tempdir().unwrap();
    let gone = host(&[(
        "/programs/p/watcher/varState",
        404,
        r#"{"code":"not_found","status":404,"title":"Not found","detail":"no program is named p"}"#,
    )]);
    let output = hersh(home.path())
        .args(["--host", &gone, "vars", "p"])
        .env("HERSH_TOKEN", "hersh_x")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", told(&output));
}
