//! The first admin, and the token that lets people in.

use std::{
    fs::{File, OpenOptions, Permissions},
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use hersh_journal::{Journal, JournalError, META_ADMIN_TOKEN};
use hersh_program::UserId;

use super::{
    AccountError, Accounts, NewToken, Quota, Role, Scope, Token, TokenError, TokenHash, User,
    user::FIRST_ADMIN,
};

/// The name of the file in the data folder that holds the first admin's token.
pub(super) const TOKEN_FILE: &str = "admin-token";

/// Why the first admin's token could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The operating system gave no random bytes.
    #[error("no random bytes for the admin token: {0}")]
    Random(#[from] TokenError),
    /// The journal can't be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The user or the token was refused.
    #[error("the first admin can't be made: {0}")]
    Account(String),
    /// The token file can't be written.
    #[error("admin token can't be written to {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The file system's error.
        source: std::io::Error,
    },
}

/// A token made by this start.
#[derive(Debug)]
pub(crate) struct WrittenToken {
    /// The file that holds it, mode 0600.
    pub(crate) path: PathBuf,
}

/// Reads users and tokens. If nobody could let anybody in, because this is the first start or every admin's
/// token is gone, the user `admin` gets a new token, in `{data}/admin-token` (mode 0600). The file is written
/// before the token becomes valid, so that a crash in between makes another token and never one that nobody
/// knows.
///
/// # Errors
/// [`BootstrapError`]; no new token is in force then.
pub(crate) async fn open(
    journal: &Journal,
    data: &Path,
    now_ms: u64,
) -> Result<(Accounts, Option<WrittenToken>), BootstrapError> {
    let accounts = Accounts::load(journal.clone())?;
    if accounts.has_admin_token(now_ms) {
        return Ok((accounts, None));
    }
    let admin = UserId::parse(FIRST_ADMIN).map_err(|error| refused(&error))?;
    make_admin(&accounts, &admin, now_ms).await?;
    let asked = |label: &str| NewToken {
        user: admin.clone(),
        scope: Scope::Admin,
        label: label.to_owned(),
        expires_at_ms: None,
        made_by: None,
    };
    if let Some(hash) = journal
        .meta(META_ADMIN_TOKEN)?
        .and_then(|hash| TokenHash::parse(&hash))
    {
        let token = asked("made by the first start");
        accounts.put_token(token, hash, now_ms).await?;
        journal.remove_meta(META_ADMIN_TOKEN).await?;
        return Ok((accounts, None));
    }
    let token = Token::generate()?;
    let path = data.join(TOKEN_FILE);
    write_private(&path, token.reveal()).map_err(|source| BootstrapError::File {
        path: path.clone(),
        source,
    })?;
    accounts
        .put_token(asked("in the file admin-token"), token.hash(), now_ms)
        .await?;
    Ok((accounts, Some(WrittenToken { path })))
}

/// Makes sure that the first admin is an admin.
pub(super) async fn make_admin(
    accounts: &Accounts,
    id: &UserId,
    now_ms: u64,
) -> Result<(), BootstrapError> {
    match accounts.user(id) {
        Ok(user) if user.role == Role::Admin => {}
        Ok(_) => {
            accounts.change_user(id, Some(Role::Admin), None).await?;
        }
        Err(_) => {
            let user = User {
                id: id.clone(),
                role: Role::Admin,
                quota: Quota::usual(Role::Admin),
                created_at_ms: now_ms,
            };
            accounts.add_user(user).await?;
        }
    }
    Ok(())
}

impl From<AccountError> for BootstrapError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Journal(error) => error.into(),
            AccountError::Random(error) => error.into(),
            AccountError::NoUser(_)
            | AccountError::NoToken(_)
            | AccountError::UserExists(_)
            | AccountError::HasPrograms { .. }
            | AccountError::LastAdmin(_)
            | AccountError::MemberScope(_)
            | AccountError::TooManyTokens(_)
            | AccountError::TokenMadeOthers { .. }
            | AccountError::TooManyUsers
            | AccountError::Interrupted(_) => refused(&error),
        }
    }
}

pub(super) fn refused(error: &dyn std::fmt::Display) -> BootstrapError {
    BootstrapError::Account(error.to_string())
}

