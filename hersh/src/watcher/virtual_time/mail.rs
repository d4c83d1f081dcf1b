//! Messages over lives: what was accepted has one run that counts, or is set aside, whatever fails meanwhile.

use std::cell::Cell;
use std::collections::BTreeSet;

use futures_util::FutureExt;
use hersh_machine::SplitMix64;

use super::acting::chaos::expect_panics;
use super::*;
use crate::store::StateDir;
use crate::{Control, EndKind, Message, Recovery, replay};

const SEEDS: u64 = 400;

/// What a watcher keeps: the messages that had their runs, in their order.
type Seen = Vec<u64>;

/// A folder in memory, where a sync costs nothing.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn builder(folder: &tempfile::TempDir) -> Builder {
    plain()
        .state_dir(folder.path())
        .run_timeout(Duration::from_secs(1))
        .stop_grace(Duration::from_millis(400))
        .recovery(Recovery {
            light_delays_ms: [100; 3],
            base_delay_ms: 200,
            max_delay_ms: 400,
            max_consecutive_failures: 4,
            ..Recovery::default()
        })
}

/// Notes the message of the run. Every thirteenth can never be taken in.
fn take_in(cx: &mut Context) -> crate::Result {
    if let Some(number) = cx.message_as::<u64>()? {
        if number % 13 == 0 {
            return Err(Error::msg("from a seed: never"));
        }
        // Some change nothing but this, and some nothing at all.
        if number % 5 != 0 {
            cx.update("seen", |mut seen: Seen| {
                seen.push(number);
                seen
            })?;
        }
        if number % 3 == 0 {
            cx.reply(&number)?;
        }
    }
    Ok(())
}

/// Ends a run in some other way, sometimes.
async fn may_fail(random: &mut SplitMix64) -> crate::Result {
    match random.below(12) {
        0 => return Err(Error::msg("from a seed")),
        1 => pass(random.below(400)).await,
        2 if random.chance(10) => return Err(Control::crash("from a seed").into()),
        3 if random.chance(20) => panic!("from a seed"),
        4 if random.chance(20) => std::future::pending().await,
        _ => {}
    }
    Ok(())
}

/// Lives once, and notes which messages were accepted. Their numbers go on from `sent`.
async fn one_life(folder: &tempfile::TempDir, seed: u64, sent: &Cell<u64>) -> BTreeSet<u64> {
    let mut random = SplitMix64::new(seed);
    let managed = async move |cx: &mut Context| {
        take_in(cx)?;
        may_fail(&mut random).await
    };
    let mut wishes = SplitMix64::new(seed ^ 0x5c21);
    let mut accepted = BTreeSet::new();
    let told = &mut accepted;
    play(builder(folder), managed, async move |watcher| {
        let mut is_broken = false;
        for _ in 0..wishes.below(30) {
            pass(wishes.below(300)).await;
            if !is_broken && wishes.chance(5) {
                break_disk(folder);
                is_broken = true;
            } else if std::mem::take(&mut is_broken) {
                mend_disk(folder);
            }
            sent.set(sent.get() + 1);
            let number = sent.get();
            let message = Message::new(number.to_string()).key(format!("key-{number}"));
            // Whoever has no answer sends it again under its key.
            for _ in 0..=wishes.below(2) {
                if watcher.deliver(message.clone()).await.is_ok() {
                    told.insert(number);
                }
            }
        }
        if is_broken {
            mend_disk(folder);
        }
        match wishes.below(2) {
            0 => watcher.kill("wish"),
            _ => watcher.stop("wish"),
        }
    })
    .await;
    accepted
}

