//! Programs over the API: created, steered, refused, recovered.

use axum::http::{Method, Request, StatusCode};
use hersh_program::{BuildId, ContainerId, InstanceId, InstanceNumber, ProgramId};
use serde_json::json;

use super::*;
use crate::workers::collect::{Space, in_use};
use crate::{config::LogFormat, recover, telemetry::capture::Capture};

#[tokio::test]
async fn a_program_is_created_started_shown_and_removed() {
    let host = Fixture::new().await;
    host.ready("a").await;
    let (_, list) = host.ask(Method::GET, "/programs").await;
    assert_eq!(list["programs"][0]["program_id"], "a");
    let (status, receipt) = host.ask(Method::GET, "/programs/a/receipt").await;
    assert_eq!(
        (status, &receipt["kernel"]),
        (StatusCode::OK, &json!("gVisor"))
    );
    let (_, events) = host.ask(Method::GET, "/programs/a/events").await;
    let names: Vec<&str> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["event"]["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "user_start_requested",
            "folders_ensured",
            "build_finished",
            "runtime_started"
        ]
    );
    let (_, page) = host
        .ask(Method::GET, "/programs/a/events?after=1&limit=2")
        .await;
    assert_eq!(page["events"].as_array().unwrap().len(), 2);
    assert_eq!(page["next_after"], 3);

    let (status, view) = host.ask(Method::POST, "/programs/a/start").await;
    assert_eq!(
        (status, &view["state"]),
        (StatusCode::OK, &json!("Ready")),
        "already"
    );
    let before = view["container_id"].clone();
    let (_, view) = host.ask(Method::POST, "/programs/a/restart?wait=30s").await;
    assert_eq!(view["state"], "Ready");
    assert_ne!(view["container_id"], before, "a restart restarts");
    assert_eq!(
        host.ask(Method::DELETE, "/programs/a?wait=30s").await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        host.ask(Method::GET, "/programs/a").await.0,
        StatusCode::NOT_FOUND
    );
    assert!(host.engine.running().is_empty());
    assert!(!host.data().join("programs/a").exists());
    host.ready("a").await;
}

/// Request, status, code and what the detail must name.
#[rustfmt::skip]
const BAD_REQUESTS: [(Method, &str, u16, &str, &str); 13] = [
    (Method::GET, "/programs/ghost", 404, "not_found", "ghost"),
    (Method::GET, "/programs/UPPER", 404, "not_found", "UPPER"),
    (Method::GET, "/programs/a%2fb", 404, "not_found", "a/b"),
    (Method::GET, "/nothing", 404, "not_found", "/nothing"),
    (Method::PATCH, "/programs/a", 405, "method_not_allowed", "PATCH"),
    (Method::POST, "/programs/a/start?wait=soon", 400, "bad_request", "soon"),
    (Method::POST, "/programs/a/start?wait=2h", 400, "bad_request", "1h"),
    (Method::POST, "/programs/a/start?wiat=1s", 400, "bad_request", "wiat"),
    (Method::GET, "/programs/a/logs?tail=99999", 400, "bad_request", "10000"),
    (Method::GET, "/programs/a/events?limit=0", 400, "bad_request", "1000"),
    (Method::GET, "/programs/a/builds/../logs", 404, "not_found", "build"),
    (Method::POST, "/programs", 400, "bad_request", "application/json"),
    (Method::GET, "/programs/a/watcher/%2e%2e/x", 404, "not_found", "/watcher/"),
];

#[tokio::test]
async fn a_bad_request_has_a_stable_code_and_says_what_is_wrong() {
    let host = Fixture::new().await;
    host.ready("a").await;
    for (method, path, status, code, said) in BAD_REQUESTS {
        let (found, body) = host.ask(method.clone(), path).await;
        assert_eq!(found.as_u16(), status, "{method} {path}: {body}");
        assert_eq!(body["code"], code, "{method} {path}: {body}");
        assert!(
            body["detail"].as_str().unwrap().contains(said),
            "{method} {path}: {body}"
        );
    }
}

