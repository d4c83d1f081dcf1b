//! A host that lacks a part ends.

use axum::http::{Method, StatusCode};
use serde_json::json;

use super::*;
use crate::{host::Host, workers};

async fn ends(host: &Host, workers: &mut Workers) -> String {
    let held = workers.hold(host, std::future::pending());
    let held = tokio::time::timeout(Duration::from_secs(30), held).await;
    held.expect("the host ends").unwrap_err().to_string()
}

#[tokio::test]
async fn a_host_ends_as_asked_or_with_the_first_of_its_workers() {
    let mut host = Fixture::new().await;
    let asked = std::future::ready(());
    host.workers.hold(&host.host, asked).await.unwrap();
    host.engine.forget_observer();
    let error = ends(&host.host, &mut host.workers).await;
    assert!(error.contains("tells programs of exits"), "{error}");
}

#[tokio::test]
async fn a_host_ends_when_nothing_can_be_written_any_more() {
    let mut host = Fixture::new().await;
    host.host.journal().break_writer().await;
    let error = ends(&host.host, &mut host.workers).await;
    assert!(error.contains("writes the journal"), "{error}");
    let (status, body) = host.json("/programs", &program("a")).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("shutting_down"))
    );
    // The end does not wait for what can't come.
    workers::close_books(&host.host).await;
}

#[tokio::test]
async fn the_end_writes_down_when_tokens_were_used() {
    let mut host = Fixture::new().await;
    host.ask(Method::GET, "/whoami").await;
    workers::close_books(&host.host).await;
    host.restart().await;
    let tokens = host.host.accounts().tokens(None);
    assert!(tokens[0].last_used_at_ms.is_some());
}
