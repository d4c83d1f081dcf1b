//! The stored output of all programs: the runtime writes it, and any other part of the host can read and
//! follow it.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use hersh_base::locked::locked;
use hersh_program::ProgramId;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::{
    log_file::{LogFile, LogSnapshot, Marks},
    logs::{LogLine, Stream},
};
use crate::Storage;

/// How many lines a follower may be behind. A slower follower loses lines, and a line tells it how many.
pub const FOLLOW_LINES: usize = 4_096;

/// The last stored lines of a program's output, and a receiver of every line after them.
#[derive(Debug)]
pub struct LogSubscription {
    /// The last stored lines, oldest first.
    pub kept: Vec<LogLine>,
    /// The receiver of the lines that follow. It ends when the store forgets the program.
    pub live: mpsc::Receiver<LogLine>,
}

/// The output of all programs of one host. Cheap to clone.
#[derive(Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
}

struct Shared {
    storage: Storage,
    sinks: Mutex<HashMap<ProgramId, Arc<Sink>>>,
}

/// One program's output. It is in memory as long as its file is open for appending or somebody follows it.
struct Sink(Mutex<Output>);

struct Output {
    file: LogFile,
    /// The channel to the followers. It is large, so it is made for the first follower and dropped after
    /// the last one.
    live: Option<broadcast::Sender<LogLine>>,
}

impl LogStore {
    /// A store of the output in the programs' `logs` folders.
    #[must_use]
    pub fn new(storage: Storage) -> Self {
        Self {
            shared: Arc::new(Shared {
                storage,
                sinks: Mutex::default(),
            }),
        }
    }

    /// Appends lines and sends them to followers. At most `limit_bytes` of output are kept.
    ///
    /// # Errors
    /// The error of the file system; followers get the lines nevertheless.
    pub async fn append(
        &self,
        program: &ProgramId,
        lines: Vec<LogLine>,
        limit_bytes: u64,
    ) -> io::Result<()> {
        let sink = self.sink(program);
        let held = Arc::clone(&sink);
        let appended = blocking(move || {
            let mut output = locked(&held.0);
            let result = output.file.append(&lines, limit_bytes);
            if let Some(live) = &output.live {
                for line in lines {
                    // Sending fails if the last follower has just ended.
                    let _ = live.send(line);
                }
            }
            Ok((result, output.is_needed()))
        });
        let (result, is_needed) = appended.await?;
        if !is_needed {
            self.release(program, &sink);
        }
        result
    }

    /// Returns the last `count` lines, oldest first; fewer if those would take more than 4 MiB.
    ///
    /// # Errors
    /// The error of the file system; a missing file is no error.
    pub async fn tail(&self, program: &ProgramId, count: usize) -> io::Result<Vec<LogLine>> {
        self.tail_of(program, count, Marks::Hidden).await
    }

    /// Like [`tail`](Self::tail), with the marks of instances among the lines.
    ///
    /// # Errors
    /// As [`tail`](Self::tail).
    pub async fn tail_with_marks(
        &self,
        program: &ProgramId,
        count: usize,
    ) -> io::Result<Vec<LogLine>> {
        self.tail_of(program, count, Marks::Shown).await
    }

    /// Like [`tail`](Self::tail), with the marks of instances or without, as `marks` says.
    ///
    /// # Errors
    /// As [`tail`](Self::tail).
    pub async fn tail_of(
        &self,
        program: &ProgramId,
        count: usize,
        marks: Marks,
    ) -> io::Result<Vec<LogLine>> {
        let (store, program) = (self.clone(), program.clone());
        blocking(move || store.read_tail(&program, count, marks)).await
    }

    /// Like [`tail_of`](Self::tail_of), but blocks this thread.
    ///
    /// # Errors
    /// As [`tail`](Self::tail).
    pub fn read_tail(
        &self,
        program: &ProgramId,
        count: usize,
        marks: Marks,
    ) -> io::Result<Vec<LogLine>> {
        let sink = locked(&self.shared.sinks).get(program).cloned();
        let kept = match sink {
            Some(sink) => locked(&sink.0).file.kept()?,
            None => LogSnapshot::at(&self.path(program))?,
        };
        kept.tail(count, marks)
    }

    /// Returns a receiver of the last `count` lines, as [`tail`](Self::tail) returns them, and then of every
    /// further line, until the receiver is dropped or the store forgets the program. A follower that falls
    /// behind by [`FOLLOW_LINES`] loses lines, and a line from [`Stream::Host`] says how many.
    #[must_use]
    pub fn follow(&self, program: &ProgramId, count: usize) -> mpsc::Receiver<LogLine> {
        let (sender, receiver) = mpsc::channel(64);
        self.feed(program, count, Marks::Hidden, (), move |kept| {
            let kept = kept
                .inspect_err(|error| tracing::warn!(%error, "a program's log can't be read"))
                .ok()?;
            Some((kept, sender))
        });
        receiver
    }

