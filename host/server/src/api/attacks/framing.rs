//! Where a request ends: whoever could make the host and a program think differently about that
//! could have a request of theirs taken for somebody else's.

use super::speech::{Answer, Conversation, closed, request, say};
use super::world::{Running, Seen, World, decent};

const POST: &str = "POST /programs/p/watcher/x HTTP/1.1\r\nHost: h\r\nAUTH\r\n";
const SMUGGLED: &str = "GET /programs/p/watcher/smuggled HTTP/1.1\r\nHost: h\r\nAUTH\r\n\r\n";

fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

#[tokio::test]
async fn of_two_framings_one_counts_and_nothing_comes_after() {
    let world = World::new(decent).await;
    for (headers, body) in [
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "0\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 500\r\n",
            "0\r\n\r\n",
        ),
        (
            "Content-Length: x\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
    ] {
        let before = world.seen.all().len();
        let answers = world
            .exchange(&format!("{POST}{headers}\r\n{body}{SMUGGLED}"))
            .await;
        // Refused, or the one request and then the end of the connection: never a second one.
        assert!(answers.len() <= 1, "{headers}: {answers:?}");
        for request in &world.seen.all()[before..] {
            assert!(request.starts_with("POST /watcher/x "), "{request}");
        }
        assert!(world.seen.all().len() <= before + 1, "{headers}");
    }
}

#[tokio::test]
async fn a_length_or_encoding_that_can_be_read_in_two_ways_is_refused() {
    let world = World::new(decent).await;
    for headers in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551621\r\n",
        "Content-Length : 5\r\n",
        "Content-Length\t: 5\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "X: a\r\n Content-Length: 5\r\n",
        "X: a\r\n\tb\r\n",
        "X: a\rContent-Length: 5\r\n",
        "X: a\0b\r\n",
        "Host: other\r\n",
    ] {
        // The rest is cut off, so that a host that waits for more is seen too.
        let last = "Connection: close\r\n";
        let answers = world
            .exchange(&format!("{POST}{last}{headers}\r\n5\r\nhello\r\n0\r\n\r\n"))
            .await;
        assert_eq!(statuses(&answers), [400], "{headers:?}: {answers:?}");
    }
    let none = "GET /programs/p/watcher/x HTTP/1.1\r\nAUTH\r\nConnection: close\r\n\r\n";
    assert_eq!(statuses(&world.exchange(none).await), [400], "without Host");
    assert_eq!(world.seen.all(), [""; 0]);
}

#[tokio::test]
async fn bad_chunks_end_the_request_and_the_connection() {
    let world = World::new(decent).await;
    for chunks in [
        "g\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "ffffffffffffffff1\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
    ] {
        let answers = world
            .exchange(&format!(
                "{POST}Transfer-Encoding: chunked\r\n\r\n{chunks}{SMUGGLED}"
            ))
            .await;
        assert_eq!(statuses(&answers), [400], "{chunks:?}: {answers:?}");
    }
    // Nothing of it came to the program as a request.
    assert_eq!(world.seen.all(), [""; 0]);
}

