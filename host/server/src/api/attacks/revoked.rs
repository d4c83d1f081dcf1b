//! What was opened with a token ends with it, however much goes on moving, and with its user's role.

use hersh_program::UserId;

use super::clock::StoppedClock;
use super::speech::{Client, Conversation, closed, request, say};
use super::world::{Running, Seen, World};
use crate::auth::{DescendantTokens, Role, TokenId};

const HANDSHAKE: &str = "GET /programs/p/watcher/x HTTP/1.1\r\nHost: h\r\nAUTH\r\n\
    Connection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const GET: &str = "GET /programs/p/watcher/x HTTP/1.1\r\nHost: h\r\nAUTH\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n";

/// Answers with `words`, and goes on with `more` for as long as somebody takes it.
fn talks(mut stream: Conversation, seen: Seen, words: &'static str, more: &'static str) -> Running {
    Box::pin(async move {
        let Some(request) = request(&mut stream).await else {
            return;
        };
        seen.note(request);
        say(&mut stream, words).await;
        if more.is_empty() {
            closed(&mut stream).await;
            return seen.note("closed");
        }
        while tokio::io::AsyncWriteExt::write_all(&mut stream, more.as_bytes())
            .await
            .is_ok()
        {}
        seen.note("closed");
    })
}

/// A second admin.
fn ann() -> UserId {
    UserId::parse("ann").unwrap()
}

async fn token_of_ann(world: &World) -> (TokenId, String) {
    world.add_user("ann", Role::Admin).await;
    world.add_token(&ann()).await
}

/// Opens something as the second admin, takes the right to it away, and sees it end.
async fn ends_within_5_s(world: &World, opens: &str, loses: impl AsyncFnOnce(&World, TokenId)) {
    let (id, token) = token_of_ann(world).await;
    let mut client = world.connect_as(&token).await;
    client.send(opens).await;
    assert!(!client.bytes().await.is_empty());
    let clock = StoppedClock::new(world);
    clock.move_on().await;
    loses(world, id).await;
    clock.until(drained(&mut client)).await;
    assert!(clock.seconds() <= 10, "{} s", clock.seconds());
    world.seen.until(2).await;
}

async fn drained(client: &mut Client) {
    while !client.bytes().await.is_empty() {}
}

async fn token_removed(world: &World, id: TokenId) {
    world
        .host
        .accounts()
        .remove_token(&id, DescendantTokens::Keep, None)
        .await
        .unwrap();
}

async fn user_demoted(world: &World, _: TokenId) {
    let (ann, accounts) = (ann(), world.host.accounts());
    let demoted = accounts.change_user(&ann, Some(Role::Member), None);
    demoted.await.unwrap();
}

async fn user_removed(world: &World, _: TokenId) {
    world.host.accounts().remove_user(&ann()).await.unwrap();
}

#[tokio::test]
async fn a_tunnel_ends_with_the_token_that_opened_it() {
    // Bytes go on, so it is not idle.
    let world = World::in_one_runtime(|stream, seen| talks(stream, seen, SWITCH, "moving.")).await;
    ends_within_5_s(&world, HANDSHAKE, token_removed).await;
}

#[tokio::test]
async fn a_tunnel_ends_with_its_users_role() {
    let world = World::in_one_runtime(|stream, seen| talks(stream, seen, SWITCH, "")).await;
    ends_within_5_s(&world, HANDSHAKE, user_demoted).await;
}

#[tokio::test]
async fn a_quiet_stream_ends_with_the_token_that_opened_it() {
    let world = World::in_one_runtime(|stream, seen| talks(stream, seen, STREAM, "")).await;
    ends_within_5_s(&world, GET, token_removed).await;
}

#[tokio::test]
async fn a_stream_that_is_never_waited_for_ends_with_its_user() {
    let world =
        World::in_one_runtime(|stream, seen| talks(stream, seen, STREAM, "data: 2\n\n")).await;
    ends_within_5_s(&world, GET, user_removed).await;
}

#[tokio::test]
async fn the_hosts_own_streams_end_with_their_users_role() {
    let events = "GET /programs/p/events?follow=true HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAUTH\r\n\r\n";
    let world = World::in_one_runtime(|stream, seen| talks(stream, seen, STREAM, "")).await;
    world.seen.note("nothing comes to the program");
    world.seen.note("");
    ends_within_5_s(&world, events, user_demoted).await;
}

