//! Bots that ask for effects in order, cancel some, fail and end at any moment, from seeds; every part of their
//! journals is replayed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hersh_machine::SplitMix64;

use super::chaos::{expect_panics, folder};
use super::*;
use crate::JournalLimits;

const SEEDS: u64 = 120;
const AT_ONCE: usize = 2;

/// What the other side sees, and what was wrong about it.
#[derive(Default)]
struct World {
    /// How often each effect was acted on.
    attempts: RefCell<BTreeMap<EffectId, u32>>,
    /// What is acted on, with its key.
    acting: RefCell<Vec<(u64, Option<String>)>>,
    faults: RefCell<Vec<String>>,
    cancelled: Cell<u64>,
    replayed: Cell<u64>,
}

/// What is acted on, until it ends or is dropped.
struct Acting(Rc<World>, u64);

impl World {
    fn fault(&self, text: String) {
        self.faults.borrow_mut().push(text);
    }

    fn begin(self: &Rc<Self>, id: EffectId, number: u64, key: Option<String>) -> Acting {
        let mut acting = self.acting.borrow_mut();
        if acting.len() >= AT_ONCE {
            self.fault(format!("{number} beside {acting:?}"));
        }
        if key.is_some() && acting.iter().any(|(_, other)| *other == key) {
            self.fault(format!("{number} beside {acting:?}, of one key"));
        }
        acting.push((number, key));
        *self.attempts.borrow_mut().entry(id).or_default() += 1;
        Acting(self.clone(), number)
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        let mut acting = self.0.acting.borrow_mut();
        acting.retain(|(number, _)| *number != self.1);
    }
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Book {
    ids: BTreeMap<u64, EffectId>,
    ended: BTreeMap<u64, Outcome<u64>>,
}

/// Asks, books and cancels as its random numbers say. Without a world it must not act.
async fn trade(cx: &mut Context, world: Option<Rc<World>>, policy: Policy) -> crate::Result {
    let side = world.clone();
    let act = async move |id: EffectId, (number, key): (u64, Option<String>)| {
        let side = side.as_ref().expect("a replay acts");
        let _acting = side.begin(id, number, key);
        let attempt = side.attempts.borrow()[&id];
        let mut random = SplitMix64::new(number * 31 + u64::from(attempt));
        match random.below(8) {
            0 => pass(random.below(900)).await,
            1 => return Err(Error::msg("from a seed: busy")),
            2 => std::future::pending().await,
            3 => panic!("from a seed"),
            4 => pass(1).await,
            _ => {}
        }
        Ok(number)
    };
    let acts = cx.effects("acts", policy, act)?;
    let triggered = cx.triggered();
    let for_something = triggered.init || triggered.recovery || triggered.message;
    if !for_something && triggered.effect.is_none() {
        let world = world.as_ref();
        world.inspect(|world| world.fault("a run for nothing".into()));
    }
    let mut book: Book = cx.value("book")?.unwrap_or_default();
    if let Some(done) = acts.settled(cx)? {
        let number = done.input.0;
        cx.log(format!("{} {number} {:?}", done.id, done.outcome));
        if book.ended.insert(number, done.outcome).is_some() {
            return Err(Control::crash(format!("{number} ends twice")).into());
        }
    }
    if cx.message().is_some() {
        for _ in 0..=cx.random_below(2) {
            let number = book.ids.len() as u64 + 1;
            let key = (cx.random_below(3) > 0).then(|| format!("k{}", number % 2));
            let input = (number, key.clone());
            let id = match &key {
                None => cx.start(&acts, &input)?,
                Some(key) => cx.start_in_order(&acts, key, &input)?,
            };
            book.ids.insert(number, id);
        }
    }
    let asked = book.ids.len() as u64;
    if asked > 0 && cx.random_below(3) == 0 {
        let number = asked - cx.random_below(asked.min(4));
        cx.cancel(book.ids[&number]);
    }
    cx.set("book", &book)?;
    end_somehow(cx).await
}

/// Ends a run well, mostly.
async fn end_somehow(cx: &mut Context) -> crate::Result {
    match cx.random_below(14) {
        0 => Err(Error::msg("from a seed")),
        1 => {
            pass(cx.random_below(400)).await;
            Ok(())
        }
        2 if cx.random_below(10) == 0 => Err(Control::crash("from a seed").into()),
        3 if cx.random_below(10) == 0 => Err(Control::stop("from a seed").into()),
        _ => Ok(()),
    }
}

fn builder(folder: &Path, life: u64, seed: u64) -> Builder {
    let limits = JournalLimits {
        part_bytes: 3_000,
        ..JournalLimits::default()
    };
    super::chaos::builder(folder)
        .random_seed(seed * 100 + life)
        .journal_dir(folder.join(format!("journal{life}")))
        .journal_limits(limits)
}

async fn live_through(seed: u64, policy: Policy, world: &Rc<World>) {
    let folder = folder();
    let lives = 1 + SplitMix64::new(seed).below(4);
    for life in 0.. {
        let last = life >= lives;
        let of_runs = world.clone();
        let managed = async move |cx: &mut Context| trade(cx, Some(of_runs.clone()), policy).await;
        let mut wishes = SplitMix64::new(seed ^ (life << 20));
        let script = async |watcher: &Watcher| {
            if last {
                pass(4_000_000).await;
                watcher.stop("done");
                return;
            }
            for _ in 0..wishes.below(30) {
                pass(wishes.below(3) * wishes.below(150)).await;
                // It may have ended by itself.
                let _ = watcher.send("decide");
            }
            match wishes.below(2) {
                0 => watcher.kill("wish"),
                _ => watcher.stop("wish"),
            }
        };
        let ending = play(builder(folder.path(), life, seed), managed, script).await;
        assert_eq!(
            world.acting.borrow().len(),
            0,
            "seed {seed}: it acts after its end"
        );
        replay_all(&folder.path().join(format!("journal{life}")), policy, world);
        if last && &*ending.reason == "done" {
            break;
        }
    }
    check(folder.path(), seed, policy, world);
}

/// Replays a session from each of its parts.
fn replay_all(journal: &Path, policy: Policy, world: &World) {
    for file in std::fs::read_dir(journal).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|it| it != "journal") {
            continue;
        }
        let managed = async move |cx: &mut Context| trade(cx, None, policy).await;
        match super::chaos::builder(journal).replay(&path, managed) {
            Ok(replayed) => world.replayed.set(world.replayed.get() + replayed.runs),
            Err(error) => world.fault(format!("{}: {error}", path.display())),
        }
    }
}

