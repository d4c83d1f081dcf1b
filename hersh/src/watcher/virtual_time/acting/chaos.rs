//! Bots over many lives, made from seeds, beside an exchange that loses answers, fails and knows ids.

use std::collections::{BTreeMap, BTreeSet};

use hersh_machine::SplitMix64;

use super::*;
use crate::testing::Test;

const SEEDS: u64 = 400;

/// An exchange: the orders that it executed, by id.
#[derive(Default)]
struct Exchange {
    executed: RefCell<BTreeMap<EffectId, u64>>,
    /// Orders that came again.
    again: Cell<u64>,
}

impl Exchange {
    async fn place(&self, id: EffectId, order: u64, answer: u64) -> crate::Result<u64> {
        match answer {
            0 => return Err(Error::msg("from a seed: busy")),
            1 => pass(300).await,
            _ => {}
        }
        if self.executed.borrow_mut().insert(id, order).is_some() {
            self.again.set(self.again.get() + 1);
        }
        match answer {
            2 => std::future::pending().await,
            3 => return Err(Error::msg("from a seed: the answer is lost")),
            4 => panic!("from a seed"),
            5 => pass(700).await,
            _ => {}
        }
        Ok(order)
    }
}

/// What a bot keeps: what it decided, and what it knows the outcome of.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Ledger {
    decided: BTreeSet<u64>,
    booked: BTreeSet<u64>,
    unknown: BTreeSet<u64>,
    failed: BTreeSet<u64>,
}

/// Decides on an order for each message, and books what came of orders.
async fn trade(
    cx: &mut Context,
    exchange: &Rc<Exchange>,
    policy: Policy,
    random: &mut SplitMix64,
) -> crate::Result {
    let (exchange, seed) = (exchange.clone(), RefCell::new(random.clone()));
    let orders = cx.effects("orders", policy, async move |id, order: u64| {
        let answer = seed.borrow_mut().below(9);
        exchange.place(id, order, answer).await
    })?;
    let mut ledger: Ledger = cx.value("ledger")?.unwrap_or_default();
    if let Some(done) = orders.settled(cx)? {
        let list = match done.outcome {
            Outcome::Done(_) => &mut ledger.booked,
            Outcome::Unknown { .. } => &mut ledger.unknown,
            Outcome::Failed { .. } | Outcome::Cancelled => &mut ledger.failed,
        };
        assert!(
            list.insert(done.input),
            "an outcome has one run that counts"
        );
    }
    if cx.message().is_some() {
        let order = ledger.decided.len() as u64 + 1;
        ledger.decided.insert(order);
        match random.below(3) {
            0 => cx.start(&orders, &order)?,
            _ => cx.start_in_order(&orders, "key", &order)?,
        };
    }
    cx.set("ledger", &ledger)?;
    Ok(())
}

/// Ends a run in some other way, sometimes.
async fn may_fail(random: &mut SplitMix64) -> crate::Result {
    match random.below(12) {
        0 => return Err(Error::msg("from a seed")),
        1 => pass(random.below(400)).await,
        2 if random.chance(10) => return Err(Control::crash("from a seed").into()),
        3 if random.chance(20) => panic!("from a seed"),
        _ => {}
    }
    Ok(())
}

/// Lives through one seed, and returns the ledger at its end and the exchange.
async fn live_through(seed: u64, policy: Policy) -> (Ledger, Rc<Exchange>) {
    let folder = folder();
    let exchange = Rc::new(Exchange::default());
    let mut lives = SplitMix64::new(seed);
    for life in 0..=lives.below(4) {
        one_life(folder.path(), &exchange, policy, seed ^ (life << 32)).await;
    }
    // The last life fails no more, and goes on until everything is settled.
    let (of_runs, mut random) = (exchange.clone(), lives);
    let managed = async move |cx: &mut Context| trade(cx, &of_runs, policy, &mut random).await;
    play(builder(folder.path()), managed, async |watcher| {
        pass(4_000_000).await;
        watcher.stop("done");
    })
    .await;
    let kept = std::fs::read(folder.path().join("context.json")).unwrap_or_default();
    let kept: serde_json::Value = serde_json::from_slice(&kept).unwrap_or_default();
    let open = kept["effects"]["open"]
        .as_object()
        .map_or(0, |open| open.len());
    assert_eq!(open, 0, "seed {seed}: everything has its end");
    let ledger = serde_json::from_value(kept["values"]["ledger"].clone());
    (ledger.unwrap_or_default(), exchange)
}

