//! Users, tokens, quotas and the audit log.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::testkit::{Operation, OperationOutcome};

#[tokio::test]
async fn a_removed_user_takes_its_tokens_along() {
    let host = Fixture::new().await;
    let (status, user) = host.json("/users", &json!({ "user_id": "ann" })).await;
    assert_eq!(
        (status, &user["role"]),
        (StatusCode::CREATED, &json!("member"))
    );
    assert_eq!(user["quota"]["programs"], 10);
    let (status, body) = host.json("/users", &json!({ "user_id": "ann" })).await;
    assert_eq!(
        (status.as_u16(), &body["code"]),
        (409, &json!("already_exists"))
    );
    let quota = json!({ "quota": { "programs": 1, "memory": "64MiB" } });
    let (_, user) = host.patch("/users/ann", &quota).await;
    assert_eq!(user["quota"], json!({ "programs": 1, "memory": "64MiB" }));

    let (token, _) = host.token("ann", "operate").await;
    assert_eq!(
        host.ask_as(&token, Method::GET, "/whoami").await.0,
        StatusCode::OK
    );
    let (status, _) = host.json_as(&token, "/programs", &program("a")).await;
    assert_eq!(status, StatusCode::CREATED);
    let (status, body) = host.ask(Method::DELETE, "/users/ann").await;
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
    assert!(
        body["detail"].as_str().unwrap().contains("1 programs"),
        "{body}"
    );
    host.ask_as(&token, Method::DELETE, "/programs/a?wait=30s")
        .await;
    assert_eq!(
        host.ask(Method::DELETE, "/users/ann").await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        host.ask_as(&token, Method::GET, "/whoami").await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        host.ask(Method::GET, "/users/ann").await.0,
        StatusCode::NOT_FOUND
    );
    let (status, body) = host.ask(Method::DELETE, "/users/admin").await;
    assert_eq!(status, StatusCode::CONFLICT, "the last admin stays: {body}");
}

#[tokio::test]
async fn users_and_tokens_are_there_after_a_restart() {
    let mut host = Fixture::new().await;
    host.user("ann").await;
    let (token, id) = host.token("ann", "operate").await;
    host.json_as(&token, "/programs", &program("a")).await;
    host.restart().await;
    let (_, list) = host.ask_as(&token, Method::GET, "/programs").await;
    assert_eq!(list["programs"][0]["owner"], "ann");
    let (_, tokens) = host.ask_as(&token, Method::GET, "/tokens").await;
    assert_eq!(tokens["tokens"][0]["token_id"], id.as_str());
    assert!(
        !tokens.to_string().contains(&token[6..20]),
        "its text is not shown again"
    );
}

