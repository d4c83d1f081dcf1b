//! The writer: makes commits durable, many at a time, and then applies them in memory.
//!
//! ```text
//! requests ──all that wait──► one write, one sync ──► values, ledger, mail ──► answers
//! ```
//! It alone changes what is committed, in the order of the log. So what memory holds is always what the disk holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use tokio::sync::oneshot;

use super::commit::Commit;
use super::post_office::{EndSender, PostOffice, Recognised};
use super::{CommittedValues, Kept, KeptMessage, Ledger, MailChange, SaveResult, StateDir};
use crate::SendError;
use crate::base::sync::{Mutex, locked};

/// Most requests that are written at once.
const BATCH_MAX: usize = 1_024;

/// What is committed, in memory.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) values: Arc<CommittedValues>,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    pub(crate) post_office: Arc<PostOffice>,
}

/// Something to be written.
pub(super) enum Request {
    /// A commit, and who waits for it.
    Commit(Arc<Commit>, Option<oneshot::Sender<CommitResult>>),
    /// A message.
    Accept(Acceptance),
    /// Nothing more.
    Close(oneshot::Sender<()>),
}

/// How a commit ended; an error says why it changed nothing.
pub(crate) type CommitResult = Result<SaveResult, String>;

/// A message that is to be kept before it is queued. The inbox has room for it.
pub(crate) struct Acceptance {
    pub(crate) message: KeptMessage,
    /// Who waits for the end of the message.
    pub(crate) waiter: Option<EndSender>,
    /// Who waits until it is kept.
    pub(crate) answer: Option<oneshot::Sender<Result<Accepted, SendError>>>,
}

/// A message that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) number: u64,
    /// True when it came before under its key.
    pub(crate) again: bool,
}

/// Writes what it is asked to, one batch after the other.
pub(super) struct Writer {
    /// `None` once it is closed.
    folder: Option<StateDir>,
    memory: Memory,
    given_up: Arc<AtomicBool>,
}

/// One write.
#[derive(Default)]
struct Batch {
    frames: Vec<u8>,
    commits: Vec<Arc<Commit>>,
    committers: Vec<oneshot::Sender<CommitResult>>,
    acceptances: Vec<(Accepted, Acceptance)>,
    /// Those that came again: they are looked up once the batch is durable.
    again: Vec<Acceptance>,
}

impl Writer {
    pub(super) fn new(folder: StateDir, memory: Memory, given_up: Arc<AtomicBool>) -> Self {
        Self {
            folder: Some(folder),
            memory,
            given_up,
        }
    }

    /// Writes what comes in until nobody can ask for more, or it is asked to close.
    pub(super) fn work(mut self, requests: &mpsc::Receiver<Request>) {
        while let Ok(first) = requests.recv() {
            let more = requests.try_iter().take(BATCH_MAX - 1);
            self.write(std::iter::once(first).chain(more).collect());
        }
    }

    /// Writes these requests at once, and answers them.
    pub(super) fn write(&mut self, requests: Vec<Request>) {
        let mut batch = Batch::default();
        let mut closers = Vec::new();
        for request in requests {
            match request {
                Request::Commit(commit, answer) => self.add_commit(&mut batch, commit, answer),
                Request::Accept(acceptance) => self.add_message(&mut batch, acceptance),
                Request::Close(answer) => closers.push(answer),
            }
        }
        self.write_batch(batch);
        if !closers.is_empty() {
            self.close();
        }
        for closer in closers {
            let _ = closer.send(());
        }
    }

    fn add_commit(
        &self,
        batch: &mut Batch,
        commit: Arc<Commit>,
        answer: Option<oneshot::Sender<CommitResult>>,
    ) {
        if let Err(error) = commit.append_to(&mut batch.frames) {
            if let Some(answer) = answer {
                let _ = answer.send(Err(error));
            }
            return;
        }
        batch.commits.push(commit);
        batch.committers.extend(answer);
    }

    fn add_message(&self, batch: &mut Batch, acceptance: Acceptance) {
        let post_office = &self.memory.post_office;
        let is_in_batch = acceptance.message.key.is_some()
            && batch
                .acceptances
                .iter()
                .any(|(_, earlier)| earlier.message.key == acceptance.message.key);
        // What came before has an answer, and nothing to be written.
        if is_in_batch || post_office.knows(&acceptance.message) {
            batch.again.push(acceptance);
            return;
        }
        let number = match batch.acceptances.last() {
            Some((last, _)) => last.number + 1,
            None => post_office.look(super::Mail::next),
        };
        let change = MailChange::Arrived(number, acceptance.message.clone());
        let commit = Commit::of_mail(change);
        if let Err(problem) = commit.append_to(&mut batch.frames) {
            return self.refuse(acceptance, SendError::Unkept { problem });
        }
        batch.commits.push(Arc::new(commit));
        let again = false;
        batch
            .acceptances
            .push((Accepted { number, again }, acceptance));
    }

