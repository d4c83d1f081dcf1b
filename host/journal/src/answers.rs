//! The rows of stored answers to calls that create a program. A repeated call gets the same answer again.

use rusqlite::{OptionalExtension, Transaction};

use super::{Journal, JournalError};

/// The stored answer to a call that may be repeated.
#[derive(Clone, Debug)]
pub struct KeptAnswer {
    /// The user that the key belongs to.
    pub user: String,
    /// The key, as the user chose it.
    pub key: String,
    /// A hash of the request, which tells it from other requests with the same key.
    pub fingerprint: String,
    /// The answer to the call, as text.
    pub answer: String,
    /// When the call was carried out, milliseconds since the Unix epoch.
    pub at_ms: u64,
}

impl Journal {
    /// Returns the answer that is stored for the key of a user, if the call was carried out at `since_ms`
    /// (milliseconds since the Unix epoch) or later. Blocks on the disk.
    ///
    /// # Errors
    /// When the journal can't be read or written.
    pub fn kept_answer(
        &self,
        user: &str,
        key: &str,
        since_ms: u64,
    ) -> Result<Option<KeptAnswer>, JournalError> {
        self.read(|reader| {
            reader
                .query_row(
                    "SELECT fingerprint, answer, at_ms FROM idempotency
                     WHERE user = ?1 AND key = ?2 AND at_ms >= ?3",
                    (user, key, since_ms),
                    |row| {
                        Ok(KeptAnswer {
                            user: user.to_owned(),
                            key: key.to_owned(),
                            fingerprint: row.get(0)?,
                            answer: row.get(1)?,
                            at_ms: row.get(2)?,
                        })
                    },
                )
                .optional()
                .map_err(JournalError::from)
        })
    }
}

impl KeptAnswer {
    /// Stores the answer, in the transaction of the change that it is the answer to.
    pub(crate) fn insert(&self, transaction: &Transaction<'_>) -> Result<(), JournalError> {
        transaction
            .prepare_cached(
                "INSERT INTO idempotency (user, key, fingerprint, answer, at_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (user, key) DO UPDATE SET fingerprint = excluded.fingerprint,
                 answer = excluded.answer, at_ms = excluded.at_ms",
            )?
            .execute((
                &self.user,
                &self.key,
                &self.fingerprint,
                &self.answer,
                self.at_ms,
            ))?;
        Ok(())
    }
}
