//! A journal for tests that can be made to refuse, linger or die at any commit. It writes on the task of
//! the caller, one write for each transaction, so that nothing depends on threads.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rusqlite::Connection;

use super::{
    JournalError,
    writer::{self, Job},
};

/// A moment at which the probe decides how the journal goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitPoint {
    /// Nothing of the write is on the disk.
    Before,
    /// The write is on the disk, and its caller was not told yet.
    After,
}

/// How a journal goes on with a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteFate {
    /// As usual.
    #[default]
    Proceed,
    /// As usual, but after this time.
    Linger(Duration),
    /// As on a full disk: the caller is told that nothing was written. Only before a
    /// commit; after it there is nothing left to refuse.
    Refuse,
    /// As when the host is killed: this write is not answered, and no later one is made or answered.
    Die,
}

pub(super) type Probe = Box<dyn Fn(CommitPoint) -> WriteFate + Send + Sync>;

pub(super) struct ProbedWriter {
    connection: Mutex<Connection>,
    probe: Probe,
    is_dead: AtomicBool,
}

impl ProbedWriter {
    pub(super) fn new(connection: Connection, probe: Probe) -> Self {
        Self {
            connection: Mutex::new(connection),
            probe,
            is_dead: AtomicBool::new(false),
        }
    }

    /// Carries `job` out and answers it, unless the probe decides otherwise.
    pub(super) async fn write(&self, job: Box<dyn Job>) {
        if !self.goes_on(CommitPoint::Before).await {
            return job.answer(Err(JournalError::Full));
        }
        let mut answers = Vec::new();
        {
            let connection = self.connection.lock();
            let mut connection = connection.unwrap_or_else(PoisonError::into_inner);
            writer::commit(&mut connection, &mut vec![job], |job, outcome| {
                answers.push((job, outcome));
            });
        }
        self.goes_on(CommitPoint::After).await;
        for (job, outcome) in answers {
            job.answer(outcome);
        }
    }

    /// Waits as the probe says, for ever if the journal is dead. Returns false if the write is to be refused.
    async fn goes_on(&self, point: CommitPoint) -> bool {
        if self.is_dead.load(Ordering::Acquire) {
            std::future::pending::<()>().await;
        }
        match (self.probe)(point) {
            WriteFate::Proceed => true,
            WriteFate::Linger(time) => {
                tokio::time::sleep(time).await;
                true
            }
            WriteFate::Refuse => false,
            WriteFate::Die => {
                self.is_dead.store(true, Ordering::Release);
                std::future::pending().await
            }
        }
    }
}

impl std::fmt::Debug for ProbedWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProbedWriter").finish_non_exhaustive()
    }
}
