//! Sizes and times as people write them: `64MiB`, `1.5GB`, `90s`, `10m`.

use serde::{Deserialize, Serialize};

/// A text that is not a size or a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// The text is not a size.
    #[error(
        "{0:?} is not a size: write a number and B, KiB, MiB, GiB, kB, MB or GB, such as \"64MiB\""
    )]
    Size(String),
    /// The text is not a time.
    #[error("{0:?} is not a time: write a number and ms, s, m, h or d, such as \"30s\"")]
    Time(String),
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, example = "64MiB", pattern = r"^[0-9]+(\.[0-9]{1,9})? ?(GiB|MiB|KiB|GB|MB|kB|KB|B)$"))]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub u64);

/// A length of time in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, example = "30s", pattern = r"^[0-9]+(\.[0-9]{1,9})? ?(d|h|m|s|ms)$"))]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub u64);

const SIZES: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

const TIMES: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl TryFrom<String> for ByteSize {
    type Error = UnitError;

    fn try_from(text: String) -> Result<Self, UnitError> {
        parse(&text, &SIZES).map(Self).ok_or(UnitError::Size(text))
    }
}

impl TryFrom<String> for Span {
    type Error = UnitError;

    fn try_from(text: String) -> Result<Self, UnitError> {
        parse(&text, &TIMES).map(Self).ok_or(UnitError::Time(text))
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> String {
        render(size.0, &SIZES[..3], "B")
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        render(span.0, &TIMES[..4], "ms")
    }
}

/// Reads `<number><unit>`. The number may have a decimal part, and blanks may stand before the unit.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at(split);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit.trim())?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let value = whole.parse::<u64>().ok()?.checked_mul(*scale)?;
    if fraction.is_empty() {
        return (!number.ends_with('.')).then_some(value);
    }
    if fraction.len() > 9 {
        return None;
    }
    let digits = u128::from(fraction.parse::<u64>().ok()?);
    let part = digits * u128::from(*scale) / 10u128.pow(u32::try_from(fraction.len()).ok()?);
    value.checked_add(u64::try_from(part).ok()?)
}

fn render(value: u64, units: &[(&str, u64)], base: &str) -> String {
    for (name, scale) in units {
        if value >= *scale && value.is_multiple_of(*scale) {
            return format!("{}{name}", value / scale);
        }
    }
    format!("{value}{base}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_as_people_write_them() {
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("1.5 GiB", 3 << 29),
            ("10kB", 10_000),
            ("0B", 0),
            ("7B", 7),
        ] {
            assert_eq!(
                ByteSize::try_from(text.to_string()),
                Ok(ByteSize(bytes)),
                "{text}"
            );
        }
        for (text, ms) in [
            ("30s", 30_000),
            ("1.5m", 90_000),
            ("250ms", 250),
            ("2h", 7_200_000),
            ("90d", 90 * 86_400_000),
        ] {
            assert_eq!(Span::try_from(text.to_string()), Ok(Span(ms)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_text_and_an_example() {
        for text in [
            "",
            "64",
            "MiB",
            "-1MiB",
            "1e3MiB",
            "64mib",
            "1..5GiB",
            "1.GiB",
            "99999999999GiB",
        ] {
            let error = ByteSize::try_from(text.to_string()).unwrap_err();
            assert!(error.to_string().contains("such as"), "{text}");
        }
        for text in ["30", "30 sec", "1w", "s", "1.0000000001s"] {
            assert!(Span::try_from(text.to_string()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for bytes in [0, 1, 1023, 1024, 1 << 20, (1 << 20) + 1, 5 << 30] {
            assert_eq!(
                ByteSize::try_from(String::from(ByteSize(bytes))),
                Ok(ByteSize(bytes))
            );
            assert_eq!(Span::try_from(String::from(Span(bytes))), Ok(Span(bytes)));
        }
    }
}