/// Writes a file that only its owner can read. Its text and its name are on the disk when this returns.
pub(super) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    // An older file keeps its mode on open, so it is set again.
    file.set_permissions(Permissions::from_mode(0o600))?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    // The name is synced too: otherwise the token's hash could be there without the file.
    path.parent()
        .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::DescendantTokens;

    async fn start(data: &Path) -> (Journal, Accounts, Option<WrittenToken>) {
        let journal = Journal::open(&data.join("journal.db")).unwrap();
        let (accounts, written) = open(&journal, data, 1_000).await.unwrap();
        (journal, accounts, written)
    }

    fn bearer(data: &Path) -> String {
        let text = std::fs::read_to_string(data.join("admin-token")).unwrap();
        format!("Bearer {}", text.trim())
    }

    #[tokio::test]
    async fn the_first_start_makes_a_token_and_later_ones_know_it() {
        let data = tempfile::tempdir().unwrap();
        let (_, accounts, written) = start(data.path()).await;
        let path = written.unwrap().path;
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let bearer = bearer(data.path());
        let caller = accounts.authenticate(Some(&bearer), 2_000).unwrap();
        assert_eq!((caller.role, caller.scope), (Role::Admin, Scope::Admin));
        accounts.note_uses(2_000).await.unwrap();

        let (_, again, written) = start(data.path()).await;
        assert!(written.is_none());
        assert_eq!(again.tokens(None)[0].last_used_at_ms, Some(2_000));
        assert!(again.authenticate(Some(&bearer), 3_000).is_some());
        let file = std::fs::read(data.path().join("journal.db")).unwrap();
        let wal = std::fs::read(data.path().join("journal.db-wal")).unwrap_or_default();
        let secret = bearer.trim_start_matches("Bearer ").as_bytes();
        let shows = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
        assert!(!shows(&file) && !shows(&wal), "only the hash is stored");
    }

    #[tokio::test]
    async fn a_token_that_ended_is_over_when_the_clock_steps_back() {
        let data = tempfile::tempdir().unwrap();
        let (_, accounts, _) = start(data.path()).await;
        let asked = NewToken {
            user: UserId::parse(FIRST_ADMIN).unwrap(),
            scope: Scope::Operate,
            label: String::new(),
            expires_at_ms: Some(500_000),
            made_by: None,
        };
        let (_, token) = accounts.add_token(asked, 1_000).await.unwrap();
        let bearer = format!("Bearer {}", token.reveal());
        let is_valid = |accounts: &Accounts, now_ms| {
            let caller = accounts.authenticate(Some(&bearer), now_ms);
            caller.is_some()
        };
        assert!(is_valid(&accounts, 2_000));
        assert!(!is_valid(&accounts, 600_000));
        assert!(!is_valid(&accounts, 2_000), "the clock stepped back");
        accounts.note_uses(2_000).await.unwrap();
        let (_, again, _) = start(data.path()).await;
        assert!(!is_valid(&again, 2_000), "the host was started anew");
    }

    #[tokio::test]
    async fn nothing_but_the_token_is_admitted() {
        let data = tempfile::tempdir().unwrap();
        let (_, accounts, _) = start(data.path()).await;
        let bearer = bearer(data.path());
        let text = bearer.trim_start_matches("Bearer ");
        let other = Token::generate().unwrap();
        for header in [
            None,
            Some(String::new()),
            Some("Bearer".into()),
            Some("Bearer ".into()),
            Some(text.to_string()),
            Some(format!("Basic {text}")),
            Some(format!("Bearer {text}x")),
            Some(format!("Bearer {}", other.reveal())),
        ] {
            assert_eq!(
                accounts.authenticate(header.as_deref(), 2_000),
                None,
                "{header:?}"
            );
        }
    }

    #[tokio::test]
    async fn the_one_token_of_a_host_before_users_stays_valid() {
        let data = tempfile::tempdir().unwrap();
        let token = Token::generate().unwrap();
        let journal = Journal::open(&data.path().join("journal.db")).unwrap();
        journal
            .set_meta(META_ADMIN_TOKEN, token.hash().to_string())
            .await
            .unwrap();
        let (accounts, written) = open(&journal, data.path(), 1_000).await.unwrap();
        assert!(written.is_none());
        let bearer = format!("Bearer {}", token.reveal());
        assert!(accounts.authenticate(Some(&bearer), 2_000).is_some());
        assert_eq!(journal.meta(META_ADMIN_TOKEN).unwrap(), None);
    }

    #[tokio::test]
    async fn an_admin_who_lost_every_token_gets_one_from_the_next_start() {
        let data = tempfile::tempdir().unwrap();
        let (_, accounts, _) = start(data.path()).await;
        let lost = bearer(data.path());
        let token = accounts.tokens(None)[0].id.clone();
        accounts
            .remove_token(&token, DescendantTokens::Keep, None)
            .await
            .unwrap();
        assert_eq!(accounts.authenticate(Some(&lost), 2_000), None);
        let (_, accounts, written) = start(data.path()).await;
        assert!(written.is_some());
        assert!(
            accounts
                .authenticate(Some(&bearer(data.path())), 2_000)
                .is_some()
        );
        assert_eq!(accounts.authenticate(Some(&lost), 2_000), None);
    }
}
