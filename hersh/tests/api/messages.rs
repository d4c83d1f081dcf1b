//! Messages over HTTP: kept, named by keys, waited for, refused, set aside and sent again.

use std::cell::Cell;
use std::net::SocketAddr;

use hersh::{Builder, Context, Error, Recovery, Result, Watcher};
use serde_json::{Value, json};

use crate::client::{Answer, builder, call, get, raw};

/// Adds numbers, and replies the total. Fails for 13 until it was told 7.
async fn adds(cx: &mut Context) -> Result {
    let Some(number) = cx.message_as::<i64>()? else {
        return Ok(());
    };
    let total: i64 = cx.value("total")?.unwrap_or_default();
    if number == 13 && total < 7 {
        return Err(Error::msg("unlucky"));
    }
    cx.set("total", &(total + number))?;
    cx.reply(&json!({ "total": total + number }))?;
    Ok(())
}

async fn up(builder: Builder) -> (Watcher, SocketAddr) {
    let builder = builder.recovery(Recovery {
        light_delays_ms: [1; 3],
        base_delay_ms: 1,
        max_consecutive_failures: 3,
        ..Recovery::default()
    });
    let watcher = builder.start(adds).await.unwrap();
    watcher.ready().await.unwrap();
    let address = watcher.api_address().unwrap();
    (watcher, address)
}

