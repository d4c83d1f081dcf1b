//! Source comes in whole or not at all, and what of it runs is told as it is.

use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use futures_util::StreamExt;

use super::*;
use crate::testkit::{Operation, OperationOutcome};

/// A tar of these files with its end.
fn archive(files: &[(&str, &str)]) -> Bytes {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, path, text.as_bytes())
            .unwrap();
    }
    archive.into_inner().unwrap().into()
}

async fn send(host: &Fixture, method: Method, path: &str, body: Body) -> (StatusCode, Value) {
    let request = host
        .request(method, path)
        .header("content-type", "application/x-tar")
        .body(body);
    host.send(request.unwrap()).await
}

const MANIFEST: &str = "name = \"a\"\n[readiness]\nkind = \"none\"\n";

#[tokio::test]
async fn an_upload_that_is_cut_stores_nothing() {
    let host = Fixture::new().await;
    let whole = archive(&[
        ("Dockerfile", "FROM scratch"),
        ("hersh.toml", MANIFEST),
        ("z", "1"),
    ]);
    // At the end of an entry, without the two blocks of zeros; and by an error on the way.
    let cut = whole.slice(..whole.len() - 2_048);
    let broken = futures_util::stream::iter([
        Ok(whole.clone()),
        Err(std::io::Error::other("the sender can't read a file")),
    ]);
    for body in [Body::from(cut), Body::from_stream(broken)] {
        let (status, problem) = send(&host, Method::POST, "/programs", body).await;
        assert_eq!(
            (status.as_u16(), &problem["code"]),
            (400, &json!("bad_source"))
        );
        assert!(host.host.list().is_empty());
        let staging = std::fs::read_dir(host.data().join("staging")).unwrap();
        assert_eq!(staging.count(), 0);
    }
    let (status, body) = send(&host, Method::POST, "/programs", whole.into()).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
}

/// The second of two first uploads is told so, and is the whole source once it is sent again.
#[tokio::test]
async fn of_two_first_uploads_at_once_each_is_told_of_its_own() {
    let host = Fixture::new().await;
    let of = |text: &str| {
        archive(&[
            ("Dockerfile", "FROM scratch"),
            ("hersh.toml", MANIFEST),
            ("z", text),
        ])
    };
    let (mine, theirs) = (of("mine"), of("theirs"));
    let (go_on, may_go_on) = tokio::sync::oneshot::channel::<()>();
    let (begun, rest) = (mine.slice(..512), mine.slice(512..));
    let end = async move {
        may_go_on.await.unwrap();
        Ok::<_, std::io::Error>(rest)
    };
    let held =
        futures_util::stream::once(async { Ok(begun) }).chain(futures_util::stream::once(end));
    let held = send(&host, Method::POST, "/programs", Body::from_stream(held));
    let other = async {
        let stored = send(&host, Method::POST, "/programs", theirs.into()).await;
        go_on.send(()).unwrap();
        stored
    };
    let ((status, problem), (_, stored)) = tokio::join!(held, other);
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (409, &json!("already_exists"))
    );
    let (_, view) = host.ask(Method::POST, "/programs/a/start?wait=30s").await;
    assert_eq!(view["run_build_id"], stored["build_id"], "{view}");

    let (_, replaced) = send(&host, Method::PUT, "/programs/a/source", mine.into()).await;
    assert_ne!(replaced["build_id"], stored["build_id"], "{replaced}");
    let (_, view) = host.ask(Method::GET, "/programs/a").await;
    assert_eq!(view["run_build_id"], stored["build_id"], "{view}");
    assert_eq!(view["has_newer_source"], true, "{view}");
    let (_, view) = host.ask(Method::POST, "/programs/a/restart?wait=30s").await;
    assert_eq!(view["run_build_id"], replaced["build_id"], "{view}");
}

