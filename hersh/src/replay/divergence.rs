//! Where a replay first differs from its journal, told so that a person finds the line.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::rehearsal::RehearsedRun;
use crate::HookError;
use crate::engine::RunKind;
use crate::journal::{RecordedActs, RecordedOutcome, RecordedRun};

/// Longest text of a message or value in a report, characters.
const SHOWN_CHARACTERS: usize = 300;

/// The first run that a managed function did not make as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The number of the run.
    pub run: u64,
    /// What caused the run: its message, the variables that changed.
    pub signal: String,
    /// The first difference.
    pub difference: Difference,
    /// The part of the journal that holds the run.
    pub file: PathBuf,
    /// The position of the run in that part, bytes from its beginning.
    pub offset: usize,
}

/// A difference between a run and its record. Of several, the first in this order is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The run cannot begin: a recorded value is no value of its variable.
    Input {
        /// Which value, and why.
        what: String,
    },
    /// A line of the log.
    Log {
        /// The number of the line in this run, from 1.
        line: usize,
        /// The recorded line, if there is one.
        expected: Option<String>,
        /// The replayed line, if there is one.
        seen: Option<String>,
    },
    /// A key of the durable context.
    Context {
        /// The key.
        key: Arc<str>,
        /// The JSON that was recorded as set, if it was.
        expected: Option<String>,
        /// The JSON that was set now, if it was.
        seen: Option<String>,
    },
    /// An effect that the run asked for or cancelled, or another run that it asked for.
    Effect {
        /// The place among all that this run asked for, from 1.
        place: usize,
        /// What was recorded as asked for, if anything.
        expected: Option<String>,
        /// What was asked for now, if anything.
        seen: Option<String>,
    },
    /// The number of random numbers that the run drew.
    Draws {
        /// The recorded number.
        expected: u64,
        /// The replayed number.
        seen: u64,
    },
    /// The way the run ended.
    Outcome {
        /// The recorded outcome.
        expected: String,
        /// The replayed outcome.
        seen: String,
    },
}

impl Divergence {
    pub(super) fn new(
        recorded: &RecordedRun,
        difference: Difference,
        file: PathBuf,
        offset: usize,
    ) -> Self {
        Self {
            run: recorded.run,
            signal: signal(recorded),
            difference,
            file,
            offset,
        }
    }
}

/// Compares a run with its record.
pub(super) fn check(
    recorded: &RecordedRun,
    seen: Result<RehearsedRun, String>,
) -> Result<(), Difference> {
    let seen = match seen {
        Ok(seen) => seen,
        Err(what) => return Err(Difference::Input { what }),
    };
    // How far a run came before it was cut short is chance; whether a replay cuts it short is too.
    match recorded.outcome {
        RecordedOutcome::Dropped | RecordedOutcome::TimedOut => return Ok(()),
        RecordedOutcome::Succeeded
        | RecordedOutcome::Steered { .. }
        | RecordedOutcome::Failed { .. }
        | RecordedOutcome::Unsaved { .. } => {}
    }
    if let Some(hook) = seen.hook.filter(HookError::is_set_up)
        && !matches!(recorded.outcome, RecordedOutcome::Failed { .. })
    {
        let what = hook.to_string();
        return Err(Difference::Input { what });
    }
    let run = seen.run;
    compare_logs(recorded, &run)?;
    compare_context(recorded, &run)?;
    compare_effects(recorded, &run)?;
    if recorded.draws != run.draws {
        return Err(Difference::Draws {
            expected: recorded.draws,
            seen: run.draws,
        });
    }
    let matches = match &recorded.outcome {
        RecordedOutcome::Unsaved { .. } => run.outcome.keeps_changes(),
        RecordedOutcome::Succeeded
        | RecordedOutcome::Steered { .. }
        | RecordedOutcome::Failed { .. }
        | RecordedOutcome::TimedOut
        | RecordedOutcome::Dropped => run.outcome == recorded.outcome,
    };
    if matches {
        return Ok(());
    }
    Err(Difference::Outcome {
        expected: recorded.outcome.to_string(),
        seen: run.outcome.to_string(),
    })
}

fn compare_logs(recorded: &RecordedRun, seen: &RecordedRun) -> Result<(), Difference> {
    let longest = recorded.logs.len().max(seen.logs.len());
    for line in 0..longest {
        let (expected, seen) = (recorded.logs.get(line), seen.logs.get(line));
        if expected != seen {
            let text = |line: Option<&Arc<str>>| line.map(|line| cut(line));
            return Err(Difference::Log {
                line: line + 1,
                expected: text(expected),
                seen: text(seen),
            });
        }
    }
    if recorded.logs_left_out != seen.logs_left_out {
        let total = |run: &RecordedRun| Some(format!("{} more lines", run.logs_left_out));
        return Err(Difference::Log {
            line: longest + 1,
            expected: total(recorded),
            seen: total(seen),
        });
    }
    Ok(())
}

