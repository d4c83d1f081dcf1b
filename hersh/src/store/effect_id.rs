//! The ids of effects, and their text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The id of one effect that a run asked for, as short text: 16 hexadecimal digits, a hyphen and a number.
///
/// It is the same in every attempt, after every restart and in a replay, and no other effect ever has it:
/// give it to the other side as its idempotency key, so that an attempt that is made twice counts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EffectId {
    /// Drawn at each start, so that two watchers, one that lost its state folder and one whose folder was restored
    /// share no id.
    pub(crate) space: u64,
    /// Counts the effects of one context, from 1, over its lives.
    pub(crate) number: u64,
}

impl fmt::Display for EffectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.space, self.number)
    }
}

/// Reports a text that is no id of an effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no id of an effect: it has 16 hexadecimal digits, a hyphen and a number")]
pub struct EffectIdError {
    text: String,
}

impl FromStr for EffectId {
    type Err = EffectIdError;

    fn from_str(text: &str) -> Result<Self, EffectIdError> {
        let parse = || {
            let (space, number) = text.split_once('-')?;
            let space = u64::from_str_radix(space, 16).ok()?;
            let id = Self {
                space,
                number: number.parse().ok()?,
            };
            // One id has one text, because the other side compares texts.
            (id.to_string() == text).then_some(id)
        };
        parse().ok_or_else(|| EffectIdError {
            text: text.chars().take(80).collect(),
        })
    }
}

impl Serialize for EffectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EffectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_text() {
        let id = EffectId {
            space: 0xfe,
            number: 17,
        };
        assert_eq!(id.to_string(), "00000000000000fe-17");
        assert_eq!(id.to_string().parse(), Ok(id));
        for other in [
            "fe-17",
            "00000000000000FE-17",
            "00000000000000fe-017",
            "00000000000000fe",
            "",
            "-",
        ] {
            assert!(other.parse::<EffectId>().is_err(), "{other:?}");
        }
    }
}
