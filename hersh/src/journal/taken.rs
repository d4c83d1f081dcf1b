//! The inputs and log lines of a run in progress, for its record.

use std::sync::Arc;

use super::record::RecordedUpdate;
use crate::inbox::{Update, Var};

/// Most bytes of log lines that a record keeps.
const LOGS_BYTES: usize = 64 * 1024;

/// The inputs and log lines of a run in progress; empty between runs.
#[derive(Debug, Default)]
pub(crate) struct RunCapture {
    /// Updates of variables, in their order.
    pub(crate) updates: Vec<RecordedUpdate>,
    /// Log lines, as far as they fit.
    pub(crate) logs: Vec<Arc<str>>,
    /// The number of log lines that did not fit.
    pub(crate) logs_left_out: u64,
    logs_bytes: usize,
}

impl RunCapture {
    /// Forgets the inputs and log lines of the last run.
    pub(crate) fn clear(&mut self) {
        self.updates.clear();
        self.logs.clear();
        self.logs_left_out = 0;
        self.logs_bytes = 0;
    }

    /// Notes an update.
    pub(crate) fn update(&mut self, var: &Var, update: &Update) {
        self.updates.push(RecordedUpdate::of(var, update));
    }

    /// Notes a log line.
    pub(crate) fn log(&mut self, message: &str) {
        self.logs_bytes += message.len();
        if self.logs_bytes > LOGS_BYTES {
            self.logs_left_out += 1;
        } else {
            self.logs.push(message.into());
        }
    }
}
