//! What may be asked for: methods, targets, and heads without measure.

use super::world::{World, decent};

async fn ask(world: &World, line: &str) -> u16 {
    let request = format!("{line} HTTP/1.1\r\nHost: h\r\nAUTH\r\nConnection: close\r\n\r\n");
    let answers = world.exchange(&request).await;
    assert_eq!(answers.len(), 1, "{line}: {answers:?}");
    answers[0].status
}

#[tokio::test]
async fn nothing_leads_out_of_the_watcher_in_any_encoding() {
    let world = World::new(decent).await;
    for target in [
        "/programs/p/watcher/../admin",
        "/programs/p/watcher/./x",
        "/programs/p/watcher/..",
        "/programs/p/watcher/%2e%2e/admin",
        "/programs/p/watcher/%2E./admin",
        "/programs/p/watcher/%252e%252e/admin",
        "/programs/p/watcher/%25252e%25252e/admin",
        "/programs/p/watcher/..%2fadmin",
        "/programs/p/watcher/..%5cadmin",
        "/programs/p/watcher/..\\admin",
        "/programs/p/watcher/..;/admin",
        "/programs/p/watcher/..;a=b/admin",
        "/programs/p/watcher/%2e%2e%2f%2e%2e%2fprograms",
        "/programs/p/watcher/%c0%ae%c0%ae/../admin",
        "/programs/p/watcher/x%00",
        "/programs/p/watcher/x%0d%0aHost:%20evil",
        "/programs/p/watcherx",
        "/programs/p/watcher%2f..%2fadmin",
        "/programs/p/watcher/%",
        "/programs/p%2fwatcher/x",
        "/programs/../programs/p/watcher/x",
        "/programs/p/../p/watcher/x",
        "/programs//p/watcher/x",
        "//programs/p/watcher/x",
        "/programs/p/proxy/proxy/watcher/x",
        "/programs/%70/watcher/x",
        "/PROGRAMS/p/watcher/x",
        "/programs/P/watcher/x",
    ] {
        let status = ask(&world, &format!("GET {target}")).await;
        assert!([400, 404].contains(&status), "{target}: {status}");
    }
    assert_eq!(world.seen.all(), [""; 0]);
}

#[tokio::test]
async fn a_target_in_another_form_reaches_the_same_program_or_none() {
    let world = World::new(decent).await;
    let absolute = "GET http://metadata.invalid/programs/p/watcher/x?a=%2e%2e";
    assert_eq!(ask(&world, absolute).await, 200);
    let seen = world.seen.all().pop().unwrap();
    assert!(
        seen.starts_with("GET /watcher/x?a=%2e%2e HTTP/1.1\r\n"),
        "{seen}"
    );
    assert!(!seen.contains("metadata"), "{seen}");
    for line in [
        "GET http://metadata.invalid/latest/meta-data",
        "GET http://user@h/programs/p/watcher/x",
        "GET http://user:secret@h/programs/p/watcher/x",
        "GET http://@h/healthz",
        "CONNECT metadata.invalid:80",
        "CONNECT p:80",
        "GET p:80",
        "OPTIONS *",
        "GET *",
        "GET x",
        "GET /programs/p/watcher/x y",
        "GET /programs/p/watcher/\u{1}",
        "GET file:///programs/p/../watcher",
    ] {
        let status = ask(&world, line).await;
        assert!([400, 404, 405].contains(&status), "{line}: {status}");
    }
    assert_eq!(world.seen.all().len(), 1);
}

#[tokio::test]
async fn methods_outside_the_list_stay_here() {
    let world = World::new(decent).await;
    for method in [
        "TRACE", "CONNECT", "OPTIONS", "PROPFIND", "get", "G\u{c4}T", "PRI",
    ] {
        let status = ask(&world, &format!("{method} /programs/p/watcher/x")).await;
        assert!([400, 404, 405].contains(&status), "{method}: {status}");
    }
    assert_eq!(world.seen.all(), [""; 0]);
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        assert_eq!(
            ask(&world, &format!("{method} /programs/p/watcher/x")).await,
            200
        );
    }
    assert_eq!(world.seen.all().len(), 5);
}

#[tokio::test]
async fn a_head_without_measure_is_refused() {
    let world = World::new(decent).await;
    let get = "GET /programs/p/watcher/x HTTP/1.1\r\nHost: h\r\nAUTH\r\n";
    let long_value = format!("{get}X: {}\r\n\r\n", "x".repeat(70_000));
    let many = format!("{get}{}\r\n", "X: y\r\n".repeat(120));
    let long_target = get.replace("/x ", &format!("/{} ", "x".repeat(66_000)));
    let no_end = "X".repeat(200_000);
    for (request, expected) in [
        (long_value, 431),
        (many, 431),
        (long_target + "\r\n", 414),
        (no_end, 431),
    ] {
        let answers = world.exchange(&request).await;
        let refused = answers.is_empty()
            || (answers.len() == 1 && [expected, 431, 400].contains(&answers[0].status));
        assert!(refused, "{:.60}: {answers:?}", request);
    }
    assert_eq!(world.seen.all(), [""; 0]);
}

#[tokio::test]
async fn nothing_passes_without_the_token() {
    let world = World::new(decent).await;
    for credentials in [
        "",
        "Authorization: Bearer wrong\r\n",
        "AUTH\r\nAuthorization: Bearer wrong\r\n",
        "X: y\r\n AUTH\r\n",
        "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ] {
        let request = format!(
            "GET /programs/p/watcher/x HTTP/1.1\r\nHost: h\r\n{credentials}\r\nGET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        );
        let answers = world.exchange(&request).await;
        assert!(
            answers
                .iter()
                .all(|answer| [400, 401].contains(&answer.status)),
            "{credentials:?}: {answers:?}"
        );
    }
    assert_eq!(world.seen.all(), [""; 0]);
}
