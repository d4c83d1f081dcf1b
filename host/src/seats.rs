//! Seats for what holds a thread or room for as long as a client likes: so many at once, and fewer
//! of one user, so that nobody keeps the others out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::auth::UserId;

/// Source that comes in: at once, and of one user. Each holds a thread and room in staging.
pub(crate) const UPLOADS_MAX: Bound = Bound {
    all: 16,
    one_user: 8,
};
/// Source that goes out. Each holds a thread.
pub(crate) const DOWNLOADS_MAX: Bound = Bound {
    all: 16,
    one_user: 4,
};

/// Logs that are being read. Each holds a thread, and then its lines until the client took them.
pub(crate) const READERS_MAX: Bound = Bound {
    all: 32,
    one_user: 8,
};
/// Live streams of the host's own. Each holds the lines that it begins with until the client took them.
pub(crate) const STREAMS_MAX: Bound = Bound {
    all: 256,
    one_user: 64,
};
/// Tunnels to programs.
pub(crate) const TUNNELS_MAX: Bound = Bound {
    all: 1_024,
    one_user: 512,
};

/// How many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) all: usize,
    pub(crate) one_user: usize,
}

/// The seats that are taken, by user; clones are the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Seats {
    bound: Bound,
    taken: Arc<Mutex<HashMap<UserId, usize>>>,
}

/// One seat; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Seats,
    user: UserId,
}

impl Seats {
    pub(crate) fn new(bound: Bound) -> Self {
        let taken = Arc::default();
        Self { bound, taken }
    }

    /// A place for `user`; `None` when there is none.
    pub(crate) fn take(&self, user: &UserId) -> Option<Seat> {
        let mut taken = self.lock();
        let all: usize = taken.values().sum();
        let own = taken.get(user).copied().unwrap_or(0);
        if all >= self.bound.all || own >= self.bound.one_user {
            return None;
        }
        taken.insert(user.clone(), own + 1);
        Some(Seat {
            seats: self.clone(),
            user: user.clone(),
        })
    }

    /// How many are taken.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.lock().values().sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        if let Some(own) = taken.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_one_user_nor_all_together_have_more_seats_than_there_are() {
        let Bound { all, one_user } = UPLOADS_MAX;
        let seats = Seats::new(UPLOADS_MAX);
        let user = |n: usize| UserId::parse(&format!("u{n}")).unwrap();
        let mut held: Vec<Seat> = (0..all)
            .map(|n| seats.take(&user(n / one_user)).unwrap())
            .collect();
        assert!(seats.take(&user(99)).is_none(), "all are taken");
        held.truncate(1);
        assert!(seats.take(&user(99)).is_some());
        let more: Vec<_> = (1..one_user).map(|_| seats.take(&user(0))).collect();
        assert!(more.iter().all(Option::is_some));
        assert!(seats.take(&user(0)).is_none(), "one user's are taken");
        drop((held, more));
        assert!(seats.lock().is_empty());
    }
}
