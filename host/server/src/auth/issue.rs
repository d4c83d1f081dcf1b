//! Issues an admin token to a person who has the machine and no token: after a restore, the token whose hash
//! is in the journal may be gone with the disk that held it.
//!
//! ```text
//! data folder locked ─► audit row ─► admin-token.new ─► its hash in the journal ─► admin-token
//! ```
//! At every instant the file `admin-token` holds a token that is valid, if it held one before.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use hersh_base::lock::{DataLock, LockError};
use hersh_journal::{Home, Journal, JournalError, OpenError, WritePurpose};
use hersh_program::UserId;
use hersh_wire::TokenView;

use super::{
    Accounts, BootstrapError, Caller, DescendantTokens, NewToken, Role, Scope, Token, TokenError,
    TokenId, audit,
    bootstrap::{TOKEN_FILE, make_admin, refused, write_private},
    token_view,
    user::FIRST_ADMIN,
};

/// Why no token was issued. The tokens that were valid before still are.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// There is no journal.
    #[error("there is no journal at {}; name the host's data folder with --data-dir, and --journal-dir if it has one", .0.display())]
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

/// The issued token and its effect on the others.
#[derive(Debug)]
pub struct IssuedToken {
    /// The file that holds the new token.
    pub path: PathBuf,
    /// The number of other tokens that were made invalid.
    pub revoked: u64,
    /// All tokens that are valid now.
    pub valid: Vec<TokenView>,
}

/// Returns the tokens that a host at `home`, such as its data folder, would take. No host may run on the
/// folder. Blocks on the disk.
///
/// # Errors
/// [`IssueError`].
pub fn valid_tokens(home: impl Into<Home>, now_ms: u64) -> Result<Vec<TokenView>, IssueError> {
    let (_lock, journal) = open_alone(&home.into())?;
    Ok(valid(&Accounts::load(journal)?, now_ms))
}

/// Makes the user `admin` an admin if it is none, and gives it a new token with scope admin in
/// `{data}/admin-token` (mode 0600). Other tokens, of all users, stay valid unless `revoke_others`. No host
/// may run on the folder.
///
/// # Errors
/// [`IssueError`]; the file is as it was.
pub async fn issue_admin_token(
    home: impl Into<Home>,
    now_ms: u64,
    revoke_others: bool,
) -> Result<IssuedToken, IssueError> {
    let home = home.into();
    let (_lock, journal) = open_alone(&home)?;
    let admin = UserId::parse(FIRST_ADMIN).map_err(|error| refused(&error))?;
    let on_the_machine = Caller {
        user: admin.clone(),
        role: Role::Admin,
        token: TokenId::new("-"),
        scope: Scope::Admin,
        expires_at_ms: None,
    };
    let action = match revoke_others {
        true => "hersh host token --revoke-others",
        false => "hersh host token",
    };
    let plan = audit::Plan {
        at_ms: now_ms,
        peer: "this machine".to_owned(),
        action: action.to_owned(),
        target: TOKEN_FILE.to_owned(),
        object: format!("user {admin}"),
    };
    let attempt = audit::attempt((&journal, WritePurpose::Freeing), &on_the_machine, plan).await?;
    let particulars = attempt.particulars();
    let issued = issue(&journal, home.data(), admin, now_ms, revoke_others).await;
    if let Ok(issued) = &issued {
        let revoked = issued.revoked;
        particulars.change(&format!(
            "new token, scope admin, without end; {revoked} others revoked"
        ));
    }
    let status = if issued.is_ok() { 201 } else { 500 };
    attempt.ended(status).await;
    journal.flush().await?;
    issued
}

/// The locks of the data folder and of the journal's folder.
type Locks = (DataLock, Option<DataLock>);

fn open_alone(home: &Home) -> Result<(Locks, Journal), IssueError> {
    home.check()?;
    let journal = home.file();
    if !journal.is_file() {
        return Err(IssueError::Missing(journal));
    }
    let locks = (DataLock::take(home.data())?, home.lock()?);
    let journal = Journal::open(&journal)?;
    // Fails for a journal that no host would serve, so that it is left as it is.
    journal.load()?;
    Ok((locks, journal))
}