async fn post(address: SocketAddr, query: &str, key: Option<&str>, content: &str) -> Answer {
    let body = json!({ "content": content }).to_string();
    let key = key.map_or(String::new(), |key| format!("Idempotency-Key: {key}\r\n"));
    let request = format!(
        "POST /watcher/message{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{key}\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    raw(address, request.as_bytes()).await
}

async fn inbox(address: SocketAddr) -> Value {
    let answer = get(address, "/watcher/inbox").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

#[tokio::test]
async fn an_answer_says_whether_its_message_is_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (_memory, in_memory) = up(builder()).await;
    let (_disk, on_disk) = up(builder().state_dir(folder.path())).await;
    for (address, durable) in [(in_memory, false), (on_disk, true)] {
        for number in 1..=2 {
            let answer = post(address, "", None, "5").await;
            let expected = json!({
                "status": "message sent", "durable": durable, "number": number, "repeated": false,
            });
            assert_eq!((answer.status, answer.json()), (200, expected));
        }
        assert_eq!(inbox(address).await["durable"], durable);
    }
}

#[tokio::test]
async fn who_waits_for_the_run_gets_its_reply() {
    let folder = tempfile::tempdir().unwrap();
    for builder in [builder(), builder().state_dir(folder.path())] {
        let (watcher, address) = up(builder).await;
        let answer = post(address, "?wait=run", None, "5").await;
        let answered = answer.json();
        assert_eq!((answer.status, &answered["status"]), (200, &json!("done")));
        assert_eq!(
            (&answered["run"], &answered["reply"]),
            (&json!(2), &json!({"total": 5}))
        );
        assert_eq!(watcher.value("total"), Ok(Some(5)));
        let failed = post(address, "?wait=run", None, "13").await;
        let told = "message 2 was set aside: unlucky".to_owned();
        assert_eq!(failed.error(), (422, told));
        let refused = post(address, "?wait=forever", None, "5").await;
        let told = "wait is \"forever\": give run, or leave it out".to_owned();
        assert_eq!(refused.error(), (400, told));
    }
}

#[tokio::test]
async fn a_message_that_comes_again_under_its_key_has_one_run() {
    let folder = tempfile::tempdir().unwrap();
    for builder in [builder(), builder().state_dir(folder.path())] {
        let (watcher, address) = up(builder).await;
        let first = post(address, "?wait=run", Some("order-17"), "5")
            .await
            .json();
        for query in ["?wait=run", ""] {
            let again = post(address, query, Some("order-17"), "5").await.json();
            assert_eq!(
                (&again["repeated"], &again["number"]),
                (&json!(true), &first["number"])
            );
            if !query.is_empty() {
                assert_eq!(
                    (&again["reply"], &again["run"]),
                    (&first["reply"], &first["run"])
                );
            }
        }
        assert_eq!(watcher.value("total"), Ok(Some(5)));
        let (status, told) = post(address, "", Some("order-17"), "6").await.error();
        assert!(
            status == 422 && told.contains("another message came before"),
            "{told}"
        );
        let long = "x".repeat(129);
        for key in ["", "a b", "\u{e9}", &long] {
            let (status, told) = post(address, "", Some(key), "6").await.error();
            assert!(
                status == 400 && told.contains("1 to 128"),
                "{key:?}: {told}"
            );
        }
    }
}

#[tokio::test]
async fn keys_and_messages_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let builder = || builder().state_dir(folder.path());
    let (watcher, address) = up(builder()).await;
    let first = post(address, "?wait=run", Some("once"), "5").await.json();
    let aside = post(address, "?wait=run", Some("aside"), "13").await;
    assert_eq!(aside.status, 422);
    watcher.stop("done");
    watcher.wait().await;
    let (watcher, address) = up(builder()).await;
    let again = post(address, "?wait=run", Some("once"), "5").await.json();
    assert_eq!(
        (&again["reply"], &again["repeated"]),
        (&first["reply"], &json!(true))
    );
    let aside = post(address, "?wait=run", Some("aside"), "13").await;
    assert_eq!(aside.status, 422);
    assert_eq!(inbox(address).await["messages"][0]["key"], "aside");
    assert_eq!(watcher.value("total"), Ok(Some(5)));
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_its_place() {
    let (watcher, address) = up(builder()).await;
    for query in ["", "?wait=run"] {
        let (status, told) = post(address, query, None, "[1]").await.error();
        assert_eq!(status, 422);
        assert!(
            told.contains("invalid type") && told.contains("line 1 column 0"),
            "{told}"
        );
    }
    let refused = watcher.send("five").unwrap_err();
    assert!(
        matches!(refused, hersh::SendError::Unreadable { .. }),
        "{refused}"
    );
    assert_eq!(watcher.status().runs, 1);
}

#[tokio::test]
async fn what_was_set_aside_is_shown_sent_again_and_dropped() {
    let folder = tempfile::tempdir().unwrap();
    for builder in [builder(), builder().state_dir(folder.path())] {
        let (watcher, address) = up(builder).await;
        for key in ["first", "second"] {
            let answer = post(address, "?wait=run", Some(key), "13").await;
            assert_eq!(answer.status, 422);
        }
        let shown = inbox(address).await;
        assert_eq!(
            (&shown["waiting"], &shown["setAside"]),
            (&json!(0), &json!(2))
        );
        let oldest = &shown["messages"][0];
        assert_eq!(
            (&oldest["number"], &oldest["content"]),
            (&json!(1), &json!("13"))
        );
        assert_eq!(
            (&oldest["reason"], &oldest["key"]),
            (&json!("unlucky"), &json!("first"))
        );
        assert_eq!(post(address, "?wait=run", None, "7").await.status, 200);

        let again = call(address, "POST", "/watcher/inbox/1/again", "").await;
        assert_eq!(
            (again.status, again.json()),
            (200, json!({"status": "waits again"}))
        );
        while watcher.value("total").unwrap() != Some(20) {
            tokio::task::yield_now().await;
        }
        let dropped = call(address, "POST", "/watcher/inbox/2/drop", "").await;
        assert_eq!(
            (dropped.status, dropped.json()),
            (200, json!({"status": "dropped"}))
        );
        assert_eq!(inbox(address).await["setAside"], 0);
        for path in ["1/again", "2/drop", "9/again"] {
            let answer = call(address, "POST", &format!("/watcher/inbox/{path}"), "").await;
            assert_eq!(answer.status, 404, "{path}");
        }
        let answer = call(address, "POST", "/watcher/inbox/x/again", "").await;
        assert_eq!(answer.status, 400);
    }
}

#[tokio::test]
async fn a_web_page_changes_nothing_that_was_set_aside() {
    let (_watcher, address) = up(builder()).await;
    assert_eq!(post(address, "?wait=run", None, "13").await.status, 422);
    let request = "POST /watcher/inbox/1/drop HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                   origin: http://evil.example\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(raw(address, request.as_bytes()).await.status, 403);
    assert_eq!(inbox(address).await["setAside"], 1);
}

#[tokio::test]
async fn who_waits_when_the_watcher_ends_is_told_what_becomes_of_it() {
    let folder = tempfile::tempdir().unwrap();
    for (builder, told) in [
        (builder(), "the message is lost"),
        (builder().state_dir(folder.path()), "in the next life"),
    ] {
        let blocks = async |cx: &mut Context| -> Result {
            if cx.message().is_some() {
                std::future::pending::<()>().await;
            }
            Ok(())
        };
        let watcher = builder.start(blocks).await.unwrap();
        watcher.ready().await.unwrap();
        let address = watcher.api_address().unwrap();
        let begun = Cell::new(false);
        let waits = post(address, "?wait=run", None, "5");
        let ends = async {
            while watcher.status().runs < 2 {
                tokio::task::yield_now().await;
            }
            begun.set(true);
            watcher.kill("now");
        };
        let (answer, ()) = tokio::join!(waits, ends);
        let (status, text) = answer.error();
        assert!(
            begun.get() && status == 409 && text.contains(told),
            "{status} {text}"
        );
    }
}
