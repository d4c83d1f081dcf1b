//! Seats for what holds a thread or room for as long as a client likes: so many at once, fewer of one
//! user, and some for admins only. A member takes a seat only while more than twice as many are free
//! as it has, so that the first few leave room for those who come later: of 24 uploads it
//! takes seven members to have all that are for them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    auth::{Role, UserId},
    server::CONNECTIONS_MAX,
};

/// Source that comes in: at once, and of one user. Each holds a thread and room in staging.
pub(crate) const UPLOADS_MAX: Bound = Bound {
    all: 24,
    one_user: 8,
    for_admins: 2,
};
/// Source that goes out. Each holds a thread.
pub(crate) const DOWNLOADS_MAX: Bound = Bound {
    all: 16,
    one_user: 4,
    for_admins: 2,
};

/// Logs, build logs and histories that are being read. Each holds a thread, and then its lines until the client took them.
pub(crate) const READERS_MAX: Bound = Bound {
    all: 32,
    one_user: 8,
    for_admins: 2,
};
/// Live streams of the host's own. Each holds the lines that it begins with until the client took them.
pub(crate) const STREAMS_MAX: Bound = Bound {
    all: 256,
    one_user: 64,
    for_admins: 8,
};
/// Connections that members' requests come by, whatever they wait for. Admins' are not counted.
pub(crate) const LINES_MAX: Bound = Bound {
    all: CONNECTIONS_MAX,
    one_user: 1_024,
    for_admins: 512,
};
/// Answers that wait for a program to settle, each for an hour at most.
pub(crate) const WAITS_MAX: Bound = Bound {
    all: 1_024,
    one_user: 64,
    for_admins: 32,
};
/// Tunnels to programs.
pub(crate) const TUNNELS_MAX: Bound = Bound {
    all: 1_024,
    one_user: 512,
    for_admins: 32,
};

/// How many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) all: usize,
    pub(crate) one_user: usize,
    /// Of all, those that members leave free.
    pub(crate) for_admins: usize,
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
    pub(crate) fn take(&self, user: &UserId, role: Role) -> Option<Seat> {
        let mut taken = self.lock();
        let free = self.bound.all.saturating_sub(taken.values().sum());
        let own = taken.get(user).copied().unwrap_or(0);
        let is_fair = match role {
            Role::Admin => free > 0,
            Role::Member => free.saturating_sub(self.bound.for_admins) > 2 * own,
        };
        if !is_fair || own >= self.bound.one_user {
            return None;
        }
        taken.insert(user.clone(), own + 1);
        Some(Seat {
            seats: self.clone(),
            user: user.clone(),
        })
    }

    /// How many one user may have.
    pub(crate) fn one_user(&self) -> usize {
        self.bound.one_user
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

impl Seat {
    /// Whose it is.
    pub(crate) fn user(&self) -> &UserId {
        &self.user
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

    fn user(number: usize) -> UserId {
        UserId::parse(&format!("u{number}")).unwrap()
    }

    /// As many seats as the user gets.
    fn all_of(seats: &Seats, number: usize, role: Role) -> Vec<Seat> {
        std::iter::from_fn(|| seats.take(&user(number), role)).collect()
    }

    #[test]
    fn neither_one_user_nor_all_together_have_more_than_there_are() {
        let Bound { all, one_user, .. } = UPLOADS_MAX;
        let seats = Seats::new(UPLOADS_MAX);
        let first = all_of(&seats, 0, Role::Admin);
        assert_eq!(first.len(), one_user);
        let others: Vec<_> = (1..all)
            .map(|number| all_of(&seats, number, Role::Admin))
            .collect();
        let held: usize = others.iter().map(Vec::len).sum();
        assert_eq!(held, all - one_user);
        assert!(seats.take(&user(all), Role::Admin).is_none());
        drop(first);
        assert!(seats.take(&user(all), Role::Admin).is_some());
        drop(others);
        assert!(seats.lock().is_empty());
    }

    #[test]
    fn members_who_take_all_they_get_leave_room_for_others() {
        for bound in [
            UPLOADS_MAX,
            DOWNLOADS_MAX,
            READERS_MAX,
            STREAMS_MAX,
            TUNNELS_MAX,
        ] {
            let seats = Seats::new(bound);
            let greedy: Vec<_> = (0..4)
                .map(|number| all_of(&seats, number, Role::Member))
                .collect();
            assert!(greedy.iter().all(|held| !held.is_empty()), "{bound:?}");
            assert!(seats.take(&user(4), Role::Member).is_some(), "{bound:?}");
            let crowd: Vec<_> = (5..2_000)
                .map(|number| all_of(&seats, number, Role::Member))
                .collect();
            let admins = all_of(&seats, 2_000, Role::Admin);
            assert!(admins.len() >= bound.for_admins, "{bound:?}");
            drop((greedy, crowd));
        }
    }
}
