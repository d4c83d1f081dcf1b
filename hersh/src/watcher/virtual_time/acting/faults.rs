//! What other releases left, and values and functions that are bad.

use super::*;
use crate::testing::Test;

#[tokio::test(start_paused = true)]
async fn a_release_that_acts_at_most_once_repeats_no_earlier_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let side = Side::new().answers(&[Answer::Never]);
    let builder = || plain().state_dir(folder.path());
    play_bot(builder(), &side, Policy::at_least_once(), async |watcher| {
        watcher.send("order").unwrap();
        pass(100).await;
        watcher.kill("now");
    })
    .await;
    let (_, booked) = play_bot(builder(), &side, Policy::at_most_once(), async |watcher| {
        pass(100).await;
        watcher.stop("done");
    })
    .await;
    assert_eq!(of_notes(&side), 1);
    assert!(
        booked[0].starts_with("order = unknown: an earlier release"),
        "{booked:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_input_of_another_release_stays_open_for_one_that_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let builder = || plain().state_dir(folder.path());
    let side = Side::new();
    // Asked for, and its turn never comes.
    let asks = async |cx: &mut Context| -> crate::Result {
        let never = async |_, input: String| -> crate::Result<String> {
            drop(input);
            std::future::pending().await
        };
        let acts = cx.effects("acts", Policy::at_most_once().at_once(1), never)?;
        if cx.message().is_some() {
            cx.start(&acts, &"first".to_owned())?;
            cx.start_in_order(&acts, "k", &"second".to_owned())?;
        }
        Ok(())
    };
    let script = async |watcher: &Watcher| {
        let _ = watcher.send("go");
        pass(100).await;
        watcher.kill("now");
    };
    play(builder(), asks, script).await;
    for _ in 0..2 {
        let reads_numbers = async |cx: &mut Context| -> crate::Result {
            let twice = async |_, n: u64| Ok::<u64, Error>(n * 2);
            cx.effects("acts", Policy::at_most_once(), twice)
                .map(drop)?;
            Ok(())
        };
        play(builder(), reads_numbers, async |watcher| {
            pass(100).await;
            let lines = watcher.logs();
            let told = |line: &crate::LogLine| line.message.contains("stays open");
            assert!(lines.iter().any(told), "{lines:?}");
            watcher.stop("done");
        })
        .await;
    }
    let (_, booked) = play_bot(builder(), &side, Policy::at_most_once(), async |watcher| {
        pass(100).await;
        watcher.stop("done");
    })
    .await;
    assert_eq!(side.notes.texts(), ["second"]);
    assert_eq!(booked, ["second = second done"]);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_waits_for_a_release_that_registers_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let builder = || plain().state_dir(folder.path());
    let side = Side::new();
    let of_runs = side.clone();
    let fails = async move |cx: &mut Context| -> crate::Result {
        let acts = acts(cx, &of_runs, Policy::at_most_once())?;
        if cx.message().is_some() {
            cx.start(&acts, &"order".to_owned())?;
        }
        match acts.settled(cx)? {
            Some(_) => Err(Error::msg("cannot book")),
            None => Ok(()),
        }
    };
    play(builder(), fails, async |watcher| {
        watcher.send("go").unwrap();
        pass(100).await;
        watcher.kill("now");
    })
    .await;
    let without = async |_: &mut Context| -> crate::Result { Ok(()) };
    play(builder(), without, async |watcher| {
        pass(100).await;
        assert_eq!(watcher.status().runs, 1);
        watcher.stop("done");
    })
    .await;
    let (_, booked) = play_bot(builder(), &side, Policy::at_most_once(), async |watcher| {
        pass(100).await;
        watcher.stop("done");
    })
    .await;
    assert_eq!(booked, ["order = order done"]);
}

#[tokio::test(start_paused = true)]
async fn values_that_do_not_come_back_from_json_are_found_at_once() {
    let booked = Notes::new();
    let books = booked.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        let divides = async |_, n: f64| Ok::<f64, Error>(1.0 / n);
        let acts = cx.effects("acts", Policy::at_least_once(), divides)?;
        if let Some(done) = acts.settled(cx)? {
            books.add(format!("{:?}", done.outcome));
        }
        if cx.message().is_some() {
            let refused = cx.start(&acts, &f64::NAN).unwrap_err().to_string();
            assert!(
                refused.contains("does not come back from its JSON"),
                "{refused}"
            );
            cx.start(&acts, &0.0)?;
        }
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        watcher.send("go").unwrap();
        pass(100).await;
        watcher.stop("done");
    })
    .await;
    let booked = booked.texts();
    assert!(
        booked[0].starts_with("Unknown"),
        "it was done, and infinity is no JSON: {booked:?}"
    );
}

/// Panics when it is dropped.
struct Bad;

impl Drop for Bad {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("from a destructor");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_destructor_panics_is_an_attempt_that_was_lost() {
    let booked = Notes::new();
    let books = booked.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        let hangs = async |_, n: u64| {
            let _bad = Bad;
            std::future::pending::<()>().await;
            Ok::<u64, Error>(n)
        };
        let acts = cx.effects("acts", Policy::at_most_once().timeout(SECOND), hangs)?;
        if let Some(done) = acts.settled(cx)? {
            books.add(format!("{:?}", done.outcome));
        }
        if cx.message().is_some() {
            cx.start(&acts, &1)?;
        }
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        watcher.send("go").unwrap();
        pass(2_000).await;
        watcher.stop("done");
    })
    .await;
    let booked = booked.texts();
    assert!(booked[0].contains("from a destructor"), "{booked:?}");
}

#[test]
fn a_retry_in_a_test_takes_the_outcome_in_again() {
    let mut failures = 0;
    let mut test = Test::new(async move |cx: &mut Context| -> crate::Result {
        let same = async |_, n: u64| Ok::<u64, Error>(n);
        let acts = cx.effects("acts", Policy::at_least_once(), same)?;
        if cx.message().is_some() {
            cx.start(&acts, &1)?;
        }
        if acts.settled(cx)?.is_some() {
            failures += 1;
            if failures == 1 {
                return Err(Error::msg("not yet"));
            }
            cx.set("booked", &true)?;
        }
        Ok(())
    });
    test.start().ok();
    let id = test.message("go").ok().asked[0].id;
    assert_eq!(test.settle(id, Outcome::Done(1_u64)).failure(), "not yet");
    assert_eq!(test.started::<u64>("acts").len(), 1);
    test.recover().ok();
    assert_eq!(test.value("booked"), Some(true));
    assert_eq!(test.started::<u64>("acts").len(), 0);
}
