//! Joins the pieces that an engine writes into lines.

use std::collections::HashMap;

use hersh_storage::output::{LINE_BYTES, LogLine, Stream};

use super::engine_log::Piece;

/// The space for the note on how much of a line was left out, bytes.
const NOTE_BYTES: usize = 64;

/// Joins pieces into lines. The engine ends a line with a line feed, and splits long lines into pieces.
#[derive(Default)]
pub(super) struct Lines {
    /// The lines whose end did not come yet, at most one for each stream.
    unfinished: HashMap<char, UnfinishedLine>,
}

struct UnfinishedLine {
    line: LogLine,
    left_out_bytes: usize,
}

impl Lines {
    /// Takes in a piece, and returns the line that the piece ends.
    pub(super) fn take(&mut self, piece: Piece) -> Option<LogLine> {
        let Piece { at, stream, text } = piece;
        let ends = text.ends_with('\n');
        let text = if ends {
            text.trim_end_matches(['\n', '\r'])
        } else {
            &text
        };
        let key = key(stream);
        // Most lines come whole.
        if ends && text.len() <= LINE_BYTES && !self.unfinished.contains_key(&key) {
            let text = text.to_owned();
            return Some(LogLine { at, stream, text });
        }
        let begun = self
            .unfinished
            .entry(key)
            .or_insert_with(|| UnfinishedLine {
                line: LogLine {
                    at,
                    stream,
                    text: String::new(),
                },
                left_out_bytes: 0,
            });
        let free_bytes = LINE_BYTES.saturating_sub(begun.line.text.len());
        let kept = text.floor_char_boundary(free_bytes);
        begun.line.text.push_str(&text[..kept]);
        begun.left_out_bytes = begun.left_out_bytes.saturating_add(text.len() - kept);
        if !ends {
            return None;
        }
        self.unfinished.remove(&key).map(UnfinishedLine::end)
    }

    /// Returns the lines that have no end yet, as they are.
    pub(super) fn finish(&mut self) -> Vec<LogLine> {
        let unfinished = std::mem::take(&mut self.unfinished);
        let mut lines: Vec<LogLine> = unfinished.into_values().map(UnfinishedLine::end).collect();
        lines.sort_by(|one, other| one.at.cmp(&other.at));
        lines
    }
}

impl UnfinishedLine {
    fn end(self) -> LogLine {
        let (mut line, mut left_out_bytes) = (self.line, self.left_out_bytes);
        if left_out_bytes > 0 {
            let kept = line.text.floor_char_boundary(LINE_BYTES - NOTE_BYTES);
            left_out_bytes = left_out_bytes.saturating_add(line.text.len() - kept);
            line.text.truncate(kept);
            let note = format!(" [{left_out_bytes} bytes of this line left out]");
            line.text.push_str(&note);
        }
        line
    }
}

pub(super) fn key(stream: Stream) -> char {
    match stream {
        Stream::Stdout => 'o',
        Stream::Stderr => 'e',
        Stream::Host => 'h',
        Stream::Mark => 'm',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(stream: Stream, text: &str) -> Piece {
        Piece {
            at: "2026-01-01T00:00:00.000000000Z".to_owned(),
            stream,
            text: text.to_owned(),
        }
    }

    #[test]
    fn pieces_of_two_streams_become_lines_of_their_own() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(piece(Stream::Stdout, "a")), None);
        let other = lines.take(piece(Stream::Stderr, "b\r\n")).unwrap();
        assert_eq!((other.stream, other.text.as_str()), (Stream::Stderr, "b"));
        assert_eq!(lines.take(piece(Stream::Stdout, "c\n")).unwrap().text, "ac");
        assert_eq!(lines.take(piece(Stream::Stdout, "no end")), None);
        assert_eq!(lines.finish()[0].text, "no end");
        assert_eq!(lines.finish(), []);
    }

    #[test]
    fn a_cut_line_says_how_much_is_missing() {
        let mut lines = Lines::default();
        let long = "€".repeat(4_000);
        assert_eq!(lines.take(piece(Stream::Stdout, &long)), None);
        assert_eq!(lines.take(piece(Stream::Stdout, &long)), None);
        let line = lines.take(piece(Stream::Stdout, "end\n")).unwrap();
        assert!(line.text.len() <= LINE_BYTES);
        let (kept, note) = line.text.split_once(" [").unwrap();
        let missing = 2 * long.len() + 3 - kept.len();
        assert_eq!(note, format!("{missing} bytes of this line left out]"));
        let whole = "x".repeat(LINE_BYTES);
        let line = lines.take(piece(Stream::Stdout, &format!("{whole}\n")));
        assert_eq!(line.unwrap().text, whole);
    }
}
