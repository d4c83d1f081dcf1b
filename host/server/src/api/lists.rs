//! Refuses requests that hold a list.
//!
//! A derived `Deserialize` accepts a list in place of an object, with the fields in their order:
//! `[null, "64MiB"]` for `{"memory": "64MiB"}`. Nothing documents this form, and if clients used it, the
//! next version could not add a field.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};

/// Reads any value that has no list in it, and keeps nothing of it. A value with a list is an error.
pub(super) struct NoLists;

impl<'de> Deserialize<'de> for NoLists {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for NoLists {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object or a single value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, Self>()?.is_some() {}
        Ok(Self)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_unit<E: Error>(self) -> Result<Self, E> {
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_refused_however_deep_and_nothing_else_is() {
        let read = |text: &str| serde_json::from_str::<NoLists>(text).is_ok();
        for text in [
            "null",
            "-1",
            "1.5",
            r#"{"a": {"b": "x\n", "c": true, "d": null, "e": 7}}"#,
        ] {
            assert!(read(text), "{text}");
        }
        for text in ["[]", "[null]", r#"{"a": {"b": []}}"#] {
            assert!(!read(text), "{text}");
        }
        assert!(toml::from_str::<NoLists>("[a]\nb = 1\nc = 2026-01-01").is_ok());
        assert!(toml::from_str::<NoLists>("[a]\nb = [1]").is_err());
    }
}
