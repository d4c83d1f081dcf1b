//! Whose turn it is to build.
//!
//! ```text
//! turn(owner) ─► told how many go first ─► Turn, held while it builds ─► dropped: the next one's
//! ```
//!
//! Few images are built at once. Owners take turns, and of one owner's builds the oldest goes
//! first, so that a hundred builds of one owner hold up another owner's by one build at most.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

/// Builds of a host at once.
pub(crate) const BUILDS_AT_ONCE: usize = 2;
/// Builds that wait at once. One more is refused.
pub(crate) const WAITING_MAX: usize = 1_000;
/// A build that waits is told of its new rank at most this often.
const TELL: Duration = Duration::from_secs(1);

/// Who builds: whoever the host counts by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Tells owners apart.
    pub(crate) name: String,
    /// How many of theirs may build at once, at least one.
    pub(crate) builds_at_once: usize,
}

/// [`WAITING_MAX`] builds wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{WAITING_MAX} builds wait already; start it again later")]
pub(crate) struct QueueFull;

/// The places of one host; clones are the same.
#[derive(Clone)]
pub(crate) struct BuildQueue(Arc<Mutex<Places>>);

/// A place, held until it is dropped.
pub(crate) struct Turn {
    queue: BuildQueue,
    owner: String,
    number: u64,
}

struct Places {
    at_once: usize,
    building: HashMap<String, usize>,
    /// Owners who wait, in the order of their turns. None of them waits for nothing.
    waiting: VecDeque<Line>,
    next_number: u64,
}

/// The builds of one owner that wait, oldest first.
struct Line {
    owner: Owner,
    builds: VecDeque<Waiting>,
}

struct Waiting {
    number: u64,
    rank: watch::Sender<Rank>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rank {
    Behind(usize),
    Now,
}

impl BuildQueue {
    /// Builds that wait for a place.
    pub(crate) fn waiting(&self) -> usize {
        let places = self.places();
        places.waiting.iter().map(|line| line.builds.len()).sum()
    }

    /// A queue before `at_once` places, at least one.
    pub(crate) fn new(at_once: usize) -> Self {
        Self(Arc::new(Mutex::new(Places {
            at_once: at_once.max(1),
            building: HashMap::new(),
            waiting: VecDeque::new(),
            next_number: 0,
        })))
    }

    /// Waits for a place. `tell` hears how many builds go first: at once if there are any or no
    /// place is free, and when that changes. Dropping the future gives the turn up.
    ///
    /// # Errors
    /// [`QueueFull`].
    pub(crate) async fn turn(
        &self,
        owner: Owner,
        mut tell: impl FnMut(usize),
    ) -> Result<Turn, QueueFull> {
        let (turn, mut rank) = self.enter(owner)?;
        loop {
            let seen = *rank.borrow_and_update();
            match seen {
                Rank::Now => return Ok(turn),
                Rank::Behind(first) => tell(first),
            }
            let mut place = rank.clone();
            tokio::select! {
                biased;
                // The sender lives as long as the build waits, so neither can fail before.
                _now = place.wait_for(|rank| *rank == Rank::Now) => {}
                () = async {
                    tokio::time::sleep(TELL).await;
                    let _changed = rank.changed().await;
                } => {}
            }
        }
    }