#[tokio::test(start_paused = true)]
async fn accepted_has_one_run_or_is_set_aside_over_lives_from_seeds() {
    expect_panics();
    let (mut ran, mut aside) = (0, 0);
    for seed in 0..SEEDS {
        let (folder, sent) = (folder(), Cell::new(0));
        let mut lives = SplitMix64::new(seed);
        let mut accepted = BTreeSet::new();
        for life in 0..=lives.below(4) {
            accepted.append(&mut one_life(&folder, seed ^ (life << 32), &sent).await);
        }
        let managed = async |cx: &mut Context| take_in(cx);
        play(builder(&folder), managed, async |watcher| {
            pass(100_000).await;
            watcher.stop("done");
        })
        .await;
        let kept = StateDir::look(folder.path());
        let seen = kept
            .values
            .get("seen")
            .map(|json| serde_json::from_str::<Seen>(json));
        let seen = seen.transpose().unwrap().unwrap_or_default();
        assert!(seen.is_sorted_by(|a, b| a < b), "seed {seed}: {seen:?}");
        let set_aside: BTreeSet<u64> = kept
            .mail
            .set_aside()
            .map(|(_, aside)| aside.message.content.parse().unwrap())
            .collect();
        assert_eq!(kept.mail.waiting().count(), 0, "seed {seed}");
        let ended: BTreeSet<u64> = seen.iter().chain(&set_aside).copied().collect();
        let shown: BTreeSet<u64> = accepted.iter().copied().filter(|it| it % 5 != 0).collect();
        let shown: BTreeSet<u64> = shown.union(&set_aside).copied().collect();
        assert_eq!(ended, shown, "seed {seed}");
        assert_eq!(
            ended.len(),
            seen.len() + set_aside.len(),
            "seed {seed}: both"
        );
        ran += seen.len();
        aside += set_aside.len();
    }
    assert!(
        ran > 5_000 && aside > 300,
        "{ran} ran, {aside} were set aside"
    );
}

#[tokio::test(start_paused = true)]
async fn a_log_cut_at_any_byte_is_of_one_moment() {
    let folder = folder();
    let managed = async |cx: &mut Context| take_in(cx);
    let log = folder.path().join("context.0.log");
    let copy = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let copied = copy.clone();
    play(builder(&folder), managed, async move |watcher| {
        for number in 1..=12 {
            watcher.deliver(number.to_string()).await.unwrap();
            pass(number % 3).await;
        }
        pass(100).await;
        *copied.borrow_mut() = std::fs::read(&log).unwrap();
        // The snapshot that names the log is kept beside it.
        let snapshot = log.with_file_name("context.json");
        std::fs::copy(&snapshot, log.with_file_name("kept")).unwrap();
        watcher.stop("done");
    })
    .await;
    let cut = self::folder();
    std::fs::copy(folder.path().join("kept"), cut.path().join("context.json")).unwrap();
    // Without the zeros that it is ahead.
    let written = copy.borrow().iter().rposition(|byte| *byte != 0).unwrap();
    let whole = &copy.borrow()[..=written];
    let mut most = 0;
    for end in 40..=whole.len() {
        std::fs::write(cut.path().join("context.0.log"), &whole[..end]).unwrap();
        let kept = StateDir::look(cut.path());
        let seen = kept
            .values
            .get("seen")
            .map(|json| serde_json::from_str::<Seen>(json));
        let seen = seen.transpose().unwrap().unwrap_or_default();
        let waiting: Vec<u64> = kept
            .mail
            .waiting()
            .map(|(_, message)| message.content.parse().unwrap())
            .collect();
        // Those that change nothing are in neither list once they ran.
        let all: Vec<u64> = seen.iter().chain(&waiting).copied().collect();
        assert!(
            all.is_sorted_by(|a, b| a < b),
            "{end}: {seen:?} {waiting:?}"
        );
        let next = kept.mail.next();
        let gone: Vec<u64> = (1..next).filter(|number| !all.contains(number)).collect();
        assert!(gone.iter().all(|number| number % 5 == 0), "{end}: {gone:?}");
        most = most.max(seen.len());
    }
    assert_eq!(most, 10);
}

