//! Status, values and messages; error codes and bounds of connections.

use hersh::{Context, Result, StartError, Watcher};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::client::{PATIENCE, adder, builder, call, get, is_time, keys, raw, send, up};

#[tokio::test]
async fn status_has_the_shape_that_clients_read() {
    let (_watcher, address) = up(builder()).await;
    let answer = get(address, "/watcher/status").await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: application/json"));
    let json = answer.json();
    assert_eq!(
        keys(&json),
        ["isRunning", "lastUpdate", "state", "uptime", "watcherID"]
    );
    assert_eq!(json["state"], "Ready");
    assert_eq!(json["isRunning"], true);
    assert_eq!(json["watcherID"], "shown");
    assert!(is_time(&json["lastUpdate"]), "{json}");
    assert!(json["uptime"].as_str().unwrap().ends_with('s'));
}

#[tokio::test]
async fn the_status_is_503_until_the_first_run_succeeds() {
    let (entered, in_first_run) = tokio::sync::oneshot::channel::<()>();
    let (gate, gated) = tokio::sync::oneshot::channel::<()>();
    let first_run = std::cell::RefCell::new(Some((entered, gated)));
    let managed = async move |_: &mut Context| -> Result {
        let first = first_run.borrow_mut().take();
        if let Some((entered, gated)) = first {
            entered.send(()).unwrap();
            gated.await.unwrap();
        }
        Ok(())
    };
    let watcher = builder().start(managed).await.unwrap();
    let address = watcher.api_address().unwrap();
    // The state is `NotRun` until the engine's thread calls the function.
    in_first_run.await.unwrap();
    let answer = get(address, "/watcher/status").await;
    assert_eq!(answer.status, 503);
    let json = answer.json();
    assert_eq!(
        (&json["state"], &json["isRunning"]),
        (&json!("InitRun"), &json!(true))
    );
    gate.send(()).unwrap();
    watcher.ready().await.unwrap();
    assert_eq!(get(address, "/watcher/status").await.status, 200);
}

#[tokio::test]
async fn the_root_says_what_there_is() {
    let (_watcher, address) = up(builder()).await;
    let answer = get(address, "/watcher/").await;
    assert_eq!(answer.status, 200);
    let json = answer.json();
    assert_eq!(keys(&json), ["endpoints", "state", "watcherID"]);
    let endpoints = json["endpoints"].as_array().unwrap();
    for endpoint in endpoints {
        let (method, path) = endpoint.as_str().unwrap().split_once(' ').unwrap();
        // One that never ends, and one that ends the watcher.
        if ["/watcher/events", "/watcher/stop"].contains(&path) {
            continue;
        }
        let status = call(address, method, path, "").await.status;
        assert!(![404, 405].contains(&status), "{endpoint}: {status}");
    }
    assert!(endpoints.contains(&json!("POST /watcher/message")));
}

#[tokio::test]
async fn variables_and_context_have_the_shapes_that_clients_read() {
    let (watcher, address) = up(builder()).await;
    let answer = send(address, "5").await;
    assert_eq!(answer.status, 200);
    let expected = json!({
        "status": "message sent", "durable": false, "number": 1, "repeated": false,
    });
    assert_eq!(answer.json(), expected);
    while watcher.value::<i64>("total").unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    let context = get(address, "/watcher/context").await.json();
    assert_eq!(keys(&context), ["context", "count", "timestamp"]);
    assert_eq!(context["context"], json!({ "total": 5 }));
    assert_eq!(context["count"], 1);
    assert!(is_time(&context["timestamp"]));
    let variables = get(address, "/watcher/varState").await.json();
    assert_eq!(keys(&variables), ["count", "timestamp", "variables"]);
    assert_eq!(variables["count"], 1);
    let slow = &variables["variables"]["slow"];
    assert_eq!(keys(slow), ["at", "count"]);
    assert_eq!(slow["count"], 0);
}