/// A folder in memory, where a sync costs nothing: tens of thousands of commits follow.
pub(super) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

pub(super) fn builder(folder: &std::path::Path) -> Builder {
    plain()
        .state_dir(folder)
        .run_timeout(SECOND)
        .stop_grace(Duration::from_millis(400))
        .recovery(Recovery {
            light_delays_ms: [100; 3],
            base_delay_ms: 200,
            max_delay_ms: 400,
            max_consecutive_failures: 50,
            ..Recovery::default()
        })
}

async fn one_life(folder: &std::path::Path, exchange: &Rc<Exchange>, policy: Policy, seed: u64) {
    let (exchange, mut random) = (exchange.clone(), SplitMix64::new(seed));
    let managed = async move |cx: &mut Context| {
        trade(cx, &exchange, policy, &mut random).await?;
        may_fail(&mut random).await
    };
    let mut wishes = SplitMix64::new(seed ^ 0x5c21);
    play(builder(folder), managed, async move |watcher| {
        for _ in 0..wishes.below(30) {
            pass(wishes.below(300)).await;
            // A crash ends it before its script does.
            let _ = watcher.send("decide");
        }
        match wishes.below(2) {
            0 => watcher.kill("wish"),
            _ => watcher.stop("wish"),
        }
    })
    .await;
}

/// Panics are expected here by the hundred.
pub(in crate::watcher::virtual_time) fn expect_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string();
        if !text.contains("from a seed") {
            eprintln!("{text}");
        }
    }));
}

#[tokio::test(start_paused = true)]
async fn decided_is_executed_is_booked_over_lives_from_seeds() {
    expect_panics();
    let (mut orders, mut again) = (0, 0);
    let policy = Policy::at_least_once().timeout(SECOND).at_once(3);
    for seed in 0..SEEDS {
        let (ledger, exchange) = live_through(seed, policy).await;
        let executed = exchange.executed.borrow();
        let inputs: BTreeSet<u64> = executed.values().copied().collect();
        assert_eq!(
            executed.len(),
            inputs.len(),
            "seed {seed}: an order under two ids"
        );
        assert_eq!(ledger.decided, inputs, "seed {seed}");
        // What could not be kept as done is told as unknown; nothing else is.
        assert_eq!(
            ledger.decided, ledger.booked,
            "seed {seed}: {:?}",
            ledger.unknown
        );
        orders += ledger.decided.len();
        again += exchange.again.get();
    }
    assert!(
        orders > 3_000 && again > 300,
        "{orders} orders, {again} twice"
    );
}

#[tokio::test(start_paused = true)]
async fn at_most_once_executes_none_twice_over_lives_from_seeds() {
    expect_panics();
    let (mut booked, mut unknown) = (0, 0);
    let policy = Policy::at_most_once().timeout(SECOND).at_once(3);
    for seed in 0..SEEDS {
        let (ledger, exchange) = live_through(seed, policy).await;
        assert_eq!(exchange.again.get(), 0, "seed {seed}");
        let executed: BTreeSet<u64> = exchange.executed.borrow().values().copied().collect();
        let known: BTreeSet<u64> = [&ledger.booked, &ledger.unknown, &ledger.failed]
            .into_iter()
            .flatten()
            .copied()
            .collect();
        assert_eq!(
            ledger.decided, known,
            "seed {seed}: every order has an outcome"
        );
        assert!(ledger.booked.is_subset(&executed), "seed {seed}");
        booked += ledger.booked.len();
        unknown += ledger.unknown.len();
    }
    assert!(
        booked > 1_000 && unknown > 100,
        "{booked} booked, {unknown} unknown"
    );
}

#[test]
fn a_test_and_its_retries_never_act() {
    let exchange = Rc::new(Exchange::default());
    let of_runs = exchange.clone();
    let mut test = Test::new(async move |cx: &mut Context| -> crate::Result {
        trade(
            cx,
            &of_runs,
            Policy::at_least_once(),
            &mut SplitMix64::new(5),
        )
        .await
    });
    test.start().ok();
    let run = test.message("decide").ok();
    let started = test.started::<u64>("orders");
    assert_eq!(started, [(run.asked[0].id, 1)]);
    test.settle(started[0].0, Outcome::Done(1_u64)).ok();
    assert_eq!(test.started::<u64>("orders"), []);
    assert!(test.value::<Ledger>("ledger").unwrap().booked.contains(&1));
    assert!(exchange.executed.borrow().is_empty());
}
