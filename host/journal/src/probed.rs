//! A journal that can be made to refuse, linger or die at any commit, for tests. It writes where
//! the one who asks stands, one write a transaction, so that nothing depends on threads.

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

/// A moment at which a journal is asked how to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitPoint {
    /// Nothing of the write is on the disk.
    Before,
    /// It is, and nobody has heard of it.
    After,
}

/// How a journal goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// As if nobody had asked.
    #[default]
    Proceed,
    /// After this time.
    Linger(Duration),
    /// As on a full disk: the one who asked is told that nothing was written. Only before a
    /// commit; after it there is nothing left to refuse.
    Refuse,
    /// As when the host is killed: neither this write nor any later one is answered or made.
    Die,
}

pub(super) type Probe = Box<dyn Fn(CommitPoint) -> Verdict + Send + Sync>;

pub(super) struct Probed {
    connection: Mutex<Connection>,
    probe: Probe,
    is_dead: AtomicBool,
}

impl Probed {
    pub(super) fn new(connection: Connection, probe: Probe) -> Self {
        Self {
            connection: Mutex::new(connection),
            probe,
            is_dead: AtomicBool::new(false),
        }
    }

    /// Carries `job` out and answers it, unless the probe has it otherwise.
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

    /// Waits as the probe says, for ever when it is dead. False if the write is to be refused.
    async fn goes_on(&self, point: CommitPoint) -> bool {
        if self.is_dead.load(Ordering::Acquire) {
            std::future::pending::<()>().await;
        }
        match (self.probe)(point) {
            Verdict::Proceed => true,
            Verdict::Linger(time) => {
                tokio::time::sleep(time).await;
                true
            }
            Verdict::Refuse => false,
            Verdict::Die => {
                self.is_dead.store(true, Ordering::Release);
                std::future::pending().await
            }
        }
    }
}

impl std::fmt::Debug for Probed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probed").finish_non_exhaustive()
    }
}
