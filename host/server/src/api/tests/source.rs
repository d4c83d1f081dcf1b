//! Source and manifests that are replaced while a program runs, or goes.

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::FutureExt;
use hersh_base::permits::{Permit, Share};
use hersh_program::{BuildId, Manifest, Program, Refusal, RevisionNote, UserId};
use hersh_storage::{SourceLimits, StagedSource};

use super::*;
use crate::{
    host::{CommandError, NewRevision, ProgramEntry, ReplaceError},
    testkit::{Operation, OperationOutcome},
};

/// A permit to upload, as who sends source has one.
fn permit(host: &Fixture) -> Permit {
    let user = UserId::parse("admin").unwrap();
    host.host.permits().uploads.take(&user, Share::Any).unwrap()
}

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
    crate::workers::measure_all_states(&host.host).await;
    let (_, view) = host.ask(Method::GET, "/programs/a?wait=30s").await;
    assert_eq!(view["state"], "Ready", "{view}");
    // The smaller limit counts from the next start on, which is refused for that.
    host.ask(Method::POST, "/programs/a/restart?wait=30s").await;
    let (_, view) = host.ask(Method::GET, "/programs/a").await;
    assert_eq!(view["cause"]["code"], "state_too_large", "{view}");
    assert!(host.engine.running().is_empty());
}

fn new_revision(host: &Fixture, staged: StagedSource) -> NewRevision {
    NewRevision {
        staged,
        permit: permit(host),
        manifest: Manifest::default(),
        note: RevisionNote::default(),
    }
}

#[tokio::test]
async fn source_is_replaced_as_a_whole_though_nobody_waits_for_it() {
    let host = Fixture::new().await;
    host.json("/programs", &program("a")).await;
    let entry = entry(&host, "a");
    let (staged, build) = staged(&host);
    let replacing = host
        .host
        .replace_source(Arc::clone(&entry), new_revision(&host, staged));
    // However far it is when the client hangs up: here at the very first wait.
    let alone = entry.replacing().await;
    assert!(replacing.now_or_never().is_none());
    assert_eq!(host.host.permits().uploads.taken(), 1, "it makes no room");
    drop(alone);
    let is_there = |program: &Program| program.source.build == build;
    entry.supervisor().until(is_there).await;
}

