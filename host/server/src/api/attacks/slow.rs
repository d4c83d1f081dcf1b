//! Whoever is slow, or says nothing, or takes nothing, holds a place for a known time. The clock is
//! stopped once the world stands, and moved on while a test waits.

use hersh_proxy::IN_FLIGHT_MAX;

use super::clock::StoppedClock;
use super::speech::{Conversation, closed, request, say};
use super::world::{Running, Script, Seen, World, decent};

/// Bytes of a request's body, unless a manifest says otherwise.
const BODY_BYTES_MAX: usize = 1 << 20;
const GET: &str = "GET /programs/p/watcher/x HTTP/1.1\r\nHost: h\r\nAUTH\r\n\r\n";
const POST: &str = "POST /programs/p/watcher/x HTTP/1.1\r\nHost: h\r\nAUTH\r\n";

/// Notes a request, says something, and then nothing more.
fn says(mut stream: Conversation, seen: Seen, words: &'static str) -> Running {
    Box::pin(async move {
        if let Some(request) = request(&mut stream).await {
            seen.note(request);
            say(&mut stream, words).await;
            closed(&mut stream).await;
            seen.note("closed");
        }
    })
}

#[tokio::test]
async fn a_head_that_does_not_end_is_closed_after_10_s() {
    let world = World::in_one_runtime(decent).await;
    for head in [
        "",
        "GET /programs/p/wat",
        "GET / HTTP/1.1\r\nHost: h\r\nX: ",
    ] {
        let mut client = world.connect().await;
        let clock = StoppedClock::new(&world);
        client.send(head).await;
        let answers = clock.until(client.rest()).await;
        assert!(answers.len() <= 1, "{answers:?}");
        clock.assert_about(10);
    }
    assert_eq!(world.seen.all(), [""; 0]);
}

#[tokio::test]
async fn a_client_that_asks_no_more_is_closed_after_10_s() {
    let world = World::in_one_runtime(decent).await;
    let mut client = world.connect().await;
    client.send(GET).await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    let clock = StoppedClock::new(&world);
    assert_eq!(clock.until(client.rest()).await, []);
    clock.assert_about(10);
}

#[tokio::test]
async fn a_body_that_does_not_end_is_given_up_after_30_s() {
    let world = World::in_one_runtime(decent).await;
    for (framing, begun) in [
        ("Content-Length: 1000", "hello"),
        ("Content-Length: 1000", ""),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhe"),
    ] {
        let mut client = world.connect().await;
        let clock = StoppedClock::new(&world);
        client
            .send(&format!("{POST}{framing}\r\n\r\n{begun}"))
            .await;
        let answer = clock.until(client.answer_late()).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (408, "request_timeout")
        );
        clock.assert_about(30);
    }
    assert_eq!(world.seen.all(), [""; 0], "nothing came whole");
}

#[tokio::test]
async fn a_drip_of_a_body_is_given_up_after_30_s() {
    let world = World::in_one_runtime(decent).await;
    let mut client = world.connect().await;
    client
        .send(&format!("{POST}Content-Length: 100000\r\n\r\n"))
        .await;
    let clock = StoppedClock::new(&world);
    let drip = async {
        loop {
            client.send("x").await;
            clock.move_on().await;
            if clock.seconds() > 40 {
                return client.answer_late().await;
            }
        }
    };
    let answer = drip.await;
    assert_eq!(answer.status, 408);
    assert_eq!(world.seen.all(), [""; 0]);
}

#[tokio::test]
async fn an_upload_of_a_byte_now_and_then_is_given_up_after_60_s() {
    let world = World::in_one_runtime(decent).await;
    let mut client = world.connect().await;
    client
        .send(
            "PUT /programs/p/source HTTP/1.1\r\nHost: h\r\nAUTH\r\n\
             Content-Type: application/x-tar\r\nContent-Length: 100000\r\n\r\n",
        )
        .await;
    let clock = StoppedClock::new(&world);
    let uploads = &world.host.permits().uploads;
    while uploads.taken() == 0 {
        clock.move_on().await;
    }
    while uploads.taken() > 0 {
        client.send("x").await;
        for _ in 0..14 {
            clock.move_on().await;
        }
        assert!(clock.seconds() < 100, "it goes on");
    }
    let answer = client.answer_late().await;
    assert!(answer.body.contains("too slowly"), "{answer:?}");
}

