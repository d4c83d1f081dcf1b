//! The writer: makes commits durable, many at a time, and then applies them in memory.
//!
//! ```text
//! requests ──all that wait──► one write, one sync ──► values, ledger, mail ──► answers
//! ```
//! It alone changes what is committed, in the order of the log. So what memory holds is always what the disk holds.
//! What nobody waits for is written at once, so that it outlives the process, and synced with whatever follows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::commit::Commit;
use super::post_office::{Admission, EndSender, PostOffice, Recognition};
use super::{
    CommittedValues, FolderContents, KeptMessage, Ledger, MailChange, SaveResult, StateDir,
};
use crate::SendError;
use crate::base::sync::{Mutex, locked};

/// Most requests that are written at once.
const BATCH_MAX: usize = 1_024;
/// How long the writer waits for one more request to share a write: a twentieth of a sync.
const GATHER_TIME: Duration = Duration::from_micros(5);
/// How long the writer looks for the next request before it lets its thread sleep: the next run tends to end soon, and
/// waking a thread costs a fifth of a sync.
const SPIN_TIME: Duration = Duration::from_micros(50);
/// Looks between two chances for another thread to use this processor.
const LOOKS_PER_YIELD: u32 = 20;

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
    pub(crate) answer: Option<oneshot::Sender<Result<Admission, SendError>>>,
}

/// Writes what it is asked to, one batch after the other.
pub(super) struct Writer {
    /// `None` once it is closed.
    folder: Option<StateDir>,
    memory: Memory,
    given_up: Arc<AtomicBool>,
    /// Commits that nobody waits for and that could not be written. They come before all that follow: a message that ran
    /// must not run again behind one that came after it.
    left: Vec<Arc<Commit>>,
}

/// One write.
#[derive(Default)]
struct Batch {
    /// True when somebody waits until it is on disk.
    syncs: bool,
    entries: Vec<Entry>,
    /// The number of the next message.
    next: Option<u64>,
    /// Those that came again: they are looked up once the batch is durable.
    again: Vec<Acceptance>,
}

/// A commit to be written, and what follows from it.
struct Entry {
    commit: Arc<Commit>,
    then: Then,
}

enum Then {
    /// Nobody waits for it.
    Nothing,
    Answer(oneshot::Sender<CommitResult>),
    Queue(u64, Acceptance),
}

impl Writer {
    pub(super) fn new(folder: StateDir, memory: Memory, given_up: Arc<AtomicBool>) -> Self {
        Self {
            folder: Some(folder),
            memory,
            given_up,
            left: Vec::new(),
        }
    }

    /// Writes what comes in until nobody can ask for more, or it is asked to close.
    pub(super) fn work(mut self, requests: &mpsc::Receiver<Request>) {
        let spins =
            std::thread::available_parallelism().is_ok_and(|processors| processors.get() > 1);
        while let Ok(first) = requests.recv() {
            let mut next = Some(first);
            while let Some(first) = next {
                self.write(gather(first, requests));
                next = if spins { spin(requests) } else { None };
            }
        }
    }

