//! Memos, random numbers, blocking work.

use std::cell::Cell;

use super::*;
use crate::{Control, HookError, MEMO_LIMIT};

#[tokio::test(start_paused = true)]
async fn a_memo_is_computed_once_cleared_bounded_and_keeps_its_type() {
    let computed = Rc::new(Cell::new(0));
    let counted = computed.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        let compute = || {
            counted.set(counted.get() + 1);
            String::from("client")
        };
        assert_eq!(*cx.memo("client", compute)?, "client");
        let clash = cx.memo("client", || 5).unwrap_err().to_string();
        assert!(clash.starts_with("memo(\"client\"): registered as a memo of type"));
        let late = cx.memo_async("late", async || Err::<u8, _>(Error::msg("not yet")));
        assert_eq!(late.await.unwrap_err().to_string(), "not yet");
        match cx.message().as_deref() {
            Some("clear") => assert!(cx.clear_memo("client") && !cx.clear_memo("client")),
            Some("fill") => {
                for n in 1..MEMO_LIMIT {
                    cx.memo(&format!("memo {n}"), || n)?;
                }
                let limit = cx.memo("one more", || 0).unwrap_err();
                assert!(matches!(limit, HookError::Limit { hook: "memo", .. }));
            }
            Some("panic") => drop(cx.memo("broken", || -> u8 { panic!("in a memo") })?),
            Some(_) | None => {}
        }
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        for message in ["again", "clear", "again", "fill", "panic"] {
            watcher.send(message).unwrap();
        }
        pass(1).await;
        let (runs, failures) = (watcher.status().runs, watcher.status().consecutive_failures);
        assert_eq!((runs, failures), (6, 1), "{:?}", watcher.logs());
        watcher.stop("done");
    })
    .await;
    assert_eq!(computed.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn random_numbers_follow_from_the_seed_and_the_run_alone() {
    let draw = async |seed: u64, draws_before: u32| {
        let notes = Notes::new();
        let noted = notes.clone();
        let managed = async move |cx: &mut Context| -> crate::Result {
            if cx.triggered().init {
                for _ in 0..draws_before {
                    cx.random();
                }
                return Ok(());
            }
            noted.add(format!("{} {}", cx.random(), cx.random_below(6)));
            Err(Control::stop("drawn").into())
        };
        let builder = plain().random_seed(seed);
        play(builder, managed, async |watcher| watcher.send("x").unwrap()).await;
        notes.texts()
    };
    assert_eq!(draw(1, 0).await, draw(1, 5).await);
    assert_ne!(draw(1, 0).await, draw(2, 0).await);
}

#[tokio::test(start_paused = true)]
async fn blocking_work_holds_up_nothing_and_its_panic_is_an_error() {
    let managed = async |cx: &mut Context| -> crate::Result {
        match cx.message().as_deref() {
            None => Ok(()),
            Some("panic") => {
                let error = crate::blocking(|| panic!("in the cellar"))
                    .await
                    .unwrap_err();
                assert_eq!(error.to_string(), "blocking work panicked: in the cellar");
                Err(Control::stop("seen").into())
            }
            Some(_) => {
                let sum = crate::blocking(|| (1..=1_000_u64).sum::<u64>()).await?;
                assert_eq!(sum, 500_500);
                Ok(())
            }
        }
    };
    let ending = play(plain(), managed, async |watcher| {
        watcher.send("work").unwrap();
        watcher.send("panic").unwrap();
    })
    .await;
    assert_eq!(ending.to_string(), "Stopped: seen");
}
