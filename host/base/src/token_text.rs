//! The text form of a host's token: `hersh_`, 256 random bits in hex, and a checksum of 32 bits. By the
//! checksum a token is recognised where it should not be: by a host in addresses, and by scanners in
//! public code.
//!
//! A host looks for a token in any spelling, an escaped one too. Otherwise an escaped token would get into
//! a log or to a program, and whoever decodes it there would have the token.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::hex::hex;

const PREFIX: &str = "hersh_";
const SECRET_DIGITS: usize = 64;
const CHECK_DIGITS: usize = 8;
const LENGTH: usize = PREFIX.len() + SECRET_DIGITS + CHECK_DIGITS;
/// The number of bytes of a token's secret.
pub const SECRET_BYTES: usize = SECRET_DIGITS / 2;

/// The most rounds of decoding. A text that has escapes left after so many rounds counts as one that hides
/// a token.
const ROUNDS_MAX: usize = 16;

/// Returns the text of the token that has this secret.
pub fn spelled(secret: &[u8; SECRET_BYTES]) -> String {
    let secret = hex(secret);
    format!("{PREFIX}{secret}{:08x}", checksum(&secret))
}

/// Returns whether `text` is as long as a token and begins like one. Does not look at the checksum.
pub fn has_form(text: &str) -> bool {
    text.len() == LENGTH && text.starts_with(PREFIX)
}

/// Returns whether a token stands in `text`, either as it is or after any number of decodings: percent
/// escapes of either case and of either form (`%68`, `%u0068`), and UTF-8 that is longer than it has to
/// be. Also returns true if the text has escapes left after the last round of decoding.
#[must_use]
pub fn is_spelled_in(text: &[u8]) -> bool {
    let mut text = Cow::Borrowed(text);
    for _ in 0..ROUNDS_MAX {
        // A token in capitals counts, too: it gives the secret away as well.
        if stands_in(&text) {
            return true;
        }
        match decoded(&text) {
            Some(shorter) => text = Cow::Owned(shorter),
            None => return false,
        }
    }
    true
}

/// Returns whether a token stands in `text` as it is.
fn is_in(text: &str) -> bool {
    // Most texts have no '_' and need no search.
    text.contains('_')
        && text
            .match_indices(PREFIX)
            .filter_map(|(at, _)| text.get(at..at + LENGTH))
            .any(is_one)
}

/// Returns whether `text` is written as a token is, down to the checksum.
fn is_one(text: &str) -> bool {
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let digits = text.strip_prefix(PREFIX).unwrap_or_default();
    if digits.len() != SECRET_DIGITS + CHECK_DIGITS || !digits.bytes().all(is_digit) {
        return false;
    }
    let (secret, check) = digits.split_at(SECRET_DIGITS);
    u32::from_str_radix(check, 16) == Ok(checksum(secret))
}

fn checksum(secret: &str) -> u32 {
    let digest: [u8; 32] = Sha256::digest(secret).into();
    let [a, b, c, d, ..] = digest;
    u32::from_be_bytes([a, b, c, d])
}

fn stands_in(text: &[u8]) -> bool {
    text.contains(&b'_') && is_in(&String::from_utf8_lossy(text).to_ascii_lowercase())
}

/// Returns the text with one layer of escapes taken off; `None` if it has none.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let may_be = |byte: &u8| matches!(byte, b'%' | 0xc0 | 0xc1 | 0xe0 | 0xf0);
    text.iter().any(may_be).then_some(())?;
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        if let Some((byte, length)) = escaped(rest) {
            plain.push(byte);
            rest = &rest[length..];
        } else {
            plain.push(first);
            rest = after;
        }
    }
    (plain.len() < text.len()).then_some(plain)
}

