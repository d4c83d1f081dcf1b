//! Who sends source right now: each holds a thread and room in staging.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::auth::UserId;

/// Uploads at once.
pub(crate) const UPLOADS_MAX: usize = 16;
/// Uploads of one user at once, so that nobody keeps the others out.
pub(crate) const UPLOADS_PER_USER_MAX: usize = 8;

/// The uploads under way, by user.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uploads(Arc<Mutex<HashMap<UserId, usize>>>);

/// One upload; it is over when this is dropped.
#[derive(Debug)]
pub(crate) struct Upload {
    uploads: Uploads,
    user: UserId,
}

impl Uploads {
    /// A place for `user`; `None` when there is none.
    pub(crate) fn begin(&self, user: &UserId) -> Option<Upload> {
        let mut under_way = self.lock();
        let all: usize = under_way.values().sum();
        let own = under_way.get(user).copied().unwrap_or(0);
        if all >= UPLOADS_MAX || own >= UPLOADS_PER_USER_MAX {
            return None;
        }
        under_way.insert(user.clone(), own + 1);
        Some(Upload {
            uploads: self.clone(),
            user: user.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut under_way = self.uploads.lock();
        if let Some(own) = under_way.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                under_way.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_one_user_nor_all_together_have_more_places_than_there_are() {
        let uploads = Uploads::default();
        let user = |n: usize| UserId::parse(&format!("u{n}")).unwrap();
        let mut held: Vec<Upload> = (0..UPLOADS_MAX)
            .map(|n| uploads.begin(&user(n / UPLOADS_PER_USER_MAX)).unwrap())
            .collect();
        assert!(uploads.begin(&user(99)).is_none(), "all are taken");
        held.truncate(1);
        assert!(uploads.begin(&user(99)).is_some());
        let more: Vec<_> = (1..UPLOADS_PER_USER_MAX)
            .map(|_| uploads.begin(&user(0)))
            .collect();
        assert!(more.iter().all(Option::is_some));
        assert!(uploads.begin(&user(0)).is_none(), "one user's are taken");
        drop((held, more));
        assert!(uploads.lock().is_empty());
    }
}
