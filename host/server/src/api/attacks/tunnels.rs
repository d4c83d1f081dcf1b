//! WebSockets: no tunnel but the one that both sides agreed on, and none that outlives its program.

use tokio::io::AsyncReadExt;

use super::clock::StoppedClock;
use super::speech::{Client, Conversation, PATIENCE, request, say};
use super::world::{Running, Seen, World, decent, dictated, obedient};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
const GET: &str = "GET /programs/p/watcher/x HTTP/1.1\r\nHost: h\r\nAUTH\r\n";
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

/// Agrees, and sends back in capitals what comes.
fn shouting(mut stream: Conversation, seen: Seen) -> Running {
    Box::pin(async move {
        let Some(request) = request(&mut stream).await else {
            return;
        };
        seen.note(request);
        say(
            &mut stream,
            &format!("HTTP/1.1 101 Yes\r\n{UPGRADE}{ACCEPT}\r\nEARLY."),
        )
        .await;
        let mut byte = [0];
        while stream.read_exact(&mut byte).await.is_ok() {
            let shouted = byte[0].to_ascii_uppercase();
            say(&mut stream, std::str::from_utf8(&[shouted]).unwrap()).await;
        }
        seen.note("closed");
    })
}

/// Reads until the client has got `text`.
async fn expect(client: &mut Client, text: &str) {
    let mut got = String::new();
    while !got.contains(text) {
        let bytes = client.bytes().await;
        assert!(!bytes.is_empty(), "{got}");
        got.push_str(&String::from_utf8(bytes).unwrap());
    }
}

async fn opened(world: &World) -> Client {
    let mut client = world.connect().await;
    client.send(&format!("{GET}{UPGRADE}{KEY}\r\n")).await;
    expect(&mut client, "EARLY.").await;
    client
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways_and_ends_with_either_side() {
    let world = World::new(shouting).await;
    let mut client = world.connect().await;
    client
        .send(&format!(
            "{GET}{UPGRADE}{KEY}Cookie: canary\r\nOrigin: http://h\r\n\r\nsent before the answer."
        ))
        .await;
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.status, 101);
    assert!(
        answer
            .head
            .contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"),
        "{answer:?}"
    );
    let seen = world.seen.all().pop().unwrap().to_lowercase();
    assert!(seen.starts_with("get /watcher/x http/1.1\r\n"), "{seen}");
    assert!(
        seen.contains("upgrade: websocket\r\n") && seen.contains("sec-websocket-key: "),
        "{seen}"
    );
    assert!(
        !seen.contains("canary") && !seen.contains("bearer") && !seen.contains("origin"),
        "{seen}"
    );
    expect(&mut client, "EARLY.SENT BEFORE THE ANSWER.").await;
    client.send("more.").await;
    expect(&mut client, "MORE.").await;
    drop(client);
    assert_eq!(world.seen.until(2).await[1], "closed");
}

#[tokio::test]
async fn a_tunnel_ends_with_its_program_and_with_the_host() {
    let world = World::new(shouting).await;
    let mut client = opened(&world).await;
    world.stop().await;
    assert_eq!(client.rest().await, []);
    assert_eq!(world.seen.until(2).await[1], "closed");

    let world = World::new(shouting).await;
    let mut client = opened(&world).await;
    world.shut_down();
    assert_eq!(client.rest().await, []);
    assert_eq!(world.seen.until(2).await[1], "closed");
}

#[tokio::test]
async fn a_silent_tunnel_ends_after_two_to_four_minutes() {
    let world = World::in_one_runtime(shouting).await;
    let mut client = opened(&world).await;
    let clock = StoppedClock::new(&world);
    assert_eq!(clock.until(client.rest()).await, []);
    let took = clock.seconds();
    assert!((120..=241).contains(&took), "{took} s");
}

