//! Calls, folds, flows.

use std::cell::Cell;
use std::convert::Infallible;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::*;
use crate::{Control, HookError, Watched};

const SECOND: Duration = Duration::from_secs(1);

/// `value error initial triggered` of a variable.
fn seen<T: std::fmt::Debug>(value: &Watched<T>, cx: &Context) -> String {
    let error = value.error().unwrap_or("-");
    let (initial, triggered) = (value.is_initial(), value.is_triggered(cx));
    format!("{:?} {error} {initial} {triggered}", **value)
}

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
async fn a_call_is_made_at_once_and_then_on_time_and_an_error_keeps_the_last_value() {
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
async fn a_fold_sees_every_answer_in_order_and_may_say_that_nothing_happened() {
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
async fn polls_that_hang_or_panic_are_errors_and_the_next_is_made_all_the_same() {
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

#[tokio::test(start_paused = true)]
async fn of_a_flow_the_newest_counts_and_its_errors_and_end_are_told() {
    let notes = Notes::new();
    let noted = notes.clone();
    let (send, receive) = mpsc::unbounded_channel::<std::result::Result<u32, Error>>();
    let receive = Cell::new(Some(receive));
    let managed = async move |cx: &mut Context| -> crate::Result {
        let receiver = receive.take();
        let open = move || {
            stream::unfold(receiver.unwrap(), async |mut receiver| {
                Some((receiver.recv().await?, receiver))
            })
        };
        let value = cx.watch_flow("value", 0, open)?;
        noted.add(seen(&value, cx));
        if cx.message().is_some() {
            pass(100).await;
        }
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        pass(10).await;
        for n in 1..=1_000 {
            send.send(Ok(n)).unwrap();
        }
        pass(10).await;
        send.send(Err(Error::msg("cut off"))).unwrap();
        pass(10).await;
        watcher.send("slow").unwrap();
        for n in 1_001..=2_000 {
            send.send(Ok(n)).unwrap();
            tokio::task::yield_now().await;
        }
        pass(200).await;
        drop(send);
        pass(10).await;
        let last = watcher.logs().pop().unwrap();
        assert_eq!(last.message.as_ref(), "value: its stream has ended");
        watcher.stop("done");
    })
    .await;
    let texts = notes.texts();
    assert_eq!(texts[0], "0 - true false");
    assert_eq!(texts[texts.len() - 1], "2000 - false true", "{texts:?}");
    assert!(
        texts.contains(&"1000 cut off false true".into()),
        "{texts:?}"
    );
    assert!(texts.len() < 20, "{} runs", texts.len());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_panics_takes_no_value_with_it() {
    let managed = async |cx: &mut Context| -> crate::Result {
        let open = || {
            stream::iter(1..=3).map(|n| {
                assert!(n < 3, "no third");
                Ok::<u32, Infallible>(n)
            })
        };
        let value = cx.watch_flow("value", 0, open)?;
        match cx.triggered().init {
            true => Ok(()),
            false => Err(Control::stop(seen(&value, cx)).into()),
        }
    };
    let ending = play(plain(), managed, async |_| {}).await;
    assert_eq!(ending.reason.as_ref(), "2 panicked: no third false true");
}

/// A value that cannot be dropped in peace.
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
async fn lifecycle_beats_messages_and_messages_beat_variables_under_load() {
    let notes = Notes::new();
    let noted = notes.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        cx.watch_tick("tick", Duration::from_millis(1))?;
        let message = cx.message();
        let changed = cx.triggered().variables.len();
        noted.add(format!("{} {changed}", message.as_deref().unwrap_or("-")));
        // Longer than a tick, so that all three lanes always have something.
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
async fn a_flow_that_never_waits_holds_up_neither_messages_nor_the_end() {
    let managed = async |cx: &mut Context| -> crate::Result {
        let open = || stream::iter(0_u64..).map(Ok::<_, Infallible>);
        cx.watch_flow("endless", 0, open)?;
        match cx.message().as_deref() {
            Some("stop") => Err(Control::stop("told to").into()),
            Some(_) | None => Ok(()),
        }
    };
    let ending = play(plain(), managed, async |watcher| {
        for _ in 0..100 {
            watcher.send("x").unwrap();
        }
        watcher.send("stop").unwrap();
    })
    .await;
    assert_eq!(ending.to_string(), "Stopped: told to");
}

#[tokio::test(start_paused = true)]
async fn the_last_value_of_a_flow_at_full_speed_arrives() {
    let seen = Rc::new(Cell::new(0));
    let last = seen.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        let open = || stream::iter(1_u64..=1_000_000).map(Ok::<_, Infallible>);
        last.set(*cx.watch_flow("fast", 0, open)?);
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        watcher.ready().await.unwrap();
        while seen.get() < 1_000_000 {
            tokio::task::yield_now().await;
        }
        let runs = watcher.status().runs;
        assert!(runs < 100_000, "{runs} runs for a million values");
        watcher.stop("done");
    })
    .await;
}

/// A value that counts how many of it there are.
#[derive(Debug)]
struct Counted;

static ALIVE: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
static MOST_ALIVE: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

impl Counted {
    fn new() -> Self {
        let order = std::sync::atomic::Ordering::Relaxed;
        MOST_ALIVE.fetch_max(ALIVE.fetch_add(1, order) + 1, order);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

impl serde::Serialize for Counted {
    fn serialize<S: serde::Serializer>(&self, out: S) -> std::result::Result<S::Ok, S::Error> {
        out.serialize_unit()
    }
}

impl<'de> serde::Deserialize<'de> for Counted {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> std::result::Result<Self, D::Error> {
        Ok(Self::new())
    }
}

#[tokio::test(start_paused = true)]
async fn a_flow_at_full_speed_keeps_a_handful_of_values_and_its_end_frees_them() {
    let managed = async |cx: &mut Context| -> crate::Result {
        let open = || stream::iter(0..200_000).map(|_| Ok::<_, Infallible>(Counted::new()));
        let value = cx.watch_flow("counted", Counted::new(), open)?;
        // Runs that wait while values pour in.
        pass(1).await;
        drop(value);
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        let over = "counted: its stream has ended";
        while watcher
            .logs()
            .iter()
            .all(|line| line.message.as_ref() != over)
        {
            pass(1).await;
        }
        watcher.stop("done");
    })
    .await;
    let order = std::sync::atomic::Ordering::Relaxed;
    assert!(MOST_ALIVE.load(order) <= 6, "{MOST_ALIVE:?}");
    tokio::task::yield_now().await;
    assert_eq!(ALIVE.load(order), 0, "the end of the watcher frees them");
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
