//! What a manifest changes on the way to a program and back, and where answers lead.

use serde_json::json;

use super::speech::{closed, request, say};
use super::world::{World, decent, dictated, obedient};

const GET: &str = "GET /programs/p/watcher/x HTTP/1.1\r\nHost: host.example\r\nAUTH\r\n";

#[tokio::test]
async fn webhooks_traces_and_what_a_manifest_names_reach_the_program() {
    let manifest = json!({ "proxy": {
        "request_headers": "X-Tenant",
        "response_headers": "x-plan, X-Left",
    } });
    let world = World::with_manifest(obedient, manifest).await;
    let mut client = world.connect().await;
    let passing = "X-Hub-Signature-256: sha256=00\r\nStripe-Signature: t=1\r\nX-Api-Key: k\r\n\
        X-Slack-Signature: v0=1\r\ntraceparent: 00-1-2-01\r\nIdempotency-Key: 7\r\nx-tenant: a\r\n";
    let dropped = "X-Forwarded-Prefix: /x\r\nX-HTTP-Method-Override: DELETE\r\nX-Other: b\r\n";
    let answer = "HTTP/1.1 200 OK\r\nX-Plan: big\r\nX-LEFT: 3\r\nX-Nobody: x\r\nX-RateLimit-Limit: 9\r\n\
        X-Total-Count: 42\r\nExpires: 0\r\nWWW-Authenticate: Basic realm=\"x\"\r\ncontent-length: 0\r\n\r\n";
    client
        .send(&dictated(&format!("{GET}{passing}{dropped}\r\n"), answer))
        .await;
    let got = client.answer().await.unwrap();
    let seen = world.seen.all().pop().unwrap().to_lowercase();
    for line in passing.to_lowercase().lines() {
        assert!(
            seen.contains(&format!("\r\n{}\r\n", line.trim())),
            "{line}: {seen}"
        );
    }
    for name in ["prefix", "override", "x-other"] {
        assert!(!seen.contains(name), "{name}: {seen}");
    }
    for line in [
        "x-plan: big",
        "x-left: 3",
        "x-ratelimit-limit: 9",
        "x-total-count: 42",
        "expires: 0",
        "hersh-www-authenticate: basic realm=\"x\"",
    ] {
        assert!(
            got.head.contains(&format!("\r\n{line}\r\n")),
            "{line}: {got:?}"
        );
    }
    assert!(
        !got.head.contains("\r\nwww-auth") && !got.head.contains("nobody"),
        "{got:?}"
    );
}

#[tokio::test]
async fn a_redirect_below_the_program_leads_there_and_no_other_passes() {
    let world = World::new(obedient).await;
    for (way, location, leads) in [
        (
            "",
            "/watcher/echo/there?a=1",
            Some("/programs/p/watcher/echo/there?a=1"),
        ),
        ("", "there", Some("/programs/p/watcher/there")),
        ("", "http://p/watcher/a", Some("/programs/p/watcher/a")),
        (
            "",
            "http://host.example/watcher/a",
            Some("/programs/p/watcher/a"),
        ),
        ("/proxy", "/watcher/a", Some("/programs/p/proxy/watcher/a")),
        ("", "/admin", None),
        ("", "/watcher/../admin", None),
        ("", "/programs/q/watcher/a", None),
        ("", "//elsewhere/watcher/a", None),
        ("", "http://elsewhere/watcher/a", None),
    ] {
        let mut client = world.connect().await;
        let get = GET.replacen("/p/watcher", &format!("/p{way}/watcher"), 1);
        let link = "Link: </watcher/x?p=2>; rel=\"next\"\r\n";
        let answer = format!(
            "HTTP/1.1 307 Elsewhere\r\nLocation: {location}\r\n{link}content-length: 0\r\n\r\n"
        );
        client.send(&dictated(&format!("{get}\r\n"), &answer)).await;
        let got = client.answer().await.unwrap();
        assert_eq!(got.status, 307);
        let told = got
            .head
            .lines()
            .find_map(|line| line.strip_prefix("location: "));
        assert_eq!(told, leads, "{location}");
        let next = format!("link: </programs/p{way}/watcher/x?p=2>; rel=\"next\"\r\n");
        assert!(got.head.contains(&next), "{got:?}");
    }
}

#[tokio::test]
async fn requests_go_to_the_port_that_the_manifest_names() {
    let manifest = json!({ "port": 3_000, "readiness": { "kind": "tcp" } });
    let world = World::with_manifest(decent, manifest).await;
    let mut client = world.connect().await;
    client.send(&format!("{GET}\r\n")).await;
    assert_eq!(client.answer().await.unwrap().body, "ok");
    let seen = world.seen.all().pop().unwrap();
    assert!(seen.contains("\r\nhost: p\r\n"), "{seen}");
}

#[tokio::test]
async fn the_root_of_a_watcher_is_asked_for_too() {
    let world = World::new(decent).await;
    let mut client = world.connect().await;
    for (root, target) in [("watcher/", "/watcher/"), ("watcher", "/watcher")] {
        for method in ["GET", "POST"] {
            let asks = GET
                .replacen("GET", method, 1)
                .replacen("watcher/x", root, 1);
            client.send(&format!("{asks}\r\n")).await;
            assert_eq!(client.answer().await.unwrap().status, 200);
            let last = world.seen.targets().pop().unwrap();
            assert_eq!(last, format!("{method} {target}"));
        }
    }
}

#[tokio::test]
async fn a_manifest_sets_how_much_and_how_long() {
    let manifest = json!({ "proxy": { "body": "1KiB", "head": "1KiB", "answer": "1s" } });
    let world = World::with_manifest(
        |mut stream, seen| {
            Box::pin(async move {
                while let Some(asked) = request(&mut stream).await {
                    seen.note(&asked);
                    if asked.contains("/late") {
                        return closed(&mut stream).await;
                    }
                    let more = if asked.contains("/long") {
                        "x".repeat(2_000)
                    } else {
                        String::new()
                    };
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nETag: \"{more}\"\r\ncontent-length: 2\r\n\r\nok"
                    );
                    say(&mut stream, &head).await;
                }
            })
        },
        manifest,
    )
    .await;
    let post = |length: usize| {
        let post = GET.replacen("GET", "POST", 1);
        format!(
            "{post}Content-Length: {length}\r\n\r\n{}",
            "x".repeat(length)
        )
    };
    for (request, status) in [
        (post(1_024), 200),
        (post(1_025), 413),
        (format!("{}\r\n", GET.replacen("/x", "/long", 1)), 502),
        (format!("{}\r\n", GET.replacen("/x", "/late", 1)), 504),
    ] {
        let mut client = world.connect().await;
        client.send(&request).await;
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(
            status == 200 || answer.body.contains("[proxy]"),
            "{answer:?}"
        );
    }
}
