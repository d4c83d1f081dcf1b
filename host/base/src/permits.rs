//! Permits for things that a client can hold open as long as it likes, such as an upload. There are few in
//! all, fewer for one user, and some for admins only.
//!
//! A member gets another permit only while more than twice as many are free for members as the member has.
//! So the first few members leave some for those who come later: of 24 upload permits, it takes seven
//! members to hold all that are for members.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use hersh_program::UserId;

use crate::locked::locked;

/// The limits on how many permits may be taken at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The most permits of all users together.
    pub all: usize,
    /// The most permits of one user.
    pub one_user: usize,
    /// The number of permits of `all` that members must leave free, for admins.
    pub for_admins: usize,
}

/// The share of the free permits that a user may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Only as many as leave some for other users, as for a member.
    Fair,
    /// Any free permit, as for an admin.
    Any,
}

/// The permits that are taken, by user. Clones share the same permits.
#[derive(Clone, Debug)]
pub struct Permits {
    limit: Limit,
    taken: Arc<Mutex<HashMap<UserId, usize>>>,
}

/// One permit of a user. The permit is free again when this is dropped.
#[derive(Debug)]
pub struct Permit {
    permits: Permits,
    user: UserId,
}

impl Permits {
    /// Returns as many permits as `limit` says, all of them free.
    pub fn new(limit: Limit) -> Self {
        let taken = Arc::default();
        Self { limit, taken }
    }

    /// Takes a permit for `user`; `None` when the user may have none at the moment.
    pub fn take(&self, user: &UserId, share: Share) -> Option<Permit> {
        let mut taken = self.lock();
        let free = self.limit.all.saturating_sub(taken.values().sum());
        let own = taken.get(user).copied().unwrap_or(0);
        let is_free = match share {
            Share::Any => free > 0,
            Share::Fair => free.saturating_sub(self.limit.for_admins) > 2 * own,
        };
        if !is_free || own >= self.limit.one_user {
            return None;
        }
        taken.insert(user.clone(), own + 1);
        Some(Permit {
            permits: self.clone(),
            user: user.clone(),
        })
    }

    /// Returns how many permits one user may have.
    pub fn one_user(&self) -> usize {
        self.limit.one_user
    }

    /// Returns how many permits are taken.
    pub fn taken(&self) -> usize {
        self.lock().values().sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        locked(&self.taken)
    }
}

impl Permit {
    /// Returns the user who has the permit.
    pub fn user(&self) -> &UserId {
        &self.user
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self.permits.lock();
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

    /// Takes permits for the user until there are no more for it.
    fn all_of(permits: &Permits, number: usize, share: Share) -> Vec<Permit> {
        std::iter::from_fn(|| permits.take(&user(number), share)).collect()
    }

    #[test]
    fn neither_one_user_nor_all_together_have_more_than_there_are() {
        let (all, one_user) = (24, 8);
        let permits = Permits::new(Limit {
            all,
            one_user,
            for_admins: 2,
        });
        let first = all_of(&permits, 0, Share::Any);
        assert_eq!(first.len(), one_user);
        let others: Vec<_> = (1..all)
            .map(|number| all_of(&permits, number, Share::Any))
            .collect();
        let held: usize = others.iter().map(Vec::len).sum();
        assert_eq!(held, all - one_user);
        assert!(permits.take(&user(all), Share::Any).is_none());
        drop(first);
        assert!(permits.take(&user(all), Share::Any).is_some());
        drop(others);
        assert!(permits.lock().is_empty());
    }
}
