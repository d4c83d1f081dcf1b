//! One line per check, grouped by phase, and whether all of them held.
//!
//! ```text
//! phase ──► check(what, Ok(seen))  ──►   ok    what: what was seen
//!       └─► check(what, Err(found)) ─►   FAIL  what: what was found ──► finish: failure
//! ```

use std::{
    fmt::{self, Debug},
    io::{self, Write},
};

use anyhow::{Result, ensure};

/// What a check saw: a line for the reader, a value for the checks after it.
pub(crate) struct Seen<T> {
    value: T,
    evidence: String,
}

/// A check that held, by `evidence`.
pub(crate) fn seen<T>(value: T, evidence: impl Into<String>) -> Result<Seen<T>> {
    Ok(Seen {
        value,
        evidence: evidence.into(),
    })
}

/// Fails unless `found` is `asked`.
pub(crate) fn same<T: Debug + PartialEq + ?Sized>(what: &str, found: &T, asked: &T) -> Result<()> {
    ensure!(
        found == asked,
        "{what}: found {found:?}, asked for {asked:?}"
    );
    Ok(())
}

/// A check failed, and the phase can't go on without what it was to see. The report has it.
#[derive(Debug)]
pub(crate) struct PhaseOver;

/// What was checked so far.
pub(crate) struct Report<W = io::Stdout> {
    out: W,
    phase: &'static str,
    held: usize,
    failed: Vec<String>,
}

impl Report {
    /// An empty report that prints as it grows.
    pub(crate) fn new() -> Self {
        Self::to(io::stdout())
    }
}

impl<W: Write> Report<W> {
    fn to(out: W) -> Self {
        Self {
            out,
            phase: "",
            held: 0,
            failed: Vec::new(),
        }
    }

    /// Begins a group of checks.
    pub(crate) fn phase(&mut self, title: &'static str) {
        let gap = if self.phase.is_empty() { "" } else { "\n" };
        self.phase = title;
        self.print(format_args!("{gap}{title}"));
    }

    /// Takes one check in and prints its line.
    ///
    /// # Errors
    /// [`PhaseOver`] when it did not hold, for checks that others stand on.
    pub(crate) fn check<T>(&mut self, what: &str, found: Result<Seen<T>>) -> Result<T, PhaseOver> {
        match found {
            Ok(seen) => {
                self.held += 1;
                self.print(format_args!("  ok    {what}: {}", seen.evidence));
                Ok(seen.value)
            }
            Err(error) => {
                self.print(format_args!("  FAIL  {what}: {error:#}"));
                self.failed
                    .push(format!("{}: {what}: {error:#}", self.phase));
                Err(PhaseOver)
            }
        }
    }

    /// Prints the sum. True when there were checks and every one held.
    pub(crate) fn finish(mut self) -> bool {
        let (held, failed) = (self.held, std::mem::take(&mut self.failed));
        self.print(format_args!(
            "\n{held} checks held, {} failed",
            failed.len()
        ));
        for line in &failed {
            self.print(format_args!("  {line}"));
        }
        held > 0 && failed.is_empty()
    }

    fn print(&mut self, line: fmt::Arguments<'_>) {
        // A reader who went away must not keep the phases from cleaning up.
        let _ = writeln!(self.out, "{line}");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail")]
mod tests {
    use super::*;

    fn printed(checks: impl FnOnce(&mut Report<&mut Vec<u8>>)) -> (bool, String) {
        let mut out = Vec::new();
        let mut report = Report::to(&mut out);
        checks(&mut report);
        let holds = report.finish();
        (holds, String::from_utf8(out).unwrap())
    }

    #[test]
    fn all_that_held_is_a_success() {
        let (holds, text) = printed(|report| {
            report.phase("Phase 1");
            let value = report.check("one and one", seen(2, "two"));
            assert_eq!(value.unwrap(), 2);
        });
        assert!(holds);
        assert_eq!(
            text,
            "Phase 1\n  ok    one and one: two\n\n1 checks held, 0 failed\n"
        );
    }

    #[test]
    fn one_that_did_not_hold_is_a_failure_and_says_what_was_found() {
        let (holds, text) = printed(|report| {
            report.phase("Phase 1");
            assert!(report.check("good", seen((), "yes")).is_ok());
            let outcome = same("sum", &3, &2).and_then(|()| seen((), "equal"));
            assert!(report.check("one and one", outcome).is_err());
        });
        assert!(!holds);
        assert!(text.contains("  FAIL  one and one: sum: found 3, asked for 2\n"));
        assert!(
            text.ends_with(
                "1 checks held, 1 failed\n  Phase 1: one and one: sum: found 3, asked for 2\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn nothing_checked_is_no_success() {
        assert!(!printed(|_report| {}).0);
    }
}