#[tokio::test]
async fn a_tunnel_holds_its_place_among_the_requests_under_way() {
    let world = World::new(shouting).await;
    let mut open = Vec::new();
    for _ in 0..hersh_proxy::IN_FLIGHT_MAX {
        open.push(opened(&world).await);
    }
    let refused = world.exchange(&format!("{GET}{UPGRADE}{KEY}\r\n")).await;
    assert_eq!(refused[0].status, 503);
    drop(open.pop());
    world.seen.until(hersh_proxy::IN_FLIGHT_MAX + 1).await;
    opened(&world).await;
}

/// Waits until the host has so many connections, beside the one that asks.
async fn connections(world: &World, count: usize) {
    let ask = "GET /metrics HTTP/1.1
Host: h
Connection: close
AUTH

";
    let since = std::time::Instant::now();
    loop {
        let metrics = world.exchange(ask).await[0].body.clone();
        let mut lines = metrics.lines();
        let open = lines.find_map(|line| line.strip_prefix("hersh_connections "));
        if open.unwrap() == (count + 1).to_string() {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{count}, not {open:?}");
    }
}

#[tokio::test]
async fn a_tunnel_keeps_its_places_among_the_connections() {
    let world = World::new(shouting).await;
    let mut tunnels = Vec::new();
    for _ in 0..3 {
        tunnels.push(opened(&world).await);
    }
    // More than once, since the connection ends a moment after the handshake.
    for _ in 0..10 {
        connections(&world, 3).await;
    }
    tunnels.pop();
    connections(&world, 2).await;
}

#[tokio::test]
async fn a_plain_answer_to_a_handshake_is_passed_on_and_opens_nothing() {
    let world = World::new(obedient).await;
    let answer = "HTTP/1.1 426 No\r\nUpgrade: h2c\r\ncontent-length: 2\r\n\r\nno";
    let mut client = world.connect().await;
    let handshake = format!("{GET}{UPGRADE}{KEY}\r\n");
    client.send(&dictated(&handshake, answer)).await;
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (426, "no"));
    assert!(!answer.head.contains("upgrade:"), "{answer:?}");
    // What the client sends next is a request to the host.
    client.send(HEALTH).await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert_eq!(world.seen.all().len(), 1);
}

#[tokio::test]
async fn without_the_programs_own_101_there_is_no_tunnel() {
    let world = World::new(obedient).await;
    let handshake = format!("{UPGRADE}{KEY}");
    let wrong = ACCEPT.replace("s3p", "AAA");
    for (asked, answered) in [
        (handshake.as_str(), String::new()),
        (&handshake, UPGRADE.to_owned()),
        (&handshake, format!("{UPGRADE}{wrong}")),
        (
            &handshake,
            format!("{}{ACCEPT}", UPGRADE.replace("websocket", "h2c")),
        ),
        (&handshake, format!("{UPGRADE}{ACCEPT}{ACCEPT}")),
        (
            &handshake,
            format!("{UPGRADE}{ACCEPT}Sec-WebSocket-Protocol: chat\r\n"),
        ),
        // And none for whom asks for none.
        (KEY, format!("{UPGRADE}{ACCEPT}")),
        ("", format!("{UPGRADE}{ACCEPT}")),
    ] {
        let answer = format!("HTTP/1.1 101 Yes\r\n{answered}\r\n");
        let mut client = world.connect().await;
        client
            .send(&dictated(&format!("{GET}{asked}\r\n"), &answer))
            .await;
        let got = client.answer().await.unwrap();
        assert_eq!(
            (got.status, got.code().as_str()),
            (502, "bad_gateway"),
            "{answer}"
        );
        client.send(HEALTH).await;
        assert_eq!(
            client.answer().await.unwrap().status,
            200,
            "still plain HTTP"
        );
    }
}

