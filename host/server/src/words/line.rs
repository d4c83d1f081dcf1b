//! Shows the texts of others as one line.

/// The longest line, characters; the API shows a cause whole.
const CHARS_MAX: usize = 300;

/// Returns a text as one line of bounded length, without what could make two lines of it or steer a terminal:
/// a cause may quote what a program or an engine printed.
pub(crate) fn one_line(text: &str) -> String {
    let is_gap = |c: char| c.is_whitespace() || c.is_control();
    let mut line = String::new();
    for word in text.split(is_gap).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&hersh_wire::shown(word));
        // The rest of a long text is not even looked at.
        if line.len() > 4 * CHARS_MAX {
            break;
        }
    }
    match line.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_one_line_of_bounded_length() {
        assert_eq!(one_line("\n\n  a\u{1b}[31mb\u{7}  \r\nc"), "a [31mb c");
        for long in ["x".repeat(5_000), "ü ".repeat(5_000)] {
            assert_eq!(one_line(&long).chars().count(), CHARS_MAX + 1);
        }
        assert_eq!(one_line(""), "");
    }
}
