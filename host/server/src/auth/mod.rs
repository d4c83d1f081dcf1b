//! Users and tokens: who may use the host.
//!
//! ```text
//! Authorization: Bearer hersh_... ─► Accounts (by SHA-256) ─► Caller ─► Rule of the route ─► handler
//!                                        │                      │ user, role, scope
//!                                        └► 401, or 429 after too many     └► 403
//! ```
//! A user is a `member` or an `admin` ([`Role`]); a token has a scope ([`Scope`]). A member's token
//! reaches the member's own programs, and what belongs to others is not there for it; an admin's
//! reaches all. Whatever a token may do, it may do it only within its scope.

mod access;
mod accounts;
pub(crate) mod audit;
mod bootstrap;
mod error;
mod grant;
mod issue;
mod rows;
mod throttle;
mod time;
mod token;
mod token_info;
mod tokens;
mod user;
mod users;
mod view;

pub(crate) use access::{Caller, RouteOwner, Rule, Scope};
pub(crate) use accounts::Accounts;
pub(crate) use bootstrap::{BootstrapError, WrittenToken, open};
pub(crate) use error::AccountError;
pub(crate) use grant::Grant;
pub use issue::{IssueError, IssuedToken, issue_admin_token, valid_tokens};
#[cfg(test)]
pub(crate) use throttle::FAILURES_MAX;
pub(crate) use throttle::Throttle;
pub(crate) use token::{Token, TokenError, TokenHash, TokenId};
pub(crate) use token_info::{DescendantTokens, NewToken, TokenInfo};
pub(crate) use user::{Quota, Role, User};
pub(crate) use view::token_view;
