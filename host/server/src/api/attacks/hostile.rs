//! Programs that answer with anything but an answer.

use std::time::Duration;

use super::speech::{Answer, Conversation, request, say};
use super::world::{Running, Seen, World, dictated, obedient};

const GET: &str = "GET /programs/p/watcher/x HTTP/1.1\r\nHost: h\r\nAUTH\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What the client gets when the program's answer is `answer` and then the end of the connection.
async fn answered(world: &World, answer: &str) -> Answer {
    let mut client = world.connect().await;
    client.send(&dictated(GET, answer)).await;
    client.answer().await.expect("some answer")
}

#[tokio::test]
async fn what_is_no_answer_is_a_bad_gateway() {
    let world = World::new(obedient).await;
    for answer in [
        "",
        "\r\n\r\n",
        "hello\r\n\r\n",
        "HTTP/1.1",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n",
        "HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/3.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok!",
        "HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: x\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\nnothing more",
    ] {
        let answer_seen = answered(&world, answer).await;
        assert_eq!(answer_seen.status, 502, "{answer:?}: {answer_seen:?}");
        assert_eq!(answer_seen.code(), "bad_gateway", "{answer:?}");
    }
}

#[tokio::test]
async fn an_odd_answer_comes_out_as_one_plain_answer() {
    let world = World::new(obedient).await;
    for (answer, status, body) in [
        // Nothing but the first answer of a split one is passed on.
        (format!("{OK}HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: 4\r\n\r\nevil"), 200, "ok"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".into(), 200, "ok"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x=\"y\"\r\nok\r\n0\r\nSet-Cookie: a=b\r\n\r\n".into(), 200, "ok"),
        ("HTTP/1.1 200 OK\r\n\r\nok".into(), 200, "ok"),
        ("HTTP/1.0 200 OK\r\n\r\nok".into(), 200, "ok"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n".to_owned() + OK, 200, "ok"),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\nevil".into(), 204, ""),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\nevil".into(), 304, ""),
        ("HTTP/1.1 999 Unheard\r\ncontent-length: 2\r\n\r\nok".into(), 999, "ok"),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/\u{e9}\r\ncontent-length: 2\r\n\r\nok".into(), 200, "ok"),
    ] {
        let mut client = world.connect().await;
        client.send(&dictated(GET, &answer)).await;
        let got = client.answer().await.unwrap();
        assert_eq!((got.status, got.body.as_str()), (status, body), "{answer:?}");
        assert!(got.is_whole && !got.head.contains("cookie"), "{got:?}");
        // The client and the host agree on where it ended.
        client.send(&dictated(GET, "HTTP/1.1 204 OK\r\n\r\n")).await;
        assert_eq!(client.answer().await.unwrap().status, 204, "{answer:?}");
    }
}

#[tokio::test]
async fn what_a_program_sends_unasked_answers_nobody() {
    let world = World::new(|mut stream, seen| {
        Box::pin(async move {
            while let Some(request) = request(&mut stream).await {
                seen.note(request);
                // One answer that was asked for, one for whoever comes next.
                say(
                    &mut stream,
                    &format!("{OK}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"),
                )
                .await;
            }
        })
    })
    .await;
    for _ in 0..8 {
        let mut client = world.connect().await;
        for _ in 0..4 {
            client.send(GET).await;
            assert_eq!(client.answer().await.unwrap().body, "ok");
        }
    }
    assert_eq!(world.seen.all().len(), 32, "each was asked once");
}

#[tokio::test]
async fn a_body_that_is_cut_reaches_the_client_as_cut() {
    let world = World::new(obedient).await;
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokHTTP/1.1 200 OK\r\n\r\n",
    ] {
        let mut client = world.connect().await;
        client.send(&dictated(GET, answer)).await;
        let got = client.answer().await;
        let is_cut = got
            .as_ref()
            .is_none_or(|got| !got.is_whole || got.status == 502);
        assert!(is_cut, "{answer:?}: {got:?}");
        assert_eq!(client.answer().await, None, "and nothing follows it");
    }
}

