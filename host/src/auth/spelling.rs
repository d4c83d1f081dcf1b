//! Whether a token stands in a text, however it is spelled there: whoever reads a log or a program
//! that decodes what it gets would have it otherwise.

use std::borrow::Cow;

use super::Token;

/// Rounds of decoding. A text that has escapes left after so many is taken for one that hides
/// something.
const ROUNDS_MAX: usize = 16;

impl Token {
    /// Whether there is one somewhere in `text` as it stands, or as any number of decodings leaves
    /// it: per cent escapes of either case and of either form (`%68`, `%u0068`), and UTF-8 that is
    /// longer than it has to be.
    #[must_use]
    pub(crate) fn is_spelled_in(text: &[u8]) -> bool {
        let mut text = Cow::Borrowed(text);
        for _ in 0..ROUNDS_MAX {
            // The secret is known to whoever reads it in capitals, too.
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
}

fn stands_in(text: &[u8]) -> bool {
    text.contains(&b'_') && Token::is_in(&String::from_utf8_lossy(text).to_ascii_lowercase())
}

/// The text with one layer of escapes taken off; `None` if it has none.
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

/// The byte that the text begins with in more bytes than one, and how many those are.
fn escaped(text: &[u8]) -> Option<(u8, usize)> {
    let trail = |at: usize| {
        text.get(at)
            .filter(|it| *it & 0xc0 == 0x80)
            .map(|it| it & 0x3f)
    };
    let ascii = |high: u8, low: u8| u8::try_from(u16::from(high) << 6 | u16::from(low)).ok();
    match *text {
        [b'%', b'u' | b'U', b'0', b'0', high, low, ..] => Some((hex(high, low)?, 6)),
        [b'%', high, low, ..] => Some((hex(high, low)?, 3)),
        // ASCII in two, three and four bytes, which is no UTF-8 and is read by some all the same.
        [first @ (0xc0 | 0xc1), ..] => Some((ascii(first & 1, trail(1)?)?, 2)),
        [0xe0, middle @ (0x80 | 0x81), ..] => Some((ascii(middle & 1, trail(2)?)?, 3)),
        [0xf0, 0x80, middle @ (0x80 | 0x81), ..] => Some((ascii(middle & 1, trail(3)?)?, 4)),
        _ => None,
    }
}

/// The byte that two hexadecimal digits stand for.
fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(text: &str) -> String {
        text.bytes().map(|byte| format!("%{byte:02x}")).collect()
    }

    #[test]
    fn a_token_is_found_however_it_is_escaped() {
        let token = Token::generate().unwrap();
        let text = token.reveal();
        let one = text.replacen('h', "%68", 1);
        let mut often = text.to_owned();
        for _ in 0..3 {
            often = percent(&often);
        }
        for spelled in [
            text.to_owned(),
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
            assert!(Token::is_spelled_in(spelled.as_bytes()), "{spelled}");
        }
        let raw = [b"/\xc1\xa8", &text.as_bytes()[1..]].concat();
        assert!(Token::is_spelled_in(&raw));
    }

    #[test]
    fn what_is_no_token_passes_with_its_escapes() {
        let token = Token::generate().unwrap();
        let text = token.reveal();
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
            assert!(!Token::is_spelled_in(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn what_is_escaped_without_end_counts_as_hiding_one() {
        let deep = format!("%{}41", "25".repeat(ROUNDS_MAX + 1));
        assert!(Token::is_spelled_in(deep.as_bytes()));
        assert!(!Token::is_spelled_in(&deep.as_bytes()[..2 * ROUNDS_MAX]));
    }
}
