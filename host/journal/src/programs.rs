//! The rows of programs: created, appended to, read, removed.

use hersh_base::right::Right;
use hersh_program::{Event, Program, ProgramId, ProgramRecord, UserId};
use rusqlite::{ErrorCode, Transaction};

use super::{Journal, JournalError, KeptAnswer, ProgramRow, Purpose, StoredProgram, fold, to_json};

/// The most that one page of records takes as text, bytes, but for its first record. A record holds
/// the manifest with its environment, up to half a megabyte; a thousand of them would be the host's memory.
const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Records in a row.
pub struct Page {
    /// The records, oldest first.
    pub records: Vec<ProgramRecord>,
    /// There are others behind them.
    pub has_more: bool,
}

impl Journal {
    /// Stores a new program of `owner`.
    ///
    /// # Errors
    /// [`JournalError::Exists`] if the name is taken; others as the disk says.
    pub async fn create(
        &self,
        owner: &str,
        created_at_ms: u64,
        initial: &Program,
    ) -> Result<ProgramRow, JournalError> {
        let (id, owner) = (initial.id.clone(), owner.to_owned());
        let initial = to_json(initial)?;
        self.write(move |transaction| insert(transaction, id, &owner, created_at_ms, &initial))
            .await
    }

    /// Stores a new program of a user of the host, and the answer to a call that may be repeated.
    ///
    /// # Errors
    /// Like [`Journal::create`], and [`JournalError::NoOwner`].
    pub async fn create_once(
        &self,
        owner: &UserId,
        created_at_ms: u64,
        initial: &Program,
        kept: Option<KeptAnswer>,
    ) -> Result<ProgramRow, JournalError> {
        let (id, owner) = (initial.id.clone(), owner.clone());
        let initial = to_json(initial)?;
        self.write(move |transaction| {
            // The owner may have been removed since the call was let in.
            let is_there = "SELECT EXISTS (SELECT 1 FROM users WHERE id = ?1)";
            if !transaction.query_row(is_there, [owner.as_str()], |row| row.get(0))? {
                return Err(JournalError::NoOwner(owner.to_string()));
            }
            let row = insert(transaction, id, owner.as_str(), created_at_ms, &initial)?;
            if let Some(kept) = kept {
                kept.insert(transaction)?;
            }
            Ok(row)
        })
        .await
    }

    /// Appends a record; it is on the disk when this returns. A record of the same number, left
    /// by an attempt whose outcome nobody learned, is replaced.
    ///
    /// # Errors
    /// When the journal can't be read or written; the record is then not in the journal.
    pub async fn append(
        &self,
        row: ProgramRow,
        record: &ProgramRecord,
    ) -> Result<(), JournalError> {
        self.append_by(row, record, None).await
    }

