//! A way in for whoever has the machine and no token: after a restore, the token whose hash is in the
//! journal may be gone with the disk that held it.
//!
//! ```text
//! data folder locked ─► audit row ─► admin-token.new ─► its hash in the journal ─► admin-token
//! ```
//! At every instant the file `admin-token` holds a token that is valid, if it held one before.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::{
    Accounts, BootstrapError, Caller, NewToken, Role, Scope, Token, TokenError, TokenId, UserId,
    audit,
    bootstrap::{TOKEN_FILE, make_admin, refused, write_private},
    user::FIRST_ADMIN,
};
use crate::{
    journal::{JOURNAL_FILE, Journal, JournalError, OpenError},
    lock::{DataLock, LockError},
};

/// Why no token was issued. Those that were valid are still.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// There is no journal.
    #[error("there is no journal at {}; name the host's data folder with --data-dir", .0.display())]
    Missing(PathBuf),
    /// A host runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The journal can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The user or the token was refused, or can't be written.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
}

impl From<JournalError> for IssueError {
    fn from(error: JournalError) -> Self {
        BootstrapError::from(error).into()
    }
}

impl From<TokenError> for IssueError {
    fn from(error: TokenError) -> Self {
        BootstrapError::from(error).into()
    }
}

/// Gives the user `admin`, made an admin if it is none, a new token with scope admin in
/// `{data}/admin-token` (mode 0600), whose path is returned. Other tokens stay valid. No host may
/// run on the folder.
///
/// # Errors
/// [`IssueError`]; the file is as it was.
pub async fn issue_admin_token(data: &Path, now_ms: u64) -> Result<PathBuf, IssueError> {
    let journal = data.join(JOURNAL_FILE);
    if !journal.is_file() {
        return Err(IssueError::Missing(journal));
    }
    let _lock = DataLock::take(data)?;
    let journal = Journal::open(&journal)?;
    // A journal that no host would serve is left as it is.
    journal.load()?;
    let admin = UserId::parse(FIRST_ADMIN).map_err(|error| refused(&error))?;
    let on_the_machine = Caller {
        user: admin.clone(),
        role: Role::Admin,
        token: TokenId::new("-"),
        scope: Scope::Admin,
        expires_at_ms: None,
    };
    let (peer, action) = ("this machine".to_owned(), "hersh host token".to_owned());
    let target = TOKEN_FILE.to_owned();
    let attempt = audit::attempt(&journal, &on_the_machine, now_ms, peer, action, target).await?;
    let issued = issue(&journal, data, admin, now_ms).await;
    let status = if issued.is_ok() { 201 } else { 500 };
    attempt.ended(status).await;
    journal.flush().await?;
    issued
}

async fn issue(
    journal: &Journal,
    data: &Path,
    admin: UserId,
    now_ms: u64,
) -> Result<PathBuf, IssueError> {
    let accounts = Accounts::load(journal.clone())?;
    make_admin(&accounts, &admin, now_ms).await?;
    let token = Token::generate()?;
    let path = data.join(TOKEN_FILE);
    let new = path.with_extension("new");
    let file = |source| BootstrapError::File {
        path: path.clone(),
        source,
    };
    write_private(&new, token.reveal()).map_err(file)?;
    let asked = NewToken {
        user: admin,
        scope: Scope::Admin,
        label: "made by hersh host token".to_owned(),
        expires_at_ms: None,
    };
    let put = accounts.put_token(asked, token.hash(), now_ms).await;
    put.map_err(BootstrapError::from)?;
    fs::rename(&new, &path)
        .and_then(|()| File::open(data)?.sync_all())
        .map_err(file)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{super::open, *};

    fn bearer(data: &Path) -> String {
        let text = fs::read_to_string(data.join(TOKEN_FILE)).unwrap();
        format!("Bearer {}", text.trim())
    }

    async fn start(data: &Path) -> (Journal, Accounts) {
        let journal = Journal::open(&data.join(JOURNAL_FILE)).unwrap();
        let (accounts, _) = open(&journal, data, 1).await.unwrap();
        (journal, accounts)
    }

    #[tokio::test]
    async fn who_lost_the_file_gets_in_again_and_nobody_loses_a_token() {
        let data = tempfile::tempdir().unwrap();
        let data = data.path();
        start(data).await;
        let old = bearer(data);
        fs::remove_file(data.join(TOKEN_FILE)).unwrap();
        // A start makes no other: there is a token by its hash.
        start(data).await;
        assert!(!data.join(TOKEN_FILE).exists());

        let path = issue_admin_token(data, 5).await.unwrap();
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (journal, accounts) = start(data).await;
        let caller = accounts.authenticate(Some(&bearer(data)), 6).unwrap();
        assert_eq!((caller.role, caller.scope), (Role::Admin, Scope::Admin));
        assert!(accounts.authenticate(Some(&old), 6).is_some());
        let rows = audit::page(&journal, None, 10).unwrap();
        let row = (rows[0].action.as_str(), rows[0].at_ms, rows[0].status);
        assert_eq!((row, rows.len()), (("hersh host token", 5, Some(201)), 1));
    }

    #[tokio::test]
    async fn an_admin_with_as_many_tokens_as_one_can_have_gets_in_too() {
        let data = tempfile::tempdir().unwrap();
        let data = data.path();
        start(data).await;
        for _ in 0..super::super::tokens::TOKENS_MAX {
            issue_admin_token(data, 5).await.unwrap();
        }
        let (_, accounts) = start(data).await;
        assert!(accounts.authenticate(Some(&bearer(data)), 6).is_some());
    }

    #[tokio::test]
    async fn beside_a_host_or_without_one_nothing_is_issued() {
        let data = tempfile::tempdir().unwrap();
        let data = data.path();
        let missing = issue_admin_token(data, 5).await;
        assert!(matches!(missing, Err(IssueError::Missing(_))));
        start(data).await;
        let old = bearer(data);
        let _lock = DataLock::take(data).unwrap();
        let refused = issue_admin_token(data, 5).await;
        assert!(matches!(refused, Err(IssueError::Lock(_))));
        assert_eq!(bearer(data), old);
    }
}
