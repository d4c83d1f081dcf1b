//! Users: who owns programs, and how much they may have.

use std::fmt;

use hersh_base::permits::Share;
use hersh_program::UserId;
use serde::{Deserialize, Serialize};

/// The most users of one host.
pub(super) const USERS_MAX: usize = 10_000;
/// The most tokens that one user can have.
pub(super) const TOKENS_MAX: usize = 100;

/// The user that a host's first start makes.
pub(crate) const FIRST_ADMIN: &str = "admin";

/// The role of a user: what the user may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// Reaches programs of its own.
    Member,
    /// Reaches every program, the users and the host itself.
    Admin,
}

impl Role {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
        }
    }

    /// Returns the share of the free permits that a user of this role may have.
    pub(crate) const fn share(self) -> Share {
        match self {
            Self::Member => Share::Fair,
            Self::Admin => Share::Any,
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Member, Self::Admin]
            .into_iter()
            .find(|role| role.name() == text)
    }
}

/// Upper bounds on what one user's programs ask for together; `None` is no bound.
///
/// A quota counts what a program asks for, not what it uses: memory and processor time while the program is
/// started or on its way, `/state` as long as the program is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Quota {
    /// Programs, running or not.
    pub(crate) programs: Option<u64>,
    /// The memory of the started programs, bytes.
    pub(crate) memory_bytes: Option<u64>,
    /// The processor time of the started programs, thousandths of one core.
    pub(crate) cpu_millis: Option<u64>,
    /// The `/state` of all programs, bytes.
    pub(crate) state_bytes: Option<u64>,
    /// Builds at once; the others wait.
    pub(crate) builds: Option<u64>,
}

const GIB: u64 = 1 << 30;

impl Quota {
    /// The quota of a member unless an admin says otherwise: room for ten small programs.
    pub(crate) const MEMBER: Self = Self {
        programs: Some(10),
        memory_bytes: Some(4 * GIB),
        cpu_millis: Some(4_000),
        state_bytes: Some(20 * GIB),
        builds: Some(1),
    };

    /// The quota of an admin unless it is set otherwise.
    pub(crate) const NONE: Self = Self {
        programs: None,
        memory_bytes: None,
        cpu_millis: None,
        state_bytes: None,
        builds: None,
    };

    pub(crate) fn usual(role: Role) -> Self {
        match role {
            Role::Member => Self::MEMBER,
            Role::Admin => Self::NONE,
        }
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, bound) in [
            ("programs", self.programs),
            ("memory bytes", self.memory_bytes),
            ("cpu millis", self.cpu_millis),
            ("state bytes", self.state_bytes),
            ("builds", self.builds),
        ] {
            match bound {
                Some(bound) => write!(f, "{separator}{name} {bound}")?,
                None => write!(f, "{separator}{name} unbounded")?,
            }
            separator = ", ";
        }
        Ok(())
    }
}

/// One user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) role: Role,
    pub(crate) quota: Quota,
    /// The time of its creation, milliseconds since the Unix epoch.
    pub(crate) created_at_ms: u64,
}
