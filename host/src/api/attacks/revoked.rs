//! What was opened with a token ends with it, however much goes on moving, and with its user's role.

use super::clock::StoppedClock;
use super::speech::{Client, Conversation, closed, request, say};
use super::world::{Running, Seen, World};
use crate::auth::{NewToken, Quota, Role, Scope, TokenId, User, UserId};

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
    let accounts = world.host.accounts();
    let user = User {
        id: ann(),
        role: Role::Admin,
        quota: Quota::usual(Role::Admin),
        created_at_ms: 1,
    };
    accounts.add_user(user).await.unwrap();
    let asked = NewToken {
        user: ann(),
        scope: Scope::Operate,
        label: String::new(),
        expires_at_ms: None,
    };
    let (info, token) = accounts.add_token(asked, 1).await.unwrap();
    (info.id, token.reveal().to_owned())
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
    world.host.accounts().remove_token(&id).await.unwrap();
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