#[tokio::test]
async fn nobody_hands_on_more_than_they_have() {
    let host = Fixture::new().await;
    host.user("ann").await;
    let (read, _) = host.token("ann", "read").await;
    let (operate, _) = host.token("ann", "operate").await;
    let ask = async |token: &str, body: Value| host.json_as(token, "/tokens", &body).await;
    assert_eq!(
        ask(&read, json!({ "scope": "read" })).await.0,
        StatusCode::FORBIDDEN
    );
    for refused in [
        json!({ "scope": "admin" }),
        json!({ "scope": "read", "user_id": "admin" }),
    ] {
        assert_eq!(
            ask(&operate, refused.clone()).await.0,
            StatusCode::FORBIDDEN,
            "{refused}"
        );
    }
    let admins = json!({ "scope": "admin", "user_id": "ann" });
    assert_eq!(
        host.json("/tokens", &admins).await.0,
        StatusCode::FORBIDDEN,
        "ann is a member"
    );
    let (status, made) = ask(
        &operate,
        json!({ "scope": "operate", "expires_in": "3650d" }),
    )
    .await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let (_, me) = host.ask_as(&operate, Method::GET, "/whoami").await;
    let own = me["token"]["expires_at_ms"].as_u64().unwrap();
    assert!(
        made["token"]["expires_at_ms"].as_u64().unwrap() <= own,
        "never longer than its maker"
    );
    let id = made["token"]["token_id"].as_str().unwrap();
    let path = format!("/tokens/{id}");
    let bob = {
        host.user("bob").await;
        host.token("bob", "operate").await.0
    };
    assert_eq!(
        host.ask_as(&bob, Method::DELETE, &path).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        host.ask_as(&operate, Method::DELETE, &path).await.0,
        StatusCode::NO_CONTENT
    );
    let secret = made["secret"].as_str().unwrap();
    assert_eq!(
        host.ask_as(secret, Method::GET, "/whoami").await.0,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_quota_holds_however_many_ask_at_once() {
    let host = Fixture::new().await;
    host.user("ann").await;
    let quota = json!({ "quota": { "programs": 3, "memory": "128MiB", "state": "8GiB" } });
    host.patch("/users/ann", &quota).await;
    let (token, _) = host.token("ann", "operate").await;
    let small = |name: String| {
        let mut body = program(&name);
        body["resources"] = json!({ "memory": "64MiB" });
        body
    };
    let bodies: Vec<Value> = (0..6).map(|n| small(format!("p{n}"))).collect();
    let creating = bodies
        .iter()
        .map(|body| host.json_as(&token, "/programs", body));
    let answers = futures_util::future::join_all(creating).await;
    let made: Vec<&Value> = answers
        .iter()
        .filter(|(status, _)| *status == 201)
        .map(|it| &it.1)
        .collect();
    assert_eq!(made.len(), 3, "{answers:?}");
    let refused = answers
        .iter()
        .filter(|(_, body)| body["code"] == "quota_exceeded")
        .count();
    assert_eq!(refused, 3, "{answers:?}");

    let ids: Vec<&str> = made
        .iter()
        .map(|it| it["program_id"].as_str().unwrap())
        .collect();
    let paths: Vec<String> = ids
        .iter()
        .map(|id| format!("/programs/{id}/start?wait=30s"))
        .collect();
    let starting = paths
        .iter()
        .map(|path| host.ask_as(&token, Method::POST, path));
    let answers = futures_util::future::join_all(starting).await;
    let started = answers
        .iter()
        .filter(|(_, body)| body["state"] == "Ready")
        .count();
    assert_eq!(started, 2, "128 MiB hold two: {answers:?}");
}

#[tokio::test]
async fn a_quota_counts_new_source_and_what_runs() {
    let host = Fixture::new().await;
    host.user("ann").await;
    host.patch("/users/ann", &json!({ "quota": { "memory": "64MiB" } }))
        .await;
    let (token, _) = host.token("ann", "operate").await;
    let asks = |memory: &str| {
        let mut body = program("a");
        body["resources"] = json!({ "memory": memory });
        body
    };
    let memory = async || {
        let (_, me) = host.ask_as(&token, Method::GET, "/whoami").await;
        me["user"]["usage"]["memory"].clone()
    };
    host.json_as(&token, "/programs", &asks("64MiB")).await;
    host.ask_as(&token, Method::POST, "/programs/a/start?wait=30s")
        .await;
    let (status, body) = host
        .put_as(&token, "/programs/a/source", &asks("96MiB"))
        .await;
    assert_eq!(
        (status.as_u16(), &body["code"]),
        (403, &json!("quota_exceeded")),
        "{body}"
    );
    // Asking for less frees nothing while the container runs with more.
    let (status, body) = host
        .put_as(&token, "/programs/a/source", &asks("32MiB"))
        .await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(memory().await, "64MiB");
    host.ask_as(&token, Method::POST, "/programs/a/restart?wait=30s")
        .await;
    assert_eq!(memory().await, "32MiB");
}

#[tokio::test]
async fn what_runs_counts_as_what_it_was_given_after_a_restart_too() {
    let mut host = Fixture::new().await;
    host.user("ann").await;
    host.patch("/users/ann", &json!({ "quota": { "memory": "64MiB" } }))
        .await;
    let (token, _) = host.token("ann", "operate").await;
    let asks = |name: &str, memory: &str| {
        let mut body = program(name);
        body["resources"] = json!({ "memory": memory });
        body
    };
    host.json_as(&token, "/programs", &asks("a", "64MiB")).await;
    host.ask_as(&token, Method::POST, "/programs/a/start?wait=30s")
        .await;
    host.put_as(&token, "/programs/a/source", &asks("a", "32MiB"))
        .await;
    host.json_as(&token, "/programs", &asks("b", "32MiB")).await;
    host.restart().await;
    let start = async |name: &str| {
        let path = format!("/programs/{name}/start?wait=30s");
        host.ask_as(&token, Method::POST, &path).await.0
    };
    assert_eq!(start("b").await, StatusCode::FORBIDDEN);
    host.ask_as(&token, Method::POST, "/programs/a/restart?wait=30s")
        .await;
    assert_eq!(start("b").await, StatusCode::OK);
}

#[tokio::test]
async fn every_change_is_in_the_audit_log_with_its_end() {
    let host = Fixture::new().await;
    host.user("ann").await;
    let (token, id) = host.token("ann", "operate").await;
    host.json_as(&token, "/programs", &program("a")).await;
    host.ask_as(&token, Method::POST, "/programs/a/start?wait=30s")
        .await;
    host.ask_as(&token, Method::POST, "/programs/ghost/start")
        .await;
    host.ask_as(&token, Method::GET, "/programs/a").await;
    // Outcomes are written behind; what is asked for next is answered after them.
    host.json("/users", &json!({ "user_id": "bob" })).await;
    let (_, log) = host.ask(Method::GET, "/audit").await;
    let ours: Vec<(&str, &str, u64)> = log["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|change| change["user_id"] == "ann" && change["token_id"] == id.as_str())
        .map(|change| {
            let text = |key: &str| change[key].as_str().unwrap();
            (
                text("action"),
                text("target"),
                change["status"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        ours,
        [
            ("POST /programs/{id}/start", "/programs/ghost/start", 404),
            ("POST /programs/{id}/start", "/programs/a/start", 200),
            ("POST /programs", "/programs", 201),
        ]
    );
    let (_, first) = host.ask(Method::GET, "/audit?limit=1").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let (_, second) = host
        .ask(Method::GET, &format!("/audit?limit=1&cursor={cursor}"))
        .await;
    assert!(second["changes"][0]["seq"].as_u64() < first["changes"][0]["seq"].as_u64());
    assert!(
        !log.to_string().contains(&token[6..20]),
        "no token in the log"
    );
}

#[tokio::test]
async fn what_is_refused_again_is_counted_and_pushes_out_nothing() {
    const TIMES: usize = 100;
    let host = Fixture::new().await;
    host.user("ann").await;
    let (token, _) = host.token("ann", "operate").await;
    host.json_as(&token, "/programs", &program("a")).await;
    for _ in 0..TIMES {
        let asked = host.ask_as(&token, Method::DELETE, "/programs/ghost");
        assert_eq!(asked.await.0, StatusCode::NOT_FOUND);
        // Nothing happens by these either.
        host.ask_as(&token, Method::POST, "/programs/a/stop").await;
        host.put_as(&token, "/programs/a/source", &program("a"))
            .await;
    }
    host.json("/users", &json!({ "user_id": "bob" })).await;
    let (_, log) = host.ask(Method::GET, "/audit").await;
    let rows = log["changes"].as_array().unwrap().iter();
    let rows = rows.filter(|row| row["user_id"] == "ann");
    let rows: Vec<_> = rows
        .map(|row| (&row["action"], &row["object"], &row["count"]))
        .collect();
    assert_eq!(
        rows,
        [
            (
                &json!("PUT /programs/{id}/source"),
                &json!("program a"),
                &json!(TIMES)
            ),
            (
                &json!("POST /programs/{id}/stop"),
                &json!("program a"),
                &json!(TIMES)
            ),
            (
                &json!("DELETE /programs/{id}"),
                &json!("program ghost"),
                &json!(TIMES)
            ),
            (&json!("POST /programs"), &json!("program a"), &json!(1)),
        ]
    );
}

#[tokio::test]
async fn the_audit_log_names_each_object_and_what_was_changed() {
    let host = Fixture::new().await;
    host.user("ann").await;
    let (_, id) = host.token("ann", "operate").await;
    host.json("/programs", &program("a")).await;
    let mut other = program("a");
    other["src_files"] = json!({ "a.txt": "other" });
    host.put_as(&host.token, "/programs/a/source", &other).await;
    host.ask(Method::POST, "/programs/a/start?wait=30s").await;
    let asked = json!({ "role": "admin", "quota": { "programs": 20 } });
    host.patch("/users/ann", &asked).await;
    host.ask(Method::DELETE, &format!("/tokens/{id}")).await;
    host.ask(Method::DELETE, "/users/ann").await;
    host.json("/users", &json!({ "user_id": "bob" })).await;
    let (_, log) = host.ask(Method::GET, "/audit").await;
    let rows = log["changes"].as_array().unwrap().iter().rev();
    let told: Vec<String> = rows
        .map(|row| format!("{}: {}", row["object"], row["change"]).replace('"', ""))
        .collect();
    for (row, (object, changes)) in told.iter().zip([
        ("user ann", &["new, role member", "programs 10"][..]),
        ("token t-", &["of ann", "new, scope operate, until 2"]),
        ("program a", &["new, source build-"]),
        ("program a", &["source build-", "→ build-"]),
        ("program a", &["it was Created"]),
        (
            "user ann",
            &["role member → admin", "programs 10", "→ programs 20"],
        ),
        (&format!("token {id} of ann"), &["removed, scope operate"]),
        ("user ann", &["role admin, removed"]),
    ]) {
        assert!(row.starts_with(object), "{row}, not {object}: {told:#?}");
        for change in changes {
            assert!(row.contains(change), "{row} without {change}");
        }
    }
    assert_eq!(told.len(), 9, "{told:#?}");
}

#[tokio::test]
async fn a_websocket_is_audited_and_needs_operate() {
    let host = Fixture::new().await;
    host.ready("a").await;
    let (read, _) = host.token("admin", "read").await;
    let (operate, id) = host.token("admin", "operate").await;
    let ask = async |token: &str, path: &str| {
        let request = host
            .request_as(token, Method::GET, path)
            .header("connection", "upgrade")
            .header("upgrade", "websocket");
        host.send(request.body(Body::empty()).unwrap()).await
    };
    let paths = [
        "/programs/a/watcher/x",
        "/programs/a/proxy/watcher/x",
        "/programs/a/watcher",
    ];
    for path in paths {
        assert_eq!(ask(&read, path).await.0, StatusCode::FORBIDDEN, "{path}");
        // It lacks a key.
        assert_eq!(
            ask(&operate, path).await.0,
            StatusCode::BAD_REQUEST,
            "{path}"
        );
        host.ask_as(&operate, Method::GET, path).await;
    }
    // Elsewhere nothing is opened by asking so.
    assert_eq!(ask(&read, "/programs").await.0, StatusCode::OK);
    host.json("/users", &json!({ "user_id": "bob" })).await;
    let (_, log) = host.ask(Method::GET, "/audit").await;
    let noted = log["changes"].as_array().unwrap().iter();
    let noted: Vec<_> = noted
        .filter(|change| change["action"].as_str().unwrap().contains("watcher"))
        .map(|change| (&change["token_id"], &change["target"], &change["status"]))
        .collect();
    let expected = paths.map(|path| (json!(id), json!(path), json!(400)));
    let expected: Vec<_> = expected
        .iter()
        .rev()
        .map(|it| (&it.0, &it.1, &it.2))
        .collect();
    assert_eq!(noted, expected);
}

#[tokio::test]
async fn a_change_whose_client_hangs_up_ends_as_that_in_the_audit_log() {
    let engine = FakeEngine::scripted(|operation| OperationOutcome {
        before: if matches!(operation, Operation::Stop(..)) {
            Duration::from_secs(3_600)
        } else {
            Duration::ZERO
        },
        ..OperationOutcome::default()
    });
    let host = Fixture::over(engine).await;
    host.ready("a").await;
    {
        let mut removing = std::pin::pin!(host.ask(Method::DELETE, "/programs/a?wait=1h"));
        tokio::select! {
            answered = removing.as_mut() => panic!("{answered:?}"),
            () = host.until("a", "Stopping") => {}
        }
    }
    let noted = async {
        loop {
            let (_, log) = host.ask(Method::GET, "/audit?limit=1").await;
            if log["changes"][0]["status"].is_number() {
                return log["changes"][0].clone();
            }
        }
    };
    let change = tokio::time::timeout(Duration::from_secs(30), noted).await;
    let change = change.expect("an outcome");
    assert_eq!(
        (&change["action"], &change["status"]),
        (&json!("DELETE /programs/{id}"), &json!(499))
    );
}

impl Fixture {
    /// A token made with another one.
    async fn token_by(&self, maker: &str, asked: &Value) -> (String, String) {
        let (status, body) = self.json_as(maker, "/tokens", asked).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&body["secret"]), text(&body["token"]["token_id"]))
    }

    async fn is_valid(&self, token: &str) -> bool {
        self.ask_as(token, Method::GET, "/whoami").await.0 == StatusCode::OK
    }
}

#[tokio::test]
async fn tokens_end_with_the_one_that_made_them() {
    let host = Fixture::new().await;
    host.json("/users", &json!({ "user_id": "ann" })).await;
    let operate = json!({ "scope": "operate" });
    let (first, first_id) = host.token("ann", "operate").await;
    let (second, second_id) = host.token_by(&first, &operate).await;
    let (third, _) = host.token_by(&second, &operate).await;
    let (_, listed) = host.ask_as(&third, Method::GET, "/tokens").await;
    let listed = listed["tokens"].as_array().unwrap();
    let of = |id: &str| listed.iter().find(|it| it["token_id"] == id).unwrap();
    assert_eq!(of(&second_id)["made_by"], json!(first_id));
    // To end itself with all of them would leave ann without any.
    let path = format!("/tokens/{first_id}");
    let (status, body) = host.ask_as(&first, Method::DELETE, &path).await;
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
    assert!(host.is_valid(&first).await && host.is_valid(&third).await);
    // Who exchanges a token for the one that it made keeps that, and what that made.
    let (other, _) = host.token_by(&first, &operate).await;
    let (status, _) = host.ask_as(&second, Method::DELETE, &path).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert!(!host.is_valid(&first).await && !host.is_valid(&other).await);
    assert!(host.is_valid(&second).await && host.is_valid(&third).await);
    let path = format!("/tokens/{second_id}?made=keep");
    host.ask(Method::DELETE, &path).await;
    assert!(!host.is_valid(&second).await && host.is_valid(&third).await);
}

#[tokio::test]
async fn tokens_of_a_former_admin_for_others_end() {
    let host = Fixture::new().await;
    for user in ["eve", "mallory"] {
        let admin = json!({ "user_id": user, "role": "admin" });
        assert_eq!(host.json("/users", &admin).await.0, StatusCode::CREATED);
    }
    for (user, path) in [("eve", "/users/eve"), ("mallory", "/users/mallory")] {
        let (own, _) = host.token(user, "admin").await;
        let asked = json!({ "user_id": "admin", "scope": "admin" });
        let (foreign, _) = host.token_by(&own, &asked).await;
        assert!(host.is_valid(&foreign).await);
        if user == "eve" {
            host.patch(path, &json!({ "role": "member" })).await;
            // An admin has no bounds, a member has.
            let (_, view) = host.ask(Method::GET, path).await;
            assert_eq!(view["quota"]["programs"], 10, "{view}");
        } else {
            host.ask(Method::DELETE, path).await;
        }
        assert!(!host.is_valid(&foreign).await, "{user}");
    }
    assert!(host.ask(Method::GET, "/whoami").await.0.is_success());
}

#[tokio::test]
async fn tokens_that_are_over_make_room_for_new_ones() {
    let host = Fixture::new().await;
    host.json("/users", &json!({ "user_id": "ann" })).await;
    let (valid, _) = host.token("ann", "operate").await;
    for _ in 1..100 {
        host.expired_token("ann").await;
    }
    let (next, _) = host.token("ann", "operate").await;
    assert!(host.is_valid(&valid).await && host.is_valid(&next).await);
    let (_, listed) = host.ask_as(&next, Method::GET, "/tokens").await;
    assert_eq!(listed["tokens"].as_array().unwrap().len(), 2);
}