    /// Like [`follow`](Self::follow), with the marks of instances or without, and with the stored lines
    /// apart from the later ones. `held` is dropped only when the stored lines were read, even if the caller
    /// stopped waiting before.
    ///
    /// # Errors
    /// The error of the file system; a missing file is no error.
    pub async fn follow_of(
        &self,
        program: &ProgramId,
        count: usize,
        marks: Marks,
        held: impl Send + 'static,
    ) -> io::Result<LogSubscription> {
        let (begun, begins) = oneshot::channel();
        self.feed(program, count, marks, held, move |kept| {
            let (sender, live) = mpsc::channel(64);
            let followed = kept.map(|kept| LogSubscription { kept, live });
            // If the caller stopped waiting, the receiver is dropped here, and the feed ends.
            let _ = begun.send(followed);
            Some((Vec::new(), sender))
        });
        begins.await.map_err(io::Error::other)?
    }

    /// Reads the last `count` lines on a task of its own and gives them to `begin`. Then sends the lines that
    /// `begin` returned, and all further ones, to the sender that `begin` returned.
    fn feed(
        &self,
        program: &ProgramId,
        count: usize,
        marks: Marks,
        held: impl Send + 'static,
        begin: impl FnOnce(io::Result<Vec<LogLine>>) -> Option<(Vec<LogLine>, mpsc::Sender<LogLine>)>
        + Send
        + 'static,
    ) {
        let (store, program) = (self.clone(), program.clone());
        let sink = self.sink(&program);
        tokio::spawn(async move {
            let followed = Arc::clone(&sink);
            let begun = blocking(move || {
                let _held = held;
                let (kept, live) = followed.begin()?;
                Ok((kept.tail(count, marks)?, live))
            });
            let begun = begun.await;
            // A follower holds the sink only weakly: if it held the sink, `forget` could not end it.
            let weak = Arc::downgrade(&sink);
            drop(sink);
            match begun {
                Ok((lines, live)) => {
                    let last_at = lines.last().map(|line| line.at.clone());
                    if let Some((lines, sender)) = begin(Ok(lines)) {
                        feed(lines, last_at.unwrap_or_default(), live, marks, sender).await;
                    }
                }
                Err(error) => drop(begin(Err(error))),
            }
            let Some(sink) = weak.upgrade() else {
                return;
            };
            let held = Arc::clone(&sink);
            let is_needed = blocking(move || Ok(locked(&held.0).is_needed())).await;
            if is_needed.is_ok_and(|is_needed| !is_needed) {
                store.release(&program, &sink);
            }
        });
    }

    /// Ends all followers of a removed program and drops its open file.
    pub fn forget(&self, program: &ProgramId) {
        locked(&self.shared.sinks).remove(program);
    }

    fn sink(&self, program: &ProgramId) -> Arc<Sink> {
        let mut sinks = locked(&self.shared.sinks);
        let sink = sinks.entry(program.clone()).or_insert_with(|| {
            Arc::new(Sink(Mutex::new(Output {
                file: LogFile::new(self.path(program)),
                live: None,
            })))
        });
        Arc::clone(sink)
    }

    /// Drops a sink that is not needed. Without this, the sink of a removed program would stay for ever if
    /// somebody asked for the program late.
    fn release(&self, program: &ProgramId, sink: &Arc<Sink>) {
        let mut sinks = locked(&self.shared.sinks);
        let is_ours = sinks.get(program).is_some_and(|it| Arc::ptr_eq(it, sink));
        // The two are the map's and ours: nobody else holds the sink, and while the map is locked nobody
        // can get it.
        let is_alone = Arc::strong_count(sink) == 2;
        if is_ours && is_alone && !locked(&sink.0).is_needed() {
            sinks.remove(program);
        }
    }

    fn path(&self, program: &ProgramId) -> PathBuf {
        self.shared.storage.paths(program).logs.join("program.log")
    }
}

impl Output {
    /// Returns whether the file is open or somebody follows. Drops the channel if nobody follows.
    fn is_needed(&mut self) -> bool {
        self.live = self.live.take().filter(|it| it.receiver_count() > 0);
        self.live.is_some() || self.file.is_open()
    }
}

impl Sink {
    /// Returns the stored bytes of the log, and a receiver of every line after them.
    fn begin(&self) -> io::Result<(LogSnapshot, broadcast::Receiver<LogLine>)> {
        let mut output = locked(&self.0);
        let kept = output.file.kept()?;
        let live = output
            .live
            .get_or_insert_with(|| broadcast::Sender::new(FOLLOW_LINES));
        Ok((kept, live.subscribe()))
    }
}