#[tokio::test]
async fn a_bad_program_is_refused_whole_with_what_is_wrong_about_it() {
    let host = Fixture::new().await;
    let scratch = "FROM scratch";
    for (body, code, said) in [
        (json!({ "dockerfil": "x" }), "bad_request", "dockerfil"),
        (
            json!({ "dockerfile": scratch, "name": "Not Good" }),
            "bad_manifest",
            "Not Good",
        ),
        (
            json!({ "dockerfile": scratch, "resources": { "pids": 1 } }),
            "bad_manifest",
            "resources.pids",
        ),
        (
            json!({ "src_files": { "x": "y" } }),
            "bad_source",
            "Dockerfile",
        ),
        (
            json!({ "dockerfile": scratch, "src_files": { "../x": "y" } }),
            "bad_source",
            "../x",
        ),
    ] {
        let (status, answer) = host.json("/programs", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert_eq!(answer["code"], code, "{answer}");
        assert!(
            answer["detail"].as_str().unwrap().contains(said),
            "{answer}"
        );
    }
    assert!(host.host.list().is_empty(), "nothing half-made stays");
}

#[tokio::test]
async fn of_many_creates_of_one_name_one_succeeds() {
    let host = Fixture::new().await;
    let body = program("same");
    let creating = (0..8).map(|_| host.json("/programs", &body));
    let statuses: Vec<u16> = futures_util::future::join_all(creating)
        .await
        .iter()
        .map(|(status, _)| status.as_u16())
        .collect();
    assert_eq!(
        statuses.iter().filter(|status| **status == 201).count(),
        1,
        "{statuses:?}"
    );
    assert!(
        statuses.iter().all(|status| matches!(status, 201 | 409)),
        "{statuses:?}"
    );
    let (status, body) = host
        .ask(Method::POST, "/programs/same/start?wait=30s")
        .await;
    assert_eq!((status, &body["state"]), (StatusCode::OK, &json!("Ready")));
}

#[tokio::test]
async fn values_of_the_environment_never_leave_the_host() {
    let host = Fixture::new().await;
    host.ready("a").await;
    for path in [
        "/programs",
        "/programs/a",
        "/programs/a/events",
        "/programs/a/receipt",
    ] {
        let (_, body) = host.ask(Method::GET, path).await;
        assert!(!body.to_string().contains("canary-value"), "{path}: {body}");
    }
}

#[tokio::test]
async fn an_explanation_shows_names_of_variables_and_no_values() {
    let mut host = Fixture::new().await;
    let compose = async |host: &Fixture| {
        let request = host.request(Method::GET, "/programs/a/compose");
        let answer = host.answer(request.body(Body::empty()).unwrap()).await;
        let status = answer.status();
        let text = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(text.into()).unwrap())
    };
    host.json("/programs", &program("a")).await;
    let (status, said) = compose(&host).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{said}");
    host.ask(Method::POST, "/programs/a/start?wait=30s").await;
    let (status, file) = compose(&host).await;
    assert_eq!(status, StatusCode::OK, "{file}");
    assert!(file.contains("SECRET"), "{file}");
    let data = host.data().display().to_string();
    assert!(
        !file.contains("canary-value") && !file.contains(&data),
        "{file}"
    );

    // What an older host wrote goes with the next start of the host.
    let old = host.data().join("programs/a/compose");
    std::fs::create_dir_all(&old).unwrap();
    std::fs::write(old.join("compose.yaml"), "canary-value").unwrap();
    host.restart().await;
    assert!(!old.exists());
}

#[tokio::test]
async fn an_engine_that_is_down_shows_in_readyz_and_is_retried() {
    let host = Fixture::new().await;
    host.json("/programs", &program("a")).await;
    host.engine.set_down(true);
    let request = Request::get("/readyz").body(Body::empty()).unwrap();
    let (status, body) = host.send(request).await;
    assert_eq!(
        (status.as_u16(), &body["code"]),
        (503, &json!("engine_unavailable"))
    );
    let (_, view) = host.ask(Method::POST, "/programs/a/start?wait=30s").await;
    assert_eq!(
        (&view["state"], &view["cause"]["code"]),
        (&json!("Error"), &json!("runtime_unavailable"))
    );
    host.engine.set_down(false);
    let (_, view) = host.ask(Method::POST, "/programs/a/start?wait=30s").await;
    assert_eq!(view["state"], "Ready");
}

