//! The kept output of all programs: written by the runtime, read and followed by anyone.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use hersh_program::ProgramId;
use tokio::sync::{broadcast, mpsc};

use super::{
    log_file::LogFile,
    logs::{LogLine, Stream},
};
use crate::storage::Storage;

/// How many lines a follower may be behind before some are dropped for it (and it is told).
pub const FOLLOW_LINES: usize = 4_096;

/// The output of all programs of one host. Cheap to clone.
#[derive(Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
}

struct Shared {
    storage: Storage,
    sinks: Mutex<HashMap<ProgramId, Arc<Sink>>>,
}

/// One program's output.
struct Sink {
    /// Also taken to begin to follow, so that no line falls between the file and what is live.
    file: Mutex<LogFile>,
    live: broadcast::Sender<LogLine>,
}

impl LogStore {
    /// The output kept below the programs' `logs` folders.
    #[must_use]
    pub fn new(storage: Storage) -> Self {
        Self {
            shared: Arc::new(Shared {
                storage,
                sinks: Mutex::default(),
            }),
        }
    }

    /// Appends lines and shows them to followers. At most `limit_bytes` are kept.
    ///
    /// # Errors
    /// What the file system said; followers see the lines nevertheless.
    pub async fn append(
        &self,
        program: &ProgramId,
        lines: Vec<LogLine>,
        limit_bytes: u64,
    ) -> io::Result<()> {
        let sink = self.sink(program);
        blocking(move || {
            let mut file = locked(&sink.file);
            let result = file.append(&lines, limit_bytes);
            for line in lines {
                // Nobody listening is the usual case.
                let _ = sink.live.send(line);
            }
            result
        })
        .await
    }

    /// The last `count` lines, oldest first.
    ///
    /// # Errors
    /// What the file system said; no file is no error.
    pub async fn tail(&self, program: &ProgramId, count: usize) -> io::Result<Vec<LogLine>> {
        let sink = self.sink(program);
        blocking(move || locked(&sink.file).tail(count)).await
    }

    /// The last `count` lines and then every further one, until the receiver is dropped or the
    /// program is removed. A follower that falls behind by [`FOLLOW_LINES`] loses lines, and a
    /// line from [`Stream::Host`] says how many.
    #[must_use]
    pub fn follow(&self, program: &ProgramId, count: usize) -> mpsc::Receiver<LogLine> {
        let (sender, receiver) = mpsc::channel(64);
        let sink = self.sink(program);
        tokio::spawn(async move {
            let begun = blocking(move || {
                let file = locked(&sink.file);
                let live = sink.live.subscribe();
                Ok((file.tail(count)?, live))
            });
            match begun.await {
                Ok((lines, live)) => feed(lines, live, sender).await,
                Err(error) => tracing::warn!(%error, "a program's log can't be read"),
            }
        });
        receiver
    }

    /// Ends all followers of a removed program and forgets its files.
    pub fn forget(&self, program: &ProgramId) {
        locked(&self.shared.sinks).remove(program);
    }

    fn sink(&self, program: &ProgramId) -> Arc<Sink> {
        let mut sinks = locked(&self.shared.sinks);
        let sink = sinks.entry(program.clone()).or_insert_with(|| {
            let folder = self.shared.storage.paths(program).logs;
            Arc::new(Sink {
                file: Mutex::new(LogFile::new(folder.join("program.log"))),
                live: broadcast::Sender::new(FOLLOW_LINES),
            })
        });
        Arc::clone(sink)
    }
}

async fn feed(
    lines: Vec<LogLine>,
    mut live: broadcast::Receiver<LogLine>,
    sender: mpsc::Sender<LogLine>,
) {
    let mut last_at = String::new();
    for line in lines {
        last_at.clone_from(&line.at);
        if sender.send(line).await.is_err() {
            return;
        }
    }
    loop {
        let received = tokio::select! {
            received = live.recv() => received,
            () = sender.closed() => return,
        };
        let line = match received {
            Ok(line) => line,
            Err(broadcast::error::RecvError::Closed) => return,
            Err(broadcast::error::RecvError::Lagged(count)) => LogLine {
                at: last_at.clone(),
                stream: Stream::Host,
                text: format!(
                    "{count} lines were dropped here: they came faster than they were read"
                ),
            },
        };
        last_at.clone_from(&line.at);
        if sender.send(line).await.is_err() {
            return;
        }
    }
}

async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(job)
        .await
        .map_err(io::Error::other)?
}

/// A panic while a lock was held leaves a line too few at worst.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
