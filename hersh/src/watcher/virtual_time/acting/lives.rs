//! Effects over the ends of watchers, and beside failures to save.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_the_end_cut_off_is_done_again_or_unknown() {
    for (policy, attempts, expected) in [
        (Policy::at_least_once(), 2, "order = order done"),
        (
            Policy::at_most_once(),
            1,
            "order = unknown: the watcher ended in the middle",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let builder = || plain().state_dir(folder.path());
        let side = Side::new().answers(&[Answer::Never]);
        let (ending, booked) = play_bot(builder(), &side, policy, async |watcher| {
            watcher.send("order").unwrap();
            pass(100).await;
            watcher.kill("now");
        })
        .await;
        assert_eq!((ending.kind, booked.len()), (EndKind::Killed, 0));
        let (_, booked) = play_bot(builder(), &side, policy, async |watcher| {
            pass(100).await;
            assert_eq!(watcher.value("booked"), Ok(Some(1)));
            watcher.stop("done");
        })
        .await;
        assert_eq!(booked, [expected]);
        let ids = side.ids.borrow();
        assert_eq!(ids.len(), attempts);
        assert!(ids.iter().all(|id| *id == ids[0]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_what_is_acted_on_come_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let builder = || plain().state_dir(folder.path());
    let side = Side::new().answers(&[Answer::After(2_000)]);
    let policy = Policy::at_most_once().at_once(1);
    let (_, booked) = play_bot(builder(), &side, policy, async |watcher| {
        watcher.send("first").unwrap();
        watcher.send("second").unwrap();
        pass(100).await;
        watcher.stop("enough");
    })
    .await;
    assert_eq!(
        (booked.len(), side.notes.texts()),
        (0, vec!["first".to_owned()])
    );
    let (_, booked) = play_bot(builder(), &side, policy, async |watcher| {
        pass(100).await;
        watcher.stop("done");
    })
    .await;
    assert_eq!(booked, ["first = first done", "second = second done"]);
    assert_eq!(of_notes(&side), 2);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_whose_run_fails_comes_again_also_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let builder = || {
        plain().state_dir(folder.path()).recovery(Recovery {
            max_consecutive_failures: 3,
            ..Recovery::default()
        })
    };
    let side = Side::new();
    let of_runs = side.clone();
    let fails = async move |cx: &mut Context| -> crate::Result {
        let acts = acts(cx, &of_runs, Policy::at_most_once())?;
        if acts.settled(cx)?.is_some() {
            return Err(Error::msg("cannot book"));
        }
        if cx.message().is_some() {
            cx.start(&acts, &"order".to_owned())?;
        }
        Ok(())
    };
    let ending = play(builder(), fails, async |watcher| {
        watcher.send("go").unwrap()
    })
    .await;
    assert_eq!(ending.kind, EndKind::Crashed, "{ending}");
    let (_, booked) = play_bot(builder(), &side, Policy::at_most_once(), async |watcher| {
        pass(100).await;
        watcher.stop("done");
    })
    .await;
    assert_eq!(booked, ["order = order done"]);
    assert_eq!(of_notes(&side), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_that_could_not_be_saved() {
    let folder = tempfile::tempdir().unwrap();
    let side = Side::new();
    let builder = plain().state_dir(folder.path());
    let (_, booked) = play_bot(builder, &side, Policy::at_least_once(), async |watcher| {
        break_disk(&folder);
        watcher.send("late").unwrap();
        pass(100).await;
        assert_eq!(watcher.status().consecutive_failures, 1);
        assert_eq!(of_notes(&side), 0);
        mend_disk(&folder);
        pass(15_500).await;
        watcher.send("kept").unwrap();
        pass(100).await;
        watcher.stop("done");
    })
    .await;
    assert_eq!(booked, ["late = late done", "kept = kept done"]);
    assert_eq!(side.notes.texts(), ["late", "kept"]);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_cannot_be_saved_is_not_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let side = Side::new().answers(&[Answer::After(1_000)]);
    let builder = plain().state_dir(folder.path());
    let (_, booked) = play_bot(builder, &side, Policy::at_least_once(), async |watcher| {
        watcher.send("order").unwrap();
        pass(500).await;
        break_disk(&folder);
        pass(5_000).await;
        assert_eq!(watcher.value::<u64>("booked"), Ok(None));
        mend_disk(&folder);
        pass(2_000).await;
        watcher.stop("done");
    })
    .await;
    assert_eq!(booked, ["order = order done"]);
    assert_eq!(of_notes(&side), 1);
}
