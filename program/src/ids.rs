//! Identifiers: each is checked once, when it is parsed. Example: `ProgramId::parse("counter")`.

use alloc::{string::String, sync::Arc};

use serde::{Deserialize, Serialize};

/// A text that is not a valid identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {text:?} is not valid: {rule}")]
pub struct IdError {
    /// The kind of identifier that was read, such as `program id`.
    pub kind: &'static str,
    /// The rejected text, cut to 80 characters.
    pub text: String,
    /// The rule that a valid identifier keeps.
    pub rule: &'static str,
}

/// Names a program: a DNS label (1 to 63 of `a-z`, `0-9`, `-`, no hyphen at an end).
///
/// Every path, container name and label is built from this type only, so no other code needs to think about
/// `..`, slashes or spaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProgramId(Arc<str>);

/// Names a source tree: `build-` and the tree's SHA-256 in hex. Older hosts used only the first 12 digits of
/// the hash, and somebody can make two trees that share them. The short names are still read, for as long as
/// a journal or a folder holds one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BuildId(Arc<str>);

/// Names an image by content: `sha256:` and 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageId(pub(crate) Arc<str>);

/// Names a container: 12 to 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(pub(crate) Arc<str>);

/// Names a user: a DNS label (1 to 63 of `a-z`, `0-9`, `-`, no hyphen at an end).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserId(Arc<str>);

/// Numbers the instances of one program: 1, 2, 3 … in the order in which they were started.
///
/// Instances that a host started before it numbered them are all [`InstanceNumber::UNNUMBERED`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct InstanceNumber(pub u64);

impl InstanceNumber {
    /// The number of every instance in a journal that does not number instances.
    pub const UNNUMBERED: Self = Self(0);
}

impl core::fmt::Display for InstanceNumber {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// Numbers the revisions of one program: 1, 2, 3 … in the order in which they were deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RevisionNumber(pub u64);

impl core::fmt::Display for RevisionNumber {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one execution of one program, from its start to its end, such as `counter.3`.
///
/// No two instances of a program get the same number. So the remains of one instance, and late reports about
/// it, are never taken for those of another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId {
    /// The program that is executed.
    pub program: ProgramId,
    /// The number of this execution.
    pub number: InstanceNumber,
}

impl core::fmt::Display for InstanceId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}", self.program, self.number)
    }
}

/// Selects the instances of a program that an effect is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Instances {
    /// Every instance of the program, even one that only the runtime knows of.
    #[default]
    All,
    /// This instance only; others of the program go on.
    One(InstanceNumber),
}

macro_rules! identifier {
    ($name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        impl $name {
            /// Reads an identifier.
            ///
            /// # Errors
            /// [`IdError`] when the text breaks the rule of this type.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(IdError {
                        kind: $kind,
                        text: text.chars().take(80).collect(),
                        rule: $rule,
                    })
                }
            }

            /// Returns the identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                Self::from(&*id.0)
            }
        }
    };
}

identifier!(
    ProgramId,
    "program id",
    "use 1 to 63 of a-z, 0-9 and '-', without '-' at either end",
    is_dns_label
);
identifier!(BuildId, "build id", "'build-' and 64 hex digits", |text| {
    text.strip_prefix("build-")
        .is_some_and(|digits| matches!(digits.len(), 12 | 64) && is_hex(digits))
});
identifier!(ImageId, "image id", "'sha256:' and 64 hex digits", |text| {
    text.strip_prefix("sha256:")
        .is_some_and(|digits| digits.len() == 64 && is_hex(digits))
});
identifier!(ContainerId, "container id", "12 to 64 hex digits", |text| {
    (12..=64).contains(&text.len()) && is_hex(text)
});

identifier!(
    UserId,
    "user id",
    "use 1 to 63 of a-z, 0-9 and '-', with no '-' at an end",
    is_dns_label
);

fn is_dns_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
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
