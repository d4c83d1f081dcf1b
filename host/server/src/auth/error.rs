//! How changes of users and tokens are refused.

use hersh_journal::JournalError;
use hersh_program::UserId;
use tokio::task::JoinError;

use super::{
    TokenError, TokenId,
    user::{TOKENS_MAX, USERS_MAX},
};

/// Why users or tokens were not changed. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    #[error("there is no user {0:?}; an admin sees them with 'hersh user ls'")]
    NoUser(String),
    #[error("there is no token {0:?}; 'hersh token ls' lists yours")]
    NoToken(String),
    #[error("a user {0} exists; choose another id")]
    UserExists(UserId),
    #[error("{user} owns {programs} programs; remove them first")]
    HasPrograms { user: UserId, programs: u64 },
    #[error("{0} is the only admin; make another one first")]
    LastAdmin(UserId),
    #[error("{0} is a member, and scope 'admin' is for admins; ask for 'operate'")]
    MemberScope(UserId),
    #[error("{0} has {TOKENS_MAX} tokens, which is the most; remove one first")]
    TooManyTokens(UserId),
    #[error(
        "{count} other tokens were made with {id} and would end with it, so that none might be left; remove it with another token, or say 'made=keep' ('hersh token rm --keep-made')"
    )]
    TokenMadeOthers { id: TokenId, count: usize },
    #[error("there are {USERS_MAX} users, which is the most")]
    TooManyUsers,
    #[error(transparent)]
    Random(#[from] TokenError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the change was interrupted: {0}")]
    Interrupted(#[from] JoinError),
}