async fn feed(
    lines: Vec<LogLine>,
    mut last_at: String,
    mut live: broadcast::Receiver<LogLine>,
    marks: Marks,
    sender: mpsc::Sender<LogLine>,
) {
    for line in lines {
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
            Ok(line) if !marks.take(&line) => continue,
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

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use futures_util::FutureExt;

    use super::{super::log_file::TAIL_BYTES_MAX, *};

    const LIMIT_BYTES: u64 = 1024 * 1024;

    fn store() -> (tempfile::TempDir, LogStore, ProgramId) {
        let data = tempfile::tempdir().unwrap();
        let storage = Storage::open(data.path()).unwrap();
        let program = ProgramId::parse("p").unwrap();
        fs::create_dir_all(storage.paths(&program).logs).unwrap();
        (data, LogStore::new(storage), program)
    }

    fn line() -> LogLine {
        LogLine {
            at: "2026-01-01T00:00:00.000000000Z".into(),
            stream: Stream::Stdout,
            text: "hello".into(),
        }
    }

    impl LogStore {
        /// Returns whether the program has a sink, and whether somebody follows it.
        fn holds(&self, program: &ProgramId) -> (bool, bool) {
            let sink = locked(&self.shared.sinks).get(program).cloned();
            let is_live = |sink: &Arc<Sink>| locked(&sink.0).live.is_some();
            (sink.is_some(), sink.as_ref().is_some_and(is_live))
        }

        async fn until(&self, program: &ProgramId, expected: (bool, bool)) {
            let reached = async {
                while self.holds(program) != expected {
                    tokio::task::yield_now().await;
                }
            };
            let reached = tokio::time::timeout(Duration::from_secs(30), reached).await;
            reached.expect("what is held for nobody goes");
        }
    }

    #[tokio::test]
    async fn to_read_holds_nothing_and_to_follow_only_meanwhile() {
        let (_data, store, program) = store();
        assert_eq!(store.tail(&program, 5).await.unwrap(), []);
        assert_eq!(store.holds(&program), (false, false));
        let follower = store.follow(&program, 5);
        store.until(&program, (true, true)).await;
        drop(follower);
        store.until(&program, (false, false)).await;

        let lines = vec![line()];
        store.append(&program, lines, LIMIT_BYTES).await.unwrap();
        assert_eq!(store.tail(&program, 5).await.unwrap(), [line()]);
        assert_eq!(store.holds(&program), (true, false));
        let mut follower = store.follow(&program, 5);
        assert_eq!(follower.recv().await, Some(line()));
        assert_eq!(store.holds(&program), (true, true));
        drop(follower);
        store.until(&program, (true, false)).await;
    }

    #[tokio::test]
    async fn a_read_keeps_what_it_holds_though_nobody_waits_any_more() {
        let (_data, store, program) = store();
        let held = Arc::new(());
        let mut reading = Box::pin(store.follow_of(&program, 5, Marks::Hidden, Arc::clone(&held)));
        assert!((&mut reading).now_or_never().is_none());
        drop(reading);
        assert_eq!(Arc::strong_count(&held), 2);
        store.until(&program, (false, false)).await;
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[tokio::test]
    async fn a_removed_program_leaves_nothing_however_late_one_asks() {
        let (data, store, program) = store();
        store.forget(&program);
        fs::remove_dir_all(data.path().join("programs")).unwrap();
        let late = store.append(&program, vec![line()], LIMIT_BYTES).await;
        late.unwrap_err();
        assert_eq!(store.tail(&program, 5).await.unwrap(), []);
        assert_eq!(store.holds(&program), (false, false));
        let mut follower = store.follow(&program, 5);
        store.until(&program, (true, true)).await;
        store.forget(&program);
        assert_eq!(follower.recv().await, None);
        assert_eq!(store.holds(&program), (false, false));
    }

    #[tokio::test]
    async fn a_tail_is_bounded_in_bytes_and_keeps_the_newest() {
        let (_data, store, program) = store();
        let text = "x".repeat(8 * 1024);
        let lines: Vec<LogLine> = (0..3_000)
            .map(|number| LogLine {
                text: format!("{number} {text}"),
                ..line()
            })
            .collect();
        let appended = store.append(&program, lines.clone(), 1024 * LIMIT_BYTES);
        appended.await.unwrap();
        let tail = store.tail(&program, 10_000).await.unwrap();
        assert_eq!(tail, lines[lines.len() - tail.len()..]);
        let mut encoded = String::new();
        tail.iter().for_each(|line| line.encode(&mut encoded));
        let bytes = encoded.len() as u64;
        let longest = 10 * 1024;
        assert!(
            (TAIL_BYTES_MAX - longest..=TAIL_BYTES_MAX).contains(&bytes),
            "{bytes}"
        );
    }
}
