//! The program itself, with the real engine and without one.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::{
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
};

/// The program, told of no engine but `engine`.
fn validation(engine: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_validation"));
    command
        .env_remove("HERSH_TEST_ENGINE")
        .env("HERSH_ENGINE", engine);
    command
}

fn test_engine() -> String {
    match std::env::var("HERSH_TEST_ENGINE") {
        Ok(engine) => engine,
        Err(_) => {
            panic!("HERSH_TEST_ENGINE names no engine's socket: run these tests by `make test`")
        }
    }
}

fn printed(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// The lines of one phase that begin with `mark`.
fn checks<'a>(text: &'a str, phase: &str, mark: &str) -> Vec<&'a str> {
    text.lines()
        .skip_while(|line| !line.starts_with(phase))
        .take_while(|line| !line.is_empty())
        .filter(|line| line.trim_start().starts_with(mark))
        .collect()
}

#[test]
fn every_check_of_every_phase_holds() {
    let output = validation(&test_engine()).output().unwrap();
    let text = printed(&output);
    assert!(output.status.success(), "{}\n{text}", output.status);
    for (phase, count) in [("Phase 1", 10), ("Phase 2", 22), ("Phase 3", 12)] {
        assert_eq!(checks(&text, phase, "ok").len(), count, "{phase}\n{text}");
    }
    assert!(text.ends_with("44 checks held, 0 failed\n"), "{text}");
}

#[test]
fn doctor_without_an_engine_says_what_it_could_not_check() {
    let output = validation("/nowhere/docker.sock").output().unwrap();
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(checks(&text, "Phase 1", "FAIL").len(), 0, "{text}");
    for phase in ["Phase 2", "Phase 3"] {
        let failed = checks(&text, phase, "FAIL");
        assert!(
            failed
                .iter()
                .all(|line| line.contains("/nowhere/docker.sock")),
            "{text}"
        );
        assert!(!failed.is_empty(), "{text}");
    }
}

#[test]
fn ended_early_it_removes_what_it_made() {
    for (phase, mark) in [
        ("Phase 2", "a broken spec creates no container"),
        ("Phase 3", "a message changes its total"),
    ] {
        let mut process = validation(&test_engine())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        assert!(lines.any(|line| line.contains(mark)), "no {mark:?}");
        let pid = process.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(told.success());
        let rest: Vec<String> = lines.collect();
        assert_eq!(process.wait().unwrap().code(), Some(1), "{rest:?}");
        let is_told = |text: &str| rest.iter().any(|line| line.starts_with(text));
        assert!(
            is_told("  ok    nothing is left on the engine and the disk"),
            "{phase}: {rest:?}"
        );
        assert!(
            is_told("  FAIL  all phases run to their end: interrupted"),
            "{phase}: {rest:?}"
        );
    }
}
