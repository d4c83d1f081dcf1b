//! A fair queue for work that a host limits: builds, starts, and measuring `/state` before a start.
//!
//! ```text
//! turn(owner) ─► told how many go first ─► Turn, held during the work ─► dropped: the next caller's turn
//! ```
//!
//! Owners take turns, and among the entries of one owner the oldest goes first. So a hundred entries of
//! one owner delay the entry of another owner by one turn at most.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::sync::watch;

use crate::locked::locked;

/// The least time between two messages about a new rank to one waiting caller.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// The user for whom a turn counts: all turns of one owner share the owner's limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The name that tells owners apart.
    pub name: String,
    /// How many turns the owner may have at once, at least one.
    pub at_once: usize,
}

/// The queue is full: as many callers wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} others wait already; try again later")]
pub struct QueueFull(usize);

/// The queue for one kind of work on a host; clones share the same queue.
#[derive(Clone)]
pub struct TurnQueue(Arc<Mutex<QueueState>>);

/// A turn, held until it is dropped.
pub struct Turn {
    queue: TurnQueue,
    owner: String,
    number: u64,
}

struct QueueState {
    at_once: usize,
    waiting_max: usize,
    /// How many turns each owner has.
    taken: HashMap<String, usize>,
    /// The owners with waiting entries, in the order of their turns. No [`OwnerQueue`] in it is empty.
    waiting: VecDeque<OwnerQueue>,
    next_number: u64,
}

/// The waiting entries of one owner, oldest first.
struct OwnerQueue {
    owner: Owner,
    callers: VecDeque<WaitingCaller>,
}

struct WaitingCaller {
    number: u64,
    rank: watch::Sender<Rank>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rank {
    Behind(usize),
    Now,
}

impl TurnQueue {
    /// Returns how many callers wait for a turn.
    pub fn waiting(&self) -> usize {
        let state = self.state();
        state
            .waiting
            .iter()
            .map(|owner_queue| owner_queue.callers.len())
            .sum()
    }

    /// Returns a queue that gives `at_once` turns at a time, at least one, and in which `waiting_max`
    /// callers may wait.
    pub fn new(at_once: usize, waiting_max: usize) -> Self {
        Self(Arc::new(Mutex::new(QueueState {
            at_once: at_once.max(1),
            waiting_max,
            taken: HashMap::new(),
            waiting: VecDeque::new(),
            next_number: 0,
        })))
    }

    /// Waits for a turn. Calls `tell` with the number of callers who go first: at once unless the caller
    /// gets a turn at once, and again when the number changes. Dropping the future gives up the place, or
    /// the turn if it was given already.
    ///
    /// # Errors
    /// [`QueueFull`] when as many callers wait already as may.
    pub async fn turn(&self, owner: Owner, mut tell: impl FnMut(usize)) -> Result<Turn, QueueFull> {
        let (turn, mut rank) = self.enter(owner)?;
        loop {
            let seen = *rank.borrow_and_update();
            match seen {
                Rank::Now => return Ok(turn),
                Rank::Behind(first) => tell(first),
            }
            let mut own_rank = rank.clone();
            tokio::select! {
                biased;
                // The sender is dropped only after it has sent `Now`, so neither receiver can fail
                // before.
                _now = own_rank.wait_for(|rank| *rank == Rank::Now) => {}
                () = async {
                    tokio::time::sleep(TELL_INTERVAL).await;
                    let _changed = rank.changed().await;
                } => {}
            }
        }
    }

    fn enter(&self, owner: Owner) -> Result<(Turn, watch::Receiver<Rank>), QueueFull> {
        let mut state = self.state();
        let waiting: usize = state.waiting.iter().map(|it| it.callers.len()).sum();
        if waiting >= state.waiting_max {
            return Err(QueueFull(state.waiting_max));
        }
        let (rank, told) = watch::channel(Rank::Behind(0));
        let number = state.next_number;
        state.next_number += 1;
        let turn = Turn {
            queue: self.clone(),
            owner: owner.name.clone(),
            number,
        };
        let caller = WaitingCaller { number, rank };
        let owner_queues = state.waiting.iter_mut();
        match owner_queues
            .into_iter()
            .find(|it| it.owner.name == owner.name)
        {
            Some(owner_queue) => {
                owner_queue.owner = owner;
                owner_queue.callers.push_back(caller);
            }
            None => state.waiting.push_back(OwnerQueue {
                owner,
                callers: VecDeque::from([caller]),
            }),
        }
        state.advance();
        Ok((turn, told))
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        locked(&self.0)
    }
}

impl QueueState {
    /// Gives the free turns to the next entries, and tells the others their rank.
    fn advance(&mut self) {
        while self.taken.values().sum::<usize>() < self.at_once {
            let may_have_one = |owner_queue: &OwnerQueue| {
                let taken = self.taken.get(&owner_queue.owner.name);
                taken.copied().unwrap_or(0) < owner_queue.owner.at_once
            };
            let Some(mut owner_queue) = (self.waiting.iter().position(may_have_one))
                .and_then(|position| self.waiting.remove(position))
            else {
                break;
            };
            if let Some(caller) = owner_queue.callers.pop_front() {
                *self
                    .taken
                    .entry(owner_queue.owner.name.clone())
                    .or_default() += 1;
                caller.rank.send_replace(Rank::Now);
            }
            // An owner who was given a turn goes behind all other owners, so that nobody takes every
            // turn.
            if !owner_queue.callers.is_empty() {
                self.waiting.push_back(owner_queue);
            }
        }
        self.tell();
    }

