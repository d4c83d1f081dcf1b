//! Commits: one after the other, first on disk, then in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{CommittedValues, Ledger, LedgerChange, SaveResult, StateDir, ValueChange, put};
use crate::base::sync::{Mutex, locked};

/// What one commit changes, all of it or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Commit {
    /// Keys of the context and their JSON; no JSON removes a key.
    pub(crate) values: Vec<ValueChange>,
    /// Changes of the ledger, in their order.
    pub(crate) effects: Vec<LedgerChange>,
}

/// Commits what runs change, and what becomes of the effects that they asked for.
#[derive(Debug)]
pub(crate) struct Keeper {
    values: Arc<CommittedValues>,
    ledger: Arc<Mutex<Ledger>>,
    /// `None` without a folder, and once the keeper is closed.
    folder: Mutex<Option<Arc<StateDir>>>,
    is_durable: bool,
    /// Held during a commit: each writes the whole file, so two at once would lose what one of them changed.
    turn: tokio::sync::Mutex<()>,
    given_up: AtomicBool,
}

/// Marks the keeper as given up unless the write that it stands for has come to its end.
struct Attempt<'a> {
    keeper: &'a Keeper,
    ended: bool,
}

impl Commit {
    /// Returns whether the commit changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.effects.is_empty()
    }
}

impl Keeper {
    /// Returns a keeper of these values and this ledger, in a folder if there is one.
    pub(crate) fn new(
        values: Arc<CommittedValues>,
        ledger: Arc<Mutex<Ledger>>,
        folder: Option<StateDir>,
    ) -> Self {
        Self {
            values,
            ledger,
            is_durable: folder.is_some(),
            folder: Mutex::new(folder.map(Arc::new)),
            turn: tokio::sync::Mutex::new(()),
            given_up: AtomicBool::new(false),
        }
    }

    /// Returns whether commits are written to disk.
    pub(crate) fn is_durable(&self) -> bool {
        self.is_durable
    }

    /// Commits nothing more, and gives the folder back once the commit that is under way has come to its end.
    pub(crate) async fn close(&self) {
        self.given_up.store(true, Ordering::Relaxed);
        let _turn = self.turn.lock().await;
        *locked(&self.folder) = None;
    }

    /// Returns whether nothing is committed any more.
    pub(crate) fn has_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Commits in memory, for a watcher that keeps nothing on disk.
    pub(crate) fn commit_in_memory(&self, commit: &Commit) {
        self.values.apply(commit.values.iter().cloned());
        let mut ledger = locked(&self.ledger);
        for change in &commit.effects {
            ledger.apply(change.clone());
        }
    }

    /// Commits: on disk first, if there is a folder, and then in memory.
    ///
    /// When the future is dropped before its end, nobody knows whether a write still happens. The keeper gives up
    /// then: a later write could bring back what the disk has already gone past, or meet the first one
    /// in the same temporary file.
    ///
    /// # Errors
    /// Why the write failed. Nothing is changed then.
    pub(crate) async fn commit(&self, commit: &Commit) -> Result<SaveResult, String> {
        if !self.is_durable {
            self.commit_in_memory(commit);
            return Ok(SaveResult::Synced);
        }
        let mut attempt = Attempt {
            keeper: self,
            ended: false,
        };
        let result = self.write(commit).await;
        attempt.ended = true;
        result
    }

    async fn write(&self, commit: &Commit) -> Result<SaveResult, String> {
        let _turn = self.turn.lock().await;
        let folder = locked(&self.folder).clone();
        let Some(folder) = folder.filter(|_| !self.has_given_up()) else {
            return Err("an earlier write has not come to its end".into());
        };
        let mut values = self.values.values().as_ref().clone();
        for (key, json) in commit.values.iter().cloned() {
            put(&mut values, key, json);
        }
        let mut ledger = locked(&self.ledger).clone();
        for change in &commit.effects {
            ledger.apply(change.clone());
        }
        let saved = ledger.into_saved();
        // The write happens off this thread: a slow disk must not keep the engine from answering.
        let write = tokio::task::spawn_blocking(move || folder.save(&values, saved));
        let saved = write.await.map_err(|error| error.to_string())?;
        let saved = saved.map_err(|error| error.to_string())?;
        self.commit_in_memory(commit);
        Ok(saved)
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.keeper.given_up.store(true, Ordering::Relaxed);
        }
    }
}
