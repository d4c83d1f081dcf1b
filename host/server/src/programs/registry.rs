//! The programs of a host, by name and by owner.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use hersh_program::{ProgramId, UserId};
use hersh_sandbox::Incarnation;

use super::ProgramEntry;

enum Slot {
    /// The name of a program that is being created, and its owner.
    Reserved(UserId),
    /// A program that is being brought back.
    Returning(UserId, Incarnation),
    Taken(Arc<ProgramEntry>),
}

#[derive(Default)]
struct Programs {
    by_id: BTreeMap<ProgramId, Slot>,
    by_owner: BTreeMap<UserId, BTreeSet<ProgramId>>,
}

/// The programs by id. Locks are held only for a look-up.
#[derive(Default)]
pub(crate) struct Registry(RwLock<Programs>);

impl Registry {
    pub(crate) fn get(&self, id: &ProgramId) -> Option<Arc<ProgramEntry>> {
        match self.read().by_id.get(id) {
            Some(Slot::Taken(entry)) => Some(Arc::clone(entry)),
            Some(Slot::Reserved(_) | Slot::Returning(..)) | None => None,
        }
    }

    /// Returns the owner of a program, also while it is being created.
    pub(crate) fn owner(&self, id: &ProgramId) -> Option<UserId> {
        let programs = self.read();
        programs.by_id.get(id).map(|slot| slot.owner().clone())
    }

    /// Returns the incarnation of a program, also while it is being brought back.
    pub(crate) fn incarnation(&self, id: &ProgramId) -> Option<Incarnation> {
        match self.read().by_id.get(id)? {
            Slot::Reserved(_) => None,
            Slot::Returning(_, incarnation) => Some(incarnation.clone()),
            Slot::Taken(entry) => Some(entry.incarnation()),
        }
    }

    /// Returns all programs, by id.
    pub(crate) fn list(&self) -> Vec<Arc<ProgramEntry>> {
        self.page(None, usize::MAX, |_| true)
    }

    /// Returns at most `limit` of the programs that `keep` wants and whose id comes after `after`, by id.
    pub(crate) fn page(
        &self,
        after: Option<&ProgramId>,
        limit: usize,
        keep: impl Fn(&ProgramEntry) -> bool,
    ) -> Vec<Arc<ProgramEntry>> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let programs = self.read();
        let slots = programs.by_id.range((start, Bound::Unbounded));
        let taken = slots.filter_map(|(_, slot)| taken(slot));
        taken
            .filter(|entry| keep(entry))
            .take(limit)
            .cloned()
            .collect()
    }

    /// Returns how many programs `owner` has, including those that are being created, and the entries of
    /// those that exist.
    pub(crate) fn of(&self, owner: &UserId) -> (u64, Vec<Arc<ProgramEntry>>) {
        let programs = self.read();
        let Some(ids) = programs.by_owner.get(owner) else {
            return (0, Vec::new());
        };
        let slots = ids.iter().filter_map(|id| programs.by_id.get(id));
        (ids.len() as u64, slots.filter_map(taken).cloned().collect())
    }

    /// Reserves `id` for a program of `owner` to come. Returns false if the id is taken.
    pub(crate) fn reserve(&self, id: &ProgramId, owner: &UserId) -> bool {
        let mut programs = self.write();
        if programs.by_id.contains_key(id) {
            return false;
        }
        programs.put(id.clone(), Slot::Reserved(owner.clone()));
        true
    }

    /// Reserves `id` for a program of `owner` that was there before.
    pub(crate) fn reserve_for_resume(
        &self,
        id: &ProgramId,
        owner: &UserId,
        incarnation: Incarnation,
    ) {
        let slot = Slot::Returning(owner.clone(), incarnation);
        self.write().put(id.clone(), slot);
    }

    pub(crate) fn insert(&self, id: ProgramId, entry: Arc<ProgramEntry>) {
        self.write().put(id, Slot::Taken(entry));
    }

    pub(crate) fn remove(&self, id: &ProgramId) {
        let mut programs = self.write();
        let Some(slot) = programs.by_id.remove(id) else {
            return;
        };
        let owner = slot.owner();
        if let Some(ids) = programs.by_owner.get_mut(owner) {
            ids.remove(id);
            if ids.is_empty() {
                programs.by_owner.remove(owner);
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Programs> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Programs> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Programs {
    fn put(&mut self, id: ProgramId, slot: Slot) {
        let owned = self.by_owner.entry(slot.owner().clone()).or_default();
        owned.insert(id.clone());
        self.by_id.insert(id, slot);
    }
}

impl Slot {
    fn owner(&self) -> &UserId {
        match self {
            Self::Reserved(owner) | Self::Returning(owner, _) => owner,
            Self::Taken(entry) => entry.owner(),
        }
    }
}

fn taken(slot: &Slot) -> Option<&Arc<ProgramEntry>> {
    match slot {
        Slot::Taken(entry) => Some(entry),
        Slot::Reserved(_) | Slot::Returning(..) => None,
    }
}
