//! The log of a build, for who follows it.

use futures_util::StreamExt;

use super::*;
use crate::testkit::{Operation, OperationOutcome};

#[tokio::test]
async fn a_build_that_begins_anew_is_told_from_its_first_line() {
    let host = Fixture::over(FakeEngine::scripted(|operation| OperationOutcome {
        before: match matches!(operation, Operation::Build(..)) {
            true => Duration::from_secs(3_600),
            false => Duration::ZERO,
        },
        ..OperationOutcome::default()
    }))
    .await;
    host.json("/programs", &program("a")).await;
    host.ask(Method::POST, "/programs/a/start").await;
    host.until("a", "Building").await;
    let entry = host.host.registry().get(&ProgramId::parse("a").unwrap());
    let entry = entry.unwrap();
    let storage = host.host.storage();
    storage.ensure_folders(&entry.id()).unwrap();
    let path = storage.build_log_path(&entry.id(), &entry.build_id());
    std::fs::write(&path, "first 1\nfirst 2\n").unwrap();
    let request = host.request(Method::GET, "/programs/a/builds/latest/logs?follow=true");
    let answer = host.answer(request.body(Body::empty()).unwrap()).await;
    let mut pieces = answer.into_body().into_data_stream();
    let mut told = String::new();
    let mut until = async |what: &str| {
        while !told.contains(what) {
            let piece = tokio::time::timeout(Duration::from_secs(30), pieces.next()).await;
            let piece = piece.expect(what).unwrap().unwrap();
            told.push_str(&String::from_utf8_lossy(&piece));
        }
        told.clone()
    };
    until("first 2").await;
    // As a build does that takes the place of this one, and has said more by now.
    std::fs::remove_file(&path).unwrap();
    let longer: String = (1..=100).map(|line| format!("second {line}\n")).collect();
    std::fs::write(&path, longer).unwrap();
    let told = until("second 100").await;
    assert!(told.contains("second 1\""), "{told}");
}
