//! Streams: what is kept of a fast one, how they fail and end.

use std::cell::Cell;
use std::convert::Infallible;

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::*;
use crate::Control;

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

#[tokio::test(start_paused = true)]
async fn a_flow_that_never_waits_holds_up_nothing() {
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
async fn a_flow_at_full_speed_keeps_few_values_and_frees_them() {
    let managed = async |cx: &mut Context| -> crate::Result {
        let open = || stream::iter(0..200_000).map(|_| Ok::<_, Infallible>(Counted::new()));
        let value = cx.watch_flow("counted", Counted::new(), open)?;
        // The run waits while values pour in.
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
