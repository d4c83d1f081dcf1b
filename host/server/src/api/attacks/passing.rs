//! What passes, each way, and what does not.

use super::speech::{closed, request, say};
use super::world::{Seen, World, decent, listen};

const GET: &str = "GET /programs/p/watcher/x HTTP/1.1\r\nHost: host.example\r\nAUTH\r\n";

#[tokio::test]
async fn credentials_stay_here_and_the_program_learns_who_asked() {
    let world = World::new(decent).await;
    let mut client = world.connect().await;
    client
        .send(
            "POST /programs/p/proxy/watcher/x?a=1 HTTP/1.1\r\nHost: host.example\r\nAUTH\r\n\
             Cookie: session=canary\r\nProxy-Authorization: canary\r\nX-Forwarded-For: 10.9.9.9\r\n\
             X-Forwarded-Host: canary\r\nForwarded: for=canary\r\nX-Anything: canary\r\n\
             Connection: keep-alive, x-anything\r\nTE: trailers\r\nExpect: 100-continue\r\n\
             Origin: http://canary\r\nReferer: http://canary\r\nAccept: text/plain\r\n\
             Content-Length: 5\r\n\r\nhello",
        )
        .await;
    let first = client.answer().await.unwrap();
    assert_eq!(first.status, 100, "what was expected");
    assert_eq!(client.answer().await.unwrap().status, 200);
    let seen = world.seen.all().pop().unwrap();
    let lower = seen.to_lowercase();
    assert!(
        seen.starts_with("POST /watcher/x?a=1 HTTP/1.1\r\n"),
        "{seen}"
    );
    assert!(seen.ends_with("\r\n\r\nhello"), "{seen}");
    for dropped in [
        "canary",
        "10.9.9.9",
        "bearer",
        "hersh_",
        "expect",
        "te:",
        "connection:",
    ] {
        assert!(!lower.contains(dropped), "{dropped}: {seen}");
    }
    for passed in [
        "x-forwarded-for: 127.0.0.1\r\n",
        "x-forwarded-host: host.example\r\n",
        "x-forwarded-proto: http\r\n",
        "accept: text/plain\r\n",
    ] {
        assert!(lower.contains(passed), "{passed}: {seen}");
    }
}

#[tokio::test]
async fn a_program_can_not_speak_for_the_hosts_origin() {
    let world = World::new(|mut stream, _seen| {
        Box::pin(async move {
            request(&mut stream).await;
            let answer = "HTTP/1.1 302 Look elsewhere\r\nLocation: http://elsewhere/\r\n\
                 Set-Cookie: session=stolen\r\nClear-Site-Data: \"*\"\r\nContent-Type: text/html\r\n\
                 Strict-Transport-Security: max-age=1\r\nAccess-Control-Allow-Origin: *\r\n\
                 Access-Control-Allow-Credentials: true\r\nRefresh: 0; url=http://elsewhere/\r\n\
                 X-Accel-Redirect: /secret\r\n\
                 Content-Security-Policy: default-src *\r\nServer: x\r\nConnection: upgrade\r\nVary: a\r\nVary: b\r\n\
                 Upgrade: h2c\r\nContent-Length: 0\r\n\r\n";
            say(&mut stream, answer).await;
            closed(&mut stream).await;
        })
    })
    .await;
    let mut client = world.connect().await;
    client.send(&format!("{GET}\r\n")).await;
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.status, 302, "passed on, never followed");
    for dropped in [
        "location",
        "cookie",
        "clear-site",
        "strict-",
        "allow-credentials",
        "refresh",
        "accel-redirect",
        "default-src",
        "server:",
        "upgrade",
        "elsewhere",
    ] {
        assert!(!answer.head.contains(dropped), "{dropped}: {answer:?}");
    }
    assert!(
        answer.head.contains("content-security-policy: sandbox\r\n"),
        "{answer:?}"
    );
    assert!(
        answer.head.contains("x-content-type-options: nosniff\r\n"),
        "{answer:?}"
    );
    assert!(answer.head.contains("content-length: 0\r\n"), "{answer:?}");
    for listed in ["vary: a\r\n", "vary: b\r\n"] {
        assert!(answer.head.contains(listed), "{answer:?}");
    }
}

#[tokio::test]
async fn conditions_and_ranges_pass_together() {
    let world = World::new(decent).await;
    let mut client = world.connect().await;
    let conditions = [
        "range: bytes=10-",
        "if-range: \"old\"",
        "if-match: \"a\"",
        "if-none-match: \"b\"",
        "if-modified-since: Thu, 01 Jan 2026 00:00:00 GMT",
        "if-unmodified-since: Thu, 01 Jan 2026 00:00:00 GMT",
        "content-range: bytes 0-4/9",
    ];
    let put = GET.replacen("GET", "PUT", 1);
    let lines = conditions.join("\r\n");
    client
        .send(&format!("{put}{lines}\r\nContent-Length: 5\r\n\r\nhello"))
        .await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    let seen = world.seen.all().pop().unwrap();
    for condition in conditions {
        assert!(seen.contains(&format!("\r\n{condition}\r\n")), "{seen}");
    }
}

