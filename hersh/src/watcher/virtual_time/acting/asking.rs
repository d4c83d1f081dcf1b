//! What runs ask for and take in.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_a_run_asked_for_is_done_and_its_outcome_has_a_run() {
    let side = Side::new();
    let (_, booked) = play_bot(plain(), &side, Policy::at_least_once(), async |watcher| {
        watcher.send("one").unwrap();
        watcher.send("two").unwrap();
        pass(100).await;
        assert_eq!(watcher.value("booked"), Ok(Some(2)));
        watcher.stop("done");
    })
    .await;
    assert_eq!(side.notes.texts(), ["one", "two"]);
    assert_eq!(booked, ["one = one done", "two = two done"]);
    let ids = side.ids.borrow();
    assert!(ids[0].number == 1 && ids[1].number == 2 && ids[0].space == ids[1].space);
}

#[tokio::test(start_paused = true)]
async fn a_failed_run_asked_for_nothing_and_its_retry_has_its_id() {
    let side = Side::new();
    let (of_runs, ids) = (side.clone(), Rc::new(RefCell::new(Vec::new())));
    let asked = ids.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        let acts = acts(cx, &of_runs, Policy::at_least_once())?;
        if !cx.triggered().init && acts.settled(cx)?.is_none() {
            asked
                .borrow_mut()
                .push(cx.start(&acts, &"order".to_owned())?);
        }
        if cx.message().is_some() && !cx.triggered().recovery {
            return Err(Error::msg("halfway"));
        }
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        watcher.send("go").unwrap();
        pass(14_000).await;
        assert_eq!(of_notes(&side), 0, "the run that asked for it failed");
        pass(2_000).await;
        watcher.stop("done");
    })
    .await;
    assert_eq!(of_notes(&side), 1);
    let ids = ids.borrow();
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test(start_paused = true)]
async fn a_key_keeps_the_order_and_names_act_beside_each_other() {
    use Answer::{After, Refused};
    let side = Side::new().answers(&[After(500), Refused, After(500)]);
    let policy = Policy::at_least_once().at_once(2);
    let (_, booked) = play_bot(plain(), &side, policy, async |watcher| {
        for message in ["a:1", "a:2", "b:3", "4", "5", "6"] {
            watcher.send(message).unwrap();
        }
        pass(10_000).await;
        watcher.stop("done");
    })
    .await;
    let place = |wanted: &str| booked.iter().position(|it| it.starts_with(wanted)).unwrap();
    assert!(place("1") < place("2"), "{booked:?}");
    assert_eq!(booked.len(), 6);
    assert_eq!(side.at_once.get(), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_effect_is_dropped_and_says_whether_it_began() {
    let side = Side::new().answers(&[Answer::Never]);
    let policy = Policy::at_least_once().at_once(1).timeout(SECOND * 1_000);
    let (_, booked) = play_bot(plain(), &side, policy, async |watcher| {
        for message in ["first", "second", "third", "cancel:1", "cancel:0"] {
            watcher.send(message).unwrap();
            pass(100).await;
        }
        pass(1_000).await;
        watcher.send("cancel:2").unwrap();
        pass(1_000).await;
        watcher.stop("done");
    })
    .await;
    let expected = [
        "second = cancelled",
        "first = unknown: it was cancelled while it was acted on",
        "third = third done",
    ];
    assert_eq!(booked, expected);
    assert_eq!(side.notes.texts(), ["first", "third"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_was_cancelled_behind_its_key_holds_up_nobody() {
    let side = Side::new().answers(&[Answer::After(1_000)]);
    let of_runs = side.clone();
    let booked = Notes::new();
    let books = booked.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        let acts = acts(cx, &of_runs, Policy::at_least_once())?;
        if let Some(done) = acts.settled(cx)? {
            books.add(format!("{} = {}", done.input, shown(done.outcome)));
        }
        match cx.message().as_deref() {
            Some("ask") => {
                let mut second = None;
                for input in ["1", "2", "3"] {
                    let id = cx.start_in_order(&acts, "key", &input.to_owned())?;
                    second = second.or((input == "2").then_some(id));
                }
                cx.set("second", &second)?;
            }
            Some(_) => {
                let second: Option<Option<EffectId>> = cx.value("second")?;
                cx.cancel(second.flatten().unwrap());
            }
            None => {}
        }
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        watcher.send("ask").unwrap();
        pass(100).await;
        watcher.send("cancel").unwrap();
        pass(5_000).await;
        watcher.stop("done");
    })
    .await;
    assert_eq!(
        booked.texts(),
        ["2 = cancelled", "1 = 1 done", "3 = 3 done"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_nobody_looks_at_is_told_in_the_log() {
    let side = Side::new();
    let managed = async move |cx: &mut Context| -> crate::Result {
        let acts = acts(cx, &side, Policy::at_least_once())?;
        if cx.message().is_some() {
            cx.start(&acts, &"order".to_owned())?;
        }
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        watcher.send("go").unwrap();
        pass(100).await;
        let lines = watcher.logs();
        let told = |line: &crate::LogLine| line.message.contains("run 3 did not look at it");
        assert!(lines.iter().any(told), "{lines:?}");
        watcher.stop("done");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn effects_are_bounded_and_refusals_name_what_to_change() {
    let managed = async move |cx: &mut Context| -> crate::Result {
        let side = Side::new();
        let acts = acts(cx, &side, Policy::at_least_once())?;
        let long = cx
            .start(&acts, &"x".repeat(crate::EFFECT_LIMIT_BYTES))
            .unwrap_err();
        assert!(matches!(long, HookError::EffectInput { .. }), "{long}");
        for _ in 0..crate::EFFECT_LIMIT {
            cx.start(&acts, &String::new())?;
        }
        let full = cx.start(&acts, &String::new()).unwrap_err();
        assert!(
            matches!(full, HookError::EffectsFull { open: 10_001, .. }),
            "{full}"
        );
        let clash = cx.effects("acts", Policy::at_most_once(), async |_, n: u64| {
            Ok::<u64, Error>(n)
        });
        assert!(matches!(clash, Err(HookError::Clash { .. })));
        for n in 1..crate::EFFECT_NAME_LIMIT {
            let name = format!("name {n}");
            cx.effects(&name, Policy::at_most_once(), async |_, n: u64| {
                Ok::<u64, Error>(n)
            })?;
        }
        let one_more = cx.effects("more", Policy::at_most_once(), async |_, n: u64| {
            Ok::<u64, Error>(n)
        });
        assert!(matches!(one_more, Err(HookError::Limit { limit: 100, .. })));
        Err(Control::crash("seen").into())
    };
    let ending = play(plain(), managed, async |_| {}).await;
    assert_eq!(ending.to_string(), "Crashed: seen");
}
