//! The health of a watcher, asked while its thread is free, blocked, and on its way out.

use std::sync::mpsc;

use hersh::{Context, Result, Watcher};
use serde_json::{Value, json};

use crate::client::{PATIENCE, builder, call, get, is_time, keys, metric, up};

const KEYS: [&str; 7] = [
    "cause", "engine", "lastRun", "nextDue", "run", "saving", "state",
];

/// The health with its status; the shape is the same whatever it says.
async fn health(watcher: &Watcher) -> (u16, Value) {
    let answer = get(watcher.api_address().unwrap(), "/watcher/health").await;
    assert!(answer.head.contains("content-type: application/json"));
    let json = answer.json();
    assert_eq!(keys(&json), KEYS);
    (answer.status, json)
}

#[tokio::test]
async fn an_idle_watcher_says_what_was_and_what_is_due() {
    let (watcher, address) = up(builder()).await;
    let (status, health) = health(&watcher).await;
    assert_eq!((status, &health["engine"]), (200, &json!("turning")));
    assert_eq!(health["state"], "Ready");
    for nothing in ["cause", "run", "saving"] {
        assert_eq!(health[nothing], Value::Null, "{nothing}");
    }
    assert!(is_time(&health["lastRun"]) && is_time(&health["nextDue"]));
    let answer = call(address, "POST", "/watcher/health", "").await;
    assert_eq!(answer.status, 405);
}

#[tokio::test]
async fn health_is_answered_while_a_run_blocks_the_thread() {
    let (enters, entered) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let managed = async move |_: &mut Context| -> Result {
        enters.send(())?;
        let _ = released.recv();
        Ok(())
    };
    let watcher = builder().start(managed).await.unwrap();
    entered.recv_timeout(PATIENCE).unwrap();
    let (status, blocked) = health(&watcher).await;
    assert_eq!(
        (status, &blocked["engine"], &blocked["state"]),
        (200, &json!("turning"), &json!("InitRun"))
    );
    assert!(is_time(&blocked["run"]["since"]), "{blocked}");
    assert_eq!(blocked["lastRun"], Value::Null);
    // Not up is another matter.
    let address = watcher.api_address().unwrap();
    assert_eq!(get(address, "/watcher/status").await.status, 503);
    drop(release);
    watcher.ready().await.unwrap();
    let (status, free) = health(&watcher).await;
    assert_eq!((status, &free["run"]), (200, &Value::Null));
}

#[tokio::test]
async fn a_watcher_that_is_over_is_503_while_it_still_answers() {
    struct Held(mpsc::Sender<()>, mpsc::Receiver<()>);
    impl Drop for Held {
        fn drop(&mut self) {
            let _ = self.0.send(());
            let _ = self.1.recv();
        }
    }
    let (enters, entered) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let held = Held(enters, released);
    let managed = async move |_: &mut Context| -> Result {
        let _ = &held;
        Ok(())
    };
    let watcher = builder().start(managed).await.unwrap();
    watcher.ready().await.unwrap();
    watcher.stop("done");
    // What the function holds is dropped last.
    entered.recv_timeout(PATIENCE).unwrap();
    let (status, over) = health(&watcher).await;
    assert_eq!(
        (status, &over["engine"], &over["state"]),
        (503, &json!("stalled"), &json!("Stopped"))
    );
    assert_eq!(over["cause"], "the watcher is over");
    let address = watcher.api_address().unwrap();
    assert_eq!(metric(address, "hersh_watcher_stalled").await, 1);
    drop(release);
    watcher.wait().await;
}