    fn enter(&self, owner: Owner) -> Result<(Turn, watch::Receiver<Rank>), QueueFull> {
        let mut places = self.places();
        if places
            .waiting
            .iter()
            .map(|it| it.builds.len())
            .sum::<usize>()
            >= WAITING_MAX
        {
            return Err(QueueFull);
        }
        let (rank, told) = watch::channel(Rank::Behind(0));
        let number = places.next_number;
        places.next_number += 1;
        let turn = Turn {
            queue: self.clone(),
            owner: owner.name.clone(),
            number,
        };
        let build = Waiting { number, rank };
        let line = places.waiting.iter_mut();
        match line.into_iter().find(|it| it.owner.name == owner.name) {
            Some(line) => {
                line.owner = owner;
                line.builds.push_back(build);
            }
            None => places.waiting.push_back(Line {
                owner,
                builds: VecDeque::from([build]),
            }),
        }
        places.advance();
        Ok((turn, told))
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    /// Gives free places to those whose turn it is, and tells the rest where they stand.
    fn advance(&mut self) {
        while self.building.values().sum::<usize>() < self.at_once {
            let may_build = |line: &Line| {
                let building = self.building.get(&line.owner.name);
                building.copied().unwrap_or(0) < line.owner.builds_at_once
            };
            let Some(mut line) = (self.waiting.iter().position(may_build))
                .and_then(|position| self.waiting.remove(position))
            else {
                break;
            };
            if let Some(build) = line.builds.pop_front() {
                *self.building.entry(line.owner.name.clone()).or_default() += 1;
                build.rank.send_replace(Rank::Now);
            }
            // Whoever had a turn goes behind all others.
            if !line.builds.is_empty() {
                self.waiting.push_back(line);
            }
        }
        self.tell();
    }

    fn tell(&self) {
        let mut first = 0;
        let longest = self.waiting.iter().map(|it| it.builds.len()).max();
        for round in 0..longest.unwrap_or(0) {
            for build in self.waiting.iter().filter_map(|it| it.builds.get(round)) {
                let rank = Rank::Behind(first);
                build.rank.send_if_modified(|told| {
                    let changed = *told != rank;
                    *told = rank;
                    changed
                });
                first += 1;
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut places = self.queue.places();
        let mut waited = false;
        for line in &mut places.waiting {
            let before = line.builds.len();
            line.builds.retain(|build| build.number != self.number);
            waited |= line.builds.len() < before;
        }
        places.waiting.retain(|line| !line.builds.is_empty());
        if !waited && let Some(building) = places.building.get_mut(&self.owner) {
            *building -= 1;
            if *building == 0 {
                places.building.remove(&self.owner);
            }
        }
        places.advance();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn owner(name: &str, builds_at_once: usize) -> Owner {
        Owner {
            name: name.into(),
            builds_at_once,
        }
    }

    type Waits = std::pin::Pin<Box<dyn Future<Output = Result<Turn, QueueFull>>>>;

    /// Enters the queue; what is told goes into the channel.
    fn enter(queue: &BuildQueue, name: &str, ranks: &std::sync::mpsc::Sender<usize>) -> Waits {
        let (queue, owner, ranks) = (queue.clone(), owner(name, 9), ranks.clone());
        let mut waits: Waits = Box::pin(async move {
            let tell = |first| ranks.send(first).unwrap();
            queue.turn(owner, tell).await
        });
        assert!(waits.as_mut().now_or_never().is_none());
        waits
    }

    #[tokio::test]
    async fn owners_take_turns_and_of_one_the_oldest_goes_first() {
        let queue = BuildQueue::new(1);
        let mut held = queue.turn(owner("a", 9), |_| ()).await.ok();
        let (ranks, _told) = std::sync::mpsc::channel();
        let names = ["a", "a", "a", "b", "b", "c"];
        let mut waiting: Vec<(usize, Waits)> = names
            .iter()
            .enumerate()
            .map(|(number, name)| (number, enter(&queue, name, &ranks)))
            .collect();
        let mut order = Vec::new();
        while !waiting.is_empty() {
            drop(held.take());
            let next = waiting.iter_mut().position(|(_, waits)| {
                held = waits.as_mut().now_or_never().and_then(Result::ok);
                held.is_some()
            });
            order.push(waiting.remove(next.expect("somebody builds")).0);
        }
        assert_eq!(order, [0, 3, 5, 1, 4, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_told_how_many_go_first() {
        let queue = BuildQueue::new(1);
        let held = queue
            .turn(owner("a", 9), |_| panic!("a place was free"))
            .await;
        let (ranks, told) = std::sync::mpsc::channel();
        let first = enter(&queue, "a", &ranks);
        let _second = enter(&queue, "a", &ranks);
        let third = enter(&queue, "a", &ranks);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [0, 1, 2]);
        // Who gives up lets the others move up.
        drop(first);
        let late = tokio::time::timeout(TELL * 2, third).await;
        assert!(late.is_err(), "it still waits");
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [1]);
        drop(held);
    }

    #[tokio::test]
    async fn an_owner_never_takes_more_places_than_are_theirs() {
        let queue = BuildQueue::new(2);
        let held = queue.turn(owner("a", 1), |_| ()).await.ok().unwrap();
        let mut second = Box::pin(queue.turn(owner("a", 1), |_| ()));
        assert!(second.as_mut().now_or_never().is_none(), "a has its place");
        let other = queue.turn(owner("b", 1), |_| ()).now_or_never();
        assert!(other.is_some(), "b does not wait behind a");
        drop(held);
        assert!(second.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_turn_given_up_at_any_moment_is_free_again() {
        let queue = BuildQueue::new(1);
        let held = queue.turn(owner("a", 1), |_| ()).await;
        let mut granted = Box::pin(queue.turn(owner("b", 1), |_| ()));
        assert!(granted.as_mut().now_or_never().is_none());
        // It has its place now and is dropped before it could know.
        drop(held);
        drop(granted);
        let next = queue.turn(owner("c", 1), |_| ()).now_or_never();
        assert!(next.is_some());
        drop(next);
        assert!(queue.places().building.is_empty());
    }

    #[tokio::test]
    async fn no_more_wait_than_the_bound() {
        let queue = BuildQueue::new(1);
        let _held = queue.turn(owner("a", 1), |_| ()).await;
        let waiting: Vec<_> = (0..WAITING_MAX)
            .map(|_| queue.enter(owner("a", 1)).map(|(turn, _)| turn))
            .collect();
        assert!(waiting.iter().all(Result::is_ok));
        let more = queue.turn(owner("b", 1), |_| ()).await;
        assert_eq!(more.err(), Some(QueueFull));
        // The last first: a queue that moves up at each would tell everybody each time.
        waiting.into_iter().rev().for_each(drop);
        assert!(queue.places().waiting.is_empty());
    }
}
