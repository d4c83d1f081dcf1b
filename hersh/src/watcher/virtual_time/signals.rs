//! Messages, ticks, order and loss.

use std::{cell::Cell, rc::Rc, time::Duration};

use super::*;
use crate::{SendError, WatcherState};

#[tokio::test(start_paused = true)]
async fn a_message_whose_runs_fail_is_set_aside_and_the_next_goes_on() {
    let notes = Notes::new();
    let seen = notes.clone();
    let managed = async move |cx: &mut Context| {
        if let Some(message) = cx.message() {
            seen.add(message.as_ref());
            assert!(cx.triggered().message);
            if message.starts_with("bad") {
                return Err(Error::msg("cannot do that"));
            }
        }
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        for message in ["1", "2", "bad 3", "4", "bad 5", "6"] {
            watcher.send(message).unwrap();
        }
        pass(170_000).await;
        assert_eq!(watcher.status().waiting_messages, 0);
        let aside = watcher.shared.post_office.look(|mail| {
            let aside = mail.set_aside();
            aside
                .map(|(number, aside)| format!("{number} {}", aside.reason))
                .collect::<Vec<_>>()
        });
        assert_eq!(aside, ["3 cannot do that", "5 cannot do that"]);
        watcher.stop("done");
    })
    .await;
    let mut runs = notes.texts();
    assert_eq!(runs.len(), 4 + 2 * 6, "{runs:?}");
    runs.dedup();
    assert_eq!(runs, ["1", "2", "bad 3", "4", "bad 5", "6"]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_has_the_message_of_the_failed_run() {
    let notes = Notes::new();
    let seen = notes.clone();
    let managed = async move |cx: &mut Context| {
        let triggered = cx.triggered();
        let message = cx.message();
        seen.add(format!(
            "init {} recovery {} message {:?}",
            triggered.init, triggered.recovery, message
        ));
        match message {
            Some(_) if !triggered.recovery => Err(Error::msg("no")),
            Some(_) | None => Ok(()),
        }
    };
    play(plain(), managed, async |watcher| {
        watcher.send("x").unwrap();
        pass(15_001).await;
        watcher.stop("done");
    })
    .await;
    assert_eq!(
        notes.texts(),
        [
            "init true recovery false message None",
            "init false recovery false message Some(\"x\")",
            "init false recovery true message Some(\"x\")",
        ]
    );
    assert_eq!(notes.times_ms(), [0, 0, 15_000]);
}

#[tokio::test(start_paused = true)]
async fn ticks_come_on_time_and_their_first_value_is_initial() {
    let notes = Notes::new();
    let seen = notes.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        let tick = cx.watch_tick("tick", Duration::from_millis(250))?;
        let (count, initial) = (tick.count, tick.is_initial());
        seen.add(format!("{count} {initial} {}", tick.is_triggered(cx)));
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        pass(600).await;
        watcher.send("x").unwrap();
        pass(200).await;
        watcher.stop("done");
    })
    .await;
    assert_eq!(
        notes.texts(),
        [
            "0 true false",
            "1 false true",
            "2 false true",
            "2 false false",
            "3 false true"
        ]
    );
    assert_eq!(notes.times_ms(), [0, 250, 500, 600, 750]);
}

#[tokio::test(start_paused = true)]
async fn ticks_during_a_long_run_cost_one_run_and_are_counted() {
    let notes = Notes::new();
    let seen = notes.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        let tick = cx.watch_tick("tick", Duration::from_secs(1))?;
        seen.add(format!("{}", tick.count));
        if cx.message().is_some() {
            pass(5_500).await;
        }
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        watcher.send("slow").unwrap();
        pass(6_500).await;
        watcher.stop("done");
    })
    .await;
    assert_eq!(notes.texts(), ["0", "0", "5", "6"]);
    assert_eq!(notes.times_ms(), [0, 0, 5_500, 6_000]);
}

