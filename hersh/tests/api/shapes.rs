//! The JSON of every endpoint, key by key, over TCP and over a Unix socket.

use std::time::Duration;

use hersh::{Context, LOG_LINE_LIMIT, MEMO_LIMIT, Recovery, Result, Status, Watcher, WatcherState};
use serde_json::{Value, json};

use crate::client::{Answer, Place, builder, call, get, is_time, keys, metric};

/// Has something to show everywhere.
async fn showy(cx: &mut Context) -> Result {
    cx.watch_tick("b", Duration::from_secs(3_600))?;
    cx.watch_tick("a", Duration::from_secs(3_600))?;
    cx.memo("answer", || 42_u64)?;
    let again = cx.triggered().recovery;
    match cx.message().as_deref() {
        Some("fail") if !again => return Err(hersh::Error::msg("as asked")),
        Some("wait") => std::future::pending().await,
        Some(message) => {
            cx.log(format!("got {message}"));
            cx.set("last", &message)?;
        }
        None => {}
    }
    Ok(())
}

/// A watcher that had the messages `one`, `fail`, `two`, and where it is asked.
async fn up(folder: &tempfile::TempDir) -> (Watcher, [Place; 2]) {
    let path = folder.path().join("api");
    let recovery = Recovery {
        light_delays_ms: [1; 3],
        ..Recovery::default()
    };
    let builder = builder()
        .api_socket(&path)
        .journal_dir(folder.path().join("journal"))
        .recovery(recovery);
    let watcher = builder.start(showy).await.unwrap();
    watcher.ready().await.unwrap();
    for message in ["one", "fail", "two"] {
        watcher.send(message).unwrap();
    }
    // With the start and the retry.
    let is_done = |status: Status| status.runs == 5 && status.state == WatcherState::Ready;
    while !is_done(watcher.status()) {
        tokio::task::yield_now().await;
    }
    let address = watcher.api_address().unwrap();
    (watcher, [address.into(), Place::Unix(path)])
}

