//! Functions that do anything, and scripts that ask for anything, made from seeds. The tests check
//! what must hold for every watcher.

use std::cell::Cell;

use futures_util::{StreamExt, stream};
use hersh_machine::SplitMix64;

use super::*;
use crate::{Control, EndKind, Recovery, WatcherState};

const SEEDS: u64 = 400;

/// The counts of one watcher.
#[derive(Default)]
struct Counts {
    in_progress: Cell<u32>,
    runs: Cell<u64>,
    messages: Cell<u64>,
    cleanups: Cell<u32>,
    after_cleanup: Cell<u32>,
}

/// Counts one run as in progress until the run's future ends or is dropped.
struct Progress(Rc<Counts>);

impl Progress {
    fn begin(counts: &Rc<Counts>) -> Self {
        let in_progress = counts.in_progress.get() + 1;
        assert_eq!(in_progress, 1, "runs never overlap");
        counts.in_progress.set(in_progress);
        counts.runs.set(counts.runs.get() + 1);
        let late = u32::from(counts.cleanups.get() > 0);
        counts.after_cleanup.set(counts.after_cleanup.get() + late);
        Self(counts.clone())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.in_progress.set(self.0.in_progress.get() - 1);
    }
}

/// Does something that follows from `random`.
async fn anything(cx: &mut Context, random: &mut SplitMix64) -> crate::Result {
    cx.watch_tick("tick", Duration::from_millis(700))?;
    cx.watch_flow("flow", 0, || stream::iter(0..50).map(Ok::<u64, Error>))?;
    cx.update("runs", |n: u64| n + 1)?;
    match random.below(24) {
        0 => pass(random.below(3_000)).await,
        1 => std::future::pending().await,
        2 => panic!("from a seed"),
        3 => return Err(Error::msg("from a seed")),
        4 => tokio::task::yield_now().await,
        5 if random.chance(10) => return Err(Control::stop("from a seed").into()),
        6 if random.chance(10) => return Err(Control::kill("from a seed").into()),
        7 if random.chance(10) => return Err(Control::crash("from a seed").into()),
        8 => drop(cx.watch_tick("", Duration::from_secs(1))?),
        9 => drop(cx.unwatch("tick")),
        10 => drop(cx.unwatch("flow")),
        _ => {}
    }
    Ok(())
}

fn builder() -> Builder {
    plain()
        .run_timeout(Duration::from_millis(1_000))
        .cleanup_timeout(Duration::from_millis(500))
        .stop_grace(Duration::from_millis(200))
        .recovery(Recovery {
            light_delays_ms: [100, 200, 300],
            base_delay_ms: 400,
            max_delay_ms: 1_000,
            ..Recovery::default()
        })
}

async fn live_through(seed: u64) -> (EndKind, Rc<Counts>) {
    let counts = Rc::new(Counts::default());
    let (of_runs, of_script) = (counts.clone(), counts.clone());
    let mut random = SplitMix64::new(seed);
    let managed = async move |cx: &mut Context| -> crate::Result {
        let _progress = Progress::begin(&of_runs);
        if cx.message().is_some() && !cx.triggered().recovery {
            of_runs.messages.set(of_runs.messages.get() + 1);
        }
        anything(cx, &mut random).await
    };
    let cleanups = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = cleanups.clone();
    let mut ways = SplitMix64::new(seed ^ 0xc1ea);
    let builder = builder().cleanup(async move |_: &mut Context| -> crate::Result {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match ways.below(5) {
            0 => panic!("cleanup from a seed"),
            1 => std::future::pending().await,
            2 => Err(Error::msg("cleanup from a seed")),
            _ => Ok(()),
        }
    });
    let mut wishes = SplitMix64::new(seed ^ 0x5c21);
    let sent = Rc::new(Cell::new(0));
    let accepted = sent.clone();
    let ending = play(builder, managed, async move |watcher| {
        for _ in 0..wishes.below(60) {
            pass(wishes.below(900)).await;
            match wishes.below(12) {
                0 if wishes.chance(20) => watcher.stop("wish"),
                1 if wishes.chance(10) => watcher.kill("wish"),
                _ => accepted.set(accepted.get() + u64::from(watcher.send("x").is_ok())),
            }
            let ended = of_script.cleanups.get() > 0;
            assert!(!ended || watcher.status().state != WatcherState::Running);
        }
        watcher.stop("the script is over");
    })
    .await;
    counts
        .cleanups
        .set(cleanups.load(std::sync::atomic::Ordering::Relaxed));
    assert!(counts.messages.get() <= sent.get(), "no message twice");
    (ending.kind, counts)
}

#[tokio::test(start_paused = true)]
async fn runs_never_overlap_and_the_cleanup_runs_once() {
    // Panics are expected here by the hundred.
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string();
        if !text.contains("from a seed") {
            eprintln!("{text}");
        }
    }));
    let mut kinds = std::collections::BTreeMap::<EndKind, u64>::new();
    let mut runs = 0;
    for seed in 0..SEEDS {
        let (kind, counts) = live_through(seed).await;
        *kinds.entry(kind).or_default() += 1;
        runs += counts.runs.get();
        let (cleanups, late) = (counts.cleanups.get(), counts.after_cleanup.get());
        assert_eq!((cleanups, late), (1, 0), "seed {seed} ended {kind:?}");
        assert_eq!(counts.in_progress.get(), 0, "seed {seed}");
    }
    assert_eq!(kinds.len(), 3, "every way out was taken: {kinds:?}");
    assert!(runs > 10 * SEEDS, "{runs} runs");
}
