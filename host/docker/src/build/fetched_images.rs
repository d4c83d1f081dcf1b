//! The record of the base images that the host had the engine fetch: their names, and when an image was
//! last built from each.
//!
//! A base image is removed once nobody built from it for a while: otherwise anybody who may build could
//! fill the disk with other people's images. Images that a person put on the engine are not in the record.

use std::{collections::BTreeMap, sync::Mutex};

use hersh_base::locked::locked;
use hersh_storage::{Storage, StorageError};

/// The least time between two writes of one image's last use, milliseconds.
const NOTED_EVERY_MS: u64 = 60 * 60 * 1_000;

type Uses = BTreeMap<String, u64>;

/// The record of fetched images. It outlasts the process.
pub(crate) struct FetchedImages {
    storage: Storage,
    uses: Mutex<Uses>,
}

impl FetchedImages {
    /// Opens the record as it was left. Blocks on the disk, as all methods here do.
    pub(crate) fn open(storage: Storage) -> Self {
        let uses = storage.read_fetched_images().unwrap_or_else(|error| {
            tracing::warn!(%error, "base images that were fetched earlier stay on the engine");
            Uses::new()
        });
        let uses = Mutex::new(uses);
        Self { storage, uses }
    }

    /// Notes an image before it is fetched, so that no image is fetched that is not noted.
    ///
    /// # Errors
    /// When the record of fetched images can't be read or written. The image must not be fetched then.
    pub(super) fn add(&self, name: &str, now_ms: u64) -> Result<(), StorageError> {
        self.change(|uses| {
            uses.insert(name.to_owned(), now_ms);
            true
        })
    }

    /// Notes that an image is built from this one, if this one was fetched.
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

    /// Returns whether the image was fetched.
    pub(super) fn knows(&self, name: &str) -> bool {
        let uses = locked(&self.uses);
        uses.contains_key(name)
    }

    /// Returns the images from which nobody built since `until_ms`.
    pub(super) fn idle_since(&self, until_ms: u64) -> Vec<String> {
        let uses = locked(&self.uses);
        let idle = uses.iter().filter(|(_, last_ms)| **last_ms <= until_ms);
        idle.map(|(name, _)| name.clone()).collect()
    }

    /// Notes that an image was removed.
    ///
    /// # Errors
    /// When the record of fetched images can't be read or written. The host then tries to remove the image
    /// once more later.
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