    fn write_batch(&mut self, batch: Batch) {
        let Batch {
            frames,
            commits,
            committers,
            acceptances,
            again,
        } = batch;
        let saved = if commits.is_empty() {
            Ok(SaveResult::Synced)
        } else {
            self.save(&commits, &frames)
        };
        match saved {
            Ok(result) => {
                self.apply(&commits, acceptances);
                for committer in committers {
                    let _ = committer.send(Ok(result.clone()));
                }
            }
            Err(problem) => {
                for committer in committers {
                    let _ = committer.send(Err(problem.clone()));
                }
                for (_, acceptance) in acceptances {
                    let problem = problem.clone();
                    self.refuse(acceptance, SendError::Unkept { problem });
                }
            }
        }
        for acceptance in again {
            self.answer_again(acceptance);
        }
    }

    fn save(&mut self, commits: &[Arc<Commit>], frames: &[u8]) -> CommitResult {
        let Some(folder) = &mut self.folder else {
            return Err("the watcher is over".into());
        };
        if self.given_up.load(Ordering::Relaxed) {
            return Err("an earlier write has not come to its end".into());
        }
        let commits: Vec<&Commit> = commits.iter().map(AsRef::as_ref).collect();
        let saved = folder.add(&commits, frames, || self.memory.kept());
        saved.map_err(|error| error.to_string())
    }

    fn apply(&self, commits: &[Arc<Commit>], acceptances: Vec<(Accepted, Acceptance)>) {
        let mut answers = Vec::with_capacity(acceptances.len());
        for (accepted, acceptance) in acceptances {
            let Acceptance {
                message,
                waiter,
                answer,
            } = acceptance;
            // Before its message arrives: its run could end before.
            if let Some(waiter) = waiter {
                self.memory.post_office.wait(accepted.number, waiter);
            }
            self.memory.post_office.give_back(&message.content);
            answers.push((answer, accepted));
        }
        for commit in commits {
            self.memory.apply(commit);
        }
        for (answer, accepted) in answers {
            if let Some(answer) = answer {
                let _ = answer.send(Ok(accepted));
            }
        }
    }

    /// Answers a message that came before.
    fn answer_again(&self, mut acceptance: Acceptance) {
        let post_office = &self.memory.post_office;
        let refused = match post_office.recognise(&acceptance.message, &mut acceptance.waiter) {
            Recognised::Known(number) => {
                post_office.give_back(&acceptance.message.content);
                let again = true;
                if let Some(answer) = acceptance.answer {
                    let _ = answer.send(Ok(Accepted { number, again }));
                }
                return;
            }
            Recognised::Reused => SendError::KeyReused,
            // The message that came just before it could not be kept.
            Recognised::New => SendError::Unkept {
                problem: "the disk did not take it".into(),
            },
        };
        self.refuse(acceptance, refused);
    }

    fn refuse(&self, acceptance: Acceptance, error: SendError) {
        let post_office = &self.memory.post_office;
        post_office.give_back(&acceptance.message.content);
        match acceptance.answer {
            Some(answer) => drop(answer.send(Err(error))),
            // Its sender was told that it is queued, and that it may be lost with the process.
            None => post_office.deliver_unkept(&acceptance.message),
        }
    }

    /// Leaves one file, and gives the folder back. If that fails, snapshot and log still say all.
    fn close(&mut self) {
        let Some(mut folder) = self.folder.take() else {
            return;
        };
        if !self.given_up.load(Ordering::Relaxed) {
            let _ = folder.fold(&self.memory.kept());
        }
    }
}

impl Memory {
    /// Returns what is committed, at this moment.
    fn kept(&self) -> Kept {
        Kept {
            values: self.values.values().as_ref().clone(),
            ledger: locked(&self.ledger).clone(),
            mail: self.post_office.look(Clone::clone),
        }
    }

    /// Applies a commit, which the inbox knows nothing of.
    fn apply(&self, commit: &Commit) {
        self.apply_state(commit);
        self.post_office.apply(commit.mail.clone());
    }

    /// Applies a commit whose messages the inbox has already.
    pub(super) fn apply_in_memory(&self, commit: &Commit) {
        self.apply_state(commit);
        self.post_office.apply_in_memory(commit.mail.clone());
    }

    fn apply_state(&self, commit: &Commit) {
        if !commit.values.is_empty() {
            self.values.apply(commit.values.iter().cloned());
        }
        if commit.effects.is_empty() {
            return;
        }
        let mut ledger = locked(&self.ledger);
        for change in &commit.effects {
            ledger.apply(change.clone());
        }
    }
}
