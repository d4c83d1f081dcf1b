//! A creating call that is sent twice is carried out once.
//!
//! ```text
//! Idempotency-Key ─► claim (nobody else has it in hand) ─► answered before? the body is hashed, not stored:
//!                                                      │      the same answer, or refused as another request
//!                                                      └─► create and keep the answer, in one transaction
//! ```
//! A key belongs to its user and to one request, byte for byte. Answers are kept for a day.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard},
};

use hersh_base::{hex::hex, locked::locked, token_text};
use hersh_journal::{IDEMPOTENCY_MS, Journal, JournalError, KeptAnswer};
use hersh_program::UserId;
use sha2::{Digest, Sha256};

/// The most characters of a key.
const KEY_LENGTH_MAX: usize = 255;

/// A key as its user chose it: 1 to 255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(Arc<str>);

impl Key {
    /// Reads a key; `None` if the text can't be one. A token is refused as a key, since keys are kept in the
    /// journal.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let fits = (1..=KEY_LENGTH_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_graphic())
            && !token_text::is_spelled_in(text.as_bytes());
        fits.then(|| Self(text.into()))
    }
}

/// The keys that are claimed now: at most as many as there are creating calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims(Arc<Mutex<HashSet<(UserId, Key)>>>);

/// A claimed key. The key is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Claims,
    owner: (UserId, Key),
}

impl Claims {
    /// Claims a key; `None` if another call has claimed it.
    pub(crate) fn claim(&self, user: &UserId, key: &Key) -> Option<Claim> {
        let owner = (user.clone(), key.clone());
        let mut claimed = locked(&self.0);
        claimed.insert(owner.clone()).then(|| Claim {
            claims: self.clone(),
            owner,
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = locked(&self.claims.0);
        claimed.remove(&self.owner);
    }
}

impl Claim {
    /// Looks up the answer that was given to the key. Blocks on the disk.
    ///
    /// # Errors
    /// When the journal can't be read or written.
    pub(crate) fn answered(
        &self,
        journal: &Journal,
        now_ms: u64,
    ) -> Result<Option<KeptAnswer>, JournalError> {
        let (user, key) = &self.owner;
        let since_ms = now_ms.saturating_sub(IDEMPOTENCY_MS);
        journal.kept_answer(user.as_str(), &key.0, since_ms)
    }
}

/// A claimed key, with the request that it is for.
#[derive(Debug)]
pub(crate) struct ClaimedRequest {
    /// The claimed key.
    pub(crate) claim: Claim,
    /// The hash that tells the request from others.
    pub(crate) fingerprint: String,
}

impl ClaimedRequest {
    /// Returns the record that is to be kept once the call is carried out with `answer`.
    pub(crate) fn kept(&self, answer: String, now_ms: u64) -> KeptAnswer {
        let (user, key) = &self.claim.owner;
        KeptAnswer {
            user: user.to_string(),
            key: key.0.to_string(),
            fingerprint: self.fingerprint.clone(),
            answer,
            at_ms: now_ms,
        }
    }
}

/// A hash that tells one request from others: over what its head asks for, then over its body as the pieces
/// come. Clones are the same hash.
#[derive(Clone, Debug)]
pub(crate) struct Fingerprint(Arc<Mutex<Sha256>>);

impl Fingerprint {
    /// Begins a hash with `parts`, each with its length, so that no two lists of parts look alike.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        Self(Arc::new(Mutex::new(hash)))
    }

    /// Adds a piece of the body to the hash.
    pub(crate) fn take_in(&self, piece: &[u8]) {
        self.hash().update(piece);
    }

    /// Returns the hash of everything so far, in hex.
    pub(crate) fn text(&self) -> String {
        hex(&self.hash().clone().finalize())
    }

    fn hash(&self) -> MutexGuard<'_, Sha256> {
        locked(&self.0)
    }
}
