//! The callers, and what a route asks of them.

use hersh_program::UserId;

use super::{Role, TokenId};

/// What a token may be used for; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// Permission to look.
    Read,
    /// Permission to change programs.
    Operate,
    /// Permission to change users and the host.
    Admin,
}

impl Scope {
    const ALL: [Self; 3] = [Self::Read, Self::Operate, Self::Admin];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == text)
    }
}

/// The owner of the things that a route is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteOwner {
    /// The caller's own things; for an admin, everybody's.
    Own,
    /// The host's things: for admins only.
    Host,
}

/// The conditions that a route sets for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) scope: Scope,
    pub(crate) reach: RouteOwner,
}

/// Why a valid token is not enough.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AccessDenial {
    /// The token's scope is too small.
    #[error("this needs a token with scope '{}', and this one has '{}'; use another, or ask for one", needs.name(), has.name())]
    Scope {
        /// The scope that the route asks for.
        needs: Scope,
        /// The scope that the token has.
        has: Scope,
    },
    /// The token is not an admin's.
    #[error("only admins may do this, and {0} is a member")]
    Member(UserId),
}

/// The caller: the owner of a valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) user: UserId,
    pub(crate) role: Role,
    pub(crate) token: TokenId,
    pub(crate) scope: Scope,
    /// When the token ends, milliseconds since the Unix epoch.
    pub(crate) expires_at_ms: Option<u64>,
}

impl Caller {
    /// Checks that the caller may use a route of `rule`.
    pub(crate) fn may(&self, rule: Rule) -> Result<(), AccessDenial> {
        if self.scope < rule.scope {
            return Err(AccessDenial::Scope {
                needs: rule.scope,
                has: self.scope,
            });
        }
        match (rule.reach, self.role) {
            (RouteOwner::Host, Role::Member) => Err(AccessDenial::Member(self.user.clone())),
            (RouteOwner::Own, Role::Member | Role::Admin) | (RouteOwner::Host, Role::Admin) => {
                Ok(())
            }
        }
    }

    /// Returns true if the caller may see what belongs to `owner`.
    pub(crate) fn sees(&self, owner: &UserId) -> bool {
        match self.role {
            Role::Admin => true,
            Role::Member => self.user == *owner,
        }
    }
}