/// Returns the byte that an escape at the beginning of `text` stands for, and the length of the escape;
/// `None` if the text begins with no escape.
fn escaped(text: &[u8]) -> Option<(u8, usize)> {
    let trail = |at: usize| {
        text.get(at)
            .filter(|it| *it & 0xc0 == 0x80)
            .map(|it| it & 0x3f)
    };
    let ascii = |high: u8, low: u8| u8::try_from(u16::from(high) << 6 | u16::from(low)).ok();
    match *text {
        [b'%', b'u' | b'U', b'0', b'0', high, low, ..] => Some((digits(high, low)?, 6)),
        [b'%', high, low, ..] => Some((digits(high, low)?, 3)),
        // ASCII in two, three and four bytes, which is not valid UTF-8, but some readers accept it all the
        // same.
        [first @ (0xc0 | 0xc1), ..] => Some((ascii(first & 1, trail(1)?)?, 2)),
        [0xe0, middle @ (0x80 | 0x81), ..] => Some((ascii(middle & 1, trail(2)?)?, 3)),
        [0xf0, 0x80, middle @ (0x80 | 0x81), ..] => Some((ascii(middle & 1, trail(3)?)?, 4)),
        _ => None,
    }
}

/// Returns the byte that two hexadecimal digits stand for.
fn digits(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; SECRET_BYTES] = [0x5e; SECRET_BYTES];

    fn percent(text: &str) -> String {
        text.bytes().map(|byte| format!("%{byte:02x}")).collect()
    }

    #[test]
    fn a_token_is_found_however_it_is_escaped() {
        let text = &spelled(&SECRET);
        let one = text.replacen('h', "%68", 1);
        let mut often = text.to_owned();
        for _ in 0..3 {
            often = percent(&often);
        }
        for spelled in [
            text.clone(),
            format!("/a?hersh_=1&b=+{text}+x"),
            text.to_uppercase(),
            format!("?{one}=1"),
            text.replacen('_', "%5F", 1),
            text.replacen('_', "%5f", 1),
            text.replacen('_', "%u005f", 1),
            one.replacen('%', "%25", 1),
            one.replacen('%', "%2525%32%35", 1),
            text.replacen('h', "%c1%a8", 1),
            text.replacen('h', "%E0%81%A8", 1),
            text.replacen('h', "%F0%80%81%a8", 1),
            text.replacen('h', "%25c1%25a8", 1),
            percent(text),
            often,
        ] {
            assert!(is_spelled_in(spelled.as_bytes()), "{spelled}");
        }
        let raw = [b"/\xc1\xa8", &text.as_bytes()[1..]].concat();
        assert!(is_spelled_in(&raw));
    }

    #[test]
    fn what_is_no_token_passes_with_its_escapes() {
        let text = &spelled(&SECRET);
        for other in [
            "",
            "%",
            "%%%",
            "/a%20b?c=%252520&d=50%25",
            "/caf%C3%A9/%E2%82%AC",
            "%u12",
            "/hersh_%",
            &text.replacen('h', "%69", 1),
            &text[..77],
        ] {
            assert!(!is_spelled_in(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn what_is_escaped_without_end_counts_as_hiding_one() {
        let deep = format!("%{}41", "25".repeat(ROUNDS_MAX + 1));
        assert!(is_spelled_in(deep.as_bytes()));
        assert!(!is_spelled_in(&deep.as_bytes()[..2 * ROUNDS_MAX]));
    }

    #[test]
    fn a_damaged_token_is_none() {
        let text = &spelled(&SECRET);
        assert!(has_form(text) && is_one(text));
        let flipped = if text.ends_with('0') { "1" } else { "0" };
        assert!(!is_one(&format!("{}{flipped}", &text[..text.len() - 1])));
    }

    #[test]
    fn a_token_is_found_in_a_text_and_what_looks_like_one_is_none() {
        let text = &spelled(&SECRET);
        for around in [text.clone(), format!("/a?hersh_=1&b={text}x")] {
            assert!(is_in(&around), "{around}");
        }
        let wrong = format!("/hersh_{}", "0".repeat(72));
        for other in [
            "",
            "/hersh_",
            "/hersh_\u{e9}",
            &text[..77],
            &text[1..],
            &wrong,
        ] {
            assert!(!is_in(other), "{other}");
        }
    }
}
