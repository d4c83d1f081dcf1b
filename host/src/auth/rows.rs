//! Users and tokens as rows.

use std::collections::BTreeSet;

use hersh_program::UserId;
use rusqlite::{Connection, Row, Transaction, types::Type};

use super::{Quota, Role, Scope, TokenHash, TokenId, User};
use crate::journal::JournalError;

/// A token as it is stored.
#[derive(Clone, Debug)]
pub(super) struct StoredToken {
    pub(super) id: TokenId,
    pub(super) user: UserId,
    pub(super) hash: TokenHash,
    pub(super) scope: Scope,
    pub(super) label: String,
    pub(super) created_at_ms: u64,
    pub(super) expires_at_ms: Option<u64>,
    /// The token that it was made with; none for the host's own and those of older hosts.
    pub(super) made_by: Option<TokenId>,
}

impl StoredToken {
    pub(super) fn is_over(&self, now_ms: u64) -> bool {
        self.expires_at_ms
            .is_some_and(|expires_at_ms| expires_at_ms <= now_ms)
    }
}

/// Every user, and every token with the time of its last use.
pub(super) type Loaded = (Vec<User>, Vec<(StoredToken, Option<u64>)>);

/// Reads all.
pub(super) fn load(reader: &Connection) -> Result<Loaded, JournalError> {
    let mut users = reader.prepare("SELECT id, role, quota, created_at_ms FROM users")?;
    let users = users.query_map([], user)?.collect::<Result<_, _>>()?;
    let mut tokens = reader.prepare(
        "SELECT id, user, sha256, scope, label, created_at_ms, expires_at_ms, made_by,
         last_used_at_ms FROM tokens",
    )?;
    let tokens = tokens.query_map([], |row| Ok((token(row)?, row.get(8)?)))?;
    Ok((users, tokens.collect::<Result<_, _>>()?))
}

/// Adds a user, or changes one.
pub(super) fn put_user(transaction: &Transaction<'_>, user: &User) -> Result<(), JournalError> {
    let quota = serde_json::to_string(&user.quota)
        .map_err(|error| JournalError::Sqlite(error.to_string()))?;
    transaction.execute(
        "INSERT INTO users (id, role, quota, created_at_ms) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (id) DO UPDATE SET role = excluded.role, quota = excluded.quota",
        (
            user.id.as_str(),
            user.role.name(),
            quota,
            user.created_at_ms,
        ),
    )?;
    Ok(())
}

/// Removes a user, its tokens and the answers that are kept for it, unless it owns programs; how many
/// it owns. Whoever gets the name next must not be answered in its stead.
pub(super) fn delete_user(transaction: &Transaction<'_>, id: &UserId) -> Result<u64, JournalError> {
    let count = "SELECT count(*) FROM programs WHERE owner = ?1";
    let programs: u64 = transaction.query_row(count, [id.as_str()], |row| row.get(0))?;
    if programs == 0 {
        transaction.execute("DELETE FROM users WHERE id = ?1", [id.as_str()])?;
        transaction.execute("DELETE FROM idempotency WHERE user = ?1", [id.as_str()])?;
    }
    Ok(programs)
}

pub(super) fn insert_token(
    transaction: &Transaction<'_>,
    token: &StoredToken,
) -> Result<(), JournalError> {
    transaction.execute(
        "INSERT INTO tokens (id, user, sha256, scope, label, created_at_ms, expires_at_ms, made_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        (
            token.id.as_str(),
            token.user.as_str(),
            token.hash.to_string(),
            token.scope.name(),
            &token.label,
            token.created_at_ms,
            token.expires_at_ms,
            token.made_by.as_ref().map(TokenId::as_str),
        ),
    )?;
    Ok(())
}

pub(super) fn delete_tokens(
    transaction: &Transaction<'_>,
    ids: &BTreeSet<TokenId>,
) -> Result<(), JournalError> {
    let mut statement = transaction.prepare_cached("DELETE FROM tokens WHERE id = ?1")?;
    for id in ids {
        statement.execute([id.as_str()])?;
    }
    Ok(())
}

/// Notes when tokens were used last, milliseconds since the Unix epoch.
pub(super) fn note_uses(
    transaction: &Transaction<'_>,
    uses: &[(TokenId, u64)],
) -> Result<(), JournalError> {
    let mut statement =
        transaction.prepare_cached("UPDATE tokens SET last_used_at_ms = ?2 WHERE id = ?1")?;
    for (id, used_ms) in uses {
        statement.execute((id.as_str(), used_ms))?;
    }
    Ok(())
}

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    let (id, role, quota): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    Ok(User {
        id: UserId::parse(&id).map_err(|error| unreadable(0, error))?,
        role: Role::parse(&role).ok_or_else(|| unreadable(1, format!("role {role:?}")))?,
        quota: serde_json::from_str::<Quota>(&quota).map_err(|error| unreadable(2, error))?,
        created_at_ms: row.get(3)?,
    })
}

fn token(row: &Row<'_>) -> rusqlite::Result<StoredToken> {
    let (id, user, hash): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let scope: String = row.get(3)?;
    Ok(StoredToken {
        id: TokenId::new(&id),
        user: UserId::parse(&user).map_err(|error| unreadable(1, error))?,
        hash: TokenHash::parse(&hash).ok_or_else(|| unreadable(2, "not a SHA-256"))?,
        scope: Scope::parse(&scope).ok_or_else(|| unreadable(3, format!("scope {scope:?}")))?,
        label: row.get(4)?,
        created_at_ms: row.get(5)?,
        expires_at_ms: row.get(6)?,
        made_by: row.get::<_, Option<String>>(7)?.map(|id| TokenId::new(&id)),
    })
}

fn unreadable(column: usize, what: impl ToString) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, what.to_string().into())
}