    fn tell(&self) {
        let mut first = 0;
        let longest = self.waiting.iter().map(|it| it.callers.len()).max();
        for round in 0..longest.unwrap_or(0) {
            for caller in self.waiting.iter().filter_map(|it| it.callers.get(round)) {
                let rank = Rank::Behind(first);
                caller.rank.send_if_modified(|told| {
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
        let mut state = self.queue.state();
        let mut waited = false;
        for owner_queue in &mut state.waiting {
            let before = owner_queue.callers.len();
            owner_queue
                .callers
                .retain(|caller| caller.number != self.number);
            waited |= owner_queue.callers.len() < before;
        }
        state
            .waiting
            .retain(|owner_queue| !owner_queue.callers.is_empty());
        if !waited && let Some(taken) = state.taken.get_mut(&self.owner) {
            *taken -= 1;
            if *taken == 0 {
                state.taken.remove(&self.owner);
            }
        }
        state.advance();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const WAITING_MAX: usize = 1_000;

    fn owner(name: &str, at_once: usize) -> Owner {
        Owner {
            name: name.into(),
            at_once,
        }
    }

    type Waits = std::pin::Pin<Box<dyn Future<Output = Result<Turn, QueueFull>>>>;

    /// Enters the queue. The numbers that `tell` gets go into the channel.
    fn enter(queue: &TurnQueue, name: &str, ranks: &std::sync::mpsc::Sender<usize>) -> Waits {
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
        let queue = TurnQueue::new(1, WAITING_MAX);
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
            order.push(waiting.remove(next.expect("somebody has a turn")).0);
        }
        assert_eq!(order, [0, 3, 5, 1, 4, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_told_how_many_go_first() {
        let queue = TurnQueue::new(1, WAITING_MAX);
        let held = queue
            .turn(owner("a", 9), |_| panic!("a turn was free"))
            .await;
        let (ranks, told) = std::sync::mpsc::channel();
        let first = enter(&queue, "a", &ranks);
        let _second = enter(&queue, "a", &ranks);
        let third = enter(&queue, "a", &ranks);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [0, 1, 2]);
        // A caller who gives up lets the others move up.
        drop(first);
        let late = tokio::time::timeout(TELL_INTERVAL * 2, third).await;
        assert!(late.is_err(), "it still waits");
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [1]);
        drop(held);
    }

    #[tokio::test]
    async fn an_owner_never_takes_more_places_than_are_theirs() {
        let queue = TurnQueue::new(2, WAITING_MAX);
        let held = queue.turn(owner("a", 1), |_| ()).await.ok().unwrap();
        let mut second = Box::pin(queue.turn(owner("a", 1), |_| ()));
        assert!(second.as_mut().now_or_never().is_none(), "a has its turn");
        let other = queue.turn(owner("b", 1), |_| ()).now_or_never();
        assert!(other.is_some(), "b does not wait behind a");
        drop(held);
        assert!(second.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_turn_given_up_at_any_moment_is_free_again() {
        let queue = TurnQueue::new(1, WAITING_MAX);
        let held = queue.turn(owner("a", 1), |_| ()).await;
        let mut granted = Box::pin(queue.turn(owner("b", 1), |_| ()));
        assert!(granted.as_mut().now_or_never().is_none());
        // b has its turn now, and its future is dropped before it could know.
        drop(held);
        drop(granted);
        let next = queue.turn(owner("c", 1), |_| ()).now_or_never();
        assert!(next.is_some());
        drop(next);
        assert!(queue.state().taken.is_empty());
    }

    #[tokio::test]
    async fn no_more_wait_than_the_bound() {
        let queue = TurnQueue::new(1, WAITING_MAX);
        let _held = queue.turn(owner("a", 1), |_| ()).await;
        let waiting: Vec<_> = (0..WAITING_MAX)
            .map(|_| queue.enter(owner("a", 1)).map(|(turn, _)| turn))
            .collect();
        assert!(waiting.iter().all(Result::is_ok));
        let more = queue.turn(owner("b", 1), |_| ()).await;
        assert_eq!(more.err(), Some(QueueFull(WAITING_MAX)));
        // Drops the last entry first: otherwise the queue would move up at each drop and tell everybody
        // each time.
        waiting.into_iter().rev().for_each(drop);
        assert!(queue.state().waiting.is_empty());
    }
}