#[tokio::test]
async fn a_head_request_learns_the_length_and_the_connection_goes_on() {
    let world = World::new(|mut stream, seen| {
        Box::pin(async move {
            while let Some(request) = request(&mut stream).await {
                let is_head = request.starts_with("HEAD");
                seen.note(request);
                let body = if is_head { "" } else { "12345" };
                let head = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
                say(&mut stream, &format!("{head}{body}")).await;
            }
            seen.note("end of the connection");
        })
    })
    .await;
    let mut client = world.connect().await;
    for _ in 0..3 {
        client
            .send(&format!("{}\r\n", GET.replacen("GET", "HEAD", 1)))
            .await;
        let answer = client.head().await.unwrap();
        assert!(answer.head.contains("content-length: 5\r\n"), "{answer:?}");
        client.send(&format!("{GET}\r\n")).await;
        assert_eq!(client.answer().await.unwrap().body, "12345");
    }
    assert_eq!(world.seen.all().len(), 6, "all over one connection");
}

#[tokio::test]
async fn a_connection_that_the_program_closed_is_not_used_again() {
    // One answer a connection, without a word that it is the last.
    let world = World::new(|mut stream, seen| {
        Box::pin(async move {
            if let Some(request) = request(&mut stream).await {
                seen.note(request);
                say(
                    &mut stream,
                    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
                )
                .await;
            }
        })
    })
    .await;
    let mut client = world.connect().await;
    for method in ["GET", "POST", "GET", "PUT"].repeat(8) {
        client
            .send(&format!("{}\r\n", GET.replacen("GET", method, 1)))
            .await;
        assert_eq!(client.answer().await.unwrap().body, "ok", "{method}");
    }
    assert_eq!(world.seen.all().len(), 32, "none twice");
}

#[tokio::test]
async fn events_come_as_they_are_sent() {
    let world = World::new(|mut stream, seen| {
        Box::pin(async move {
            request(&mut stream).await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            say(&mut stream, head).await;
            for number in 0.. {
                // The next one only once the client has this one.
                seen.until(number).await;
                say(&mut stream, &format!("b\r\ndata: {number:04}\n\r\n")).await;
            }
        })
    })
    .await;
    let mut client = world.connect().await;
    client
        .send(&format!("{GET}Accept: text/event-stream\r\n\r\n"))
        .await;
    let mut got = String::new();
    for number in 0..20 {
        while !got.contains(&format!("data: {number:04}\n")) {
            let bytes = client.bytes().await;
            assert!(!bytes.is_empty(), "{got}");
            got.push_str(&String::from_utf8(bytes).unwrap());
        }
        world.seen.note("the client has it");
    }
    assert!(got.contains("content-type: text/event-stream"), "{got}");
}

#[tokio::test]
async fn a_program_without_a_network_is_reached_by_its_socket() {
    let world = World::on_socket(decent).await;
    let mut client = world.connect().await;
    client.send(&format!("{GET}\r\n")).await;
    assert_eq!(client.answer().await.unwrap().body, "ok");
    assert!(
        world.seen.all()[0].contains("host: p\r\n"),
        "{:?}",
        world.seen.all()
    );

    // The program puts a link to somebody else's socket in its place.
    let folder = tempfile::tempdir().unwrap();
    let (other, others) = (folder.path().join("other.sock"), Seen::default());
    listen(&other, decent, &others);
    let socket = world.socket();
    world.stop().await;
    let _ = std::fs::remove_file(&socket);
    std::os::unix::fs::symlink(&other, &socket).unwrap();
    world.start_again().await;
    client.send(&format!("{GET}\r\n")).await;
    let refused = client.answer().await.unwrap();
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (502, "bad_gateway")
    );
    assert!(refused.body.contains("symbolic link"), "{refused:?}");

    // Or one that it can't have made itself.
    std::fs::remove_file(&socket).unwrap();
    std::fs::hard_link(&other, &socket).unwrap();
    std::os::unix::fs::chown(&socket, Some(0), Some(0)).unwrap();
    client.send(&format!("{GET}\r\n")).await;
    assert_eq!(client.answer().await.unwrap().status, 502);
    assert_eq!(others.all(), [""; 0], "nobody else was asked");

    std::fs::remove_file(&socket).unwrap();
    client.send(&format!("{GET}\r\n")).await;
    let absent = client.answer().await.unwrap();
    assert!(
        absent.status == 502 && absent.body.contains("HERSH_WATCHER_SOCKET"),
        "{absent:?}"
    );
}

#[tokio::test]
async fn a_program_that_is_not_ready_says_so_with_its_state() {
    let world = World::new(decent).await;
    world.stop().await;
    let answers = world
        .exchange(&format!("{GET}Connection: close\r\n\r\n"))
        .await;
    let [answer] = &answers[..] else {
        panic!("{answers:?}")
    };
    assert_eq!((answer.status, answer.code().as_str()), (503, "not_ready"));
    assert!(answer.body.contains("\"state\":\"Stopped\""), "{answer:?}");
}
