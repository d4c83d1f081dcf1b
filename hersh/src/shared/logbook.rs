//! The watcher's bounded log, and its structured lines on stdout.
//!
//! Each kind of line has a ring of its own, so that many lines of one kind cannot push out the
//! lines of another. How runs ended is kept as data and becomes text only when somebody reads it,
//! because every run adds one.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

use crate::base::clock::rfc3339;
use crate::base::sync::{Mutex, locked};

/// Most lines of each kind that a watcher keeps; the oldest goes first.
pub const LOG_LINE_LIMIT: usize = 1_000;
/// Longest message of a line, bytes; a longer one is cut.
pub const LOG_MESSAGE_LIMIT_BYTES: usize = 8 * 1024;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something went as expected.
    Info,
    /// Something is worth a look.
    Warn,
    /// Something failed.
    Error,
}

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogKind {
    /// A line of the managed function itself, from [`crate::Context::log`].
    Effect,
    /// The watcher's life: its start, its first success, its end.
    Reduce,
    /// A source of a watched variable failed, or ended.
    WatchError,
    /// A key of the durable context changed. Not printed on stdout.
    Context,
    /// A run failed, the watcher recovered, or something could not be kept as it should.
    StateFault,
    /// How a run ended. Not printed on stdout.
    EffectResult,
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// Grows from line to line over all kinds and never repeats.
    pub id: u64,
    /// When the line was written.
    #[serde(serialize_with = "as_rfc3339")]
    pub time: SystemTime,
    /// How much the line matters.
    pub level: Level,
    /// What the line is about.
    pub kind: LogKind,
    /// The run that the line belongs to, 0 for none.
    pub run: u64,
    /// The text of the line.
    pub message: Arc<str>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub(crate) struct RunResult {
    /// The run.
    pub(crate) run: u64,
    /// When the run ended, milliseconds since the Unix epoch.
    pub(crate) at_ms: u64,
    /// The time from the run's beginning to its end.
    pub(crate) took: Duration,
    /// Why the run did not succeed; `None` when it did.
    pub(crate) failure: Option<Arc<str>>,
}

/// The log of one watcher.
#[derive(Debug)]
pub(crate) struct Logbook {
    rings: Mutex<Rings>,
    results: Mutex<VecDeque<(u64, RunResult)>>,
    next_id: AtomicU64,
    /// The name of the watcher in the lines on stdout; `None` prints none.
    printed_name: Option<Arc<str>>,
}

#[derive(Debug, Default)]
struct Rings {
    effect: VecDeque<LogLine>,
    reduce: VecDeque<LogLine>,
    watch_error: VecDeque<LogLine>,
    context: VecDeque<LogLine>,
    state_fault: VecDeque<LogLine>,
}

/// A line as stdout gets it.
#[derive(Serialize)]
struct PrintedLine<'a> {
    watcher: &'a str,
    #[serde(flatten)]
    line: &'a LogLine,
}

impl LogKind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Effect,
        Self::Reduce,
        Self::WatchError,
        Self::Context,
        Self::StateFault,
        Self::EffectResult,
    ];
}

impl Logbook {
    /// Returns an empty log. With `printed_name`, lines are printed on stdout too, under this name of
    /// the watcher.
    pub(crate) fn new(printed_name: Option<Arc<str>>) -> Self {
        Self {
            rings: Mutex::new(Rings::default()),
            results: Mutex::new(VecDeque::new()),
            next_id: AtomicU64::new(1),
            printed_name,
        }
    }

    /// Adds a line and returns it. Lines of kind `EffectResult` go to [`Logbook::write_run_end`].
    pub(crate) fn write(
        &self,
        time: SystemTime,
        level: Level,
        kind: LogKind,
        run: u64,
        message: &str,
    ) -> LogLine {
        let message = Arc::from(cut(message));
        let mut rings = locked(&self.rings);
        let line = LogLine {
            // The id is taken under the lock, so that a later line of a ring has the greater one.
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            time,
            level,
            kind,
            run,
            message,
        };
        if let Some(ring) = rings.ring_mut(kind) {
            push(ring, line.clone());
        }
        drop(rings);
        match (&self.printed_name, kind) {
            (
                Some(watcher),
                LogKind::Effect | LogKind::Reduce | LogKind::WatchError | LogKind::StateFault,
            ) => print(watcher, &line),
            (Some(_), LogKind::Context | LogKind::EffectResult) | (None, _) => {}
        }
        line
    }

    /// Adds the end of a run.
    pub(crate) fn write_run_end(&self, result: RunResult) {
        let mut results = locked(&self.results);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        push(&mut results, (id, result));
    }

    /// Returns how many lines of all kinds were written so far, kept or not. A caller that reads
    /// the log afterwards sees all of them: ids are given out under the locks of the rings.
    #[cfg(feature = "api")]
    pub(crate) fn written(&self) -> u64 {
        self.next_id.load(Ordering::Relaxed) - 1
    }

