//! What holds a thread for as long as a client likes is bounded, whoever hangs up.

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use hersh_base::permits::Share;
use hersh_program::UserId;
use hersh_storage::output::{LogLine, Stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::{
    host::{Command, CommandError},
    limits::{DOWNLOADS_MAX, READERS_MAX, STREAMS_MAX, UPLOADS_MAX, WAITS_MAX},
    testkit::{Operation, OperationOutcome},
};

type Pieces = mpsc::Sender<Result<Bytes, std::io::Error>>;

/// A request that sends an archive piece by piece, and what sends the pieces.
fn upload(fixture: &Fixture, name: &str) -> (Request<Body>, Pieces) {
    let (pieces, body) = mpsc::channel(4);
    let request = fixture
        .request(Method::POST, &format!("/programs?name={name}"))
        .header("content-type", "application/x-tar")
        .body(Body::from_stream(ReceiverStream::new(body)))
        .unwrap();
    (request, pieces)
}

/// Makes a program `p` with one file.
async fn create(fixture: &Fixture, file: &str) {
    let program = json!({
        "name": "p",
        "dockerfile": "FROM scratch",
        "src_files": { "file": file },
    });
    let create = fixture
        .request(Method::POST, "/programs")
        .header("content-type", "application/json")
        .body(program.to_string().into())
        .unwrap();
    assert_eq!(fixture.send(create).await.0, StatusCode::CREATED);
}

fn archive() -> Bytes {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    let text = b"FROM scratch";
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    archive
        .append_data(&mut header, "Dockerfile", &text[..])
        .unwrap();
    archive.into_inner().unwrap().into()
}

#[tokio::test]
async fn a_sender_that_hangs_up_keeps_its_permit_until_the_end() {
    let fixture = Fixture::new().await;
    let archive = archive();
    let mut open = Vec::new();
    for number in 0..UPLOADS_MAX.one_user {
        let (request, pieces) = upload(&fixture, &format!("p{number}"));
        pieces.send(Ok(archive.slice(..100))).await.unwrap();
        let mut answer = Box::pin(fixture.answer(request));
        // Until the work has begun: then it has taken the first piece.
        while pieces.capacity() < pieces.max_capacity() {
            assert!((&mut answer).now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        open.push(pieces);
    }
    let (request, _pieces) = upload(&fixture, "late");
    let (status, problem) = fixture.send(request).await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (503, &json!("queue_full"))
    );
    // All have hung up; their archives end now, and with them their work.
    drop(open);
    while fixture.host.permits().uploads.taken() > 0 {
        tokio::task::yield_now().await;
    }
    let (request, pieces) = upload(&fixture, "late");
    pieces.send(Ok(archive)).await.unwrap();
    drop(pieces);
    assert_eq!(fixture.send(request).await.0, StatusCode::CREATED);
    let staging = std::fs::read_dir(fixture.data().join("staging")).unwrap();
    assert_eq!(staging.count(), 0, "nothing of the others is left");
}

#[tokio::test]
async fn slow_readers_of_source_are_few() {
    let fixture = Fixture::new().await;
    create(&fixture, &"x".repeat(4 << 20)).await;
    let fetch = || {
        let request = fixture.request(Method::GET, "/programs/p/source");
        fixture.answer(request.body(Body::empty()).unwrap())
    };
    let mut unread = Vec::new();
    for _ in 0..DOWNLOADS_MAX.one_user {
        let answer = fetch().await;
        assert_eq!(answer.status(), StatusCode::OK);
        unread.push(answer.into_body().into_data_stream());
    }
    let refused = fetch().await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    // One reads to the end, the others go.
    let mut read = 0;
    while let Some(piece) = unread[0].next().await {
        read += piece.unwrap().len();
    }
    assert!(read > 4 << 20, "{read}");
    drop(unread);
    while fixture.host.permits().downloads.taken() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(fetch().await.status(), StatusCode::OK);
}

#[tokio::test]
async fn slow_readers_of_logs_are_few_and_get_every_line() {
    let fixture = Fixture::new().await;
    create(&fixture, "").await;
    let id = ProgramId::parse("p").unwrap();
    let texts = ["a \"quoted\" one", "", "\u{1}\u{1b}[31m, and the last"];
    let line = |text: &str| LogLine {
        at: "2026-01-31T12:00:00.000000000Z".into(),
        stream: Stream::Stdout,
        text: text.into(),
    };
    let read = || fixture.ask(Method::GET, "/programs/p/logs");
    assert_eq!(read().await, (StatusCode::OK, json!([])));
    fixture.host.storage().ensure_folders(&id).unwrap();
    let store = fixture.host.output();
    let lines = texts.iter().map(|text| line(text)).collect();
    store.append(&id, lines, 1 << 20).await.unwrap();
    let (_, all) = read().await;
    let all: Vec<&str> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["line"].as_str().unwrap())
        .collect();
    assert_eq!(all, texts);

    let ask = |path: &'static str| {
        let request = fixture.request(Method::GET, path).body(Body::empty());
        fixture.answer(request.unwrap())
    };
    for (path, bound) in [
        ("/programs/p/logs", READERS_MAX),
        ("/programs/p/events?follow=true", STREAMS_MAX),
    ] {
        let mut unread = Vec::new();
        for _ in 0..bound.one_user {
            let answer = ask(path).await;
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            unread.push(answer);
        }
        assert_eq!(
            ask(path).await.status(),
            StatusCode::SERVICE_UNAVAILABLE,
            "{path}"
        );
        unread.pop();
        assert_eq!(ask(path).await.status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_stream_of_lines_reads_only_with_a_permit() {
    let fixture = Fixture::new().await;
    create(&fixture, "").await;
    let ask = || {
        let request = fixture
            .request(Method::GET, "/programs/p/logs?follow=true")
            .header("last-event-id", "2026-01-31T12:00:00Z/0")
            .body(Body::empty());
        fixture.answer(request.unwrap())
    };
    let admin = UserId::parse("admin").unwrap();
    let permits = fixture.host.permits();
    let readers: Vec<_> = std::iter::from_fn(|| permits.readers.take(&admin, Share::Any)).collect();
    assert_eq!(ask().await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(permits.streams.taken(), 0, "nothing of the refused is left");
    drop(readers);
    let open = ask().await;
    assert_eq!(open.status(), StatusCode::OK);
    assert_eq!(permits.streams.taken(), 1);
    while permits.readers.taken() > 0 {
        tokio::task::yield_now().await;
    }
    drop(open);
    assert_eq!(permits.streams.taken(), 0);
}

#[tokio::test]
async fn who_waits_a_lot_keeps_nobody_else_waiting() {
    // A stop does not end while the test goes on.
    let engine = FakeEngine::scripted(|operation| OperationOutcome {
        before: if matches!(operation, Operation::Stop(..)) {
            std::time::Duration::from_secs(3_600)
        } else {
            std::time::Duration::ZERO
        },
        ..OperationOutcome::default()
    });
    let fixture = Fixture::over(engine).await;
    fixture.user("ann").await;
    let (ann, _) = fixture.token("ann", "operate").await;
    let (status, body) = fixture.json_as(&ann, "/programs", &program("p")).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    fixture
        .ask_as(&ann, Method::POST, "/programs/p/start?wait=30s")
        .await;
    fixture.ask_as(&ann, Method::POST, "/programs/p/stop").await;
    let look = |path| {
        let request = fixture.request_as(&ann, Method::GET, path);
        fixture.answer(request.body(Body::empty()).unwrap())
    };
    let mut waits = Vec::new();
    for _ in 0..WAITS_MAX.one_user {
        let mut wait = Box::pin(look("/programs/p?wait=1h"));
        assert!((&mut wait).now_or_never().is_none());
        waits.push(wait);
    }
    for path in ["/programs/p?wait=1h", "/programs/p/start?wait=1s"] {
        let method = if path.contains("start") {
            Method::POST
        } else {
            Method::GET
        };
        let (status, body) = fixture.ask_as(&ann, method, path).await;
        assert_eq!(
            (status, &body["code"]),
            (StatusCode::SERVICE_UNAVAILABLE, &json!("queue_full")),
            "{path}"
        );
    }
    assert_eq!(look("/programs/p").await.status(), StatusCode::OK);
    let of_admin = fixture.request(Method::GET, "/programs/p?wait=1h");
    let of_admin = fixture.answer(of_admin.body(Body::empty()).unwrap());
    assert!(of_admin.now_or_never().is_none(), "others may wait");
    waits.pop();
    assert!(look("/programs/p?wait=1h").now_or_never().is_none());
}

#[tokio::test]
async fn hanging_up_makes_no_room_in_a_quota() {
    let fixture = Fixture::new().await;
    fixture.user("ann").await;
    let quota = json!({ "quota": { "programs": 2, "memory": "64MiB" } });
    fixture.patch("/users/ann", &quota).await;
    let (token, _) = fixture.token("ann", "operate").await;
    for name in ["a", "b"] {
        let mut body = program(name);
        body["resources"] = json!({ "memory": "64MiB" });
        let (status, body) = fixture.json_as(&token, "/programs", &body).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
    }
    let registry = fixture.host.registry();
    let [a, b] = ["a", "b"].map(|name| registry.get(&ProgramId::parse(name).unwrap()).unwrap());
    let mut first = Box::pin(fixture.host.command(&a, Command::Start, None));
    let mut second = Box::pin(fixture.host.command(&b, Command::Start, None));
    assert!((&mut first).now_or_never().is_none());
    assert!((&mut second).now_or_never().is_none());
    // It has asked, and its program has not taken it in.
    drop(first);
    assert!((&mut second).now_or_never().is_none());
    assert!(matches!(second.await, Err(CommandError::Quota(_))));
    let (_, view) = fixture
        .ask_as(&token, Method::POST, "/programs/a/start?wait=30s")
        .await;
    assert_eq!(view["state"], "Ready");
}

#[tokio::test]
async fn histories_and_build_logs_are_read_by_few_at_once() {
    let fixture = Fixture::new().await;
    create(&fixture, "x").await;
    let user = UserId::parse("admin").unwrap();
    let take = |_| {
        let readers = &fixture.host.permits().readers;
        readers.take(&user, Share::Any).unwrap()
    };
    let taken: Vec<_> = (0..READERS_MAX.one_user).map(take).collect();
    let paths = ["/programs/p/events", "/programs/p/builds/latest/logs"];
    for path in paths {
        let (status, problem) = fixture.ask(Method::GET, path).await;
        assert_eq!(
            (status.as_u16(), &problem["code"]),
            (503, &json!("queue_full")),
            "{path}"
        );
    }
    drop(taken);
    for path in paths {
        let (status, _) = fixture.ask(Method::GET, path).await;
        assert_ne!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    assert_eq!(fixture.host.permits().readers.taken(), 0);
}