#[tokio::test]
async fn a_program_that_hangs_is_answered_for_after_30_s() {
    for script in [
        (|stream, seen| says(stream, seen, "")) as Script,
        |stream, seen| says(stream, seen, "HTTP/1.1 200 OK\r\ncontent-le"),
        |stream, seen| says(stream, seen, "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        let world = World::in_one_runtime(script).await;
        let mut client = world.connect().await;
        let clock = StoppedClock::new(&world);
        client
            .send(&format!("{POST}Content-Length: 5\r\n\r\nhello"))
            .await;
        world.seen.until(1).await;
        let answer = clock.until(client.answer_late()).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (504, "gateway_timeout")
        );
        clock.assert_about(30);
        assert_eq!(world.seen.until(2).await[1], "closed");
    }
}

#[tokio::test]
async fn a_program_that_takes_no_body_is_answered_for_after_30_s() {
    let world = World::in_one_runtime(|stream, seen| {
        Box::pin(async move {
            seen.note("connected");
            // Held, and never read.
            std::future::pending::<()>().await;
            drop(stream);
        })
    })
    .await;
    let mut client = world.connect().await;
    let body = "x".repeat(BODY_BYTES_MAX);
    let request = format!("{POST}Content-Length: {}\r\n\r\n{body}", body.len());
    let clock = StoppedClock::new(&world);
    let answer = async {
        client.send(&request).await;
        client.answer_late().await
    };
    let answer = clock.until(answer).await;
    assert_eq!(answer.status, 504, "{answer:?}");
    clock.assert_about(30);
}