fn compare_context(recorded: &RecordedRun, seen: &RecordedRun) -> Result<(), Difference> {
    let by_key = |run: &RecordedRun| run.context.iter().cloned().collect::<BTreeMap<_, _>>();
    let (recorded, seen) = (by_key(recorded), by_key(seen));
    let keys = recorded.keys().chain(seen.keys());
    // Of several keys the first in order is taken, so that a report is the same each time.
    let differs = keys
        .filter(|key| recorded.get(*key) != seen.get(*key))
        .min();
    let Some(key) = differs else {
        return Ok(());
    };
    let text = |side: &BTreeMap<Arc<str>, Option<Arc<str>>>| {
        let change = side.get(key)?;
        Some(change.as_ref().map_or("removed".into(), |json| cut(json)))
    };
    Err(Difference::Context {
        key: key.clone(),
        expected: text(&recorded),
        seen: text(&seen),
    })
}

fn compare_effects(recorded: &RecordedRun, seen: &RecordedRun) -> Result<(), Difference> {
    let (recorded, seen) = (asks(&recorded.acts), asks(&seen.acts));
    let longest = recorded.len().max(seen.len());
    let differs = |place: &usize| recorded.get(*place) != seen.get(*place);
    let Some(place) = (0..longest).find(differs) else {
        return Ok(());
    };
    Err(Difference::Effect {
        place: place + 1,
        expected: recorded.get(place).map(|text| cut(text)),
        seen: seen.get(place).map(|text| cut(text)),
    })
}

/// Returns what a run asked for, a sentence for each.
fn asks(acts: &RecordedActs) -> Vec<String> {
    let asked = acts.asked.iter().map(|ask| {
        let (effect, number, input) = (&ask.effect, ask.id.number, &ask.input);
        match &ask.key {
            None => format!("{effect} {number} with {input}"),
            Some(key) => format!("{effect} {number} in order of {key:?} with {input}"),
        }
    });
    let cancelled = acts.cancelled.iter().map(|id| format!("cancel {id}"));
    let again = acts.again.then(|| "another run".to_owned());
    let replied = acts.reply.iter().map(|reply| format!("reply {reply}"));
    asked.chain(cancelled).chain(again).chain(replied).collect()
}

/// Returns what caused a run.
fn signal(recorded: &RecordedRun) -> String {
    let mut causes = Vec::new();
    match recorded.kind {
        RunKind::Init => causes.push("start".to_owned()),
        RunKind::Recover => causes.push("retry".to_owned()),
        RunKind::Signal => {}
    }
    if let Some(message) = &recorded.message {
        causes.push(format!("message {:?}", cut(message)));
    }
    if let Some(settled) = &recorded.acts.settled {
        causes.push(format!("outcome of {} {}", settled.effect, settled.id));
    }
    if !recorded.acts.timers.is_empty() {
        causes.push(format!("due {}", cut(&recorded.acts.timers.join(", "))));
    }
    let names = recorded.updates.iter().map(|update| update.name.as_str());
    let names: Vec<&str> = names.collect();
    if !names.is_empty() {
        causes.push(format!("changed {}", cut(&names.join(", "))));
    }
    causes.join(", ")
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "run {} ({}) differs from the journal ({} at byte {}): {} (the environment is not \
             recorded: replay with the same)",
            self.run,
            self.signal,
            self.file.display(),
            self.offset,
            self.difference
        )
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nothing = || "nothing".to_owned();
        let quoted =
            |text: &Option<String>| text.as_ref().map_or_else(nothing, |it| format!("{it:?}"));
        let plain = |text: &Option<String>| text.clone().unwrap_or_else(nothing);
        match self {
            Self::Input { what } => write!(f, "it cannot begin as recorded: {what}"),
            Self::Log {
                line,
                expected,
                seen,
            } => write!(
                f,
                "log line {line}: expected {}, seen {}",
                quoted(expected),
                quoted(seen)
            ),
            Self::Context {
                key,
                expected,
                seen,
            } => write!(
                f,
                "context key {key:?}: expected {}, seen {}",
                plain(expected),
                plain(seen)
            ),
            Self::Effect {
                place,
                expected,
                seen,
            } => write!(
                f,
                "effect {place}: expected {}, seen {}",
                plain(expected),
                plain(seen)
            ),
            Self::Draws { expected, seen } => {
                write!(f, "random numbers drawn: expected {expected}, seen {seen}")
            }
            Self::Outcome { expected, seen } => {
                write!(f, "outcome: expected it {expected}, seen that it {seen}")
            }
        }
    }
}
