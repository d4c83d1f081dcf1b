//! JSON text that stands in a file as it is, for serde: not as text within text.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error};
use serde_json::value::RawValue;

/// Writes JSON text.
pub(super) fn serialize<S: Serializer>(json: &Arc<str>, out: S) -> Result<S::Ok, S::Error> {
    let raw = RawValue::from_string(json.to_string()).map_err(S::Error::custom)?;
    raw.serialize(out)
}

/// Reads JSON text.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
    let raw = Box::<RawValue>::deserialize(from)?;
    Ok(raw.get().into())
}
