//! A program is gone when the answer says so, and not before.

use std::sync::Mutex;

use axum::http::{Method, StatusCode};
use serde_json::json;

use super::*;
use crate::testkit::{Fate, Operation, OperationOutcome};

/// A host whose engine fails what `fails` names, until told otherwise.
async fn failing(fails: fn(&Operation) -> bool, fate: Fate) -> (Fixture, Arc<Mutex<Fate>>) {
    let fate = Arc::new(Mutex::new(fate));
    let told = Arc::clone(&fate);
    let engine = FakeEngine::scripted(move |operation| OperationOutcome {
        fate: if fails(operation) {
            told.lock().unwrap().clone()
        } else {
            Fate::Done
        },
        ..OperationOutcome::default()
    });
    let host = Fixture::over(engine).await;
    host.json("/programs", &program("a")).await;
    (host, fate)
}

#[tokio::test]
async fn a_failed_removal_tells_its_cause_and_can_be_repeated() {
    let stops = |operation: &Operation| matches!(operation, Operation::Stop(..));
    let forgets = |operation: &Operation| matches!(operation, Operation::Forget(_));
    for fails in [stops as fn(&Operation) -> bool, forgets] {
        let (host, fate) = failing(fails, Fate::Unavailable).await;
        host.ready("b").await;
        let (status, body) = host.ask(Method::DELETE, "/programs/b?wait=30s").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        assert_eq!(
            (&body["code"], &body["state"]),
            (&json!("engine_unavailable"), &json!("Error"))
        );
        let detail = body["detail"].as_str().unwrap();
        assert!(
            detail.contains("not removed") && detail.contains("the engine does not answer"),
            "{detail}"
        );
        *fate.lock().unwrap() = Fate::Done;
        let (status, body) = host.ask(Method::DELETE, "/programs/b?wait=30s").await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
        let (status, _) = host.ask(Method::GET, "/programs/b").await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_removal_that_failed_for_another_reason_is_a_conflict() {
    let engine = FakeEngine::scripted(|operation| {
        assert!(!matches!(operation, Operation::Stop(..)), "a defect");
        OperationOutcome::default()
    });
    let host = Fixture::over(engine).await;
    host.ready("a").await;
    let (status, body) = host.ask(Method::DELETE, "/programs/a?wait=30s").await;
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
    assert_eq!(
        (&body["code"], &body["state"]),
        (&json!("conflict"), &json!("Error"))
    );
    assert!(
        body["detail"].as_str().unwrap().contains("a defect"),
        "{body}"
    );
}

#[tokio::test]
async fn a_host_that_ends_says_so_and_not_that_the_program_is_gone() {
    let (host, _) = failing(|_| false, Fate::Done).await;
    recover::shut_down(&host.host, &host.workers);
    for path in ["/programs/a", "/programs/a?wait=30s"] {
        let (status, body) = host.ask(Method::DELETE, path).await;
        assert_eq!(
            (status, &body["code"]),
            (StatusCode::SERVICE_UNAVAILABLE, &json!("shutting_down")),
            "{body}"
        );
    }
}

#[tokio::test]
async fn followers_of_a_removed_program_are_let_go() {
    let (host, _) = failing(|_| false, Fate::Done).await;
    let request = host.request(Method::GET, "/programs/a/logs?follow=true");
    let following = host.answer(request.body(Body::empty()).unwrap()).await;
    assert_eq!(following.status(), StatusCode::OK);
    let (status, _) = host.ask(Method::DELETE, "/programs/a?wait=30s").await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let rest = to_bytes(following.into_body(), usize::MAX);
    let ended = tokio::time::timeout(Duration::from_secs(30), rest).await;
    ended.expect("the stream ends").unwrap();
}

impl Fixture {
    /// From now on the journal lets go of no program of this name, or does again.
    fn hold_row(&self, program: &str, holds: bool) {
        let file = rusqlite::Connection::open(self.data().join("journal.db")).unwrap();
        file.busy_timeout(Duration::from_secs(10)).unwrap();
        let statement = if holds {
            format!(
                "CREATE TRIGGER held BEFORE DELETE ON programs WHEN OLD.id = '{program}'
                 BEGIN SELECT RAISE(FAIL, 'no room'); END"
            )
        } else {
            "DROP TRIGGER held".to_owned()
        };
        file.execute_batch(&statement).unwrap();
    }

    /// Waits until the name of a removed program is free.
    async fn until_free(&self, name: &str) {
        let created = async {
            loop {
                let (status, body) = self.json("/programs", &program(name)).await;
                if status == StatusCode::CREATED {
                    return;
                }
                assert_eq!(body["code"], "already_exists", "{body}");
                tokio::task::yield_now().await;
            }
        };
        let created = tokio::time::timeout(Duration::from_secs(30), created).await;
        created.expect("the name is free again");
    }
}

#[tokio::test]
async fn a_name_is_free_as_soon_as_the_journal_lets_go_of_it() {
    let (host, _) = failing(|_| false, Fate::Done).await;
    host.json("/programs", &program("b")).await;
    host.hold_row("a", true);
    let (status, body) = host.ask(Method::DELETE, "/programs/a?wait=100ms").await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT, "{body}");
    let (status, body) = host.ask(Method::GET, "/programs/a").await;
    assert_eq!(status, StatusCode::OK, "it is there until then: {body}");
    // Nobody waits for it.
    let (status, body) = host.ask(Method::DELETE, "/programs/b?wait=30s").await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
    host.hold_row("a", false);
    host.until_free("a").await;
}

#[tokio::test]
async fn a_host_starts_though_it_can_not_forget_a_program() {
    let (mut host, _) = failing(|_| false, Fate::Done).await;
    host.hold_row("a", true);
    host.ask(Method::DELETE, "/programs/a?wait=100ms").await;
    host.restart().await;
    let (status, _) = host.ask(Method::GET, "/programs/a").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, body) = host.json("/programs", &program("a")).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::CONFLICT, &json!("already_exists"))
    );
    host.hold_row("a", false);
    host.until_free("a").await;
}