fn valid(accounts: &Accounts, now_ms: u64) -> Vec<TokenView> {
    let now_ms = accounts.time_ms(now_ms);
    let tokens = accounts.tokens(None).into_iter();
    let valid = tokens.filter(|token| token.expires_at_ms.is_none_or(|at_ms| at_ms > now_ms));
    valid.map(|token| token_view(&token)).collect()
}

async fn issue(
    journal: &Journal,
    data: &Path,
    admin: UserId,
    now_ms: u64,
    revoke_others: bool,
) -> Result<IssuedToken, IssueError> {
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
        made_by: None,
    };
    let put = accounts.put_token(asked, token.hash(), now_ms).await;
    let made = put.map_err(BootstrapError::from)?;
    fs::rename(&new, &path)
        .and_then(|()| File::open(data)?.sync_all())
        .map_err(file)?;
    // Other tokens are revoked last: until then, and after a crash in between, the file holds a valid token.
    let mut revoked = 0;
    if revoke_others {
        let others = accounts.tokens(None).into_iter().map(|token| token.id);
        for other in others.filter(|id| *id != made.id) {
            let removed = accounts
                .remove_token(&other, DescendantTokens::Keep, None)
                .await;
            removed.map_err(BootstrapError::from)?;
            revoked += 1;
        }
    }
    Ok(IssuedToken {
        path,
        revoked,
        valid: valid(&accounts, now_ms),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use hersh_journal::JOURNAL_FILE;

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
        // A start makes no other token, since the journal holds the hash of one.
        start(data).await;
        assert!(!data.join(TOKEN_FILE).exists());

        let issued = issue_admin_token(data, 5, false).await.unwrap();
        assert_eq!((issued.revoked, issued.valid.len()), (0, 2));
        let mode = issued.path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (journal, accounts) = start(data).await;
        let caller = accounts.authenticate(Some(&bearer(data)), 6).unwrap();
        assert_eq!((caller.role, caller.scope), (Role::Admin, Scope::Admin));
        assert!(accounts.authenticate(Some(&old), 6).is_some());
        let rows = journal.audit_page(None, 10).unwrap();
        let row = (rows[0].action.as_str(), rows[0].at_ms, rows[0].status);
        assert_eq!((row, rows.len()), (("hersh host token", 5, Some(201)), 1));
    }

    #[tokio::test]
    async fn all_other_tokens_end_when_that_is_asked_for() {
        let data = tempfile::tempdir().unwrap();
        let data = data.path();
        start(data).await;
        let old = bearer(data);
        let valid = valid_tokens(data, 5).unwrap();
        assert_eq!((valid.len(), valid[0].user_id.as_str()), (1, "admin"));
        let issued = issue_admin_token(data, 5, true).await.unwrap();
        assert_eq!((issued.revoked, issued.valid.len()), (1, 1));
        let (journal, accounts) = start(data).await;
        assert!(accounts.authenticate(Some(&old), 6).is_none());
        assert!(accounts.authenticate(Some(&bearer(data)), 6).is_some());
        let rows = journal.audit_page(None, 10).unwrap();
        assert_eq!(rows[0].action, "hersh host token --revoke-others");
    }

    #[tokio::test]
    async fn an_admin_with_as_many_tokens_as_one_can_have_gets_in_too() {
        let data = tempfile::tempdir().unwrap();
        let data = data.path();
        start(data).await;
        for _ in 0..super::super::user::TOKENS_MAX {
            issue_admin_token(data, 5, false).await.unwrap();
        }
        let (_, accounts) = start(data).await;
        assert!(accounts.authenticate(Some(&bearer(data)), 6).is_some());
    }

    #[tokio::test]
    async fn beside_a_host_or_without_one_nothing_is_issued() {
        let data = tempfile::tempdir().unwrap();
        let data = data.path();
        let missing = issue_admin_token(data, 5, false).await;
        assert!(matches!(missing, Err(IssueError::Missing(_))));
        start(data).await;
        let old = bearer(data);
        let _lock = DataLock::take(data).unwrap();
        let refused = issue_admin_token(data, 5, false).await;
        assert!(matches!(refused, Err(IssueError::Lock(_))));
        assert_eq!(bearer(data), old);
    }
}
