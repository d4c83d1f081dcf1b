//! Requests and replies about users, tokens and the audit log. Times are milliseconds since the
//! Unix epoch.

use serde::{Deserialize, Serialize};

use crate::{ByteSize, Span};

/// What a user may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Programs of its own.
    Member,
    /// Every program, the users and the host.
    Admin,
}

/// What a token may be used for; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// To look.
    Read,
    /// To change programs.
    Operate,
    /// To change users and the host.
    Admin,
}

/// Upper bounds on what one user's programs ask for together. A key that is left out is no bound.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Programs, running or not; at most 1,000,000.
    #[cfg_attr(feature = "openapi", schema(maximum = 1_000_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub programs: Option<u64>,
    /// Memory of those that are started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// Processor cores of those that are started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// `/state` of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ByteSize>,
    /// Builds at once, 1 to 1,000,000; the others wait.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 1_000_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builds: Option<u64>,
}

/// What one user's programs ask for together now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Usage {
    /// Programs, running or not.
    pub programs: u64,
    /// Memory of those that are started.
    pub memory: ByteSize,
    /// Processor cores of those that are started.
    pub cpus: f64,
    /// `/state` of all.
    pub state: ByteSize,
}

/// One user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserView {
    /// Its id.
    pub user_id: String,
    /// What it may reach.
    pub role: Role,
    /// What its programs may ask for together.
    pub quota: Quota,
    /// What they ask for now.
    pub usage: Usage,
    /// When it was made.
    pub created_at_ms: u64,
}

/// `GET /users`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserList {
    /// By id.
    pub users: Vec<UserView>,
}

/// `POST /users`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// A DNS label.
    #[cfg_attr(
        feature = "openapi",
        schema(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    )]
    pub user_id: String,
    /// `member` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The host's usual one for the role if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
}

/// `PATCH /users/{user}`. What is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangeUser {
    /// Its new role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Its new quota, whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
}

/// One token, without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenView {
    /// Names it without giving it away.
    pub token_id: String,
    /// Whose it is.
    pub user_id: String,
    /// What it may be used for.
    pub scope: Scope,
    /// What its owner calls it.
    pub label: String,
    /// When it was made.
    pub created_at_ms: u64,
    /// When it ends; never if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    /// When it was used last, a minute late at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at_ms: Option<u64>,
    /// The token that it was made with; left out for those that the host itself made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<String>,
}

/// `GET /tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenList {
    /// By id.
    pub tokens: Vec<TokenView>,
}

/// `POST /tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// Whose; the caller's own if left out. For admins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// What it may be used for; at most what the caller's may.
    pub scope: Scope,
    /// What to call it: at most 100 characters.
    #[cfg_attr(feature = "openapi", schema(max_length = 100))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// How long it is valid; 90 days if left out, and never longer than the caller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Span>,
}

/// The reply to `POST /tokens`: the only time that the text is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenCreated {
    /// What `Authorization: Bearer` takes.
    pub secret: String,
    /// What is known of it from now on.
    pub token: TokenView,
}

impl std::fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCreated")
            .field("secret", &"(hidden)")
            .field("token", &self.token)
            .finish()
    }
}

/// `GET /whoami`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Whoami {
    /// The caller.
    pub user: UserView,
    /// The caller's token.
    pub token: TokenView,
}

/// One change, or repeats of what changed nothing: `GET /audit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditView {
    /// Higher for later ones.
    pub seq: u64,
    /// When; of repeats, when it was last.
    pub at_ms: u64,
    /// Who.
    pub user_id: String,
    /// With which token.
    pub token_id: String,
    /// From where.
    pub peer: String,
    /// Method and route.
    pub action: String,
    /// The path that was asked for.
    pub target: String,
    /// What it is about, such as `program counter`, `user ann` or `token t-0123456789abcdef of ann`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// What was changed, from what to what; of what was refused, what was to be changed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub change: String,
    /// How often. Only what changed nothing is counted: what was refused, was so already, or went to
    /// a program.
    #[serde(default = "once")]
    pub count: u64,
    /// When it was first; `at_ms` is when it was last.
    #[serde(default)]
    pub first_at_ms: u64,
    /// How it was answered, 499 if the client hung up before that; left out while it is under way, if
    /// the host ended in the middle, or if its disk did not take the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

fn once() -> u64 {
    1
}

/// `GET /audit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditList {
    /// Newest first.
    pub changes: Vec<AuditView>,
    /// For `?cursor=`, if there are older ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
