//! How the engine's notes read in the log.

use crate::EndKind;
use crate::engine::Note;
use crate::shared::{Level, LogKind};

impl Note {
    /// Returns how the note reads in the log. `waiting` is the number of messages that wait: at the
    /// end, those that were accepted and never have a run.
    pub(crate) fn line(&self, waiting: usize) -> (Level, LogKind, String) {
        match self {
            Self::Initialised => (Level::Info, LogKind::Reduce, "ready".into()),
            Self::RunFailed {
                reason,
                failures,
                retry_after_ms,
                heavy,
            } => {
                let state = if *heavy { " in WaitRecover" } else { "" };
                let text = format!(
                    "run failed ({failures} in a row), next try{state} in {retry_after_ms} ms: \
                     {reason}"
                );
                (Level::Warn, LogKind::StateFault, text)
            }
            Self::MessageSetAside { reason, failures } => {
                let text = format!("message set aside ({failures} of its runs failed): {reason}");
                (Level::Error, LogKind::StateFault, text)
            }
            Self::Recovered { failures } => {
                let text = format!("recovered after {failures} failed runs");
                (Level::Info, LogKind::StateFault, text)
            }
            Self::CleanupFailed { reason } => {
                let text = format!("cleanup failed: {reason}");
                (Level::Error, LogKind::StateFault, text)
            }
            Self::Ended { ending } => {
                let level = match ending.kind {
                    EndKind::Stopped => Level::Info,
                    EndKind::Killed => Level::Warn,
                    EndKind::Crashed => Level::Error,
                };
                let text = match waiting {
                    0 => ending.to_string(),
                    count => format!("{ending} ({count} messages were not served)"),
                };
                (level, LogKind::Reduce, text)
            }
        }
    }
}
