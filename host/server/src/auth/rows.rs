//! Users and tokens as the journal holds them, and back.

use hersh_journal::{JournalError, TokenRow, UserRow};
use hersh_program::UserId;

use super::{Quota, Role, Scope, TokenHash, TokenId, User};

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
    /// The token that this one was made with; none for the host's own tokens and those of older hosts.
    pub(super) made_by: Option<TokenId>,
}

impl StoredToken {
    pub(super) fn is_over(&self, now_ms: u64) -> bool {
        self.expires_at_ms
            .is_some_and(|expires_at_ms| expires_at_ms <= now_ms)
    }

    /// Returns the row of a token that was not used yet.
    pub(super) fn row(&self) -> TokenRow {
        TokenRow {
            id: self.id.to_string(),
            user: self.user.clone(),
            sha256: self.hash.to_string(),
            scope: self.scope.name().to_owned(),
            label: self.label.clone(),
            created_at_ms: self.created_at_ms,
            expires_at_ms: self.expires_at_ms,
            made_by: self.made_by.as_ref().map(TokenId::to_string),
            last_used_at_ms: None,
        }
    }

    /// Reads the token in `row`, without the time of its last use.
    ///
    /// # Errors
    /// [`JournalError::BadRow`].
    pub(super) fn read(row: TokenRow) -> Result<Self, JournalError> {
        let unreadable = |message: String| unreadable("tokens", message);
        let (hash, scope) = (TokenHash::parse(&row.sha256), Scope::parse(&row.scope));
        Ok(Self {
            id: TokenId::new(&row.id),
            user: row.user,
            hash: hash.ok_or_else(|| unreadable("not a SHA-256".to_owned()))?,
            scope: scope.ok_or_else(|| unreadable(format!("scope {:?}", row.scope)))?,
            label: row.label,
            created_at_ms: row.created_at_ms,
            expires_at_ms: row.expires_at_ms,
            made_by: row.made_by.as_deref().map(TokenId::new),
        })
    }
}

/// Returns the row of a user.
///
/// # Errors
/// [`JournalError::BadRow`], which no quota causes.
pub(super) fn user_row(user: &User) -> Result<UserRow, JournalError> {
    let quota = serde_json::to_string(&user.quota);
    Ok(UserRow {
        id: user.id.clone(),
        role: user.role.name().to_owned(),
        quota: quota.map_err(|error| unreadable("users", error.to_string()))?,
        created_at_ms: user.created_at_ms,
    })
}

/// Reads the user in `row`.
///
/// # Errors
/// [`JournalError::BadRow`].
pub(super) fn user(row: UserRow) -> Result<User, JournalError> {
    let unreadable = |message: String| unreadable("users", message);
    let role = Role::parse(&row.role);
    let quota = serde_json::from_str::<Quota>(&row.quota);
    Ok(User {
        id: row.id,
        role: role.ok_or_else(|| unreadable(format!("role {:?}", row.role)))?,
        quota: quota.map_err(|error| unreadable(error.to_string()))?,
        created_at_ms: row.created_at_ms,
    })
}

/// Returns the ids of tokens as the journal takes them.
pub(super) fn ids<'a>(tokens: impl IntoIterator<Item = &'a TokenId>) -> Vec<String> {
    tokens.into_iter().map(TokenId::to_string).collect()
}

fn unreadable(table: &'static str, message: String) -> JournalError {
    JournalError::BadRow { table, message }
}
