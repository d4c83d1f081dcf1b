//! The keeper: what runs, the desk and senders ask to commit. On disk first, if there is a folder, and then in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use tokio::sync::oneshot;

use super::commit::Commit;
use super::writer::{Acceptance, CommitResult, Memory, Request, Writer};
use super::{SaveResult, StateDir};
use crate::SendError;
use crate::base::sync::{Mutex, locked};

/// Commits what runs change, what becomes of the effects that they asked for, and the messages that come in.
pub(crate) struct Keeper {
    memory: Memory,
    given_up: Arc<AtomicBool>,
    /// `None` without a folder.
    desk: Option<Mutex<WriterDesk>>,
}

/// Where the writer is.
enum WriterDesk {
    /// Nobody has asked for anything: no thread is needed.
    Idle(Box<Writer>),
    /// It writes on a thread of its own, so that a slow disk keeps nobody else from answering.
    Thread(mpsc::Sender<Request>),
    /// It writes on whatever thread asks: in virtual time no other thread may decide what comes first.
    Inline(Arc<Mutex<Writer>>),
    Closed,
}

/// Marks the keeper as given up unless the write that it stands for has come to its end.
struct Attempt<'a> {
    keeper: &'a Keeper,
    ended: bool,
}

impl Keeper {
    /// Returns a keeper of what is in memory, in a folder if there is one.
    pub(crate) fn new(memory: Memory, folder: Option<StateDir>, is_virtual: bool) -> Self {
        let given_up = Arc::new(AtomicBool::new(false));
        let desk = folder.map(|folder| {
            let writer = Writer::new(folder, memory.clone(), given_up.clone());
            Mutex::new(match is_virtual {
                true => WriterDesk::Inline(Arc::new(Mutex::new(writer))),
                false => WriterDesk::Idle(Box::new(writer)),
            })
        });
        Self {
            memory,
            given_up,
            desk,
        }
    }

    /// Returns whether commits are written to disk.
    pub(crate) fn is_durable(&self) -> bool {
        self.desk.is_some()
    }

    /// Returns whether nothing is committed any more.
    pub(crate) fn has_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Commits in memory, for a watcher that keeps nothing on disk.
    pub(crate) fn commit_in_memory(&self, commit: &Commit) {
        self.memory.apply_in_memory(commit);
    }

    /// Commits: on disk first, if there is a folder, and then in memory.
    ///
    /// When the future is dropped before its end, nobody knows whether the write still happens. The keeper gives up
    /// then: whoever dropped it counts the commit as failed, and must not go on from there.
    ///
    /// # Errors
    /// Why the write failed. Nothing is changed then.
    pub(crate) async fn commit(&self, commit: Arc<Commit>) -> CommitResult {
        if !self.is_durable() {
            self.commit_in_memory(&commit);
            return Ok(SaveResult::Synced);
        }
        let mut attempt = Attempt {
            keeper: self,
            ended: false,
        };
        let result = self.commit_alone(commit).await;
        attempt.ended = true;
        result
    }

    /// Commits what stands for itself: whoever drops the future does not learn how it ended, and nothing else
    /// depends on that.
    ///
    /// # Errors
    /// Why the write failed. Nothing is changed then.
    pub(crate) async fn commit_alone(&self, commit: Arc<Commit>) -> CommitResult {
        if !self.is_durable() {
            self.commit_in_memory(&commit);
            return Ok(SaveResult::Synced);
        }
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Commit(commit, Some(answer))).await?;
        answered
            .await
            .unwrap_or_else(|_| Err("the watcher is over".into()))
    }

    /// Commits in its turn what nobody waits for: whatever is lost with the process happens again.
    pub(crate) fn note(&self, commit: Commit) {
        if self.is_durable() {
            let _ = self.send(Request::Commit(Arc::new(commit), None));
        } else {
            self.commit_in_memory(&commit);
        }
    }

    /// Keeps a message and queues it then.
    ///
    /// # Errors
    /// [`SendError::NotRunning`] when nothing is kept any more.
    pub(crate) fn accept(&self, acceptance: Acceptance) -> Result<(), SendError> {
        self.send(Request::Accept(acceptance))
            .map_err(|_| SendError::NotRunning)
    }

    /// Commits nothing more, and gives the folder back once what was asked for has come to its end.
    pub(crate) async fn close(&self) {
        let (answer, closed) = oneshot::channel();
        if self.ask(Request::Close(answer)).await.is_ok() {
            let _ = closed.await;
        }
        self.abandon();
    }

    /// Commits nothing more. The folder is given back once what was asked for has come to its end.
    pub(crate) fn abandon(&self) {
        if let Some(desk) = &self.desk {
            *locked(desk) = WriterDesk::Closed;
        }
    }

    /// Hands a request to the writer, in its turn.
    async fn ask(&self, request: Request) -> Result<(), String> {
        let inline = match self.desk.as_ref().map(|desk| locked(desk)).as_deref() {
            Some(WriterDesk::Inline(writer)) => Some(writer.clone()),
            Some(WriterDesk::Idle(_) | WriterDesk::Thread(_) | WriterDesk::Closed) | None => None,
        };
        let Some(writer) = inline else {
            return self.send(request);
        };
        // Away from this thread, which a disk that hangs must not hold. Virtual time stands still meanwhile.
        let written =
            tokio::task::spawn_blocking(move || locked(&writer).write(vec![request])).await;
        written.map_err(|error| error.to_string())
    }

    fn send(&self, request: Request) -> Result<(), String> {
        let over = || "the watcher is over".to_owned();
        let mut desk = locked(self.desk.as_ref().ok_or_else(over)?);
        if let WriterDesk::Idle(_) = &*desk {
            let idle = std::mem::replace(&mut *desk, WriterDesk::Closed);
            if let WriterDesk::Idle(writer) = idle {
                *desk = WriterDesk::Thread(start(*writer)?);
            }
        }
        match &*desk {
            WriterDesk::Thread(requests) => requests.send(request).map_err(|_| over()),
            WriterDesk::Inline(writer) => {
                let writer = writer.clone();
                drop(desk);
                locked(&writer).write(vec![request]);
                Ok(())
            }
            WriterDesk::Idle(_) | WriterDesk::Closed => Err(over()),
        }
    }
}

/// Starts the thread of a writer. It ends once nobody can ask for more.
fn start(writer: Writer) -> Result<mpsc::Sender<Request>, String> {
    let (requests, asked) = mpsc::channel();
    std::thread::Builder::new()
        .name("hersh-keeper".into())
        .spawn(move || writer.work(&asked))
        .map_err(|error| format!("no thread could be started: {error}"))?;
    Ok(requests)
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.keeper.given_up.store(true, Ordering::Relaxed);
        }
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper")
            .field("is_durable", &self.is_durable())
            .finish_non_exhaustive()
    }
}