#[tokio::test]
async fn what_is_only_unusual_is_made_plain() {
    let world = World::new(decent).await;
    for (headers, body) in [
        ("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
        (
            "Transfer-Encoding: CHUNKED\r\n",
            "5;ext=\"a\"\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked\r\n",
            "005  \r\nhello\r\n0\r\n\r\n",
        ),
        ("Content-Length: 5\nX: y\n", "hello"),
    ] {
        let mut client = world.connect().await;
        client.send(&format!("{POST}{headers}\r\n{body}")).await;
        assert_eq!(client.answer().await.unwrap().body, "ok", "{headers:?}");
        let seen = world.seen.all().pop().unwrap();
        assert!(seen.ends_with("\r\n\r\nhello"), "{seen:?}");
        assert!(
            !seen.to_lowercase().contains("trailer") && !seen.contains(';'),
            "{seen:?}"
        );
        // Both still agree: the next request is itself.
        client.send(SMUGGLED).await;
        assert_eq!(client.answer().await.unwrap().body, "ok");
        let seen = world.seen.all().pop().unwrap();
        assert!(
            seen.starts_with("GET /watcher/smuggled HTTP/1.1\r\n"),
            "{seen:?}"
        );
    }
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_a_row_by_http_1_0_too() {
    let world = World::new(decent).await;
    let get = |version, more| {
        format!("GET /programs/p/watcher/x HTTP/{version}\r\nHost: h\r\nAUTH\r\n{more}\r\n")
    };
    let one_one = get("1.1", "") + &get("1.1", "Connection: close\r\n");
    assert_eq!(statuses(&world.exchange(&one_one).await), [200, 200]);
    let one_nought = get("1.0", "Connection: keep-alive\r\n") + &get("1.0", "");
    let answers = world.exchange(&one_nought).await;
    assert_eq!(statuses(&answers), [200, 200]);
    assert!(
        answers[0].head.contains("connection: keep-alive"),
        "{answers:?}"
    );
    let closing = get("1.0", "") + SMUGGLED;
    assert_eq!(statuses(&world.exchange(&closing).await), [200]);
    assert_eq!(world.seen.targets(), ["GET /watcher/x"; 5]);
    let chunked = POST.replace("HTTP/1.1", "HTTP/1.0") + "Transfer-Encoding: chunked\r\n\r\n";
    let answers = world
        .exchange(&format!("{chunked}0\r\n\r\n{SMUGGLED}"))
        .await;
    assert_eq!(statuses(&answers), [400]);
    assert_eq!(world.seen.all().len(), 5);
}

#[tokio::test]
async fn a_stream_without_a_length_ends_the_http_1_0_connection() {
    let world = World::new(|mut stream, seen| {
        Box::pin(async move {
            seen.note(request(&mut stream).await.unwrap());
            let chunked =
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
            say(&mut stream, chunked).await;
            closed(&mut stream).await;
        })
    })
    .await;
    let request = "GET /programs/p/watcher/x HTTP/1.0\r\nAUTH\r\nConnection: keep-alive\r\n\r\n";
    let answers = world.exchange(&format!("{request}{request}")).await;
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers[0].body, "hello");
    assert!(
        !answers[0].head.contains("transfer-encoding"),
        "{answers:?}"
    );
    assert_eq!(world.seen.all().len(), 1);
}

/// Answers each head at once and reads nothing more.
fn hasty(mut stream: Conversation, seen: Seen) -> Running {
    Box::pin(async move {
        let mut byte = [0];
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if tokio::io::AsyncReadExt::read_exact(&mut stream, &mut byte)
                .await
                .is_err()
            {
                return;
            }
            head.push(byte[0].into());
        }
        seen.note(head);
        say(
            &mut stream,
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno",
        )
        .await;
        closed(&mut stream).await;
    })
}

#[tokio::test]
async fn an_early_answer_passes_and_its_body_is_no_request() {
    let world = World::new(hasty).await;
    // The body is a request, and most of it is still to come when the program answers.
    let body = SMUGGLED.repeat(2_000);
    for length in [body.len(), 900_000] {
        let mut client = world.connect().await;
        client
            .send(&format!("{POST}Content-Length: {length}\r\n\r\n{SMUGGLED}"))
            .await;
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (403, "no"));
        client.send(&body).await;
        let more = client.rest().await;
        assert_eq!(more, [], "the connection ends instead");
    }
    assert_eq!(world.seen.targets(), ["POST /watcher/x"; 2]);
}

#[tokio::test]
async fn a_body_that_no_route_reads_becomes_no_request() {
    let world = World::new(decent).await;
    let unread = format!(
        "POST /programs/p/nothing HTTP/1.1\r\nHost: h\r\nAUTH\r\nContent-Length: {}\r\n\r\n{SMUGGLED}",
        SMUGGLED.replace("AUTH", &"x".repeat(100)).len()
    );
    let mut client = world.connect().await;
    client.send(&unread).await;
    assert_eq!(client.answer().await.unwrap().status, 404);
    client.send(&"x".repeat(4_096)).await;
    client.rest().await;
    assert_eq!(world.seen.all(), [""; 0]);
}
