//! The stored output of programs.
//!
//! ```text
//! {program}/logs/program.log      the newest lines, one line each: time, stream, text
//! {program}/logs/program.log.1    older lines; both files together take at most the program's log limit
//! ```

use hersh_program::Logs;
use serde::{Deserialize, Serialize};

/// The source of a line: a stream of the program, or the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A message of the host, such as about lines that were dropped.
    Host,
    /// A mark of the host: where an instance began, or how it ended. Only readers that ask for marks get it.
    Mark,
}

impl Stream {
    /// Returns the stream's name, as the API shows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Host => "host",
            Self::Mark => "instance",
        }
    }
}

/// One line of a program's output, or of the host about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When the engine received the line: RFC 3339, UTC, nine digits of fraction, so that texts sort by time.
    pub at: String,
    /// The stream that the line was written to.
    pub stream: Stream,
    /// The text without the line end, cut at [`LINE_BYTES`].
    pub text: String,
}

/// The longest line that is kept, bytes; the rest of a longer one is dropped.
pub const LINE_BYTES: usize = 16 * 1024;
/// The most log lines that are stored with the cause of a failure.
pub const CAUSE_LINES: usize = 50;
/// The longest log line that is stored with the cause of a failure, characters.
const CAUSE_CHARS: usize = 500;

impl LogLine {
    /// Appends the line to `to` in its stored form, with its line end.
    pub(super) fn encode(&self, to: &mut String) {
        let stream = match self.stream {
            Stream::Stdout => 'o',
            Stream::Stderr => 'e',
            Stream::Host => 'h',
            Stream::Mark => 'm',
        };
        to.push_str(&self.at);
        to.push(' ');
        to.push(stream);
        to.push(' ');
        to.push_str(&self.text);
        to.push('\n');
    }

    /// Reads a stored line without its line end; returns `None` for a line that a crash left incomplete.
    pub(super) fn decode(line: &[u8]) -> Option<Self> {
        let line = String::from_utf8_lossy(line);
        let mut parts = line.splitn(3, ' ');
        let (at, stream, text) = (parts.next()?, parts.next()?, parts.next()?);
        let stream = match stream {
            "o" => Stream::Stdout,
            "e" => Stream::Stderr,
            "h" => Stream::Host,
            "m" => Stream::Mark,
            _unknown => return None,
        };
        (at.len() == TIME_LENGTH && at.ends_with('Z')).then(|| Self {
            at: at.to_owned(),
            stream,
            text: text.to_owned(),
        })
    }
}

/// Returns whether a stored line is a mark of an instance.
pub(super) fn is_mark(line: &[u8]) -> bool {
    line.get(TIME_LENGTH..TIME_LENGTH + 3) == Some(b" m ")
}

const TIME_LENGTH: usize = "2026-01-01T00:00:00.000000000Z".len();

/// Brings an engine's time to the form of [`LogLine::at`]; engines leave out trailing zeros of the
/// fraction. Returns `None` for a text that is not a UTC time.
pub fn normal_time(text: &str) -> Option<String> {
    let text = text.strip_suffix('Z')?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.len() <= 9 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || seconds.len() != 19 {
        return None;
    }
    let mut time = String::with_capacity(TIME_LENGTH);
    time.push_str(seconds);
    time.push('.');
    time.push_str(fraction);
    time.extend(std::iter::repeat_n('0', 9 - fraction.len()));
    time.push('Z');
    Some(time)
}

/// Cuts lines to those that may be stored with the cause of a failure: the last 50, 500 characters each.
pub fn for_cause<T: AsRef<str>>(lines: impl IntoIterator<Item = T>) -> Logs {
    let mut kept: Vec<String> = lines
        .into_iter()
        .map(|line| line.as_ref().chars().take(CAUSE_CHARS).collect())
        .collect();
    kept.drain(..kept.len().saturating_sub(CAUSE_LINES));
    kept
}
