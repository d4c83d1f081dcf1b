//! The measurements of the journal's writer.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, histogram::Histogram},
    registry::Registry,
};

/// Upper bounds of a commit's time, seconds. A commit is mostly one sync of the disk.
const COMMIT_SECONDS: [f64; 11] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
];
/// Upper bounds of the number of writes in one transaction.
const BATCH_WRITES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// The measurements of the journal's writer; clones count together.
#[derive(Clone, Debug)]
pub struct JournalMetrics {
    commit_seconds: Histogram,
    batch_writes: Histogram,
    failures: Counter,
}

impl Default for JournalMetrics {
    fn default() -> Self {
        Self {
            commit_seconds: Histogram::new(COMMIT_SECONDS),
            batch_writes: Histogram::new(BATCH_WRITES),
            failures: Counter::default(),
        }
    }
}

impl JournalMetrics {
    /// Counts one transaction of `writes` writes that took `took`; `done` says whether it was written.
    pub fn committed(&self, writes: usize, took: Duration, done: bool) {
        self.commit_seconds.observe(took.as_secs_f64());
        self.batch_writes
            .observe(f64::from(u32::try_from(writes).unwrap_or(u32::MAX)));
        if !done {
            self.failures.inc();
        }
    }

    /// Registers the metrics in `registry`, so that they are collected with the others.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "journal_commit_duration_seconds",
            "How long the journal's transactions took, their sync included",
            self.commit_seconds.clone(),
        );
        registry.register(
            "journal_batch_writes",
            "Writes that shared one transaction of the journal",
            self.batch_writes.clone(),
        );
        registry.register(
            "journal_failures",
            "Transactions that the journal could not write",
            self.failures.clone(),
        );
    }
}