#[tokio::test]
async fn a_websocket_that_is_not_asked_for_properly_stays_here() {
    let world = World::new(decent).await;
    let framed = format!("{UPGRADE}{KEY}Content-Length: 5\r\n");
    let foreign = format!("{UPGRADE}{KEY}Origin: http://evil.example\r\n");
    let nobodys = format!("{UPGRADE}{KEY}Origin: null\r\n");
    for (headers, status, code) in [
        (
            "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
            400,
            "bad_request",
        ),
        (UPGRADE, 400, "bad_request"),
        (&framed, 400, "bad_request"),
        (&foreign, 403, "forbidden"),
        (&nobodys, 403, "forbidden"),
    ] {
        let mut client = world.connect().await;
        client.send(&format!("{GET}{headers}\r\n")).await;
        let answer = client.answer().await.unwrap();
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{headers}"
        );
    }
    assert_eq!(world.seen.all(), [""; 0]);
}

#[tokio::test]
async fn an_offer_of_another_protocol_is_left_alone() {
    let world = World::new(decent).await;
    let mut client = world.connect().await;
    let body = "Content-Length: 5\r\n\r\nhello";
    for offer in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n",
        "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
    ] {
        for request in [
            format!("{GET}{offer}\r\n"),
            format!("{}{offer}{body}", GET.replacen("GET", "POST", 1)),
        ] {
            client.send(&request).await;
            let answer = client.answer().await.unwrap();
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (200, "ok"),
                "{offer}"
            );
            let seen = world.seen.all().pop().unwrap().to_lowercase();
            assert!(
                !seen.contains("upgrade") && !seen.contains("http2"),
                "{seen}"
            );
        }
    }
    assert_eq!(world.seen.all().len(), 4, "all over one connection");
}

/// Agrees, says `hi` in a frame, and notes what comes until the end.
fn framing(mut stream: Conversation, seen: Seen) -> Running {
    Box::pin(async move {
        let Some(asked) = request(&mut stream).await else {
            return;
        };
        seen.note(asked);
        say(
            &mut stream,
            &format!("HTTP/1.1 101 Yes\r\n{UPGRADE}{ACCEPT}\r\n\u{1}\u{2}hi"),
        )
        .await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        seen.note(String::from_utf8_lossy(&rest));
    })
}

/// Reads what the host puts in until the end; sends `reply` for each ping.
async fn hear(client: &mut Client, reply: &str) -> Vec<u8> {
    let mut heard = Vec::new();
    loop {
        let bytes = client.bytes().await;
        if bytes.is_empty() {
            return heard;
        }
        if bytes.ends_with(b"\x89\0") {
            client.send(reply).await;
        }
        heard.extend(bytes);
    }
}

#[tokio::test]
async fn a_silent_websocket_is_asked_and_then_told_why_it_ends() {
    let world = World::in_one_runtime(framing).await;
    let mut client = world.connect().await;
    client.send(&format!("{GET}{UPGRADE}{KEY}\r\n")).await;
    expect(&mut client, "hi").await;
    let clock = StoppedClock::new(&world);
    let heard = clock.until(hear(&mut client, "")).await;
    let took = clock.seconds();
    assert!((120..=181).contains(&took), "{took} s");
    let close = b"\x88\x18\x03\xe9nothing came for 120 s";
    assert!(heard.starts_with(b"\x89\0\x89\0\x89\0"), "{heard:?}");
    assert!(heard.ends_with(close), "{heard:?}");
    let seen = world.seen.until(2).await;
    assert!(seen[1].ends_with("nothing came for 120 s"), "{seen:?}");
}

#[tokio::test]
async fn a_websocket_whose_client_answers_pings_stays_open() {
    let world = World::in_one_runtime(framing).await;
    let mut client = world.connect().await;
    client.send(&format!("{GET}{UPGRADE}{KEY}\r\n")).await;
    expect(&mut client, "hi").await;
    let clock = StoppedClock::new(&world);
    tokio::select! {
        biased;
        heard = hear(&mut client, "\u{a}\0") => panic!("it ended: {heard:?}"),
        () = async { while clock.seconds() < 500 { clock.move_on().await } } => {}
    }
    world.stop().await;
    let heard = clock.until(hear(&mut client, "")).await;
    assert!(
        heard.ends_with(b"the program was stopped or ended"),
        "{heard:?}"
    );
}
