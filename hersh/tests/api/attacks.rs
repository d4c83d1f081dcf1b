//! Peers that do not keep to the rules harm nobody else.

use std::time::Duration;

use hersh::Watcher;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Events, PATIENCE, builder, connect, get, metric, raw, send, up};

#[tokio::test]
async fn slow_heads_take_slots_but_no_service() {
    let (_watcher, address) = up(builder()).await;
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = connect(address).await;
        stream
            .write_all(b"GET /watcher/status HTTP/1.1\r\nhost:")
            .await
            .unwrap();
        slow.push(stream);
    }
    assert_eq!(get(address, "/watcher/status").await.status, 200);
    // Slow is not wrong: a head that is finished in time is answered.
    let mut stream = slow.pop().unwrap();
    stream
        .write_all(b" x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
}

#[tokio::test]
async fn a_web_page_cannot_command_a_watcher() {
    let (watcher, address) = up(builder()).await;
    for (path, body) in [
        ("message", "{\"content\":\"1\"}"),
        ("stop", "{\"reason\":\"a page\"}"),
    ] {
        // What a browser sends for a page of another site, without asking first.
        let length = body.len();
        let request = format!(
            "POST /watcher/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             origin: http://elsewhere.example\r\ncontent-type: text/plain\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        let (status, error) = raw(address, request.as_bytes()).await.error();
        assert_eq!(status, 403, "{error}");
    }
    assert_eq!(watcher.status().runs, 1);
    assert_eq!(send(address, "1").await.status, 200);
}

#[tokio::test]
async fn huge_headers_are_refused() {
    let (_watcher, address) = up(builder()).await;
    let huge = format!(
        "GET /watcher/status HTTP/1.1\r\nhost: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    assert_eq!(raw(address, huge.as_bytes()).await.status, 431);
    let endless = format!("GET /watcher/status HTTP/1.1\r\n{}", "x".repeat(1 << 20));
    assert!(matches!(
        raw(address, endless.as_bytes()).await.status,
        400 | 431
    ));
    assert_eq!(get(address, "/watcher/status").await.status, 200);
}

#[tokio::test]
async fn a_half_closed_connection_is_answered_or_freed() {
    let (_watcher, address) = up(builder()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET /watcher/events HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    while metric(address, "hersh_watcher_event_clients").await == 0 {
        tokio::task::yield_now().await;
    }
    stream.shutdown().await.unwrap();
    while metric(address, "hersh_watcher_event_clients").await == 1 {
        tokio::task::yield_now().await;
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"POST /watcher/message HTTP/1.1\r\n")
        .await
        .unwrap();
    stream
        .write_all(b"host: x\r\ncontent-length: 50\r\n\r\n{")
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let mut reply = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut reply));
    let _ = read.await.expect("it is closed");
}

#[tokio::test]
async fn bytes_that_are_no_text_are_refused() {
    let (watcher, address) = up(builder()).await;
    let runs = watcher.status().runs;
    for request in [
        &b"GET /watcher/logs?type=\xff\xfe HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"[..],
        &b"GET /watcher/logs?\xc3\x28=1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"[..],
        &b"GET /watcher/logs?type=a\nb HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"[..],
        &b"POST /watcher/message HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 16\r\n\r\n{\"content\":\"\xff\xfe\"}"[..],
    ] {
        assert_eq!(raw(address, request).await.status, 400, "{request:?}");
    }
    assert_eq!(watcher.status().runs, runs);
}

#[tokio::test]
async fn requests_are_not_smuggled_behind_others() {
    let (_watcher, address) = up(builder()).await;
    // Both ways to tell a length at once: one of them must not hide a second request.
    let request = b"POST /watcher/message HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\
        transfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n\
        POST /watcher/stop HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = raw(address, request).await;
    assert_eq!(answer.status, 400);
    let status = get(address, "/watcher/status").await.json();
    assert_eq!(status["isRunning"], true);
}

#[tokio::test]
async fn names_and_contents_break_no_format() {
    let name = "a\"} 1\nhersh_watcher_runs_total 99\r\n\\";
    let builder = Watcher::builder(name).api(([127, 0, 0, 1], 0));
    let (watcher, address) = up(builder).await;
    let mut events = Events::open(address).await;
    let runs = watcher.status().runs;
    let content = "5\r\n\r\nevent: end\r\ndata: {}\r\n\r\n\u{2028}\u{0}";
    assert_eq!(send(address, content).await.status, 200);
    assert_eq!(events.find("signal").await["content"], content);
    while watcher.status().runs == runs {
        tokio::task::yield_now().await;
    }
    let text = get(address, "/watcher/metrics").await.body;
    let expected =
        "hersh_watcher_info{watcher=\"a\\\"} 1\\nhersh_watcher_runs_total 99\u{fffd}\\n\\\\\"} 1";
    assert!(text.lines().any(|line| line == expected), "{text}");
    let values = text
        .lines()
        .filter(|line| line.starts_with("hersh_watcher_runs_total "));
    assert_eq!(values.count(), 1);
    let status = get(address, "/watcher/status").await.json();
    assert_eq!(status["watcherID"], name);
    let recent = get(address, "/watcher/signals").await.json();
    let recent = recent["recentSignals"].as_array().unwrap();
    assert!(recent.iter().any(|it| it["content"] == json!(content)));
}

#[tokio::test]
async fn the_connection_limit_is_kept() {
    let (watcher, address) = up(builder().api_connection_limit(2)).await;
    let first = Events::open(address).await;
    let _second = Events::open(address).await;
    let mut third = TcpStream::connect(address).await.unwrap();
    let request = b"GET /watcher/status HTTP/1.0\r\n\r\n";
    third.write_all(request).await.unwrap();
    let mut reply = String::new();
    let early = tokio::time::timeout(Duration::from_millis(50), third.read_u8()).await;
    assert!(early.is_err(), "both slots are taken");
    drop(first);
    third.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.0 200"), "{reply}");
    watcher.stop("done");
    watcher.wait().await;
}
