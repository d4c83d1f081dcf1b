//! Replays of lives that acted: nothing is acted on again, and another strategy is found by its effect.

use std::path::Path;

use super::*;
use crate::{Counts, Difference, JournalLimits, ReplayError, Replayed, compare, replay};

/// What a bot does otherwise than the recorded one.
#[derive(Clone, Copy, PartialEq)]
enum Strategy {
    Recorded,
    LargerOrders,
    OrdersOnce,
    CancelsNothing,
}

async fn trade(cx: &mut Context, strategy: Strategy) -> crate::Result {
    let orders = cx.effects(
        "orders",
        Policy::at_least_once(),
        async |id: EffectId, n: u64| {
            assert!(!REPLAYS.get(), "a replay acts");
            match n {
                3 => Err(Error::msg(format!("{id} is refused"))),
                4 => std::future::pending().await,
                _ => Ok(n * 10),
            }
        },
    )?;
    if let Some(done) = orders.settled(cx)? {
        cx.log(format!("{} of {}: {:?}", done.id, done.input, done.outcome));
        cx.update("booked", |n: u64| n + 1)?;
    }
    let Some(message) = cx.message() else {
        return Ok(());
    };
    let order: u64 = message.parse()?;
    let larger = u64::from(strategy == Strategy::LargerOrders && order == 2);
    let id = cx.start(&orders, &(order + larger))?;
    if order == 2 && strategy != Strategy::OrdersOnce {
        cx.start_in_order(&orders, "second", &20)?;
    }
    if order == 4 && strategy != Strategy::CancelsNothing {
        cx.cancel(id);
    }
    if order == 5 {
        return Err(Error::msg("halfway"));
    }
    Ok(())
}

thread_local! {
    static REPLAYS: Cell<bool> = const { Cell::new(false) };
}

async fn record(folder: &Path, state: Option<&Path>, orders: std::ops::Range<u64>) {
    let limits = JournalLimits {
        part_bytes: 700,
        ..JournalLimits::default()
    };
    let mut builder = plain().journal_dir(folder).journal_limits(limits);
    if let Some(state) = state {
        builder = builder.state_dir(state);
    }
    let managed = async |cx: &mut Context| trade(cx, Strategy::Recorded).await;
    play(builder, managed, async |watcher| {
        for order in orders {
            watcher.send(order.to_string()).unwrap();
            pass(40_000).await;
        }
        watcher.stop("done");
    })
    .await;
}

fn again(journal: &Path, strategy: Strategy) -> Result<Replayed, ReplayError> {
    replay(journal, async move |cx: &mut Context| {
        REPLAYS.set(true);
        trade(cx, strategy).await
    })
}

fn difference(journal: &Path, strategy: Strategy) -> (u64, String) {
    match again(journal, strategy) {
        Err(ReplayError::Diverged(found)) => {
            assert!(
                matches!(found.difference, Difference::Effect { .. }),
                "{found}"
            );
            (found.run, found.difference.to_string())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_life_that_acted_replays_from_each_of_its_parts() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), None, 1..20).await;
    let replayed = again(folder.path(), Strategy::Recorded).unwrap();
    assert_eq!(replayed.first_run, 1);
    let mut parts: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    parts.retain(|path| path.extension().is_some_and(|it| it == "journal"));
    assert!(parts.len() > 3, "{}", parts.len());
    for part in parts {
        again(&part, Strategy::Recorded)
            .unwrap_or_else(|error| panic!("{}: {error}", part.display()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_life_that_found_open_effects_replays() {
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    record(folder.path(), Some(state.path()), 1..4).await;
    record(folder.path(), Some(state.path()), 6..9).await;
    let replayed = again(folder.path(), Strategy::Recorded).unwrap();
    assert!(replayed.runs > 4, "{replayed:?}");
}

#[tokio::test(start_paused = true)]
async fn another_strategy_is_located_by_run_and_effect() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), None, 1..6).await;
    let larger = "effect 1: expected orders 2 with 2, seen orders 2 with 3";
    assert_eq!(
        difference(folder.path(), Strategy::LargerOrders),
        (4, larger.into())
    );
    let once = "effect 2: expected orders 3 in order of \"second\" with 20, seen nothing";
    assert_eq!(
        difference(folder.path(), Strategy::OrdersOnce),
        (4, once.into())
    );
    let (_, text) = difference(folder.path(), Strategy::CancelsNothing);
    assert!(text.contains("effect 2: expected cancel "), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_comparison_goes_on_and_sums_up() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), None, 1..6).await;
    let with = |strategy| {
        let managed = async move |cx: &mut Context| {
            REPLAYS.set(true);
            trade(cx, strategy).await
        };
        compare(folder.path(), managed).unwrap()
    };
    let same = with(Strategy::Recorded);
    assert_eq!((same.differing, same.failed.recorded), (0, same.failed.now));
    assert_eq!(same.context, same.recorded_context);
    let counts = |recorded, now| Counts { recorded, now };
    assert_eq!(same.asked["orders"], counts(5, 5));

    let once = with(Strategy::OrdersOnce);
    assert_eq!(once.runs, same.runs);
    assert_eq!(once.asked["orders"], counts(5, 4));
    // The second order is missing, and from then on every id is another one.
    assert_eq!((once.differences[0].run, once.differing), (4, 3));
    assert_eq!(once.context["booked"], same.context["booked"]);
}