#[tokio::test(start_paused = true)]
async fn a_life_with_messages_that_fail_replays_as_it_was() {
    let (state, journal) = (folder(), folder());
    let managed = async |cx: &mut Context| {
        if let Some(number) = cx.message_as::<u64>()?
            && number % 2 == 0
            && !cx.triggered().recovery
        {
            return Err(Error::msg("as told"));
        }
        take_in(cx)
    };
    let builder = builder(&state).journal_dir(journal.path());
    play(builder, managed, async |watcher| {
        for number in 1..=20 {
            let asked = watcher.ask(number.to_string()).await;
            assert_eq!(asked.is_err(), number == 13, "{asked:?}");
        }
        watcher.stop("done");
    })
    .await;
    let replayed = replay(journal.path(), managed).unwrap();
    // With the start, ten retries, and three of the one that was set aside.
    assert_eq!(replayed.runs, 1 + 20 + 10 + 3);
    let changed = async |cx: &mut Context| {
        take_in(cx)?;
        if cx.message().is_some_and(|message| &*message == "3") {
            cx.reply(&4)?;
        }
        Ok::<(), Error>(())
    };
    let told = replay(journal.path(), changed).unwrap_err().to_string();
    assert!(told.contains("run 3"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_the_disk_does_not_take_is_refused_whole() {
    let folder = folder();
    let managed = async |cx: &mut Context| take_in(cx);
    play(builder(&folder), managed, async |watcher| {
        break_disk(&folder);
        let refused = watcher.deliver("1").await.unwrap_err();
        assert!(
            matches!(refused, crate::SendError::Unkept { .. }),
            "{refused}"
        );
        mend_disk(&folder);
        assert_eq!(watcher.deliver("2").await.unwrap().number, 1);
        pass(100).await;
        watcher.stop("done");
    })
    .await;
    assert_eq!(&*StateDir::look(folder.path()).values["seen"], "[2]");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_crashes_the_watcher_is_set_aside_in_the_end() {
    let (folder, journal) = (folder(), folder());
    let mut endings = Vec::new();
    for life in 0..6 {
        let managed = async |cx: &mut Context| -> crate::Result {
            match cx.message().as_deref() {
                Some("crash") => Err(Control::crash("as told").into()),
                Some(_) | None => Ok(()),
            }
        };
        let builder = builder(&folder).journal_dir(journal.path());
        let ending = play(builder, managed, async |watcher| {
            if life == 0 {
                watcher.deliver("crash").await.unwrap();
                watcher.deliver("another").await.unwrap();
            }
            pass(1_000).await;
            watcher.stop("done");
        })
        .await;
        replay(journal.path(), managed).unwrap();
        endings.push(ending.kind);
    }
    assert_eq!(endings[..3], [EndKind::Crashed; 3]);
    assert_eq!(endings[4..], [EndKind::Stopped; 2], "{endings:?}");
    let mail = StateDir::look(folder.path()).mail;
    assert_eq!((mail.waiting().count(), mail.set_aside().count()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_during_a_commit_stops_no_other() {
    let folder = folder();
    let managed = async |cx: &mut Context| take_in(cx);
    play(builder(&folder), managed, async |watcher| {
        let commit = crate::store::Commit {
            values: vec![("alone".into(), Some("1".into()))],
            ..crate::store::Commit::default()
        };
        let mut alone = Box::pin(watcher.shared.keeper.commit_alone(commit.into()));
        assert_eq!((&mut alone).now_or_never().map(|it| it.is_ok()), None);
        drop(alone);
        watcher.ask("1").await.unwrap();
        assert_eq!(watcher.value("alone"), Ok(Some(1)));
        watcher.stop("done");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_note_that_the_disk_did_not_take_comes_with_the_next() {
    let folder = folder();
    let managed = async |cx: &mut Context| {
        if cx.message().is_some_and(|message| &*message == "5") {
            break_disk(&folder);
        }
        take_in(cx)
    };
    play(builder(&folder), managed, async |watcher| {
        watcher.deliver("5").await.unwrap();
        pass(100).await;
        let waiting = || StateDir::look(folder.path()).mail.waiting().count();
        assert_eq!(waiting(), 1);
        mend_disk(&folder);
        watcher.deliver("6").await.unwrap();
        pass(100).await;
        assert_eq!(waiting(), 0, "it would run again behind the other one");
        watcher.stop("done");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_asks_when_the_watcher_is_over_does_not_wait() {
    let managed = async |_: &mut Context| -> crate::Result { std::future::pending().await };
    for builder in [plain(), builder(&folder())] {
        play(builder, managed, async |watcher| {
            let message = Message::new("x").key("k");
            watcher.deliver(message.clone()).await.unwrap();
            watcher.kill("now");
            watcher.wait().await;
            assert!(watcher.ask(message).await.is_err());
            assert!(watcher.ask("y").await.is_err());
        })
        .await;
    }
}
