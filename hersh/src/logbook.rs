//! The watcher's bounded log, and its structured lines on stdout.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use crate::{clock::rfc3339, sync::locked};

/// Most lines that a watcher keeps; the oldest goes first.
pub const LOG_LINE_LIMIT: usize = 1_000;
/// Longest message of a line, bytes; a longer one is cut.
pub const LOG_MESSAGE_LIMIT_BYTES: usize = 8 * 1024;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As expected.
    Info,
    /// Worth a look.
    Warn,
    /// Something failed.
    Error,
}

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogKind {
    /// The managed function, by [`crate::Context::log`].
    Effect,
    /// The engine, about a failure or its recovery.
    StateFault,
    /// The engine, about the watcher's life.
    Lifecycle,
}

/// One line of the log.
#[derive(Clone, Debug, Serialize)]
pub struct LogLine {
    /// 1 for the first line of a watcher, then without gaps.
    pub id: u64,
    /// When.
    #[serde(serialize_with = "as_rfc3339")]
    pub time: SystemTime,
    /// How much it matters.
    pub level: Level,
    /// Who wrote it.
    pub kind: LogKind,
    /// The run it belongs to, 0 for none.
    pub run: u64,
    /// What it says.
    pub message: Arc<str>,
}

/// The log of one watcher.
#[derive(Debug)]
pub(crate) struct Logbook {
    lines: Mutex<Lines>,
    watcher: Option<Arc<str>>,
}

#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<LogLine>,
    last_id: u64,
}

/// A line as stdout gets it.
#[derive(Serialize)]
struct Printed<'a> {
    watcher: &'a str,
    #[serde(flatten)]
    line: &'a LogLine,
}

impl Logbook {
    /// An empty log; `stdout` names the watcher when lines are printed too.
    pub(crate) fn new(stdout: Option<Arc<str>>) -> Self {
        Self {
            lines: Mutex::default(),
            watcher: stdout,
        }
    }

    /// Adds a line.
    pub(crate) fn write(
        &self,
        time: SystemTime,
        level: Level,
        kind: LogKind,
        run: u64,
        message: &str,
    ) {
        let message = Arc::from(cut(message));
        let mut lines = locked(&self.lines);
        lines.last_id += 1;
        let line = LogLine {
            id: lines.last_id,
            time,
            level,
            kind,
            run,
            message,
        };
        if lines.kept.len() == LOG_LINE_LIMIT {
            lines.kept.pop_front();
        }
        lines.kept.push_back(line.clone());
        drop(lines);
        if let Some(watcher) = &self.watcher {
            print(watcher, &line);
        }
    }

    /// The kept lines, oldest first.
    pub(crate) fn lines(&self) -> Vec<LogLine> {
        locked(&self.lines).kept.iter().cloned().collect()
    }
}

/// Prints one line. A closed stdout is no reason to end a program, so it is ignored.
fn print(watcher: &str, line: &LogLine) {
    if let Ok(mut text) = serde_json::to_vec(&Printed { watcher, line }) {
        text.push(b'\n');
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(&text).and_then(|()| stdout.flush());
    }
}

/// At most [`LOG_MESSAGE_LIMIT_BYTES`] of `message`, cut between characters.
fn cut(message: &str) -> &str {
    let mut end = message.len().min(LOG_MESSAGE_LIMIT_BYTES);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

/// Serialises a time as RFC 3339.
pub(crate) fn as_rfc3339<S: Serializer>(time: &SystemTime, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&rfc3339(*time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_and_its_ids_never_repeat() {
        let log = Logbook::new(None);
        for n in 1..=LOG_LINE_LIMIT + 10 {
            let time = SystemTime::UNIX_EPOCH;
            log.write(time, Level::Info, LogKind::Effect, 1, &format!("{n}"));
        }
        let ids: Vec<u64> = log.lines().iter().map(|line| line.id).collect();
        assert_eq!(ids, (11..=LOG_LINE_LIMIT as u64 + 10).collect::<Vec<u64>>());
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let text = "é".repeat(LOG_MESSAGE_LIMIT_BYTES);
        assert_eq!(cut(&text).len(), LOG_MESSAGE_LIMIT_BYTES);
        let odd = format!("x{text}");
        assert_eq!(cut(&odd).len(), LOG_MESSAGE_LIMIT_BYTES - 1);
    }
}