    /// Returns when the last run ended, milliseconds since the Unix epoch.
    #[cfg(feature = "api")]
    pub(crate) fn last_ended_ms(&self) -> Option<u64> {
        locked(&self.results).back().map(|(_, result)| result.at_ms)
    }

    /// Returns the newest lines of one kind, at most `limit`, oldest first.
    pub(crate) fn newest(&self, kind: LogKind, limit: usize) -> Vec<LogLine> {
        if kind == LogKind::EffectResult {
            let results = locked(&self.results);
            let skipped = results.len().saturating_sub(limit);
            return results.iter().skip(skipped).map(run_line).collect();
        }
        let mut rings = locked(&self.rings);
        let Some(ring) = rings.ring_mut(kind) else {
            return Vec::new();
        };
        ring.range(ring.len().saturating_sub(limit)..)
            .cloned()
            .collect()
    }

    /// Returns the kept lines of some kinds, oldest first.
    pub(crate) fn lines(&self, kinds: &[LogKind]) -> Vec<LogLine> {
        let lines = kinds.iter().flat_map(|kind| self.newest(*kind, usize::MAX));
        let mut lines: Vec<LogLine> = lines.collect();
        lines.sort_by_key(|line| line.id);
        lines
    }
}

impl Rings {
    fn ring_mut(&mut self, kind: LogKind) -> Option<&mut VecDeque<LogLine>> {
        match kind {
            LogKind::Effect => Some(&mut self.effect),
            LogKind::Reduce => Some(&mut self.reduce),
            LogKind::WatchError => Some(&mut self.watch_error),
            LogKind::Context => Some(&mut self.context),
            LogKind::StateFault => Some(&mut self.state_fault),
            LogKind::EffectResult => None,
        }
    }
}

fn push<T>(ring: &mut VecDeque<T>, item: T) {
    if ring.len() == LOG_LINE_LIMIT {
        ring.pop_front();
    }
    ring.push_back(item);
}

fn run_line((id, result): &(u64, RunResult)) -> LogLine {
    let took = result.took;
    let (level, message) = match &result.failure {
        None => (Level::Info, format!("succeeded in {took:?}")),
        Some(reason) => (Level::Warn, format!("failed after {took:?}: {reason}")),
    };
    LogLine {
        id: *id,
        time: UNIX_EPOCH + Duration::from_millis(result.at_ms),
        level,
        kind: LogKind::EffectResult,
        run: result.run,
        message: message.into(),
    }
}

/// Prints one line. An error of stdout is ignored: a closed stdout is no reason to end a program.
fn print(watcher: &str, line: &LogLine) {
    if let Ok(mut text) = serde_json::to_vec(&PrintedLine { watcher, line }) {
        text.push(b'\n');
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(&text).and_then(|()| stdout.flush());
    }
}

/// Returns at most [`LOG_MESSAGE_LIMIT_BYTES`] of `message`, cut between characters.
fn cut(message: &str) -> &str {
    let mut end = message.len().min(LOG_MESSAGE_LIMIT_BYTES);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

/// Serialises a time as RFC 3339.
pub(crate) fn as_rfc3339<S: Serializer>(time: &SystemTime, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(&rfc3339(*time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(log: &Logbook, kind: LogKind, message: &str) {
        log.write(UNIX_EPOCH, Level::Info, kind, 1, message);
    }

    #[test]
    fn the_log_is_bounded_and_its_ids_never_repeat() {
        let log = Logbook::new(None);
        for n in 1..=LOG_LINE_LIMIT + 10 {
            write(&log, LogKind::Effect, &format!("{n}"));
        }
        let ids: Vec<u64> = log
            .lines(&[LogKind::Effect])
            .iter()
            .map(|it| it.id)
            .collect();
        assert_eq!(ids, (11..=LOG_LINE_LIMIT as u64 + 10).collect::<Vec<u64>>());
    }

    #[test]
    fn chatter_of_one_kind_pushes_out_no_other() {
        let log = Logbook::new(None);
        write(&log, LogKind::StateFault, "a fault");
        for run in 0..3 * LOG_LINE_LIMIT as u64 {
            write(&log, LogKind::Effect, "chatter");
            log.write_run_end(RunResult {
                run,
                at_ms: 0,
                took: Duration::ZERO,
                failure: None,
            });
        }
        let first = &log.lines(&LogKind::ALL)[0];
        assert_eq!((first.id, first.message.as_ref()), (1, "a fault"));
        assert_eq!(log.lines(&LogKind::ALL).len(), 1 + 2 * LOG_LINE_LIMIT);
        let newest = log.newest(LogKind::EffectResult, 2);
        let runs: Vec<u64> = newest.iter().map(|line| line.run).collect();
        assert_eq!(runs, [2_998, 2_999]);
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let text = "é".repeat(LOG_MESSAGE_LIMIT_BYTES);
        assert_eq!(cut(&text).len(), LOG_MESSAGE_LIMIT_BYTES);
        let odd = format!("x{text}");
        assert_eq!(cut(&odd).len(), LOG_MESSAGE_LIMIT_BYTES - 1);
    }
}
