//! How one effect is tried.

use super::*;

#[tokio::test(start_paused = true)]
async fn attempts_are_made_again_with_one_id_and_longer_pauses() {
    use Answer::{Never, Panic, Refused};
    let side = Side::new().answers(&[Refused, Refused, Panic, Never]);
    let policy = Policy::at_least_once().timeout(SECOND);
    let (_, booked) = play_bot(plain(), &side, policy, async |watcher| {
        watcher.send("order").unwrap();
        pass(10_000).await;
        watcher.stop("done");
    })
    .await;
    assert_eq!(booked, ["order = order done"]);
    assert_eq!(side.notes.times_ms(), [0, 100, 300, 700, 2_500]);
    let ids = side.ids.borrow();
    assert!(ids.iter().all(|id| *id == ids[0]));
}

#[tokio::test(start_paused = true)]
async fn an_end_of_tries_says_whether_it_is_known_what_was_done() {
    use Answer::{Never, Refused};
    let policy = Policy::at_least_once().timeout(SECOND).within(SECOND * 2);
    let script = async |watcher: &Watcher| {
        watcher.send("order").unwrap();
        pass(10_000).await;
        watcher.stop("done");
    };
    let refuses = Side::new().answers(&[Refused; 9]);
    let (_, booked) = play_bot(plain(), &refuses, policy, script).await;
    assert_eq!(booked, ["order = failed: not now"]);
    let loses = Side::new().answers(&[Never, Refused, Refused, Refused, Refused, Refused]);
    let (_, booked) = play_bot(plain(), &loses, policy, script).await;
    assert_eq!(booked, ["order = unknown: no answer within 1s"]);
}

#[tokio::test(start_paused = true)]
async fn at_most_once_is_one_attempt_whatever_comes_of_it() {
    use Answer::{Never, Panic, Refused};
    for (answer, expected) in [
        (Refused, "failed: not now"),
        (Never, "unknown: no answer within 1s"),
        (Panic, "unknown: panicked: from the other side"),
    ] {
        let side = Side::new().answers(&[answer]);
        let policy = Policy::at_most_once().timeout(SECOND);
        let (_, booked) = play_bot(plain(), &side, policy, async |watcher| {
            watcher.send("mail").unwrap();
            pass(100_000).await;
            watcher.stop("done");
        })
        .await;
        assert_eq!(booked, [format!("mail = {expected}")]);
        assert_eq!(of_notes(&side), 1);
    }
}