async fn shown(place: &Place, path: &str) -> Value {
    let answer = get(place, path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    assert!(answer.head.contains("content-type: application/json"));
    answer.json()
}

#[tokio::test]
async fn what_it_watches_keeps_and_is_configured_with() {
    let folder = tempfile::tempdir().unwrap();
    let (watcher, places) = up(&folder).await;
    for place in &places {
        let watching = shown(place, "/watcher/watching").await;
        assert_eq!(keys(&watching), ["count", "timestamp", "watchedVars"]);
        assert_eq!(watching["watchedVars"], json!(["a", "b"]));
        assert_eq!(watching["count"], 2);
        assert!(is_time(&watching["timestamp"]));

        let memos = shown(place, "/watcher/memoCache").await;
        assert_eq!(keys(&memos), ["count", "entries", "timestamp"]);
        assert_eq!(memos["count"], 1);
        assert_eq!(keys(&memos["entries"]), ["answer"]);
        let entry = &memos["entries"]["answer"];
        assert_eq!(keys(entry), ["computedAt", "type"]);
        assert_eq!(entry["type"], "u64");
        assert!(is_time(&entry["computedAt"]) && is_time(&memos["timestamp"]));

        let config = shown(place, "/watcher/config").await;
        assert_eq!(keys(&config), ["config", "timestamp"]);
        let port = watcher.api_address().unwrap().port();
        let expected = json!({
            "serverPort": port, "signalChanCapacity": 50_000,
            "maxLogEntries": LOG_LINE_LIMIT, "maxMemoEntries": MEMO_LIMIT,
        });
        assert_eq!(config["config"], expected);
        assert!(is_time(&config["timestamp"]));

        let mut journal = shown(place, "/watcher/journal").await;
        assert_eq!(keys(&journal), ["journal", "timestamp"]);
        let bytes = journal["journal"]["bytes"].take().as_u64().unwrap();
        assert!(bytes > 100, "{bytes}");
        let expected =
            json!({"recording": true, "runs": 5, "bytes": null, "parts": 1, "error": null});
        assert_eq!(journal["journal"], expected);
    }
}

#[tokio::test]
async fn logs_are_shown_by_kind_and_number() {
    const LISTS: [(&str, &str); 6] = [
        ("effect", "effectLogs"),
        ("reduce", "reduceLogs"),
        ("watch_error", "watchErrorLogs"),
        ("context", "contextLogs"),
        ("state_fault", "stateFaultLogs"),
        ("effect_result", "effectResults"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let (_watcher, places) = up(&folder).await;
    for place in &places {
        let all = shown(place, "/watcher/logs").await;
        assert_eq!(all, shown(place, "/watcher/logs?limit=1000&type=all").await);
        let mut names = LISTS.map(|(_, list)| list);
        names.sort_unstable();
        assert_eq!(keys(&all), names);
        let line = &all["effectLogs"][0];
        assert_eq!(
            keys(line),
            ["id", "kind", "level", "message", "run", "time"]
        );
        assert_eq!(
            (&line["message"], &line["run"]),
            (&json!("got one"), &json!(2))
        );
        assert_eq!(
            (&line["kind"], &line["level"]),
            (&json!("effect"), &json!("info"))
        );
        assert!(line["id"].is_u64() && is_time(&line["time"]));
        assert_eq!(all["effectLogs"].as_array().unwrap().len(), 3);
        assert_eq!(all["watchErrorLogs"], json!([]));
        assert_eq!(all["contextLogs"][2]["message"], "last = \"two\"");
        let results = all["effectResults"].as_array().unwrap();
        assert_eq!(results.len(), 5);
        let fault = results[2]["message"].as_str().unwrap();
        assert!(fault.ends_with(": as asked"), "{fault}");
        let ids: Vec<u64> = results
            .iter()
            .map(|line| line["id"].as_u64().unwrap())
            .collect();
        assert!(ids.is_sorted(), "{ids:?}");
        for (kind, list) in LISTS {
            let one = shown(place, &format!("/watcher/logs?type={kind}&limit=1")).await;
            assert_eq!(keys(&one), names);
            for (_, other) in LISTS {
                let newest = all[other].as_array().unwrap().last();
                let expected = newest
                    .filter(|_| other == list)
                    .into_iter()
                    .collect::<Vec<_>>();
                assert_eq!(one[other], json!(expected), "{kind} {other}");
            }
        }
    }
}

#[tokio::test]
async fn a_log_that_was_asked_for_before_shows_newer_lines() {
    let watcher = builder().start(showy).await.unwrap();
    watcher.ready().await.unwrap();
    let place = Place::from(watcher.api_address().unwrap());
    for number in 0..50 {
        watcher.send(format!("{number}")).unwrap();
        let is_done =
            |status: Status| status.runs == number + 2 && status.state == WatcherState::Ready;
        while !is_done(watcher.status()) {
            tokio::task::yield_now().await;
        }
        for _ in 0..2 {
            let logs = shown(&place, "/watcher/logs?limit=1").await;
            let newest = &logs["effectLogs"][0]["message"];
            assert_eq!(*newest, format!("got {number}"));
            let newest = &logs["effectResults"][0]["run"];
            assert_eq!(*newest, number + 2);
        }
    }
}

#[tokio::test]
async fn signals_are_looked_at_without_taking_them() {
    let folder = tempfile::tempdir().unwrap();
    let (watcher, places) = up(&folder).await;
    watcher.send("wait").unwrap();
    while watcher.status().waiting_messages > 0 {
        tokio::task::yield_now().await;
    }
    watcher.send("next").unwrap();
    for place in [&places[0], &places[1], &places[0]] {
        let signals = shown(place, "/watcher/signals").await;
        let expected = [
            "recentSignals",
            "timestamp",
            "totalPending",
            "userSigCount",
            "varSigCount",
            "watcherSigCount",
        ];
        assert_eq!(keys(&signals), expected);
        assert_eq!(signals["userSigCount"], 1);
        assert_eq!(signals["varSigCount"], 0);
        assert_eq!(signals["watcherSigCount"], 0);
        assert_eq!(signals["totalPending"], 1);
        let recent = signals["recentSignals"].as_array().unwrap();
        assert_eq!(keys(&recent[0]), ["content", "createdAt", "type"]);
        assert!(is_time(&recent[0]["createdAt"]));
        let recent: Vec<_> = recent
            .iter()
            .map(|it| {
                (
                    it["type"].as_str().unwrap(),
                    it["content"].as_str().unwrap(),
                )
            })
            .filter(|(kind, _)| *kind != "var")
            .collect();
        let expected = [
            ("watcher", "start"),
            ("user", "one"),
            ("user", "fail"),
            ("watcher", "retry"),
            ("user", "fail"),
            ("user", "two"),
            ("user", "wait"),
            ("user", "next"),
        ];
        assert_eq!(recent, expected);
    }
    for number in 0..40 {
        watcher.send(format!("{number}")).unwrap();
    }
    let signals = shown(&places[0], "/watcher/signals").await;
    assert_eq!(signals["totalPending"], 41);
    let recent = signals["recentSignals"].as_array().unwrap();
    assert_eq!((recent.len(), &recent[0]["content"]), (30, &json!("next")));
    watcher.kill("done");
    watcher.wait().await;
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let folder = tempfile::tempdir().unwrap();
    let (_watcher, places) = up(&folder).await;
    for place in &places {
        let Answer { head, body, .. } = get(place, "/watcher/metrics").await;
        assert!(
            head.contains("content-type: text/plain; version=0.0.4"),
            "{head}"
        );
        for (line, next) in body.lines().zip(body.lines().skip(1)) {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, _) = help.split_once(' ').unwrap();
                assert!(next.starts_with(&format!("# TYPE {name} ")), "{next}");
                continue;
            }
            if line.starts_with("# TYPE ") {
                continue;
            }
            let (_, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
        let states = body
            .lines()
            .filter(|line| line.starts_with("hersh_watcher_state{"));
        let present: Vec<_> = states.filter(|line| line.ends_with(" 1")).collect();
        assert_eq!(present, ["hersh_watcher_state{state=\"Ready\"} 1"]);
        assert!(body.contains("hersh_watcher_info{watcher=\"shown\"} 1\n"));
        for (name, value) in [
            ("stalled", 0),
            ("runs_total", 5),
            ("consecutive_failures", 0),
            ("messages_pending", 0),
            ("messages_capacity", 50_000),
            ("variables", 2),
            ("memos", 1),
            ("context_keys", 1),
            ("journal_recording", 1),
            ("journal_runs_total", 5),
            ("event_clients", 0),
            ("event_clients_dropped_total", 0),
        ] {
            let name = format!("hersh_watcher_{name}");
            assert_eq!(metric(place, &name).await, value, "{name}");
        }
    }
}

#[tokio::test]
async fn a_stop_may_say_why() {
    for (body, reason) in [
        ("", "asked over the API"),
        ("{}", "asked over the API"),
        ("{\"reason\": \"the night\"}", "the night"),
    ] {
        let watcher = builder().start(showy).await.unwrap();
        let place: Place = watcher.api_address().unwrap().into();
        for wrong in [
            "x",
            "[]",
            "{\"reason\": 5}",
            "{\"reason\": \"\"}",
            "{\"other\": \"x\"}",
        ] {
            let (status, _) = call(&place, "POST", "/watcher/stop", wrong).await.error();
            assert_eq!(status, 400, "{wrong}");
        }
        let answer = call(&place, "POST", "/watcher/stop", body).await;
        assert_eq!(
            (answer.status, answer.json()),
            (202, json!({"status": "stopping"}))
        );
        assert_eq!(
            watcher.wait().await.to_string(),
            format!("Stopped: {reason}")
        );
    }
}

#[tokio::test]
async fn queries_that_are_not_understood_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_watcher, places) = up(&folder).await;
    let place = &places[0];
    for path in [
        "watching",
        "memoCache",
        "config",
        "journal",
        "signals",
        "metrics",
        "events",
    ]
    .into_iter()
    .chain(["openapi.json"])
    {
        let (status, error) = get(place, &format!("/watcher/{path}?verbose=1"))
            .await
            .error();
        let expected = "the query has \"verbose\": this path takes no query";
        assert_eq!((status, error.as_str()), (400, expected), "{path}");
    }
    for (query, expected) in [
        (
            "verbose=1",
            "the query has \"verbose\": give only type, limit",
        ),
        (
            "limit=1&limit=2",
            "the query has \"limit\" twice: give it once",
        ),
        ("limit=0", "the limit is \"0\": give 1 to 1000"),
        ("limit=1001", "the limit is \"1001\": give 1 to 1000"),
        ("limit=", "the limit is \"\": give 1 to 1000"),
        ("limit=-1", "the limit is \"-1\": give 1 to 1000"),
        (
            "limit=99999999999999999999",
            "the limit is \"99999999999999999999\": give 1 to 1000",
        ),
        (
            "type=Effect",
            "the type is \"Effect\": give all, effect, reduce, watch_error, context, state_fault, effect_result",
        ),
        (
            "type=%0d%0a%ff",
            "the type is \"\\r\\n\u{fffd}\": give all, effect, reduce, watch_error, context, state_fault, effect_result",
        ),
        (
            "%ff%00=1",
            "the query has \"\u{fffd}\\0\": give only type, limit",
        ),
    ] {
        let (status, error) = get(place, &format!("/watcher/logs?{query}")).await.error();
        assert_eq!((status, error.as_str()), (400, expected), "{query}");
    }
    assert_eq!(get(place, "/watcher/logs?").await.status, 200);
}
