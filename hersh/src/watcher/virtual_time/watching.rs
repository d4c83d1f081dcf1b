//! Calls, folds, names, priorities.

use std::cell::Cell;
use std::convert::Infallible;
use std::time::Duration;

use futures_util::stream;

use super::*;
use crate::{Control, HookError};

const SECOND: Duration = Duration::from_secs(1);

/// Answers polls with what a list says, then for ever with the last.
fn answers(
    list: &'static [Result<u32, &'static str>],
) -> impl AsyncFnMut() -> Result<u32, Error> + 'static {
    let next = Cell::new(0);
    async move || {
        let at = next.replace(next.get() + 1).min(list.len() - 1);
        list[at].map_err(Error::msg)
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_made_at_once_then_on_time_and_keeps_its_value() {
    let notes = Notes::new();
    let noted = notes.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        let poll = answers(&[Ok(1), Err("late"), Err("late"), Ok(2)]);
        let price = cx.watch_call("price", SECOND, 0, poll)?;
        noted.add(seen(&price, cx));
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        pass(3_500).await;
        let texts: Vec<String> = watcher
            .logs()
            .iter()
            .map(|it| it.message.to_string())
            .collect();
        assert_eq!(texts, ["ready", "price: late"], "told once");
        watcher.stop("done");
    })
    .await;
    assert_eq!(
        notes.texts(),
        [
            "0 - true false",
            "1 - false true",
            "1 late false true",
            "1 late false true",
            "2 - false true",
        ]
    );
    assert_eq!(notes.times_ms(), [0, 0, 1_000, 2_000, 3_000]);
}

#[tokio::test(start_paused = true)]
async fn a_fold_sees_every_answer_in_order() {
    let notes = Notes::new();
    let noted = notes.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        let poll = answers(&[Ok(1), Ok(1), Ok(3), Err("gone"), Ok(3), Ok(5)]);
        let add = |all: &Vec<u32>, next: u32| {
            (all.last() != Some(&next)).then(|| all.iter().copied().chain([next]).collect())
        };
        let all = cx.watch_fold("all", SECOND, Vec::new(), poll, add)?;
        noted.add(seen(&all, cx));
        if cx.message().is_some() {
            pass(10_000).await;
        }
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        pass(4_500).await;
        watcher.send("slow").unwrap();
        pass(10_100).await;
        watcher.stop("done");
    })
    .await;
    assert_eq!(
        notes.texts(),
        [
            "[] - true false",
            "[1] - false true",
            "[1, 3] - false true",
            "[1, 3] gone false true",
            "[1, 3] - false true",
            "[1, 3] - false false",
            "[1, 3, 5] - false true",
        ]
    );
    assert_eq!(notes.times_ms()[1..5], [0, 2_000, 3_000, 4_000]);
}

#[tokio::test(start_paused = true)]
async fn polls_that_hang_or_panic_are_errors_and_go_on() {
    let notes = Notes::new();
    let noted = notes.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        let mut count = 0;
        let poll = async move || {
            count += 1;
            match count {
                1 => std::future::pending().await,
                2 => panic!("no route"),
                n => Ok::<u32, Infallible>(n),
            }
        };
        let value = cx.watch_call("value", SECOND, 0, poll)?;
        noted.add(seen(&value, cx));
        Ok(())
    };
    let builder = plain().call_timeout(Duration::from_millis(2_500));
    play(builder, managed, async |watcher| {
        pass(4_900).await;
        watcher.stop("done");
    })
    .await;
    assert_eq!(
        notes.texts(),
        [
            "0 - true false",
            "0 no answer within 2.5s true true",
            "0 panicked: no route true true",
            "3 - false true",
        ]
    );
    assert_eq!(notes.times_ms(), [0, 2_500, 3_000, 4_000]);
}

/// A value that panics when it is dropped, if it holds true.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Grudge(bool);

impl Drop for Grudge {
    fn drop(&mut self) {
        assert!(!self.0 || std::thread::panicking(), "a grudge");
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_whose_end_panics_harms_nobody() {
    let managed = async |cx: &mut Context| -> crate::Result {
        let second = Duration::from_secs(1);
        let poll = async || Ok::<_, Infallible>(Grudge(true));
        cx.watch_call("grudge", second, Grudge(false), poll)?;
        Ok(())
    };
    let ending = play(plain(), managed, async |watcher| {
        pass(3_500).await;
        assert_eq!(watcher.status().runs, 5);
        watcher.stop("done");
    })
    .await;
    assert_eq!(ending.to_string(), "Stopped: done");
}

#[tokio::test(start_paused = true)]
async fn lifecycle_beats_messages_and_messages_beat_variables() {
    let notes = Notes::new();
    let noted = notes.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        cx.watch_tick("tick", Duration::from_millis(1))?;
        let message = cx.message();
        let changed = cx.triggered().variables.len();
        noted.add(format!("{} {changed}", message.as_deref().unwrap_or("-")));
        // The run takes longer than a tick, so that all three lanes always have something.
        pass(5).await;
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        pass(1).await;
        for n in 0..100 {
            watcher.send(n.to_string()).unwrap();
        }
        pass(5 * 50).await;
        watcher.stop("enough");
        assert_eq!(watcher.send("late"), Err(crate::SendError::NotRunning));
        watcher.wait().await;
        let last = watcher.logs().pop().unwrap();
        assert_eq!(
            last.message.as_ref(),
            "Stopped: enough (50 messages were not served)"
        );
    })
    .await;
    let texts = notes.texts();
    assert_eq!(texts[0], "- 0");
    let served: Vec<String> = (0..50).map(|n| format!("{n} 1")).collect();
    assert_eq!(
        texts[1..],
        served,
        "each message before the tick that it takes along"
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_keeps_its_hook_and_its_type() {
    let managed = async |cx: &mut Context| -> crate::Result {
        let open = || stream::pending::<std::result::Result<u32, Infallible>>();
        cx.watch_flow("a", 0, open)?;
        let other = || stream::pending::<std::result::Result<u64, Infallible>>();
        let clash = cx.watch_flow("a", 0, other).unwrap_err();
        assert_eq!(
            clash.to_string(),
            "watch_flow(\"a\"): registered as a flow of type u32, asked for as a flow of type \
             u64: use another name"
        );
        let clash = cx.watch_tick("a", SECOND).unwrap_err();
        assert!(matches!(
            clash,
            HookError::Clash {
                hook: "watch_tick",
                ..
            }
        ));
        let poll = async || Ok::<_, Infallible>(0);
        let interval = cx.watch_call("b", Duration::ZERO, 0, poll).unwrap_err();
        assert!(matches!(interval, HookError::Interval { .. }));
        Err(Control::stop("checked").into())
    };
    let ending = play(plain(), managed, async |_| {}).await;
    assert_eq!(ending.to_string(), "Stopped: checked");
}
