//! The key `restart` of a manifest: `restart = "always"`, or a table `[restart]`.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        IntoDeserializer, MapAccess, Visitor,
        value::{MapAccessDeserializer, StrDeserializer},
    },
};

/// When a program that ended is started again, and for how long that is tried.
///
/// ```
/// use hersh_wire::{Restart, RestartPolicy};
///
/// #[derive(serde::Deserialize)]
/// struct Keys { restart: Restart }
/// let short: Keys = toml::from_str("restart = \"always\"")?;
/// assert_eq!(short.restart.policy, Some(RestartPolicy::Always));
/// let long: Keys = toml::from_str("[restart]\ngive_up_after = 5")?;
/// assert_eq!(long.restart.give_up_after, Some(5));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restart {
    /// When it is started again; after a failure if left out.
    pub policy: Option<RestartPolicy>,
    /// The number of failed starts and crashes in a row after which the host gives up; never if left out.
    pub give_up_after: Option<u32>,
}

/// When a program that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Only when somebody asks.
    Never,
    /// After a failure.
    OnFailure,
    /// After a failure and after a clean exit.
    Always,
}

/// The table `[restart]`.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
struct RestartTable {
    /// When it is started again; `on-failure` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<RestartPolicy>,
    /// The number of failed starts and crashes in a row after which the host gives up; never if left out.
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    give_up_after: Option<u32>,
}

impl Serialize for Restart {
    /// Writes the short form where it says all, which older clients read too.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self {
                policy: Some(policy),
                give_up_after: None,
            } => policy.serialize(serializer),
            Self {
                policy,
                give_up_after,
            } => RestartTable {
                policy,
                give_up_after,
            }
            .serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Restart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PolicyOrTable)
    }
}

struct PolicyOrTable;

impl<'de> Visitor<'de> for PolicyOrTable {
    type Value = Restart;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "\"never\", \"on-failure\", \"always\", or a table with policy and give_up_after",
        )
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Restart, E> {
        let text: StrDeserializer<'_, E> = text.into_deserializer();
        Ok(Restart {
            policy: Some(RestartPolicy::deserialize(text)?),
            give_up_after: None,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Restart, A::Error> {
        let table = RestartTable::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Restart {
            policy: table.policy,
            give_up_after: table.give_up_after,
        })
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Restart {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::schema::OneOfBuilder::new()
            .item(RestartPolicy::schema())
            .item(RestartTable::schema())
            .description(Some("A policy, or a table with the policy and its bound."))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Restart {
    fn schemas(schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>) {
        RestartTable::schemas(schemas);
        schemas.push((
            RestartPolicy::name().into_owned(),
            <RestartPolicy as utoipa::PartialSchema>::schema(),
        ));
    }
}

#[cfg(test)]
mod tests {
    use crate::Manifest;

    #[test]
    fn both_forms_are_read_and_written() {
        for text in [
            "restart = \"never\"\n",
            "[restart]\npolicy = \"always\"\ngive_up_after = 3\n",
            "[restart]\ngive_up_after = 3\n",
        ] {
            let manifest: Manifest = toml::from_str(text).unwrap();
            assert_eq!(toml::to_string(&manifest).unwrap(), text);
            let json = serde_json::to_string(&manifest).unwrap();
            assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), manifest);
        }
    }

    #[test]
    fn a_wrong_value_is_named_with_what_is_right() {
        for (text, expected) in [
            ("restart = \"allways\"", "unknown variant `allways`"),
            ("restart = 5", "a table with policy and give_up_after"),
            ("[restart]\ngiveup = 5", "unknown field `giveup`"),
            ("[restart]\npolicy = \"often\"", "unknown variant `often`"),
            ("[restart]\ngive_up_after = -1", "invalid value"),
        ] {
            let error = toml::from_str::<Manifest>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
