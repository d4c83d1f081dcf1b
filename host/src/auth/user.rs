//! Users: who owns programs, and how much they may have.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// The user that a host's first start makes.
pub(crate) const FIRST_ADMIN: &str = "admin";

const USER_ID_LENGTH_MAX: usize = 63;

/// Names a user: a DNS label (1 to 63 of `a-z`, `0-9`, `-`, no hyphen at an end).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UserId(Arc<str>);

/// A text that names no user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("user id {0:?} is not valid: use 1 to 63 of a-z, 0-9 and '-', with no '-' at an end")]
pub(crate) struct UserIdError(String);

impl UserId {
    /// Reads one.
    ///
    /// # Errors
    /// [`UserIdError`] with the text, cut to 80 characters.
    pub(crate) fn parse(text: &str) -> Result<Self, UserIdError> {
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (1..=USER_ID_LENGTH_MAX).contains(&text.len())
            && text.bytes().all(is_plain)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(UserIdError(text.chars().take(80).collect()))
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a user may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// Programs of its own.
    Member,
    /// Every program, the users and the host itself.
    Admin,
}

impl Role {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
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
/// What a program asks for counts, not what it uses: memory and processor time while it is
/// started or on its way, `/state` as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Quota {
    /// Programs, running or not.
    pub(crate) programs: Option<u64>,
    /// Memory of the started ones, bytes.
    pub(crate) memory_bytes: Option<u64>,
    /// Processor time of the started ones, thousandths of one core.
    pub(crate) cpu_millis: Option<u64>,
    /// `/state` of all, bytes.
    pub(crate) state_bytes: Option<u64>,
    /// Builds at once; the others wait.
    pub(crate) builds: Option<u64>,
}

const GIB: u64 = 1 << 30;

impl Quota {
    /// What a member has unless an admin says otherwise: room for ten small programs.
    pub(crate) const MEMBER: Self = Self {
        programs: Some(10),
        memory_bytes: Some(4 * GIB),
        cpu_millis: Some(4_000),
        state_bytes: Some(20 * GIB),
        builds: Some(1),
    };

    /// What an admin has unless said otherwise.
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
    /// Milliseconds since the Unix epoch.
    pub(crate) created_at_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_id_is_a_dns_label() {
        for good in ["a", "ann-2", "0x"] {
            assert_eq!(UserId::parse(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(64);
        for bad in ["", "-a", "a-", "Ann", "a b", "a/b", "ä", &long] {
            assert!(UserId::parse(bad).is_err(), "{bad}");
        }
    }
}
