//! A creating call that is sent twice is carried out once.
//!
//! ```text
//! Idempotency-Key ─► claim (nobody else has it in hand) ─► answered before? the same answer
//!                                                      └─► create and keep the answer, in one transaction
//! ```
//! A key belongs to its user and to one request: the same key with another request is refused. Answers
//! are kept for a day.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use hersh_base::token_text;
use hersh_journal::{IDEMPOTENCY_MS, Journal, JournalError, KeptAnswer};
use hersh_program::UserId;
use sha2::{Digest, Sha256};

/// Keys are this long at most.
const KEY_LENGTH_MAX: usize = 255;

/// A key as its user chose it: 1 to 255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(Arc<str>);

impl Key {
    /// Reads one; `None` if it can't be one. A token is none: keys are kept in the journal.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let fits = (1..=KEY_LENGTH_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_graphic())
            && !token_text::is_spelled_in(text.as_bytes());
        fits.then(|| Self(text.into()))
    }
}

/// The keys that are in somebody's hand: as many as there are creating calls at most.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims(Arc<Mutex<HashSet<(UserId, Key)>>>);

/// A key in hand; dropped, it is free again.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Claims,
    owner: (UserId, Key),
    fingerprint: String,
}

impl Claims {
    /// Takes a key in hand for the request that `parts` tell from others; `None` if it is in
    /// somebody's hand.
    pub(crate) fn claim(&self, user: &UserId, key: &Key, parts: &[&[u8]]) -> Option<Claim> {
        let owner = (user.clone(), key.clone());
        let mut claimed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.insert(owner.clone()).then(|| Claim {
            claims: self.clone(),
            owner,
            fingerprint: fingerprint(parts),
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = self.claims.0.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.remove(&self.owner);
    }
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing: the call is to be carried out.
    New,
    /// It was carried out then, milliseconds since the Unix epoch; this was the answer.
    Answered(String, u64),
    /// It was used for another request.
    Mismatch,
}

impl Claim {
    /// Looks the key up. Blocks on the disk.
    ///
    /// # Errors
    /// When the journal can't be read or written.
    pub(crate) fn look_up(&self, journal: &Journal, now_ms: u64) -> Result<Known, JournalError> {
        let (user, key) = &self.owner;
        let since_ms = now_ms.saturating_sub(IDEMPOTENCY_MS);
        let found = journal.kept_answer(user.as_str(), &key.0, since_ms)?;
        Ok(match found {
            None => Known::New,
            Some(kept) if kept.fingerprint == self.fingerprint => {
                Known::Answered(kept.answer, kept.at_ms)
            }
            Some(_) => Known::Mismatch,
        })
    }

    /// What is to be kept once the call is carried out with that answer.
    pub(crate) fn kept(&self, answer: String, now_ms: u64) -> KeptAnswer {
        KeptAnswer {
            user: self.owner.0.to_string(),
            key: self.owner.1.0.to_string(),
            fingerprint: self.fingerprint.clone(),
            answer,
            at_ms: now_ms,
        }
    }
}

/// A hash over all parts, each with its length, so that no two lists of parts look alike.
fn fingerprint(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