#[tokio::test]
async fn a_body_that_stops_coming_ends_after_120_s() {
    let world = World::in_one_runtime(|stream, seen| {
        says(
            stream,
            seen,
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
        )
    })
    .await;
    let mut client = world.connect().await;
    let clock = StoppedClock::new(&world);
    client.send(GET).await;
    world.seen.until(1).await;
    let answer = clock.until(client.answer_late()).await;
    assert_eq!((answer.status, answer.is_whole), (200, false));
    clock.assert_about(120);
    assert_eq!(world.seen.until(2).await[1], "closed");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off_after_5_minutes() {
    let world = World::in_one_runtime(|mut stream, seen| {
        Box::pin(async move {
            request(&mut stream).await;
            say(&mut stream, "HTTP/1.1 200 OK\r\n\r\n").await;
            let piece = "x".repeat(64 * 1024);
            while tokio::io::AsyncWriteExt::write_all(&mut stream, piece.as_bytes())
                .await
                .is_ok()
            {
                seen.note("taken");
            }
            seen.note("cut");
        })
    })
    .await;
    let mut client = world.connect().await;
    client.send(GET).await;
    assert!(!client.bytes().await.is_empty());
    let mut clock = StoppedClock::new(&world);
    let (mut taken, mut still_seconds) = (0, 0);
    // The kernel still takes much for a client that takes nothing.
    loop {
        clock.move_on().await;
        let seen = world.seen.all();
        if seen.last().is_some_and(|last| last == "cut") {
            break;
        }
        let grew = seen.len() > taken;
        // The kernel may move the last piece from the program to the host a while later, in its own time, with
        // nothing passed on to the client by that.
        still_seconds += u64::from(still_seconds > 0 || !grew);
        if grew {
            taken = seen.len();
            clock.begin();
        }
    }
    if !StoppedClock::is_about(still_seconds, 300) {
        clock.assert_about(300);
    }
    drop(client);
}

#[tokio::test]
async fn a_reader_that_pauses_for_a_minute_gets_the_rest() {
    const LENGTH: usize = 32 << 20;
    let world = World::in_one_runtime(|mut stream, seen| {
        Box::pin(async move {
            request(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
            say(&mut stream, &head).await;
            say(&mut stream, &"x".repeat(LENGTH)).await;
            seen.note("all was taken");
        })
    })
    .await;
    let mut client = world.connect().await;
    client.send(GET).await;
    assert!(!client.bytes().await.is_empty());
    let clock = StoppedClock::new(&world);
    while clock.seconds() < 90 {
        clock.move_on().await;
    }
    assert_eq!(
        world.seen.all(),
        [""; 0],
        "the program waits for its reader"
    );
    let mut left = LENGTH - 8_192;
    while left > 0 {
        let bytes = client.bytes().await;
        assert!(!bytes.is_empty(), "cut off with {left} bytes to come");
        left = left.saturating_sub(bytes.len());
    }
    world.seen.until(1).await;
}

#[tokio::test]
async fn a_silent_stream_of_events_is_kept_alive_between_two_of_them() {
    let world = World::in_one_runtime(|stream, seen| {
        says(
            stream,
            seen,
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n",
        )
    })
    .await;
    let mut client = world.connect().await;
    let clock = StoppedClock::new(&world);
    client.send(GET).await;
    let mut got = String::new();
    let kept = async {
        // Five minutes, more than twice as long as anything else may be silent.
        while got.matches(":\n\n").count() < 10 {
            let bytes = client.bytes().await;
            assert!(!bytes.is_empty(), "{got}");
            got.push_str(&String::from_utf8(bytes).unwrap());
        }
    };
    clock.until(kept).await;
    // Each of the ten is seen a step of the clock late.
    let took = clock.seconds();
    assert!((300..=320).contains(&took), "{took} s");
    assert!(got.contains("data: 1\n\n"), "{got}");
    drop((client, clock));
    assert_eq!(world.seen.until(2).await[1], "closed");

    // In the middle of an event nothing is put in.
    let world = World::in_one_runtime(|stream, seen| {
        says(
            stream,
            seen,
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\nda",
        )
    })
    .await;
    let mut client = world.connect().await;
    let clock = StoppedClock::new(&world);
    client.send(GET).await;
    let answer = clock.until(client.answer_late()).await;
    assert_eq!(
        (answer.body.as_str(), answer.is_whole),
        ("data: 1\nda", false)
    );
    clock.assert_about(120);
}

#[tokio::test]
async fn what_must_not_be_sent_twice_takes_no_connection_that_waited() {
    // Each connection ends with its second request: as if it had been closed in that moment.
    let world = World::in_one_runtime(|mut stream, seen| {
        Box::pin(async move {
            seen.note(request(&mut stream).await.unwrap());
            say(
                &mut stream,
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            )
            .await;
            if request(&mut stream).await.is_some() {
                seen.note("at the moment of its end");
            }
        })
    })
    .await;
    let mut client = world.connect().await;
    client.send(GET).await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    let clock = StoppedClock::new(&world);
    clock.move_on().await;
    clock.move_on().await;
    client
        .send(&format!("{POST}Content-Length: 2\r\n\r\nhi"))
        .await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert_eq!(world.seen.targets(), ["GET /watcher/x", "POST /watcher/x"]);
}

#[tokio::test]
async fn a_program_that_is_stopped_ends_what_goes_on_with_it() {
    let silent: Script = |stream, seen| says(stream, seen, "");
    let begun: Script = |stream, seen| {
        says(
            stream,
            seen,
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
        )
    };
    for (script, status) in [(silent, 503), (begun, 200)] {
        let world = World::in_one_runtime(script).await;
        let mut client = world.connect().await;
        client.send(GET).await;
        world.seen.until(1).await;
        world.stop().await;
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.is_whole), (status, status == 503));
        assert_eq!(world.seen.until(2).await[1], "closed");
    }
}

#[tokio::test]
async fn requests_under_way_are_bounded_and_each_end_makes_room() {
    let world =
        World::in_one_runtime(|stream, seen| says(stream, seen, "HTTP/1.1 200 OK\r\n\r\n")).await;
    let mut open = Vec::new();
    for _ in 0..IN_FLIGHT_MAX {
        let mut client = world.connect().await;
        client.send(GET).await;
        assert!(!client.bytes().await.is_empty());
        open.push(client);
    }
    let mut client = world.connect().await;
    client.send(GET).await;
    let refused = client.answer().await.unwrap();
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "queue_full")
    );
    assert!(refused.head.contains("retry-after: 1\r\n"), "{refused:?}");
    drop(open.pop());
    world.seen.until(IN_FLIGHT_MAX + 1).await;
    client.send(GET).await;
    let bytes = client.bytes().await;
    assert!(bytes.starts_with(b"HTTP/1.1 200 "), "{bytes:?}");
}
