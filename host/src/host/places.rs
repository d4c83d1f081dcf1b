//! Places for what holds a thread or room for as long as a client likes: so many at once, and fewer
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

/// How many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) all: usize,
    pub(crate) one_user: usize,
}

/// The places that are taken, by user; clones are the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    bound: Bound,
    taken: Arc<Mutex<HashMap<UserId, usize>>>,
}

/// One place; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    user: UserId,
}

impl Places {
    pub(crate) fn new(bound: Bound) -> Self {
        let taken = Arc::default();
        Self { bound, taken }
    }

    /// A place for `user`; `None` when there is none.
    pub(crate) fn take(&self, user: &UserId) -> Option<Place> {
        let mut taken = self.lock();
        let all: usize = taken.values().sum();
        let own = taken.get(user).copied().unwrap_or(0);
        if all >= self.bound.all || own >= self.bound.one_user {
            return None;
        }
        taken.insert(user.clone(), own + 1);
        Some(Place {
            places: self.clone(),
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

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
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
    fn neither_one_user_nor_all_together_have_more_places_than_there_are() {
        let Bound { all, one_user } = UPLOADS_MAX;
        let places = Places::new(UPLOADS_MAX);
        let user = |n: usize| UserId::parse(&format!("u{n}")).unwrap();
        let mut held: Vec<Place> = (0..all)
            .map(|n| places.take(&user(n / one_user)).unwrap())
            .collect();
        assert!(places.take(&user(99)).is_none(), "all are taken");
        held.truncate(1);
        assert!(places.take(&user(99)).is_some());
        let more: Vec<_> = (1..one_user).map(|_| places.take(&user(0))).collect();
        assert!(more.iter().all(Option::is_some));
        assert!(places.take(&user(0)).is_none(), "one user's are taken");
        drop((held, more));
        assert!(places.lock().is_empty());
    }
}
