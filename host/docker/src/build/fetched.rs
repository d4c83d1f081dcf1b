//! The base images that this host had fetched, by name, with when they were last built from.
//!
//! They go again once nobody built from them for a while: whoever may build could otherwise fill the
//! disk with other people's images. What a person put on the engine is not among them.

use std::{collections::BTreeMap, sync::Mutex};

use hersh_base::locked::locked;
use hersh_storage::{Storage, StorageError};

/// A use is written down again when the last one that was is older than this, milliseconds.
const NOTED_EVERY_MS: u64 = 60 * 60 * 1_000;

type Uses = BTreeMap<String, u64>;

/// The record; it outlasts the process.
pub(crate) struct FetchedImages {
    storage: Storage,
    uses: Mutex<Uses>,
}

impl FetchedImages {
    /// As it was left. Blocks on the disk, as everything here.
    pub(crate) fn open(storage: Storage) -> Self {
        let uses = storage.read_fetched_images().unwrap_or_else(|error| {
            tracing::warn!(%error, "base images that were fetched earlier stay on the engine");
            Uses::new()
        });
        let uses = Mutex::new(uses);
        Self { storage, uses }
    }

    /// Notes an image before it is fetched, so that none is there that is not noted.
    ///
    /// # Errors
    /// When the record of fetched images can't be read or written: it must not be fetched then.
    pub(super) fn add(&self, name: &str, now_ms: u64) -> Result<(), StorageError> {
        self.change(|uses| {
            uses.insert(name.to_owned(), now_ms);
            true
        })
    }

    /// Notes that it is built from, if it was fetched.
    ///
    /// # Errors
    /// When the record of fetched images can't be read or written.
    pub(super) fn used(&self, name: &str, now_ms: u64) -> Result<(), StorageError> {
        self.change(|uses| match uses.get_mut(name) {
            Some(last_ms) if last_ms.saturating_add(NOTED_EVERY_MS) <= now_ms => {
                *last_ms = now_ms;
                true
            }
            Some(_) | None => false,
        })
    }

    /// Whether it was fetched.
    pub(super) fn knows(&self, name: &str) -> bool {
        let uses = locked(&self.uses);
        uses.contains_key(name)
    }

    /// Those that nobody built from since `until_ms`.
    pub(super) fn idle_since(&self, until_ms: u64) -> Vec<String> {
        let uses = locked(&self.uses);
        let idle = uses.iter().filter(|(_, last_ms)| **last_ms <= until_ms);
        idle.map(|(name, _)| name.clone()).collect()
    }

    /// Notes that it is gone.
    ///
    /// # Errors
    /// When the record of fetched images can't be read or written; it is removed once more then, some time.
    pub(super) fn gone(&self, name: &str) -> Result<(), StorageError> {
        self.change(|uses| uses.remove(name).is_some())
    }

    fn change(&self, change: impl FnOnce(&mut Uses) -> bool) -> Result<(), StorageError> {
        let mut uses = locked(&self.uses);
        let mut changed = uses.clone();
        if !change(&mut changed) {
            return Ok(());
        }
        self.storage.write_fetched_images(&changed)?;
        *uses = changed;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_outlasts_the_process_and_a_use_keeps_an_image() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(folder.path()).unwrap();
        let fetched = FetchedImages::open(storage.clone());
        for name in ["a:1", "b:1"] {
            fetched.add(name, 1_000).unwrap();
        }
        fetched.used("a:1", 1_000 + NOTED_EVERY_MS).unwrap();
        fetched.used("never-fetched", 5_000).unwrap();
        let fetched = FetchedImages::open(storage.clone());
        assert!(fetched.knows("a:1") && !fetched.knows("never-fetched"));
        assert_eq!(fetched.idle_since(999), [""; 0]);
        assert_eq!(fetched.idle_since(1_000), ["b:1"]);
        assert_eq!(fetched.idle_since(u64::MAX), ["a:1", "b:1"]);
        fetched.gone("b:1").unwrap();
        assert_eq!(FetchedImages::open(storage).idle_since(u64::MAX), ["a:1"]);
        std::fs::write(folder.path().join("fetched-images.json"), "{").unwrap();
        let damaged = FetchedImages::open(Storage::open(folder.path()).unwrap());
        assert_eq!(damaged.idle_since(u64::MAX), [""; 0]);
    }
}
