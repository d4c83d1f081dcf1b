//! The counter inside a test: no process, no socket.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use counter::counter;
use hersh::{Builder, Watcher};

async fn play(builder: Builder, messages: &[&str]) -> Watcher {
    let watcher = builder.start(counter).await.unwrap();
    watcher.ready().await.unwrap();
    for message in messages {
        watcher.send(*message).unwrap();
    }
    watcher.send("stop").unwrap();
    let ending = watcher.wait().await;
    assert_eq!(ending.to_string(), "Stopped: a message said stop");
    watcher
}

#[tokio::test]
async fn it_adds_what_messages_ask() {
    let watcher = play(Watcher::builder("counter"), &["add 5", "add -2", "add 40"]).await;
    assert_eq!(watcher.value("total"), Ok(Some(43)));
}

#[tokio::test]
async fn it_resets() {
    let watcher = play(Watcher::builder("counter"), &["add 5", "reset", "add 1"]).await;
    assert_eq!(watcher.value("total"), Ok(Some(1)));
}

#[tokio::test]
async fn messages_it_does_not_know_are_logged_and_change_nothing() {
    let messages = [
        "add 5",
        "add five",
        "add",
        "subtract 2",
        "reset now",
        "stop it",
    ];
    let watcher = play(Watcher::builder("counter"), &messages).await;
    assert_eq!(watcher.value("total"), Ok(Some(5)));
    let logs = watcher.logs();
    let texts: Vec<&str> = logs.iter().map(|line| line.message.as_ref()).collect();
    assert_eq!(
        texts,
        [
            "ready",
            "added 5, the total is 5",
            "\"five\" is no whole number: nothing was added",
            "\"\" is no whole number: nothing was added",
            "\"subtract 2\" is none of: add NUMBER, reset, hang, stop",
            "\"reset now\" is none of: add NUMBER, reset, hang, stop",
            "\"stop it\" is none of: add NUMBER, reset, hang, stop",
            "Stopped: a message said stop",
        ]
    );
}

#[tokio::test]
async fn it_keeps_its_total_across_restarts_and_never_overflows() {
    let folder = tempfile::tempdir().unwrap();
    let builder = || Watcher::builder("counter").state_dir(folder.path());
    play(builder(), &["add 5"]).await;
    let watcher = play(builder(), &["add 7"]).await;
    assert_eq!(watcher.value("total"), Ok(Some(12)));
    drop(watcher);
    let huge = format!("add {}", i64::MAX);
    let watcher = play(builder(), &[&huge]).await;
    assert_eq!(watcher.value("total"), Ok(Some(i64::MAX)));
}
