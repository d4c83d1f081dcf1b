//! Makes text that strangers wrote safe to show.

use std::fmt::Write;

/// Returns whether a character is hidden: it shows nothing itself and changes the text around it. It controls
/// a terminal, turns the direction of writing, or hides in a word.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Returns the text with its hidden characters written out, such as `\u{202e}`.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            // Writing to a `String` never fails.
            let _ = write!(shown, "{}", c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_written_out_and_the_rest_stays() {
        for plain in ["", "añ✓ \"x\" \\", "नमस्ते", "שלום", "👩\u{200d}👧"] {
            assert_eq!(shown(plain), plain);
        }
        for (text, expected) in [
            ("a\u{202e}b", "a\\u{202e}b"),
            ("\u{2066}x\u{2069}", "\\u{2066}x\\u{2069}"),
            ("a\u{200b}\u{feff}", "a\\u{200b}\\u{feff}"),
            ("\u{1b}[31m\n", "\\u{1b}[31m\\u{a}"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }
}
