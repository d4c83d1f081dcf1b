//! The rows of users and their tokens. Roles, scopes and quotas are only text here; the code that
//! authorizes requests knows their meaning.

use hersh_program::UserId;
use rusqlite::{Connection, Row, Transaction, types::Type};

use super::{Journal, JournalError};

/// The key in [`Journal::meta`] under which older hosts, which had one token and no users, kept its hash.
pub const META_ADMIN_TOKEN: &str = "admin_token_sha256";

/// A user as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// The user's id.
    pub id: UserId,
    /// The name of the user's role.
    pub role: String,
    /// The user's quota, as JSON.
    pub quota: String,
    /// When the user was made, milliseconds since the Unix epoch.
    pub created_at_ms: u64,
}

/// A token as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// The id of the token, which does not reveal its text.
    pub id: String,
    /// The user that the token belongs to.
    pub user: UserId,
    /// The SHA-256 of its text, in hex.
    pub sha256: String,
    /// The name of its scope.
    pub scope: String,
    /// The label that its maker gave it.
    pub label: String,
    /// When it was made, milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// When it expires, milliseconds since the Unix epoch; `None` if it never does.
    pub expires_at_ms: Option<u64>,
    /// The id of the token that it was made with; `None` for the host's own tokens and those of older hosts.
    pub made_by: Option<String>,
    /// When it was last used, milliseconds since the Unix epoch; `None` for a new token.
    pub last_used_at_ms: Option<u64>,
}

/// Every user and every token.
pub type AccountRows = (Vec<UserRow>, Vec<TokenRow>);

impl Journal {
    /// Returns every user and every token. Blocks on the disk.
    ///
    /// # Errors
    /// When the journal can't be read or written.
    pub fn accounts(&self) -> Result<AccountRows, JournalError> {
        self.read(load)
    }

    /// Adds a user, or changes its role and quota. Removes the tokens with the ids `ended` in the same step.
    ///
    /// # Errors
    /// When the journal can't be read or written; nothing has changed then.
    pub async fn put_user(&self, user: UserRow, ended: Vec<String>) -> Result<(), JournalError> {
        self.write(move |transaction| {
            put_user(transaction, &user)?;
            delete_tokens(transaction, &ended)
        })
        .await
    }

    /// Removes a user, its tokens, its stored idempotent answers, and the tokens with the ids `ended`.
    /// Removes nothing if the user owns programs. Returns how many programs the user owns. The answers are
    /// removed because the next user with the same name could get them.
    ///
    /// # Errors
    /// When the journal can't be read or written; nothing has changed then.
    pub async fn remove_user(&self, id: UserId, ended: Vec<String>) -> Result<u64, JournalError> {
        self.write_freeing(move |transaction| {
            let programs = delete_user(transaction, &id)?;
            if programs == 0 {
                delete_tokens(transaction, &ended)?;
            }
            Ok(programs)
        })
        .await
    }

    /// Adds a token.
    ///
    /// # Errors
    /// When the journal can't be read or written; the token is not valid then.
    pub async fn add_token(&self, token: TokenRow) -> Result<(), JournalError> {
        self.write(move |transaction| insert_token(transaction, &token))
            .await
    }

    /// Removes the tokens with these ids. Ids without a token are passed over.
    ///
    /// # Errors
    /// When the journal can't be read or written; none of them is removed then.
    pub async fn remove_tokens(&self, ids: Vec<String>) -> Result<(), JournalError> {
        self.write_freeing(move |transaction| delete_tokens(transaction, &ids))
            .await
    }

    /// Notes for each token id when the token was last used, milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// When the journal can't be read or written; nothing is noted then.
    pub async fn note_token_uses(&self, uses: Vec<(String, u64)>) -> Result<(), JournalError> {
        self.write(move |transaction| note_uses(transaction, &uses))
            .await
    }
}

fn load(reader: &Connection) -> Result<AccountRows, JournalError> {
    let mut users = reader.prepare("SELECT id, role, quota, created_at_ms FROM users")?;
    let users = users.query_map([], user)?.collect::<Result<_, _>>()?;
    let mut tokens = reader.prepare(
        "SELECT id, user, sha256, scope, label, created_at_ms, expires_at_ms, made_by,
         last_used_at_ms FROM tokens",
    )?;
    let tokens = tokens.query_map([], token)?;
    Ok((users, tokens.collect::<Result<_, _>>()?))
}

fn put_user(transaction: &Transaction<'_>, user: &UserRow) -> Result<(), JournalError> {
    transaction.execute(
        "INSERT INTO users (id, role, quota, created_at_ms) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (id) DO UPDATE SET role = excluded.role, quota = excluded.quota",
        (
            user.id.as_str(),
            &user.role,
            &user.quota,
            user.created_at_ms,
        ),
    )?;
    Ok(())
}

fn delete_user(transaction: &Transaction<'_>, id: &UserId) -> Result<u64, JournalError> {
    let count = "SELECT count(*) FROM programs WHERE owner = ?1";
    let programs: u64 = transaction.query_row(count, [id.as_str()], |row| row.get(0))?;
    if programs == 0 {
        transaction.execute("DELETE FROM users WHERE id = ?1", [id.as_str()])?;
        transaction.execute("DELETE FROM idempotency WHERE user = ?1", [id.as_str()])?;
    }
    Ok(programs)
}

fn insert_token(transaction: &Transaction<'_>, token: &TokenRow) -> Result<(), JournalError> {
    transaction.execute(
        "INSERT INTO tokens (id, user, sha256, scope, label, created_at_ms, expires_at_ms, made_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        (
            &token.id,
            token.user.as_str(),
            &token.sha256,
            &token.scope,
            &token.label,
            token.created_at_ms,
            token.expires_at_ms,
            &token.made_by,
        ),
    )?;
    Ok(())
}

fn delete_tokens(transaction: &Transaction<'_>, ids: &[String]) -> Result<(), JournalError> {
    let mut statement = transaction.prepare_cached("DELETE FROM tokens WHERE id = ?1")?;
    for id in ids {
        statement.execute([id])?;
    }
    Ok(())
}

fn note_uses(transaction: &Transaction<'_>, uses: &[(String, u64)]) -> Result<(), JournalError> {
    let mut statement =
        transaction.prepare_cached("UPDATE tokens SET last_used_at_ms = ?2 WHERE id = ?1")?;
    for (id, used_ms) in uses {
        statement.execute((id, used_ms))?;
    }
    Ok(())
}

fn user(row: &Row<'_>) -> rusqlite::Result<UserRow> {
    Ok(UserRow {
        id: user_id(row, 0)?,
        role: row.get(1)?,
        quota: row.get(2)?,
        created_at_ms: row.get(3)?,
    })
}

fn token(row: &Row<'_>) -> rusqlite::Result<TokenRow> {
    Ok(TokenRow {
        id: row.get(0)?,
        user: user_id(row, 1)?,
        sha256: row.get(2)?,
        scope: row.get(3)?,
        label: row.get(4)?,
        created_at_ms: row.get(5)?,
        expires_at_ms: row.get(6)?,
        made_by: row.get(7)?,
        last_used_at_ms: row.get(8)?,
    })
}

fn user_id(row: &Row<'_>, column: usize) -> rusqlite::Result<UserId> {
    let id: String = row.get(column)?;
    UserId::parse(&id).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}
