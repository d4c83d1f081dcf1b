//! Open effects, as the API shows them.

use hersh::{Context, Error, Policy, Result, Status};
use serde_json::json;

use crate::client::{builder, get, is_time, keys};

/// Asks for an effect that never ends, and one behind it.
async fn asks(cx: &mut Context) -> Result {
    let never = async |_, _: u64| -> Result<u64> { std::future::pending().await };
    let orders = cx.effects("orders", Policy::at_most_once(), never)?;
    if cx.message().is_some() {
        cx.start_in_order(&orders, "btc", &7)?;
        cx.start_in_order(&orders, "btc", &8)?;
    }
    Ok(())
}

/// Takes an outcome in only once it is told to.
async fn fails(cx: &mut Context) -> Result {
    let refuses = async |_, (): ()| Err::<(), Error>(Error::msg("refused"));
    let mails = cx.effects("mails", Policy::at_most_once(), refuses)?;
    if cx.message().is_some() {
        cx.start(&mails, &())?;
    }
    match mails.settled(cx)? {
        Some(_) => Err(Error::msg("cannot take it in")),
        None => Ok(()),
    }
}

#[tokio::test]
async fn open_effects_are_shown_oldest_first_with_their_state() {
    let watcher = builder().start(asks).await.unwrap();
    let address = watcher.api_address().unwrap();
    watcher.send("go").unwrap();
    let shown = loop {
        let answer = get(address, "/watcher/effects").await;
        assert_eq!(answer.status, 200);
        let shown = answer.json();
        if shown["effects"][0]["state"] == "begun" {
            break shown;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(keys(&shown), ["effects", "open", "settled", "timestamp"]);
    assert_eq!((&shown["open"], &shown["settled"]), (&json!(2), &json!(0)));
    let [first, second] = [&shown["effects"][0], &shown["effects"][1]];
    assert_eq!(
        keys(first),
        ["askedAt", "effect", "id", "input", "key", "state"]
    );
    assert_eq!(
        (&first["effect"], &first["input"], &first["key"]),
        (&json!("orders"), &json!(7), &json!("btc"))
    );
    assert!(is_time(&first["askedAt"]) && first["id"].as_str().unwrap().ends_with("-1"));
    assert_eq!(
        (&second["state"], &second["input"]),
        (&json!("waiting"), &json!(8))
    );
    watcher.kill("seen");
    watcher.wait().await;
}

#[tokio::test]
async fn an_outcome_that_waits_is_shown_with_what_it_is() {
    let watcher = builder().start(fails).await.unwrap();
    let address = watcher.api_address().unwrap();
    watcher.send("go").unwrap();
    while watcher.status().consecutive_failures == 0 {
        tokio::task::yield_now().await;
    }
    let shown = get(address, "/watcher/effects").await.json();
    assert_eq!((&shown["open"], &shown["settled"]), (&json!(1), &json!(1)));
    assert_eq!(shown["effects"][0]["state"], "failed");
    let signals = get(address, "/watcher/signals").await.json();
    let recent = signals["recentSignals"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(recent["type"], "effect");
    let id = shown["effects"][0]["id"].as_str().unwrap();
    assert_eq!(recent["content"], format!("mails {id}"));
    let is_up = |status: Status| status.runs == 3;
    assert!(is_up(watcher.status()));
    watcher.kill("seen");
    watcher.wait().await;
}
