//! What a program keeps is measured before it starts, while it runs, and until it has ended.

use super::*;
use crate::testkit::{Operation, OperationOutcome};

/// Creates a program that may keep 1 MiB.
async fn created(host: &Fixture) -> PathBuf {
    let mut body = program("a");
    body["resources"] = json!({ "state": "1MiB" });
    let (status, body) = host.json("/programs", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    host.data().join("programs/a/state")
}

#[tokio::test]
async fn a_program_that_keeps_too_much_is_ended() {
    let host = Fixture::new().await;
    let state = created(&host).await;
    host.ask(Method::POST, "/programs/a/start?wait=30s").await;
    std::fs::write(state.join("some"), vec![1; 512 << 10]).unwrap();
    crate::workers::measure_all_states(&host.host).await;
    assert_eq!(
        host.ask(Method::GET, "/programs/a").await.1["state"],
        "Ready"
    );
    std::fs::write(state.join("more"), vec![1; 600 << 10]).unwrap();
    crate::workers::measure_all_states(&host.host).await;
    host.until("a", "Error").await;
    let (_, view) = host.ask(Method::GET, "/programs/a").await;
    assert_eq!(view["cause"]["code"], "state_quota_exceeded");
    assert!(host.engine.running().is_empty());
}

#[tokio::test]
async fn one_that_fills_its_state_while_stopping_is_killed() {
    let engine = FakeEngine::scripted(|operation| match operation {
        // Its grace.
        Operation::Stop(..) => OperationOutcome {
            before: Duration::from_secs(3_600),
            ..OperationOutcome::default()
        },
        Operation::Check
        | Operation::Build(..)
        | Operation::Start(..)
        | Operation::Observe(_)
        | Operation::List
        | Operation::Image(..)
        | Operation::Forget(_) => OperationOutcome::default(),
    });
    let host = Fixture::over(engine).await;
    let state = created(&host).await;
    host.ask(Method::POST, "/programs/a/start?wait=30s").await;
    host.ask(Method::POST, "/programs/a/stop").await;
    host.until("a", "Stopping").await;
    crate::workers::measure_all_states(&host.host).await;
    assert_eq!(host.engine.running().len(), 1, "it has its grace");
    std::fs::write(state.join("more"), vec![1; 2 << 20]).unwrap();
    crate::workers::measure_all_states(&host.host).await;
    assert!(host.engine.running().is_empty(), "it has none any more");
}

#[tokio::test]
async fn a_start_over_the_limit_is_refused_and_not_retried() {
    let host = Fixture::new().await;
    let state = created(&host).await;
    std::fs::create_dir_all(&state).unwrap();
    std::fs::write(state.join("much"), vec![1; 3 << 20]).unwrap();
    host.ask(Method::POST, "/programs/a/start?wait=30s").await;
    let (_, view) = host.ask(Method::GET, "/programs/a").await;
    assert_eq!(
        (&view["state"], &view["retry"]),
        (&json!("Error"), &json!(null)),
        "{view}"
    );
    assert_eq!(view["cause"]["code"], "state_too_large");
    let said = view["cause"]["message"].as_str().unwrap();
    for part in [
        "3 MiB",
        "1 MiB",
        "hersh.toml",
        "hersh state copy",
        "hersh rm",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(host.engine.starts(&ProgramId::parse("a").unwrap()), 0);
    // What is said works: a copy is made, though it is larger than the limit.
    let copy = host.request(Method::POST, "/programs/a/state/copy");
    let answer = host.answer(copy.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    std::fs::remove_file(state.join("much")).unwrap();
    host.ask(Method::POST, "/programs/a/start?wait=30s").await;
    host.until("a", "Ready").await;
}