#[tokio::test]
async fn bad_messages_are_refused_with_their_codes() {
    let (watcher, address) = up(builder()).await;
    let runs = watcher.status().runs;
    assert_eq!(
        send(address, "").await.error(),
        (400, "the message is empty; give it some content".into())
    );
    for malformed in [
        "",
        "{",
        "[]",
        "{\"content\": 5}",
        "{\"other\": \"x\"}",
        "\u{0}",
    ] {
        let answer = call(address, "POST", "/watcher/message", malformed).await;
        let (status, error) = answer.error();
        assert_eq!(status, 400, "{malformed:?}");
        assert!(error.starts_with("the body is no {\"content\""), "{error}");
    }
    for length in [64 * 1024 + 1, 1024 * 1024] {
        let (status, _) = send(address, &"x".repeat(length)).await.error();
        assert_eq!(status, 413);
    }
    assert_eq!(watcher.status().runs, runs);
}

#[tokio::test]
async fn a_full_queue_says_when_to_try_again() {
    let (watcher, address) = up(builder().message_capacity(1)).await;
    assert_eq!(send(address, "wait").await.status, 200);
    while watcher.status().waiting_messages > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(send(address, "1").await.status, 200);
    let answer = send(address, "2").await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: 1"));
    assert!(
        answer
            .error()
            .1
            .starts_with("the message queue is full (1 wait")
    );
    watcher.kill("done");
}

#[tokio::test]
async fn a_stopping_watcher_answers_but_takes_no_message() {
    let builder =
        builder().cleanup(async |_: &mut Context| -> Result { std::future::pending().await });
    let (watcher, address) = up(builder).await;
    watcher.stop("done");
    let mut status = get(address, "/watcher/status").await.json();
    while status["state"] != "Stopping" {
        status = get(address, "/watcher/status").await.json();
    }
    assert_eq!(status["isRunning"], false);
    assert_eq!(
        send(address, "5").await.error(),
        (409, "the watcher is not running".into())
    );
    watcher.kill("now");
    watcher.wait().await;
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_told_apart() {
    let (_watcher, address) = up(builder()).await;
    for path in [
        "/",
        "/watcher",
        "/watcher/status/",
        "/watcher/../status",
        "/x",
    ] {
        let (status, error) = get(address, path).await.error();
        assert_eq!(
            (status, error.starts_with("there is nothing at ")),
            (404, true)
        );
    }
    let answer = call(address, "POST", "/watcher/status", "").await;
    assert_eq!(
        answer.error(),
        (405, "/watcher/status does not take POST".into())
    );
    assert!(answer.head.contains("allow: get"));
    let (status, _) = get(address, "/watcher/message").await.error();
    assert_eq!(status, 405);
}

#[tokio::test]
async fn heads_are_bounded() {
    let (_watcher, address) = up(builder()).await;
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(64 * 1024));
    assert!(matches!(
        raw(address, long.as_bytes()).await.status,
        414 | 431
    ));
    let many = "a: b\r\n".repeat(200);
    let many = format!("GET / HTTP/1.1\r\n{many}\r\n");
    assert_eq!(raw(address, many.as_bytes()).await.status, 431);
    assert_eq!(raw(address, b"nonsense\r\n\r\n").await.status, 400);
    assert_eq!(get(address, "/watcher/status").await.status, 200);
}

#[tokio::test]
async fn idle_connections_beyond_the_bound_wait() {
    let (watcher, address) = up(builder()).await;
    let mut idle = Vec::new();
    for _ in 0..520 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    // All slots are taken: this one is served once others go.
    let waiting = tokio::spawn(async move { get(address, "/watcher/status").await.status });
    idle.truncate(5);
    assert_eq!(waiting.await.unwrap(), 200);
    watcher.stop("done");
    tokio::time::timeout(PATIENCE, watcher.wait())
        .await
        .unwrap();
    for mut stream in idle {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest));
        let _ = read.await.expect("closed");
        assert_eq!(rest, b"");
    }
}

#[tokio::test]
async fn a_taken_port_is_an_error_of_the_start_and_the_end_frees_it() {
    let (watcher, address) = up(builder()).await;
    let again = || Watcher::builder("second").api(address).start(adder);
    let error = again().await.unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
    watcher.stop("done");
    watcher.wait().await;
    let second = again().await.unwrap();
    assert_eq!(second.api_address(), Some(address));
    second.ready().await.unwrap();
}
