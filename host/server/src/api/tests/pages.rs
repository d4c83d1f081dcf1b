//! Pages, streams that go on where they were, and calls that are sent twice.

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use futures_util::StreamExt;
use hersh_storage::output::Stream;
use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn a_list_is_read_page_by_page_and_filtered() {
    let host = Fixture::new().await;
    for n in 0..7 {
        host.json("/programs", &program(&format!("p{n}"))).await;
    }
    host.ask(Method::POST, "/programs/p3/start?wait=30s").await;
    let mut seen = Vec::new();
    let mut path = "/programs?limit=3".to_owned();
    loop {
        let (_, page) = host.ask(Method::GET, &path).await;
        let ids = page["programs"].as_array().unwrap();
        assert!(ids.len() <= 3);
        seen.extend(
            ids.iter()
                .map(|it| it["program_id"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/programs?limit=3&cursor={cursor}"),
            None => break,
        }
    }
    let expected: Vec<String> = (0..7).map(|n| format!("p{n}")).collect();
    assert_eq!(seen, expected);
    let (_, ready) = host
        .ask(Method::GET, "/programs?state=Ready&owner=admin")
        .await;
    assert_eq!(ready["programs"].as_array().unwrap().len(), 1);
    for bad in [
        "state=ready",
        "limit=0",
        "limit=1001",
        "cursor=A%20B",
        "owner=%2F",
    ] {
        let (status, body) = host.ask(Method::GET, &format!("/programs?{bad}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}: {body}");
    }
}

#[tokio::test]
async fn a_number_larger_than_any_is_a_place_where_nothing_is() {
    let host = Fixture::new().await;
    host.json("/programs", &program("p")).await;
    host.ask(Method::POST, "/programs/p/start?wait=30s").await;
    for after in [1 << 63, u64::MAX] {
        let path = format!("/programs/p/events?after={after}");
        let (status, page) = host.ask(Method::GET, &path).await;
        assert_eq!((status, &page["events"]), (StatusCode::OK, &json!([])));
        let path = format!("/audit?cursor={after}");
        let (status, page) = host.ask(Method::GET, &path).await;
        assert_eq!(status, StatusCode::OK, "{page}");
    }
}

/// The next `count` events of a stream: id and data.
async fn events(
    host: &Fixture,
    path: &str,
    last: Option<&str>,
    count: usize,
) -> Vec<(String, Value)> {
    let mut request = host.request(Method::GET, path);
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let answer = host.answer(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let mut body = answer.into_body().into_data_stream();
    let mut text = String::new();
    while text.matches("\n\n").count() < count {
        let piece = tokio::time::timeout(Duration::from_secs(30), body.next());
        text.push_str(std::str::from_utf8(&piece.await.unwrap().unwrap().unwrap()).unwrap());
    }
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    text.split("\n\n")
        .take(count)
        .map(|block| {
            (
                field(block, "id:"),
                serde_json::from_str(&field(block, "data:")).unwrap(),
            )
        })
        .collect()
}

#[tokio::test]
async fn a_stream_of_events_goes_on_after_the_last_id_and_lives() {
    let host = Fixture::new().await;
    host.ready("a").await;
    let all = events(&host, "/programs/a/events?follow=true", None, 4).await;
    let ids: Vec<&str> = all.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["1", "2", "3", "4"]);
    assert_eq!(all[3].1["event"]["event"], "runtime_started");
    let rest = events(&host, "/programs/a/events?follow=true", Some("3"), 1).await;
    assert_eq!(rest[0], all[3]);
    let live = events(&host, "/programs/a/events?follow=true", Some("4"), 1);
    let stopped = async {
        host.ask(Method::POST, "/programs/a/stop?wait=30s").await;
    };
    let (live, ()) = tokio::join!(live, stopped);
    assert_eq!(
        (live[0].0.as_str(), &live[0].1["event"]["event"]),
        ("5", &json!("user_stop_requested"))
    );
    let bad = host
        .request(Method::GET, "/programs/a/events?follow=true")
        .header("last-event-id", "x");
    assert_eq!(
        host.send(bad.body(Body::empty()).unwrap()).await.0,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn a_stream_of_lines_goes_on_after_the_last_id() {
    let host = Fixture::new().await;
    host.ready("a").await;
    let id = ProgramId::parse("a").unwrap();
    let line = |second: u64, text: &str| hersh_storage::output::LogLine {
        at: format!("2026-01-01T00:00:{second:02}.000000000Z"),
        stream: hersh_storage::output::Stream::Stdout,
        text: text.to_owned(),
    };
    let lines = vec![
        line(1, "one"),
        line(1, "two"),
        line(1, "three"),
        line(2, "four"),
    ];
    host.host
        .output()
        .append(&id, lines, 1 << 20)
        .await
        .unwrap();
    let path = "/programs/a/logs?follow=true";
    let all = events(&host, path, None, 4).await;
    for (after, (id, _)) in all.iter().enumerate().take(3) {
        let rest = events(&host, path, Some(id), 3 - after).await;
        assert_eq!(rest, all[after + 1..], "after {id}");
    }
    let newer = format!("{path}&since=2026-01-01T00:00:02Z");
    let rest = events(&host, &newer, Some(&all[0].0), 1).await;
    assert_eq!(rest, all[3..], "from behind a line that is not asked for");
    let (_, since) = host
        .ask(Method::GET, "/programs/a/logs?since=2026-01-01T00:00:02Z")
        .await;
    assert_eq!(since.as_array().unwrap().len(), 1);
    let (_, since) = host.ask(Method::GET, "/programs/a/logs?since=10m").await;
    assert_eq!(since, json!([]));
    let (status, _) = host
        .ask(Method::GET, "/programs/a/logs?since=yesterday")
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_stream_goes_on_where_it_was_though_times_are_out_of_order() {
    let host = Fixture::new().await;
    host.ready("a").await;
    let id = ProgramId::parse("a").unwrap();
    let line = |second: u64, stream, text: &str| hersh_storage::output::LogLine {
        at: format!("2026-01-01T00:00:{second:02}.000000000Z"),
        stream,
        text: text.to_owned(),
    };
    let lines = vec![
        line(30, Stream::Mark, "instance x began"),
        line(31, Stream::Stdout, "before"),
        line(5, Stream::Stderr, "the clock stepped back"),
        line(5, Stream::Host, "lines are missing here"),
        line(6, Stream::Stdout, "after"),
    ];
    let store = host.host.output();
    store.append(&id, lines, 1 << 20).await.unwrap();
    let texts = |events: &[(String, Value)]| -> Vec<String> {
        let text = |value: &Value| value["line"].as_str().unwrap().to_owned();
        events.iter().map(|(_, value)| text(value)).collect()
    };
    let path = "/programs/a/logs?follow=true";
    let all = events(&host, path, None, 4).await;
    assert_eq!(texts(&all)[0], "before");
    let rest = events(&host, path, Some(&all[0].0), 3).await;
    assert_eq!(texts(&rest), texts(&all)[1..]);
    assert_eq!(rest[1].0, "", "what the host says has no place");
    let marked = events(&host, &format!("{path}&marks=true"), None, 1).await;
    assert_eq!(marked[0].1["stream"], "instance");
    let lost = Some("2026-01-01T00:00:01Z/0");
    let rest = events(&host, path, lost, 5).await;
    assert!(
        texts(&rest)[0].starts_with("lines may be missing"),
        "{rest:?}"
    );
    assert_eq!(texts(&rest)[1..], texts(&all));
}

#[tokio::test]
async fn a_stream_ends_when_its_token_is_valid_no_longer() {
    let host = Fixture::new().await;
    host.ready("a").await;
    let (token, id) = host.token("admin", "read").await;
    let request = host.request_as(&token, Method::GET, "/programs/a/logs?follow=true");
    let answer = host.answer(request.body(Body::empty()).unwrap()).await;
    host.ask(Method::DELETE, &format!("/tokens/{id}")).await;
    let ended = to_bytes(answer.into_body(), usize::MAX);
    tokio::time::timeout(Duration::from_secs(30), ended)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_create_that_is_sent_twice_is_carried_out_once() {
    let mut host = Fixture::new().await;
    let mut body = program("x");
    body.as_object_mut().unwrap().remove("name");
    let (status, first) = host.create_once("key-1", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{first}");
    host.restart().await;
    let (status, again) = host.create_once("key-1", &body).await;
    assert_eq!((status, &again), (StatusCode::CREATED, &first));
    assert_eq!(host.host.list().len(), 1);
    let (_, other) = host.create_once("key-2", &body).await;
    assert_ne!(other["program_id"], first["program_id"]);
    body["src_files"] = json!({ "a.txt": "changed" });
    let (status, refused) = host.create_once("key-1", &body).await;
    assert_eq!(
        (status.as_u16(), &refused["code"]),
        (422, &json!("idempotency_mismatch"))
    );
    let (status, _) = host.create_once("not visible", &body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);

    let creating = (0..8).map(|_| host.create_once("key-3", &body));
    let answers = futures_util::future::join_all(creating).await;
    let ids: std::collections::BTreeSet<&str> = answers
        .iter()
        .filter_map(|(_, body)| body["program_id"].as_str())
        .collect();
    assert_eq!(ids.len(), 1, "{answers:?}");
    assert!(
        answers
            .iter()
            .all(|(status, _)| matches!(status.as_u16(), 201 | 409)),
        "{answers:?}"
    );
    assert_eq!(host.host.list().len(), 3);
}

#[tokio::test]
async fn source_comes_back_as_it_went_in_and_builds_are_listed() {
    let host = Fixture::new().await;
    host.ready("a").await;
    let request = host
        .request(Method::GET, "/programs/a/source")
        .body(Body::empty())
        .unwrap();
    let answer = host.answer(request).await;
    let tar = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    let again = host
        .request(Method::POST, "/programs?name=b")
        .header("content-type", "application/x-tar")
        .body(Body::from(tar))
        .unwrap();
    let (status, copy) = host.send(again).await;
    assert_eq!(status, StatusCode::CREATED, "{copy}");
    let (_, builds) = host.ask(Method::GET, "/programs/a/builds").await;
    assert_eq!(builds["builds"][0]["build_id"], copy["build_id"]);
    assert_eq!(builds["builds"][0]["current"], true);
}
