//! Checks whether a right still holds, in the transaction of the change that needs it.

use hersh_base::right::Right;
use rusqlite::Transaction;

use super::JournalError;

/// Checks that `right` holds, as `transaction` sees its token and its user.
///
/// # Errors
/// [`JournalError::Revoked`].
pub(super) fn check(
    right: &Right,
    transaction: &Transaction<'_>,
    now_ms: u64,
) -> Result<(), JournalError> {
    let holds: bool = transaction
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM tokens JOIN users ON users.id = tokens.user
             WHERE tokens.id = ?1 AND users.role = ?2
             AND (expires_at_ms IS NULL OR expires_at_ms > ?3))",
        )?
        .query_row((right.token(), right.role(), now_ms), |row| row.get(0))?;
    if holds {
        Ok(())
    } else {
        Err(JournalError::Revoked)
    }
}