    /// Writes these requests at once, and answers them.
    pub(super) fn write(&mut self, requests: Vec<Request>) {
        let mut batch = Batch::default();
        let then = |commit| Entry {
            commit,
            then: Then::Nothing,
        };
        batch.entries.extend(self.left.drain(..).map(then));
        let mut closers = Vec::new();
        for request in requests {
            match request {
                Request::Commit(commit, answer) => {
                    batch.syncs |= answer.is_some();
                    let then = answer.map_or(Then::Nothing, Then::Answer);
                    batch.entries.push(Entry { commit, then });
                }
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

    fn add_message(&self, batch: &mut Batch, acceptance: Acceptance) {
        let post_office = &self.memory.post_office;
        let key = &acceptance.message.key;
        let is_same = |entry: &Entry| match &entry.then {
            Then::Queue(_, earlier) => earlier.message.key == *key,
            Then::Nothing | Then::Answer(_) => false,
        };
        let is_in_batch = key.is_some() && batch.entries.iter().any(is_same);
        // What came before has an answer, and nothing to be written.
        if is_in_batch || post_office.knows(&acceptance.message) {
            batch.again.push(acceptance);
            return;
        }
        let next = batch
            .next
            .get_or_insert_with(|| post_office.look(super::Mail::next));
        let number = *next;
        *next += 1;
        batch.syncs = true;
        let change = MailChange::Arrived(number, acceptance.message.clone());
        batch.entries.push(Entry {
            commit: Arc::new(Commit::of_mail(change)),
            then: Then::Queue(number, acceptance),
        });
    }

    fn write_batch(&mut self, batch: Batch) {
        let Batch {
            syncs,
            entries,
            again,
            ..
        } = batch;
        if !entries.is_empty() {
            match self.save(&entries, syncs) {
                Ok(result) => self.apply(entries, &result),
                Err(problem) => self.fail(entries, &problem),
            }
        }
        for acceptance in again {
            self.answer_again(acceptance);
        }
    }

    fn save(&mut self, entries: &[Entry], syncs: bool) -> CommitResult {
        let Some(folder) = &mut self.folder else {
            return Err("the watcher is over".into());
        };
        if self.given_up.load(Ordering::Relaxed) {
            return Err("an earlier write has not come to its end".into());
        }
        let commits: Vec<&Commit> = entries.iter().map(|entry| &*entry.commit).collect();
        let saved = folder.add(&commits, syncs, || self.memory.kept());
        saved.map_err(|error| error.to_string())
    }

    /// Applies what is on disk, and tells those who wait for it.
    fn apply(&self, entries: Vec<Entry>, result: &SaveResult) {
        let post_office = &self.memory.post_office;
        let durable = matches!(result, SaveResult::Synced);
        for Entry { commit, then } in entries {
            let Then::Queue(number, acceptance) = then else {
                self.memory.apply(&commit);
                if let Then::Answer(answer) = then {
                    let _ = answer.send(Ok(result.clone()));
                }
                continue;
            };
            // Before its message arrives: its run could end before.
            if let Some(waiter) = acceptance.waiter {
                post_office.wait(number, waiter);
            }
            self.memory.apply(&commit);
            // After it is queued: the room must not be given to another one in between.
            post_office.give_back(&acceptance.message.content);
            if let Some(answer) = acceptance.answer {
                let again = false;
                let _ = answer.send(Ok(Admission {
                    number,
                    again,
                    durable,
                }));
            }
        }
    }

    /// Tells those who wait that nothing was changed, and keeps what nobody waits for.
    fn fail(&mut self, entries: Vec<Entry>, problem: &str) {
        for Entry { commit, then } in entries {
            match then {
                Then::Nothing => self.left.push(commit),
                Then::Answer(answer) => drop(answer.send(Err(problem.into()))),
                Then::Queue(_, acceptance) => {
                    let problem = problem.into();
                    self.refuse(acceptance, SendError::Unkept { problem });
                }
            }
        }
    }

    /// Answers a message that came before.
    fn answer_again(&self, mut acceptance: Acceptance) {
        let post_office = &self.memory.post_office;
        let refused = match post_office.recognise(&acceptance.message, &mut acceptance.waiter) {
            Recognition::Known(number) => {
                post_office.give_back(&acceptance.message.content);
                if let Some(answer) = acceptance.answer {
                    let _ = answer.send(Ok(Admission::again(number, true)));
                }
                return;
            }
            Recognition::Reused => SendError::KeyReused,
            // The message that came just before it could not be kept.
            Recognition::New => SendError::Unkept {
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
            for commit in std::mem::take(&mut self.left) {
                self.memory.apply(&commit);
            }
            let _ = folder.fold(&self.memory.kept());
        }
    }
}

/// Returns a request with those that follow it closely: what comes at once shares a sync.
fn gather(first: Request, requests: &mpsc::Receiver<Request>) -> Vec<Request> {
    let mut gathered = vec![first];
    let mut last = Instant::now();
    while gathered.len() < BATCH_MAX && last.elapsed() < GATHER_TIME {
        match requests.try_recv() {
            Ok(request) => {
                gathered.push(request);
                last = Instant::now();
            }
            Err(_) => std::hint::spin_loop(),
        }
    }
    gathered
}

/// Looks for a request for a moment.
fn spin(requests: &mpsc::Receiver<Request>) -> Option<Request> {
    let began = Instant::now();
    while began.elapsed() < SPIN_TIME {
        for _ in 0..LOOKS_PER_YIELD {
            if let Ok(request) = requests.try_recv() {
                return Some(request);
            }
            std::hint::spin_loop();
        }
        std::thread::yield_now();
    }
    None
}

impl Memory {
    /// Returns what is committed, at this moment.
    fn kept(&self) -> FolderContents {
        FolderContents {
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