    /// Like [`Journal::append`], if `right` holds then.
    ///
    /// # Errors
    /// As [`Journal::append`], and [`JournalError::Revoked`].
    pub async fn append_by(
        &self,
        row: ProgramRow,
        record: &ProgramRecord,
        right: Option<&Right>,
    ) -> Result<(), JournalError> {
        let (seq, now_ms) = (record.seq, record.now_ms);
        let purpose = purpose(&record.event);
        let event = to_json(&record.event)?;
        let effects = to_json(&record.effects)?;
        self.write_by(purpose, right, move |transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO records (program, seq, now_ms, event, effects)
                     VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (program, seq) DO UPDATE
                     SET now_ms = excluded.now_ms, event = excluded.event, effects = excluded.effects",
                )?
                .execute((row.0, seq, now_ms, event, effects))?;
            Ok(())
        })
        .await
    }

    /// Forgets a program and its records.
    ///
    /// # Errors
    /// When the journal can't be read or written.
    pub async fn remove(&self, row: ProgramRow) -> Result<(), JournalError> {
        self.write_freeing(move |transaction| {
            transaction.execute("DELETE FROM programs WHERE row = ?1", [row.0])?;
            Ok(())
        })
        .await
    }

    /// Every program as it stands after its last record, in the order of creation. Blocks on the
    /// disk; holds one program's records at a time.
    ///
    /// # Errors
    /// [`JournalError::Unreadable`] or [`JournalError::Diverged`] names the record that this host
    /// can't read or would not have written.
    pub fn load(&self) -> Result<Vec<StoredProgram>, JournalError> {
        self.read(fold::every)
    }

    /// One program as it stood after record `until`, for tests; `None` if there is no such program.
    ///
    /// # Errors
    /// As [`Journal::load`].
    #[cfg(any(test, feature = "testkit"))]
    pub fn load_until(
        &self,
        row: ProgramRow,
        until: u64,
    ) -> Result<Option<StoredProgram>, JournalError> {
        self.read(|reader| fold::one(reader, row, until))
    }

    /// At most `limit` records of a program after `seq`, those that are kept. Blocks on the disk.
    ///
    /// # Errors
    /// [`JournalError::Unreadable`] names the record that this host can't read.
    pub fn records(
        &self,
        row: ProgramRow,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<ProgramRecord>, JournalError> {
        let page = self.page_of(row, after_seq, limit, usize::MAX)?;
        Ok(page.records)
    }

    /// Like [`Journal::records`], and no more than 2 MiB of text beside the first.
    ///
    /// # Errors
    /// As [`Journal::records`].
    pub fn page(
        &self,
        row: ProgramRow,
        after_seq: u64,
        limit: usize,
    ) -> Result<Page, JournalError> {
        self.page_of(row, after_seq, limit, PAGE_BYTES_MAX)
    }

    fn page_of(
        &self,
        row: ProgramRow,
        after_seq: u64,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Page, JournalError> {
        // The database counts no further, so there is nothing after that.
        let after_seq = i64::try_from(after_seq).unwrap_or(i64::MAX);
        let mut stored = Vec::new();
        let mut bytes = 0_usize;
        let has_more = self.read(|reader| -> Result<bool, JournalError> {
            let mut statement = reader.prepare_cached(
                "SELECT program, seq, now_ms, event, effects FROM records
                 WHERE program = ?1 AND seq > ?2 ORDER BY seq",
            )?;
            let mut rows = statement.query((row.0, after_seq))?;
            while let Some(row) = rows.next()? {
                let record = fold::StoredRecord::read(row)?;
                bytes = bytes.saturating_add(record.bytes());
                if stored.len() == limit || (bytes > bytes_max && !stored.is_empty()) {
                    return Ok(true);
                }
                stored.push(record);
            }
            Ok(false)
        })?;
        let program = format!("the program in row {}", row.0);
        let records = stored.iter().map(|record| record.parse(&program));
        let records = records.collect::<Result<_, _>>()?;
        Ok(Page { records, has_more })
    }
}

/// What somebody asks for can wait until there is room, unless it ends something. All else is what
/// came of that, of a start of the host or of the end of a container.
fn purpose(event: &Event) -> Purpose {
    match event {
        Event::UserStartRequested | Event::UserRestartRequested | Event::SourceReplaced { .. } => {
            Purpose::Ordinary
        }
        Event::UserStopRequested
        | Event::UserDeleteRequested
        | Event::HostStarted { .. }
        | Event::FoldersEnsured { .. }
        | Event::BuildFinished { .. }
        | Event::RuntimeStarted { .. }
        | Event::StartFailed { .. }
        | Event::RuntimeExited { .. }
        | Event::StopFinished { .. }
        | Event::StatusFetched { .. }
        | Event::DeadlinePassed { .. }
        | Event::RetryDue { .. }
        | Event::Removed { .. }
        | Event::HandlerPanicked { .. } => Purpose::Freeing,
    }
}

fn insert(
    transaction: &Transaction<'_>,
    id: ProgramId,
    owner: &str,
    created_at_ms: u64,
    initial: &str,
) -> Result<ProgramRow, JournalError> {
    transaction
        .prepare_cached(
            "INSERT INTO programs (id, owner, created_at_ms, initial) VALUES (?1, ?2, ?3, ?4)",
        )?
        .insert((id.as_str(), owner, created_at_ms, initial))
        .map(ProgramRow)
        .map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => JournalError::Exists(id),
            _ => error.into(),
        })
}
