//! Cancels, stops and kills at bad moments; places that are free.

use super::*;

/// Notes what is acted on and what is booked.
#[derive(Clone)]
struct Both {
    acted: Notes,
    booked: Notes,
}

impl Both {
    fn new() -> Self {
        Self {
            acted: Notes::new(),
            booked: Notes::new(),
        }
    }
}

/// Asks for `message` in order of the key `k`, or cancels the last ask; each act takes `ms`.
async fn ordered(cx: &mut Context, both: &Both, policy: Policy, ms: u64) -> crate::Result {
    let acted = both.acted.clone();
    let acts = cx.effects("acts", policy, async move |_, input: String| {
        acted.add(&input);
        pass(ms).await;
        Ok::<_, Error>(input)
    })?;
    if let Some(done) = acts.settled(cx)? {
        both.booked
            .add(format!("{} {}", done.input, shown(done.outcome)));
    } else if !cx.triggered().init && cx.message().is_none() {
        both.booked.add("a run for nothing");
    }
    match cx.message().as_deref() {
        Some("cancel") => {
            let last: Option<EffectId> = cx.value("last")?;
            cx.cancel(last.unwrap());
        }
        Some("slow") => pass(4_000).await,
        Some(input) => {
            let id = cx.start_in_order(&acts, "k", &input.to_owned())?;
            cx.set("last", &id)?;
        }
        None => {}
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_ask_and_its_cancel_back_to_back_act_or_cancel() {
    for policy in [Policy::at_least_once(), Policy::at_most_once()] {
        let folder = tempfile::tempdir().unwrap();
        let both = Both::new();
        let of_runs = both.clone();
        let managed = async move |cx: &mut Context| ordered(cx, &of_runs, policy, 500).await;
        play(plain().state_dir(folder.path()), managed, async |watcher| {
            for message in ["order", "cancel", "next"] {
                watcher.send(message).unwrap();
            }
            pass(5_000).await;
            watcher.stop("done");
        })
        .await;
        let acted = both.acted.texts();
        let expected = match acted.iter().any(|it| it == "order") {
            true => "order unknown: it was cancelled while it was acted on",
            false => "order cancelled",
        };
        assert_eq!(both.booked.texts(), [expected, "next next"], "{acted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_free_is_used_while_a_run_goes_on() {
    let side = Side::new();
    let of_runs = side.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        let acts = acts(cx, &of_runs, Policy::at_least_once().at_once(1))?;
        match cx.message().as_deref() {
            Some("go") => {
                for input in ["1", "2", "3"] {
                    cx.start(&acts, &input.to_owned())?;
                }
            }
            Some(_) => pass(50_000).await,
            None => {}
        }
        if acts.settled(cx)?.is_some() {
            return Err(Error::msg("cannot book"));
        }
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        watcher.send("go").unwrap();
        watcher.send("slow").unwrap();
        pass(1_000).await;
        assert_eq!(side.notes.texts(), ["1", "2", "3"]);
        watcher.kill("seen");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_for_another_attempt_hold_no_place() {
    let side = Side::new().answers(&[Answer::Refused; 40]);
    let policy = Policy::at_least_once().at_once(2);
    let (_, booked) = play_bot(plain(), &side, policy, async |watcher| {
        for message in ["1", "2", "3", "4"] {
            watcher.send(message).unwrap();
        }
        pass(50).await;
        assert_eq!(of_notes(&side), 4, "each had its first attempt");
        pass(3_600_000).await;
        watcher.stop("done");
    })
    .await;
    assert_eq!(booked.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_of_what_an_earlier_life_may_have_done_is_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let builder = || plain().state_dir(folder.path());
    for (policy, expected) in [
        (Policy::at_least_once(), "unknown"),
        (Policy::at_most_once(), "cancelled"),
    ] {
        let both = Both::new();
        // Two lives in which the second order never has its turn.
        for last in [false, true] {
            let of_runs = both.clone();
            let managed = async move |cx: &mut Context| ordered(cx, &of_runs, policy, 90_000).await;
            play(builder(), managed, async |watcher| {
                match last {
                    false => ["first", "second"]
                        .map(|it| watcher.send(it).unwrap())
                        .len(),
                    true => [watcher.send("cancel").unwrap()].len(),
                };
                pass(1_000).await;
                watcher.kill("now");
            })
            .await;
        }
        let booked = both.booked.texts();
        let second = booked.iter().find(|it| it.starts_with("second")).unwrap();
        assert!(
            second.starts_with(&format!("second {expected}")),
            "{booked:?}"
        );
        std::fs::remove_file(folder.path().join("context.json")).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn effects_and_the_cleanup_take_no_time_of_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let builder = plain()
        .state_dir(folder.path())
        .cleanup_timeout(SECOND)
        .cleanup(async |cx: &mut Context| -> crate::Result {
            cx.set("cleaned", &true)?;
            Ok(())
        });
    let side = Side::new().answers(&[Answer::After(3_000)]);
    let (ending, _) = play_bot(builder, &side, Policy::at_most_once(), async |watcher| {
        watcher.send("order").unwrap();
        pass(100).await;
        watcher.stop("enough");
    })
    .await;
    assert_eq!(ending.to_string(), "Stopped: enough");
    let kept = std::fs::read_to_string(folder.path().join("context.json")).unwrap();
    assert!(
        kept.contains("\"cleaned\":true") && kept.contains("order done"),
        "{kept}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stop_begins_nothing_while_a_run_goes_on() {
    let both = Both::new();
    let of_runs = both.clone();
    let policy = Policy::at_least_once();
    let managed = async move |cx: &mut Context| ordered(cx, &of_runs, policy, 500).await;
    play(plain(), managed, async |watcher| {
        for message in ["1", "2", "3", "slow"] {
            watcher.send(message).unwrap();
        }
        pass(100).await;
        watcher.stop("enough");
    })
    .await;
    assert_eq!(both.acted.texts(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_kill_drops_what_is_acted_on_before_the_cleanup() {
    let (side, builder) = (Side::new().answers(&[Answer::After(1_000)]), plain());
    let builder = builder.cleanup(async |_: &mut Context| -> crate::Result {
        pass(60_000).await;
        Ok(())
    });
    let (_, booked) = play_bot(builder, &side, Policy::at_least_once(), async |watcher| {
        watcher.send("order").unwrap();
        pass(100).await;
        watcher.kill("now");
        pass(10).await;
        assert_eq!(side.at_once.get(), (0, 1));
    })
    .await;
    assert_eq!(booked.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_kill_cuts_the_grace_of_effects_short() {
    let side = Side::new().answers(&[Answer::Never]);
    let began = tokio::time::Instant::now();
    let (_, booked) = play_bot(plain(), &side, Policy::at_least_once(), async |watcher| {
        watcher.send("order").unwrap();
        pass(100).await;
        watcher.stop("enough");
        pass(1_000).await;
        watcher.kill("now");
        watcher.wait().await;
        assert_eq!(began.elapsed(), Duration::from_millis(1_100));
    })
    .await;
    assert_eq!(booked.len(), 0);
}
