//! The live stream: what is told, in which order, and how it ends.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use hersh::{Context, LogKind, Result, Watcher};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use crate::client::{Events, PATIENCE, Place, builder, connect, get, is_time, keys, metric, up};

/// Shows the values that come over a channel, and logs messages.
async fn start(values: watch::Receiver<Value>) -> (Watcher, std::net::SocketAddr) {
    let watcher = builder()
        .start(async move |cx: &mut Context| -> Result {
            let values = values.clone();
            let open = || {
                stream::unfold(values, |mut values| async {
                    values.changed().await.ok()?;
                    let raw = values.borrow_and_update()["raw"].to_string();
                    let value = RawValue::from_string(raw.replace(',', "\r\n,\n\n"));
                    Some((value, values))
                })
                .chain(stream::pending())
            };
            cx.watch_flow(
                "raw\r\ndata: {}",
                RawValue::from_string("null".into())?,
                open,
            )?;
            if let Some(message) = cx.message() {
                cx.log(format!("got {message}"));
            }
            Ok(())
        })
        .await
        .unwrap();
    watcher.ready().await.unwrap();
    let address = watcher.api_address().unwrap();
    (watcher, address)
}

#[tokio::test]
async fn a_message_and_a_value_are_told_in_their_order() {
    let (values, receiver) = watch::channel(json!({}));
    let (watcher, address) = start(receiver).await;
    let mut events = Events::open(address).await;
    let (name, state) = events.next().await.unwrap();
    assert_eq!(name, "state");
    assert_eq!(keys(&state), ["at", "isRunning", "state"]);
    assert_eq!(
        (&state["state"], &state["isRunning"]),
        (&json!("Ready"), &json!(true))
    );
    assert!(is_time(&state["at"]));

    let content = "hello\r\n\r\nevent: end\ndata: {}\n\n é";
    watcher.send(content).unwrap();
    let mut names = Vec::new();
    loop {
        let (name, data) = events.next().await.unwrap();
        match name.as_str() {
            "signal" => {
                assert_eq!(keys(&data), ["content", "createdAt", "type"]);
                assert_eq!(data["type"], "user");
                assert_eq!(data["content"], content);
                assert!(is_time(&data["createdAt"]));
            }
            "log" => {
                assert_eq!(
                    keys(&data),
                    ["id", "kind", "level", "message", "run", "time"]
                );
                assert_eq!(data["message"], format!("got {content}"));
            }
            _ => {}
        }
        let state = data["state"].as_str().unwrap_or_default().to_owned();
        names.push(name + &state);
        if state == "Ready" {
            break;
        }
    }
    assert_eq!(names, ["stateRunning", "signal", "log", "stateReady"]);

    values
        .send(json!({ "raw": [1, {"a": 2, "b": "x"}] }))
        .unwrap();
    let signal = events.find("signal").await;
    assert_eq!(
        (&signal["type"], &signal["content"]),
        (&json!("var"), &json!("raw\r\ndata: {}"))
    );
    let value = events.find("value").await;
    assert_eq!(
        value,
        json!({ "name": "raw\r\ndata: {}", "value": [1, {"a": 2, "b": "x"}], "error": null })
    );

    watcher.stop("it is late\r\n\r\n");
    let end = events.find("end").await;
    assert_eq!(
        end,
        json!({ "state": "Stopped", "reason": "it is late\r\n\r\n" })
    );
    assert_eq!(events.next().await, None);
    watcher.wait().await;
}

#[tokio::test]
async fn clients_are_counted_and_told_the_end_whenever_they_come() {
    let (watcher, address) = up(builder()).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Events::open(address).await);
    }
    assert_eq!(metric(address, "hersh_watcher_event_clients").await, 20);
    let mut last = clients.pop().unwrap();
    drop(clients);
    while metric(address, "hersh_watcher_event_clients").await != 1 {
        tokio::task::yield_now().await;
    }
    watcher.kill("enough");
    let end = last.find("end").await;
    assert_eq!(end, json!({ "state": "Killed", "reason": "enough" }));
    watcher.wait().await;
}

#[tokio::test]
async fn a_look_at_the_head_costs_no_client() {
    let (_watcher, address) = up(builder()).await;
    let answer = crate::client::call(address, "HEAD", "/watcher/events", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(metric(address, "hersh_watcher_event_clients").await, 0);
}

#[tokio::test]
async fn who_does_not_read_is_cut_off_and_who_reads_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api");
    let limit = Duration::from_millis(500);
    let (watcher, address) = up(builder().api_socket(&path).api_write_timeout(limit)).await;
    let request = b"GET /watcher/events HTTP/1.0\r\nhost: x\r\n\r\n";
    let mut silent = connect(Place::Unix(path)).await;
    silent.write_all(request).await.unwrap();
    let mut quick = Events::open(address).await;
    let name = "hersh_watcher_connections_cut_off_total";
    let content = zeros();
    let flood = async {
        while metric(address, name).await == 0 {
            // Refused when the queue is full, which is as good.
            let _ = watcher.send(content.as_str());
            tokio::task::yield_now().await;
        }
    };
    let reading = async { while quick.next().await.is_some() {} };
    let reading = async {
        tokio::select! {
            () = flood => {}
            () = reading => panic!("who reads is not dropped"),
        }
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("it is cut off");
    let mut rest = Vec::new();
    // What was on its way is there; how the connection broke is the system's affair.
    let read = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut rest)).await;
    let _ = read.expect("it is closed");
    let is_told = |line: &hersh::LogLine| {
        line.kind == LogKind::Reduce
            && line
                .message
                .starts_with("an API client took no bytes for 500ms")
    };
    assert!(watcher.logs().iter().any(is_told));
    assert_eq!(get(address, "/watcher/status").await.status, 200);
    watcher.kill("done");
    watcher.wait().await;
}

#[tokio::test]
async fn a_client_that_lags_is_dropped_with_a_reason() {
    // A Unix socket holds less than 1 MiB, so little is hidden in the system's buffers.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api");
    let (watcher, address) = up(builder().api_socket(&path).api_write_timeout(10 * PATIENCE)).await;
    let mut late = Events::open(Place::Unix(path)).await;
    let mut telling = Events::open(address).await;
    let content = zeros();
    // Reads with one client until the other must be behind by more than is kept for it.
    let mut told_bytes = 0;
    while told_bytes < 40 * 1024 * 1024 {
        for _ in 0..50 {
            let _ = watcher.send(content.as_str());
        }
        told_bytes += telling.read_bytes().await;
    }
    let dropped = late.find("dropped").await;
    assert!(
        dropped["reason"]
            .as_str()
            .unwrap()
            .starts_with("you read too slowly"),
        "{dropped}"
    );
    assert_eq!(late.next().await, None);
    assert_eq!(
        metric(address, "hersh_watcher_event_clients_dropped_total").await,
        1
    );
    watcher.kill("done");
    watcher.wait().await;
}

/// A long number, which the watcher can add.
fn zeros() -> String {
    "0".repeat(8 * 1024)
}