#[tokio::test]
async fn source_is_not_stored_for_a_program_that_is_being_removed() {
    // The stop on the way to removal does not end.
    let engine = FakeEngine::scripted(|operation| OperationOutcome {
        before: match matches!(operation, Operation::Stop(..)) {
            true => Duration::from_secs(3_600),
            false => Duration::ZERO,
        },
        ..OperationOutcome::default()
    });
    let host = Fixture::over(engine).await;
    host.json("/programs", &program("a")).await;
    host.ask(Method::POST, "/programs/a/start?wait=30s").await;
    host.ask(Method::DELETE, "/programs/a").await;
    let (staged, build) = staged(&host);
    let replaced = host
        .host
        .replace_source(entry(&host, "a"), new_revision(&host, staged));
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

fn entry(host: &Fixture, name: &str) -> Arc<ProgramEntry> {
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

/// How an image is made is part of what stands for it: else another target would run the old one.
#[tokio::test]
async fn a_build_is_named_by_its_source_and_by_its_recipe() {
    let host = Fixture::new().await;
    host.json("/programs", &program("a")).await;
    let put_with = async |query: &str, args: Value| {
        let path = format!("/programs/a/source{query}");
        let (status, answer) = with_args(&host, Method::PUT, &path, "a", &args).await;
        assert_eq!(status, StatusCode::OK, "{query}: {answer}");
        answer["build_id"].as_str().unwrap().to_owned()
    };
    let put = async |query: &str| put_with(query, json!({})).await;
    let plain = put("").await;
    assert_eq!(put("?dockerfile=Dockerfile").await, plain);
    let mut seen = vec![plain.clone()];
    for query in [
        "?target=prod",
        "?target=dev",
        "?pull=true",
        "?no_cache=true",
    ] {
        let build = put(query).await;
        assert!(!seen.contains(&build), "{query}");
        // What is to be made anew is another build each time, and anything else the same.
        let is_fresh = query.ends_with("=true");
        assert_eq!(put(query).await != build, is_fresh, "{query}");
        seen.push(build);
    }
    for args in [json!({ "A": "1" }), json!({ "A": "2" })] {
        let build = put_with("", args.clone()).await;
        assert!(!seen.contains(&build), "{args}");
        assert_eq!(put_with("", args).await, build);
        seen.push(build);
    }
    put_with("?target=prod&no_cache=true", json!({ "KEY": "s3cret" })).await;
    host.ask(Method::POST, "/programs/a/start?wait=30s").await;
    for path in ["/programs/a", "/programs/a/events"] {
        let (_, view) = host.ask(Method::GET, path).await;
        let text = view.to_string();
        assert!(text.contains("KEY") && text.contains("prod"), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
    // Only what is asked for makes an image anew: what runs limits and values builds nothing.
    assert_eq!(put("").await, plain);
    let mut other = program("a");
    other["env"] = json!({ "LEVEL": "debug" });
    other["resources"] = json!({ "memory": "128MiB" });
    let (_, answer) = host.put_as(&host.token, "/programs/a/source", &other).await;
    assert_eq!(answer["build_id"], plain.as_str());
}

#[tokio::test]
async fn what_can_not_be_asked_of_a_build_is_refused() {
    let host = Fixture::new().await;
    host.json("/programs", &program("a")).await;
    for (query, expected) in [
        // Addresses are kept in logs.
        ("?args=%7B%22A%22:%22s3cret%22%7D", "args"),
        ("?dockerfile=../x", "build.dockerfile"),
        ("?dockerfile=/etc/shadow", "build.dockerfile"),
        ("?target=a%20b", "build.target"),
        ("?pull=maybe", ""),
        ("?nothing=1", ""),
    ] {
        let path = format!("/programs/a/source{query}");
        let (refused, answer) = host.put_as(&host.token, &path, &program("a")).await;
        let text = answer.to_string();
        assert_eq!(refused, StatusCode::BAD_REQUEST, "{query}: {text}");
        assert!(
            text.contains(expected) && !text.contains("s3cret"),
            "{text}"
        );
        let (again, _) = host.json(&format!("/programs{query}"), &program("b")).await;
        assert_eq!(again, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test]
async fn values_that_no_build_can_take_are_not_repeated() {
    let host = Fixture::new().await;
    host.json("/programs", &program("a")).await;
    for (args, expected) in [
        (json!(["s3cret"]), "no JSON object"),
        (json!({ "A": 1, "B": "s3cret" }), "no JSON object"),
        (json!({ "1A": "s3cret" }), "build.args"),
    ] {
        for (method, path, name) in [
            (Method::PUT, "/programs/a/source", "a"),
            (Method::POST, "/programs", "b"),
        ] {
            let (refused, answer) = with_args(&host, method, path, name, &args).await;
            let text = answer.to_string();
            assert_eq!(refused, StatusCode::BAD_REQUEST, "{args}: {text}");
            assert!(text.contains(expected), "{text}");
            assert!(!text.contains("s3cret"), "{text}");
        }
    }
}

/// Sends source with values for the `ARG`s of its Dockerfile.
async fn with_args(
    host: &Fixture,
    method: Method,
    path: &str,
    name: &str,
    args: &Value,
) -> (StatusCode, Value) {
    let request = host
        .request(method, path)
        .header("content-type", "application/json")
        .header("hersh-build-args", STANDARD.encode(args.to_string()));
    let body = Body::from(program(name).to_string());
    host.send(request.body(body).unwrap()).await
}