#[tokio::test]
async fn floods_before_the_body_are_cut_off() {
    fn flood(mut stream: Conversation, seen: Seen, piece: &'static str) -> Running {
        Box::pin(async move {
            let Some(request) = request(&mut stream).await else {
                return;
            };
            seen.note(request);
            let piece = piece.repeat(100);
            while tokio::io::AsyncWriteExt::write_all(&mut stream, piece.as_bytes())
                .await
                .is_ok()
            {}
            seen.note("it was cut off");
        })
    }
    let interim =
        World::new(|stream, seen| flood(stream, seen, "HTTP/1.1 100 Continue\r\n\r\n")).await;
    let hints =
        World::new(|stream, seen| flood(stream, seen, "HTTP/1.1 103 Early\r\nLink: </x>\r\n\r\n"))
            .await;
    let line = World::new(|stream, seen| flood(stream, seen, "HTTP/1.1 200 ")).await;
    let blank = World::new(|stream, seen| flood(stream, seen, "\r\n")).await;
    for world in [interim, hints, line, blank] {
        let mut client = world.connect().await;
        client.send(GET).await;
        let answer = client.answer().await.unwrap();
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (502, "bad_gateway"),
            "{answer:?}"
        );
        assert_eq!(world.seen.until(2).await[1], "it was cut off");
    }
    let headers = World::new(|mut stream, seen| {
        Box::pin(async move {
            say(&mut stream, "HTTP/1.1 200 OK\r\n").await;
            flood(stream, seen, "X-A: b\r\n").await;
        })
    })
    .await;
    let mut client = headers.connect().await;
    client.send(GET).await;
    assert_eq!(client.answer().await.unwrap().status, 502);
    headers.seen.until(2).await;
}

#[tokio::test]
async fn an_endless_body_goes_on_only_as_fast_as_the_client_takes_it() {
    let world = World::new(|mut stream, seen| {
        Box::pin(async move {
            request(&mut stream).await;
            say(&mut stream, "HTTP/1.1 200 OK\r\n\r\n").await;
            let piece = "x".repeat(64 * 1024);
            while tokio::io::AsyncWriteExt::write_all(&mut stream, piece.as_bytes())
                .await
                .is_ok()
            {
                seen.note("x");
            }
            seen.note("cut");
        })
    })
    .await;
    let mut client = world.connect().await;
    client.send(GET).await;
    assert!(!client.bytes().await.is_empty());
    // The client stops reading: all that was sent soon lies in the kernel's buffers.
    let quiet = Duration::from_millis(300);
    let mut sent = world.seen.all().len();
    while tokio::time::timeout(quiet, world.seen.until(sent + 1))
        .await
        .is_ok()
    {
        sent = world.seen.all().len();
    }
    assert!(
        sent < 1_000,
        "{sent} pieces of 64 KiB were taken for a client that reads nothing"
    );
    drop(client);
    while world.seen.all().last().map(String::as_str) != Some("cut") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_request_that_may_have_been_carried_out_is_not_sent_twice() {
    // The second request of each connection is read, and then nothing. In one runtime, so that both
    // methods go over the same connections.
    let world = World::in_one_runtime(|mut stream, seen| {
        Box::pin(async move {
            seen.note(request(&mut stream).await.unwrap());
            say(&mut stream, OK).await;
            if let Some(request) = request(&mut stream).await {
                seen.note(request);
            }
        })
    })
    .await;
    let mut client = world.connect().await;
    client.send(GET).await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    client.send(&GET.replacen("GET", "POST", 1)).await;
    assert_eq!(client.answer().await.unwrap().status, 502);
    assert_eq!(world.seen.targets(), ["GET /watcher/x", "POST /watcher/x"]);
    // One that only asks is asked again, over a new connection, once.
    client.send(GET).await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    client.send(GET).await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert_eq!(world.seen.targets()[2..], ["GET /watcher/x"; 3]);
}
