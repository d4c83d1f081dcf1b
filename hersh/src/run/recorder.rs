//! Records runs, if there is a journal. A journal that fails ends, and the watcher goes on: the
//! journal is there to explain what happened, not to decide what happens.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use crate::base::clock::epoch_ns;
use crate::base::sync::locked;
use crate::engine::RunKind;
use crate::journal::{Entry, JournalWriter, Part, RecordedOutcome, RecordedRun, VERSION};
use crate::shared::{Level, LogKind};
use crate::store::{LedgerOutline, Values};
use crate::{Context, Ending, JournalLimits, StartError};

/// The journal of one watcher, or none.
pub(crate) struct Recorder {
    journal: Option<Session>,
    /// The run whose changes are being saved.
    unsettled: Option<Box<RecordedRun>>,
}

/// An open journal.
pub(crate) struct Session {
    pub(crate) writer: JournalWriter,
    /// A random number that names the session, the same in all parts.
    pub(crate) id: u64,
    pub(crate) parts: u32,
    pub(crate) seed: u64,
}

impl Recorder {
    /// Returns a recorder that records to a journal, if there is one.
    pub(crate) fn new(journal: Option<Session>) -> Self {
        Self {
            journal,
            unsettled: None,
        }
    }

    /// Returns whether runs are recorded.
    pub(crate) fn is_on(&self) -> bool {
        self.journal.is_some()
    }

    /// Notes that a run has ended with what `cx` holds. The run is recorded once it is settled.
    pub(crate) fn ran(&mut self, cx: &mut Context, kind: RunKind, outcome: RecordedOutcome) {
        if self.journal.is_some() {
            self.unsettled = cx.record(kind, outcome).map(Box::new);
        }
    }

    /// Records the run: its changes are durable, or `unsaved` says why they are not.
    pub(crate) fn settle(&mut self, cx: &Context, unsaved: Option<&str>) {
        let Some(mut run) = self.unsettled.take() else {
            return;
        };
        if let Some(reason) = unsaved {
            let reason = reason.into();
            run.outcome = RecordedOutcome::Unsaved { reason };
        }
        self.write(cx, |session| {
            session.writer.append(&run.into())?;
            if session.writer.is_full() {
                session.parts += 1;
                let effects = locked(&cx.shared.ledger).outline();
                session.writer.rotate(session.part(cx), effects)?;
            }
            Ok(())
        });
    }

    /// Gives what waits in memory to the operating system.
    pub(crate) fn flush(&mut self, cx: &Context) {
        let waits = |session: &Session| session.writer.has_buffered();
        if self.journal.as_ref().is_some_and(waits) {
            self.write(cx, |session| session.writer.flush());
        }
    }

    /// Returns when written bytes are to be synced, if any are not.
    pub(crate) fn sync_due(&self) -> Option<Instant> {
        self.journal.as_ref()?.writer.sync_due()
    }

    /// Syncs written bytes.
    pub(crate) fn sync(&mut self) {
        if let Some(session) = &mut self.journal {
            session.writer.sync();
        }
    }

    /// Writes the last entry, because the watcher is over.
    pub(crate) fn finish(&mut self, cx: &Context, ending: &Ending) {
        let entry = Entry::Ended {
            ending: ending.to_string(),
            at_ns: epoch_ns(SystemTime::now()),
        };
        self.write(cx, |session| session.writer.finish(&entry));
    }

    fn write(&mut self, cx: &Context, work: impl FnOnce(&mut Session) -> io::Result<()>) {
        let Some(session) = &mut self.journal else {
            return;
        };
        if let Err(error) = work(session) {
            let text = format!("the journal ends here: {error}; the watcher goes on without it");
            locked(&session.writer.state()).error = Some(error.to_string());
            self.journal = None;
            let run = cx.run_number();
            cx.shared
                .note(Level::Error, LogKind::StateFault, run, &text);
        }
    }
}

impl Session {
    /// Opens the journal for a session that begins with the context `values`. `identity` is the
    /// watcher's name, a random number, and where its random numbers come from.
    ///
    /// # Errors
    /// [`StartError::Journal`]
    pub(crate) fn open(
        folder: &Path,
        limits: JournalLimits,
        (watcher, id, seed): (Arc<str>, u64, u64),
        values: &Values,
        effects: LedgerOutline,
    ) -> Result<Self, StartError> {
        let part = Part {
            version: VERSION,
            watcher,
            session: id,
            number: 0,
            seed,
            at_ns: epoch_ns(SystemTime::now()),
            context: pairs(values),
            variables: Vec::new(),
        };
        Ok(Self {
            writer: JournalWriter::open(folder, limits, (part, effects))?,
            id,
            parts: 0,
            seed,
        })
    }

    /// Returns the beginning of a part that begins now.
    fn part(&self, cx: &Context) -> Part {
        Part {
            version: VERSION,
            watcher: cx.shared.id.clone(),
            session: self.id,
            number: self.parts,
            seed: self.seed,
            at_ns: epoch_ns(SystemTime::now()),
            context: pairs(&cx.shared.committed.values()),
            variables: cx.variables(),
        }
    }
}

fn pairs(values: &Values) -> Vec<(Arc<str>, Arc<str>)> {
    let pairs = values.iter();
    pairs
        .map(|(key, json)| (key.clone(), json.clone()))
        .collect()
}