#[tokio::test]
async fn a_new_environment_builds_nothing_and_what_runs_is_told() {
    let builds = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&builds);
    let host = Fixture::over(FakeEngine::scripted(move |operation| {
        if matches!(operation, Operation::Build(..)) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        OperationOutcome::default()
    }))
    .await;
    let put = async |env: &str, source: &str| {
        let manifest = format!("{MANIFEST}[env]\nLEVEL = \"{env}\"\n");
        let files = [
            ("Dockerfile", "FROM scratch"),
            ("hersh.toml", manifest.as_str()),
            ("a", source),
        ];
        let body = archive(&files).into();
        let (_, created) = match host.ask(Method::GET, "/programs/a").await.0 {
            StatusCode::OK => send(&host, Method::PUT, "/programs/a/source", body).await,
            _ => send(&host, Method::POST, "/programs", body).await,
        };
        created["build_id"].as_str().unwrap().to_owned()
    };
    let view = async || host.ask(Method::GET, "/programs/a").await.1;
    let restart = async || {
        host.ask(Method::POST, "/programs/a/restart?wait=30s")
            .await
            .1
    };
    let first = put("info", "1").await;
    assert_eq!(view().await["run_build_id"], Value::Null);
    let ready = restart().await;
    assert_eq!(ready["run_build_id"], json!(first));
    assert_eq!(ready["has_newer_source"], json!(false));

    // The same again is nothing new, and no event.
    let events = async || host.ask(Method::GET, "/programs/a/events").await.1;
    let before = events().await;
    assert_eq!(put("info", "1").await, first);
    assert_eq!(view().await["has_newer_source"], json!(false));
    assert_eq!(events().await, before);

    assert_eq!(put("debug", "1").await, first);
    assert_eq!(view().await["has_newer_source"], json!(true));
    let again = restart().await;
    assert_eq!(
        (&again["state"], &again["has_newer_source"]),
        (&json!("Ready"), &json!(false))
    );
    assert_eq!(builds.load(Ordering::Relaxed), 1, "nothing was built again");

    let second = put("debug", "2").await;
    let waiting = view().await;
    assert_eq!(waiting["run_build_id"], json!(first), "it runs still");
    assert_eq!(waiting["build_id"], json!(second));
    assert_eq!(restart().await["run_build_id"], json!(second));
    assert_eq!(builds.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn more_than_the_machine_has_is_refused() {
    let host = Fixture::new().await;
    let mut body = program("a");
    body["resources"] = json!({ "memory": "1024GiB" });
    let (status, problem) = host.json("/programs", &body).await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (400, &json!("bad_manifest"))
    );
    let said = problem["detail"].as_str().unwrap();
    assert!(said.contains("the host's machine has"), "{said}");
}

#[tokio::test]
async fn patterns_that_no_client_takes_are_refused() {
    let host = Fixture::new().await;
    let files = [("Dockerfile", "FROM scratch"), (".dockerignore", "a\n!\n")];
    let body = archive(&files).into();
    let (status, problem) = send(&host, Method::POST, "/programs", body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let said = problem["detail"].as_str().unwrap();
    assert!(said.contains(".dockerignore, line 2"), "{said}");
}

#[tokio::test]
async fn the_log_of_a_failed_build_is_gone_once_the_next_is_asked_for() {
    let host = Fixture::over(FakeEngine::scripted(|operation| OperationOutcome {
        fate: match operation {
            Operation::Build(..) => crate::testkit::Fate::Failed("no".into()),
            Operation::Check
            | Operation::Start(..)
            | Operation::Stop(..)
            | Operation::Observe(_)
            | Operation::List
            | Operation::Image(..)
            | Operation::Forget(_) => crate::testkit::Fate::Done,
        },
        ..OperationOutcome::default()
    }))
    .await;
    host.json("/programs", &program("a")).await;
    host.ask(Method::POST, "/programs/a/start").await;
    host.until("a", "Error").await;
    let entry = host.host.registry().get(&ProgramId::parse("a").unwrap());
    let entry = entry.unwrap();
    let log = host
        .host
        .storage()
        .build_log_path(&entry.id(), &entry.build_id());
    std::fs::write(&log, "an old line\n".repeat(100)).unwrap();
    host.ask(Method::POST, "/programs/a/start").await;
    let left = std::fs::read_to_string(&log).unwrap_or_default();
    assert!(!left.contains("an old line"), "{left}");
}

#[tokio::test]
async fn what_a_slow_start_waits_for_is_told() {
    let host = Fixture::new().await;
    let mut body = program("a");
    // Nothing listens there.
    body["readiness"] = json!({ "kind": "tcp", "port": 9 });
    host.json("/programs", &body).await;
    host.ask(Method::POST, "/programs/a/start").await;
    host.until("a", "Starting").await;
    let probe = async {
        loop {
            let (_, view) = host.ask(Method::GET, "/programs/a").await;
            if let Some(probe) = view["last_probe"].as_str() {
                break probe.to_owned();
            }
            tokio::task::yield_now().await;
        }
    };
    let probe = tokio::time::timeout(Duration::from_secs(30), probe).await;
    let probe = probe.expect("a probe is told");
    assert!(probe.contains("port 9"), "{probe}");
    host.ask(Method::POST, "/programs/a/stop?wait=30s").await;
    let (_, view) = host.ask(Method::GET, "/programs/a").await;
    assert_eq!(view["last_probe"], Value::Null);
}