#[tokio::test]
async fn a_program_that_dies_is_started_again_by_its_policy() {
    let host = Fixture::new().await;
    host.ready("a").await;
    host.engine.end(&ProgramId::parse("a").unwrap(), 1).await;
    host.until("a", "Error").await;
    let (_, view) = host.ask(Method::GET, "/programs/a").await;
    assert_eq!(view["cause"]["logs"], json!(["last words"]));
    assert!(view["retry"]["due_at_ms"].is_u64());
    host.until("a", "Ready").await;
}

#[tokio::test]
async fn another_start_keeps_what_runs_and_removes_orphans() {
    let mut host = Fixture::new().await;
    for name in ["runs", "dies", "stopped"] {
        host.ready(name).await;
    }
    host.ask(Method::POST, "/programs/stopped/stop?wait=30s")
        .await;
    let (_, before) = host.ask(Method::GET, "/programs/runs").await;
    let orphan = ProgramId::parse("orphan").unwrap();
    recover::shut_down(&host.host, &host.workers);
    host.engine.forget_observer();
    host.engine.end(&ProgramId::parse("dies").unwrap(), 1).await;
    host.engine.plant(
        InstanceId {
            program: orphan.clone(),
            number: InstanceNumber(7),
        },
        ContainerId::parse("0123456789ab").unwrap(),
    );
    std::fs::create_dir_all(host.data().join("programs/left-behind/src")).unwrap();
    std::fs::create_dir_all(host.data().join("programs/unknown/state/kept")).unwrap();

    host.restart().await;
    let (_, after) = host.ask(Method::GET, "/programs/runs").await;
    assert_eq!(
        (&after["state"], &after["container_id"]),
        (&json!("Ready"), &before["container_id"])
    );
    assert_eq!(
        host.ask(Method::GET, "/programs/stopped").await.1["state"],
        "Stopped"
    );
    host.until("dies", "Error").await;
    host.until("dies", "Ready").await;
    assert!(!host.engine.running().contains_key(&orphan));
    assert!(!host.data().join("programs/left-behind").exists());
    assert!(!host.data().join("programs/unknown").exists());
    let aside: Vec<_> = std::fs::read_dir(host.data().join("set-aside"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(aside.len(), 1, "state is not removed: {aside:?}");
    assert!(aside[0].join("state/kept").exists());
    assert_eq!(host.host.list().len(), 3);
}

#[tokio::test]
async fn replaced_source_counts_from_the_next_start() {
    let host = Fixture::new().await;
    host.ready("a").await;
    let first = host.ask(Method::GET, "/programs/a").await.1["build_id"].clone();
    for text in ["one", "two"] {
        let body = json!({ "dockerfile": "FROM scratch\n", "src_files": { "a.txt": text }, "readiness": { "kind": "none" } });
        let request = host
            .request(Method::PUT, "/programs/a/source")
            .header("content-type", "application/json");
        let (status, body) = host
            .send(request.body(Body::from(body.to_string())).unwrap())
            .await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_ne!(body["build_id"], first);
        assert_eq!(body["state"], "Ready", "what runs goes on");
    }
    let trees = std::fs::read_dir(host.data().join("programs/a/src"))
        .unwrap()
        .count();
    assert_eq!(trees, 3, "the tree of each revision stays");
    let (_, view) = host.ask(Method::POST, "/programs/a/restart?wait=30s").await;
    assert_eq!(view["state"], "Ready", "{view}");
}

/// What the requests of the next test leave behind.
#[rustfmt::skip]
const MEASURED: [(&str, &str, f64); 14] = [
    ("hersh_api_requests_total", "{method=\"GET\",route=\"/programs/{id}\",status=\"2xx\"}", 1.0),
    ("hersh_api_requests_total", "{method=\"GET\",route=\"/programs/{id}\",status=\"4xx\"}", 2.0),
    ("hersh_api_requests_total", "{method=\"GET\",route=\"none\",status=\"4xx\"}", 1.0),
    ("hersh_api_requests_total", "{method=\"POST\",route=\"/programs\",status=\"2xx\"}", 2.0),
    ("hersh_api_request_duration_seconds", "_count{route=\"/programs/{id}\"}", 4.0),
    ("hersh_auth_failures_total", "{reason=\"unauthorized\"}", 1.0),
    ("hersh_programs", "{state=\"Ready\"}", 1.0),
    ("hersh_programs", "{state=\"Error\"}", 0.0),
    ("hersh_program_events_total", "{event=\"runtime_started\"}", 1.0),
    ("hersh_effects_running", "{effect=\"start_runtime\"}", 0.0),
    ("hersh_effect_duration_seconds", "_count{effect=\"build_runtime\",outcome=\"ok\"}", 1.0),
    ("hersh_effect_duration_seconds", "_count{effect=\"start_runtime\",outcome=\"ok\"}", 1.0),
    ("hersh_proxy_requests_total", "{outcome=\"not_ready\"}", 1.0),
    ("hersh_engine_up", "", 1.0),
];

#[tokio::test]
async fn what_happens_is_measured_under_few_names() {
    let host = Fixture::new().await;
    host.ready("a").await;
    host.json("/programs", &program("idle")).await;
    for path in [
        "/programs/a",
        "/programs/ghost",
        "/nothing/here",
        "/programs/idle/watcher/status",
    ] {
        host.ask(Method::GET, path).await;
    }
    let stranger = Request::get("/programs/a").body(Body::empty()).unwrap();
    host.send(stranger).await;
    host.ask(Method::DELETE, "/programs/idle?wait=30s").await;

    let request = host.request(Method::GET, "/metrics").body(Body::empty());
    let routed = router(host.host.clone()).oneshot(request.unwrap());
    let (head, body) = routed.await.unwrap().into_parts();
    assert_eq!(head.headers["content-type"], crate::metrics::CONTENT_TYPE);
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let families = crate::metrics::exposition::read(std::str::from_utf8(&body).unwrap());
    let value = |family: &str, series: &str| {
        let series = format!("{family}{series}");
        families[family].samples.get(&series).copied()
    };
    for (family, series, expected) in MEASURED {
        let found = value(family, series);
        assert_eq!(
            found,
            Some(expected),
            "{family}{series}: {:#?}",
            families[family]
        );
    }
    let commits = "hersh_journal_commit_duration_seconds";
    assert!(value(commits, "_count").unwrap() >= 5.0);
    for family in ["hersh_disk_free_bytes", "hersh_process_memory_bytes"] {
        assert!(value(family, "").unwrap() > 1024.0, "{family}");
    }
}

#[tokio::test]
async fn requests_are_named_and_logged_with_program_and_status() {
    let (log, guard) = Capture::start("hersh_host=debug", LogFormat::Json);
    let host = Fixture::new().await;
    host.json("/programs", &program("a")).await;
    let request = host
        .request(Method::POST, "/programs/a/start?wait=30s")
        .header("x-request-id", "mine-1");
    let routed = router(host.host.clone()).oneshot(request.body(Body::empty()).unwrap());
    assert_eq!(routed.await.unwrap().headers()["x-request-id"], "mine-1");
    let stranger = Request::get("/programs/a/watcher/x").body(Body::empty());
    let routed = router(host.host.clone()).oneshot(stranger.unwrap());
    let made = routed.await.unwrap().headers()["x-request-id"].clone();
    drop(guard);

    let lines: Vec<Value> = log
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let answered = |id: &str| {
        lines
            .iter()
            .find(|line| line["span"]["request_id"] == id && line["message"] == "answered")
            .unwrap_or_else(|| panic!("{id} in {lines:#?}"))
    };
    let mine = answered("mine-1");
    assert_eq!(mine["level"], "INFO");
    assert_eq!(mine["status"], 200);
    let span = json!({
        "name": "request", "request_id": "mine-1", "method": "POST", "status": 200,
        "route": "/programs/{id}/start", "program": "a", "user": "admin", "otel.kind": "server",
    });
    assert_eq!(mine["span"], span);
    let strangers = answered(made.to_str().unwrap());
    assert_eq!(
        (&strangers["status"], &strangers["level"]),
        (&json!(401), &json!("DEBUG"))
    );
}

#[tokio::test]
async fn no_secret_is_ever_logged() {
    let (log, guard) = Capture::start("trace", LogFormat::Text);
    let mut host = Fixture::new().await;
    host.ready("a").await;
    let wrong = "hersh_0123456789abcdef-canary";
    let request = Request::get("/programs").header("authorization", format!("Bearer {wrong}"));
    host.send(request.body(Body::empty()).unwrap()).await;
    for path in [
        "/programs/a/watcher/x?token=canary",
        "/nothing/canary?canary",
        "/programs/CANARY",
    ] {
        host.ask(Method::GET, path).await;
    }
    let mut broken = program("b");
    broken["env"] = json!({ "SECRET": ["canary-value"] });
    host.json("/programs", &broken).await;
    host.engine.end(&ProgramId::parse("a").unwrap(), 1).await;
    host.until("a", "Error").await;
    host.restart().await;
    drop(guard);
    let text = log.text();
    assert!(text.contains("request_id"), "something was logged");
    for secret in [host.token.as_str(), wrong, "canary", "CANARY"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn stats_are_told_of_a_program_that_runs() {
    let fixture = Fixture::new().await;
    fixture.json("/programs", &program("one")).await;
    let (status, body) = fixture.ask(Method::GET, "/programs/one/stats").await;
    assert_eq!((status.as_u16(), &body["code"]), (503, &json!("not_ready")));
    assert_eq!(body["state"], "Created");
    fixture
        .ask(Method::POST, "/programs/one/start?wait=30s")
        .await;
    crate::workers::measure_all_states(&fixture.host).await;
    let (status, body) = fixture.ask(Method::GET, "/programs/one/stats").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["state_bytes"], 0);
    assert_eq!(body["state_limit_bytes"], 1 << 30);
}

/// Stores a revision of the program with this text.
async fn put(fixture: &Fixture, text: &str) -> (StatusCode, Value) {
    let mut newer = program("a");
    newer["src_files"] = json!({ "a.txt": text });
    let request = fixture
        .request(Method::PUT, "/programs/a/source")
        .header("content-type", "application/json");
    let request = request.body(Body::from(newer.to_string())).unwrap();
    fixture.send(request).await
}

#[tokio::test]
async fn what_a_program_starts_from_or_runs_is_in_use() {
    let fixture = Fixture::new().await;
    fixture.ready("a").await;
    let id = ProgramId::parse("a").unwrap();
    let entry = fixture.host.registry().get(&id).unwrap();
    let first = entry.build_id();
    let running = entry
        .supervisor()
        .with_state(|program| program.image.clone());
    let needed = in_use(&fixture.host, Space::Enough);
    assert_eq!(needed.builds, [(id.clone(), first.clone())].into());
    assert_eq!(needed.images, running.iter().cloned().collect());

    // New source counts from the next start; what runs stays, for whoever goes back to it.
    let (status, body) = put(&fixture, "newer").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let second = BuildId::parse(body["build_id"].as_str().unwrap()).unwrap();
    let needed = in_use(&fixture.host, Space::Enough);
    let builds = [first, second].map(|build| (id.clone(), build));
    assert_eq!(needed.builds, builds.into());
    assert_eq!(needed.images, running.into_iter().collect());

    // Without space, only what may be started without a person naming it: here neither revision is old.
    let least = in_use(&fixture.host, Space::Short);
    assert_eq!(least.builds, needed.builds);
    let (status, _) = put(&fixture, "newest").await;
    assert_eq!(status, StatusCode::OK);
    let all = in_use(&fixture.host, Space::Enough);
    let least = in_use(&fixture.host, Space::Short);
    assert_eq!((all.builds.len(), least.builds.len()), (3, 2));
}