/// Lets nothing but a whole request be seen, and says nothing to it.
fn listens(mut stream: Conversation, seen: Seen) -> Running {
    Box::pin(async move {
        let Some(whole) = request(&mut stream).await else {
            return seen.note("cut");
        };
        seen.note(whole);
        closed(&mut stream).await;
        seen.note("closed");
    })
}

/// Asks as the second admin, takes the right to it away, and is told so; what the program saw.
async fn refused_within_10_s(
    asks: &str,
    sees: usize,
    loses: impl AsyncFnOnce(&World, TokenId),
) -> Vec<String> {
    let world = World::in_one_runtime(listens).await;
    let (id, token) = token_of_ann(&world).await;
    let mut client = world.connect_as(&token).await;
    client.send(asks).await;
    let clock = StoppedClock::new(&world);
    clock.move_on().await;
    loses(&world, id).await;
    let answer = clock.until(client.answer_late()).await;
    let got = (answer.status, answer.code());
    assert_eq!(got, (401, "unauthorized".to_owned()), "{answer:?}");
    assert!(clock.seconds() <= 10, "{} s", clock.seconds());
    world.seen.until(sees).await
}

#[tokio::test]
async fn a_half_sent_request_does_not_outlive_its_token() {
    let half =
        "POST /programs/p/watcher/x HTTP/1.1\r\nHost: h\r\nAUTH\r\nContent-Length: 5\r\n\r\nhell";
    assert_eq!(refused_within_10_s(half, 1, token_removed).await, ["cut"]);
    assert_eq!(refused_within_10_s(half, 1, user_removed).await, ["cut"]);
    assert_eq!(refused_within_10_s(half, 1, user_demoted).await, ["cut"]);
}

#[tokio::test]
async fn a_late_answer_does_not_outlive_the_token_that_asked() {
    let seen = refused_within_10_s(GET, 2, token_removed).await;
    assert_eq!(seen[1], "closed");
    // The way through the router, which a request that may change something takes.
    let post = GET.replacen("GET", "POST", 1);
    let seen = refused_within_10_s(&post, 2, user_demoted).await;
    assert_eq!(seen[1], "closed");
}

/// Answers, and goes on with large pieces for as long as they are taken.
fn pours(mut stream: Conversation, seen: Seen) -> Running {
    Box::pin(async move {
        let Some(request) = request(&mut stream).await else {
            return;
        };
        seen.note(request);
        say(&mut stream, STREAM).await;
        let piece = "x".repeat(64 * 1024);
        while tokio::io::AsyncWriteExt::write_all(&mut stream, piece.as_bytes())
            .await
            .is_ok()
        {
            seen.note("taken");
        }
        seen.note("closed");
    })
}

/// Opens something as the second admin that it then does not read; does something that ends it, and
/// waits until the program has seen that.
async fn ends_unread(loses: impl AsyncFnOnce(&World, TokenId)) {
    let world = World::in_one_runtime(pours).await;
    let (id, token) = token_of_ann(&world).await;
    let mut client = world.connect_as(&token).await;
    client.send(GET).await;
    assert!(!client.bytes().await.is_empty());
    let mut clock = StoppedClock::new(&world);
    // The kernel has much room for a client that takes nothing.
    let (mut taken, mut steps) = (0, 0);
    while steps < 5 {
        clock.move_on().await;
        let now = world.seen.all().len();
        steps = if now == taken { steps + 1 } else { 0 };
        taken = now;
    }
    loses(&world, id).await;
    clock.begin();
    while world.seen.all().last().is_none_or(|last| last != "closed") {
        clock.move_on().await;
        assert!(clock.seconds() <= 10, "it goes on");
    }
    drop(client);
}

#[tokio::test]
async fn who_does_not_read_is_cut_off_with_the_token() {
    ends_unread(token_removed).await;
    ends_unread(user_demoted).await;
}

#[tokio::test]
async fn who_does_not_read_keeps_no_place_of_a_stopped_program() {
    let stopped = async |world: &World, _| world.stop().await;
    ends_unread(stopped).await;
}
