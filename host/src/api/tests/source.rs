//! Source and manifests that are replaced while a program runs, or goes.

use futures_util::FutureExt;
use hersh_program::{BuildId, Manifest, Program, Refusal};

use super::*;
use crate::{
    host::{CommandError, Entry, ReplaceError},
    storage::{SourceLimits, StagedSource},
    testkit::{Operation, Plan},
};

#[tokio::test]
async fn what_runs_may_keep_what_it_was_started_with() {
    let host = Fixture::new().await;
    let keeps = |state: &str| {
        let mut body = program("a");
        body["resources"] = json!({ "state": state });
        body
    };
    host.json("/programs", &keeps("2MiB")).await;
    host.ask(Method::POST, "/programs/a/start?wait=30s").await;
    let state = host.data().join("programs/a/state");
    std::fs::write(state.join("some"), vec![1; 1536 << 10]).unwrap();
    let (status, _) = host
        .put_as(&host.token, "/programs/a/source", &keeps("1MiB"))
        .await;
    assert_eq!(status, StatusCode::OK);
    let limit = async || {
        let (_, stats) = host.ask(Method::GET, "/programs/a/stats").await;
        stats["state_limit_bytes"].as_u64()
    };
    assert_eq!(limit().await, Some(2 << 20));
    crate::quota::check(&host.host).await;
    let (_, view) = host.ask(Method::GET, "/programs/a?wait=30s").await;
    assert_eq!(view["state"], "Ready", "{view}");
    // The smaller limit counts from the next start on.
    host.ask(Method::POST, "/programs/a/restart?wait=30s").await;
    assert_eq!(limit().await, Some(1 << 20));
    crate::quota::check(&host.host).await;
    host.until("a", "Error").await;
}

#[tokio::test]
async fn source_is_replaced_as_a_whole_though_nobody_waits_for_it() {
    let host = Fixture::new().await;
    host.json("/programs", &program("a")).await;
    let entry = entry(&host, "a");
    let (staged, build) = staged(&host);
    let replacing = host
        .host
        .replace_source(Arc::clone(&entry), staged, Manifest::default());
    // However far it is when the client hangs up: here at the very first wait.
    let alone = entry.replacing().await;
    assert!(replacing.now_or_never().is_none());
    drop(alone);
    let is_there = |program: &Program| program.source.build == build;
    entry.supervisor().until(is_there).await;
}

#[tokio::test]
async fn source_is_not_stored_for_a_program_that_is_being_removed() {
    // The stop on the way to removal does not end.
    let engine = FakeEngine::scripted(|operation| Plan {
        before: match matches!(operation, Operation::Stop(_)) {
            true => Duration::from_secs(3_600),
            false => Duration::ZERO,
        },
        ..Plan::default()
    });
    let host = Fixture::over(engine).await;
    host.json("/programs", &program("a")).await;
    host.ask(Method::POST, "/programs/a/start?wait=30s").await;
    host.ask(Method::DELETE, "/programs/a").await;
    let (staged, build) = staged(&host);
    let replaced = host
        .host
        .replace_source(entry(&host, "a"), staged, Manifest::default());
    assert!(matches!(
        replaced.await,
        Err(ReplaceError::Command(CommandError::Refused {
            refusal: Refusal::BeingRemoved,
            ..
        }))
    ));
    let id = ProgramId::parse("a").unwrap();
    assert!(!host.host.storage().source_path(&id, &build).exists());
}

fn entry(host: &Fixture, name: &str) -> Arc<Entry> {
    let id = ProgramId::parse(name).unwrap();
    host.host.registry().get(&id).unwrap()
}

/// A tree that no program of these tests has.
fn staged(host: &Fixture) -> (StagedSource, BuildId) {
    let files = [("Dockerfile", "FROM scratch\n# another\n")];
    let storage = host.host.storage();
    let staged = storage.stage_files(files, SourceLimits::default()).unwrap();
    let build = staged.build_id().clone();
    (staged, build)
}