fn check(folder: &Path, seed: u64, policy: Policy, world: &World) {
    let kept = std::fs::read(folder.join("context.json")).unwrap_or_default();
    let kept: serde_json::Value = serde_json::from_slice(&kept).unwrap_or_default();
    let open = kept["effects"]["open"]
        .as_object()
        .map_or(0, |open| open.len());
    let book = serde_json::from_value(kept["values"]["book"].clone());
    let book: Book = book.unwrap_or_default();
    let ids: BTreeSet<&EffectId> = book.ids.values().collect();
    if open > 0 || book.ended.len() != book.ids.len() || ids.len() != book.ids.len() {
        world.fault(format!(
            "seed {seed}: {open} open, {} of {}",
            book.ended.len(),
            ids.len()
        ));
    }
    for (number, outcome) in &book.ended {
        let attempts = world.attempts.borrow().get(&book.ids[number]).copied();
        let attempts = attempts.unwrap_or_default();
        let possible = match outcome {
            Outcome::Done(_) | Outcome::Failed { .. } => attempts > 0,
            Outcome::Unknown { .. } => true,
            Outcome::Cancelled => attempts == 0,
        };
        let once = policy == Policy::at_most_once().timeout(SECOND).at_once(AT_ONCE);
        if !possible || (once && attempts > 1) {
            world.fault(format!(
                "seed {seed}: {number} {outcome:?} after {attempts} attempts"
            ));
        }
        let cancelled = u64::from(*outcome == Outcome::Cancelled);
        world.cancelled.set(world.cancelled.get() + cancelled);
    }
    world.attempts.borrow_mut().clear();
}

async fn storm(policy: Policy) {
    expect_panics();
    let world = Rc::new(World::default());
    for seed in 1..=SEEDS {
        live_through(seed, policy, &world).await;
    }
    let faults = world.faults.borrow();
    assert!(
        faults.is_empty(),
        "{} faults: {:#?}",
        faults.len(),
        faults.iter().take(9).collect::<Vec<_>>()
    );
    let (cancelled, replayed) = (world.cancelled.get(), world.replayed.get());
    assert!(
        cancelled > 100 && replayed > 10_000,
        "{cancelled} cancelled, {replayed} replayed"
    );
}

#[tokio::test(start_paused = true)]
async fn every_effect_of_a_storm_ends_once_at_least_once() {
    storm(Policy::at_least_once().timeout(SECOND).at_once(AT_ONCE)).await;
}

#[tokio::test(start_paused = true)]
async fn every_effect_of_a_storm_ends_once_at_most_once() {
    storm(Policy::at_most_once().timeout(SECOND).at_once(AT_ONCE)).await;
}