/// A machine that was stopped, or a sandbox that was paused, for a minute.
#[tokio::test(start_paused = true)]
async fn a_sleep_is_caught_up_with_by_one_tick_and_one_poll() {
    let notes = Notes::new();
    let seen = notes.clone();
    let polls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&polls);
    let managed = async move |cx: &mut Context| -> crate::Result {
        let second = Duration::from_secs(1);
        let tick = cx.watch_tick("tick", second)?;
        let counted = Rc::clone(&counted);
        cx.watch_call("poll", second, 0, async move || {
            counted.set(counted.get() + 1);
            Ok::<i32, crate::Error>(0)
        })?;
        if tick.is_triggered(cx) {
            seen.add(format!("{}", tick.count));
        }
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        pass(1_500).await;
        let before = polls.get();
        tokio::time::advance(Duration::from_secs(60)).await;
        pass(1).await;
        assert_eq!(polls.get(), before + 1);
        watcher.stop("done");
    })
    .await;
    assert_eq!(notes.texts(), ["1", "61"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_run_names_every_cause_it_takes_in() {
    let notes = Notes::new();
    let seen = notes.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        cx.watch_tick("a", Duration::from_secs(1))?;
        cx.watch_tick("b", Duration::from_secs(2))?;
        if cx.message().as_deref() == Some("slow") {
            pass(2_500).await;
        }
        seen.add(format!(
            "{:?} {:?}",
            cx.message().as_deref(),
            cx.triggered().variables
        ));
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        watcher.send("slow").unwrap();
        pass(100).await;
        watcher.send("next").unwrap();
        pass(2_450).await;
        watcher.stop("done");
    })
    .await;
    assert_eq!(
        notes.texts(),
        [
            "None []",
            "Some(\"slow\") []",
            "Some(\"next\") [\"a\", \"b\"]"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_and_an_ended_watcher_are_typed_errors() {
    let builder = plain().message_capacity(2);
    let managed = async |_: &mut Context| -> crate::Result {
        pass(1_000).await;
        Ok(())
    };
    play(builder, managed, async |watcher| {
        watcher.send("1").unwrap();
        watcher.send("2").unwrap();
        let full = SendError::QueueFull {
            waiting: 2,
            set_aside: 0,
        };
        assert_eq!(watcher.send("3"), Err(full));
        assert_eq!(watcher.send(""), Err(SendError::Empty));
        watcher.stop("done");
        watcher.wait().await;
        assert_eq!(watcher.send("4"), Err(SendError::NotRunning));
        assert_eq!(watcher.status().state, WatcherState::Stopped);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn work_in_pieces_goes_on_until_it_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let managed = async |cx: &mut Context| -> crate::Result {
        let left = cx.update("left", |left: Option<u64>| {
            Some(left.map_or(5, |left| left - 1))
        })?;
        if left.is_some_and(|left| left > 0) {
            cx.run_again();
        }
        if left == Some(3) && !cx.triggered().recovery {
            return Err(Error::msg("a piece that fails is made again"));
        }
        Ok(())
    };
    play(plain().state_dir(folder.path()), managed, async |watcher| {
        pass(60_000).await;
        assert_eq!(watcher.value("left"), Ok(Some(Some(0_u64))));
        assert_eq!(watcher.status().runs, 7);
        watcher.stop("done");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_from_inside_sends_and_keeps_nothing_alive() {
    let notes = Notes::new();
    let seen = notes.clone();
    let kept = Rc::new(RefCell::new(None));
    let keeps = kept.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        let sender = cx.sender();
        match cx.message() {
            Some(message) => seen.add(message.as_ref()),
            None => sender.send("from inside")?,
        }
        keeps.replace(Some(sender));
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        pass(10).await;
        watcher.stop("done");
    })
    .await;
    assert_eq!(notes.texts(), ["from inside"]);
    let sender = kept.take().unwrap();
    assert_eq!(sender.send("late"), Err(SendError::NotRunning));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_changes_nothing_may_ask_for_another() {
    let managed = async |cx: &mut Context| -> crate::Result {
        if cx.run_number() < 5 {
            cx.run_again();
        }
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        pass(1_000).await;
        assert_eq!(watcher.status().runs, 5);
        watcher.stop("done");
    })
    .await;
}
