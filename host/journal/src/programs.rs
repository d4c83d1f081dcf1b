//! The rows of programs and of their records: creates, appends, reads and removes them.

use hersh_base::right::Right;
use hersh_program::{Event, Program, ProgramId, ProgramRecord, UserId};
use rusqlite::{ErrorCode, Transaction};

use super::{
    Journal, JournalError, KeptAnswer, ProgramRow, StoredProgram, WritePurpose, fold, to_json,
};

/// The most that one page of records takes as text, bytes; a longer first record is a page by itself. A
/// record may hold the manifest with its environment, up to half a megabyte, and a thousand of those
/// could take all memory of the host.
const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Consecutive records of one program.
pub struct Page {
    /// The records, oldest first.
    pub records: Vec<ProgramRecord>,
    /// Whether the program has later records that are not on this page.
    pub has_more: bool,
}

impl Journal {
    /// Stores a new program of `owner`.
    ///
    /// # Errors
    /// [`JournalError::Exists`] if the name is taken, or the error of the disk.
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

    /// Stores a new program of `owner`, a user of the host, and `kept`, the answer to the call that
    /// created it, so that a repeated call gets the same answer.
    ///
    /// # Errors
    /// As [`Journal::create`], and [`JournalError::NoOwner`].
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
            // The owner may have been removed since the host accepted the call.
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

    /// Appends a record, which is on the disk when this returns. Replaces a record of the same number: an
    /// earlier attempt whose outcome is not known may have left one.
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

    /// Like [`Journal::append`], but only if `right` holds when the record is written.
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

    /// Removes a program and its records from the journal.
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

    /// Returns every program as it stands after its last record, in the order of creation. Blocks on the
    /// disk; keeps the records of only one program in memory at a time.
    ///
    /// # Errors
    /// [`JournalError::Unreadable`] or [`JournalError::Diverged`] names the record that this host
    /// can't read or would not have written.
    pub fn load(&self) -> Result<Vec<StoredProgram>, JournalError> {
        self.read(fold::load_all)
    }

    /// Returns one program as it stood after record `until`, for tests; `None` if there is no such program.
    ///
    /// # Errors
    /// As [`Journal::load`].
    #[cfg(any(test, feature = "testkit"))]
    pub fn load_until(
        &self,
        row: ProgramRow,
        until: u64,
    ) -> Result<Option<StoredProgram>, JournalError> {
        self.read(|reader| fold::load_one(reader, row, until))
    }

    /// Returns one program as it was created, for tests; `None` if there is no such program.
    ///
    /// # Errors
    /// As [`Journal::load`].
    #[cfg(any(test, feature = "testkit"))]
    pub fn load_first(&self, row: ProgramRow) -> Result<Option<StoredProgram>, JournalError> {
        self.read(|reader| fold::load_first(reader, row))
    }

    /// Returns at most `limit` stored records of a program with numbers above `after_seq`. Blocks on the
    /// disk.
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

    /// Like [`Journal::records`], with at most 2 MiB of text; a longer first record is a page by itself.
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
        // The numbers of the database end at `i64::MAX`, so no record has a higher one.
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

/// Returns the purpose of the record of `event`. A user's request can wait until there is space, unless it
/// ends something. All other events note what came of a request, of a start of the host or of the end of
/// an instance.
fn purpose(event: &Event) -> WritePurpose {
    match event {
        Event::UserStartRequested
        | Event::UserRestartRequested
        | Event::UserRollBackRequested { .. }
        | Event::UserBuildRequested
        | Event::SourceReplaced { .. } => WritePurpose::Ordinary,
        Event::UserStopRequested
        | Event::UserDeleteRequested
        | Event::HostStarted { .. }
        | Event::FoldersEnsured { .. }
        | Event::BuildFinished { .. }
        | Event::InstanceStarted { .. }
        | Event::StartFailed { .. }
        | Event::InstanceEnded { .. }
        | Event::InstanceNotAlive { .. }
        | Event::InstanceAlive { .. }
        | Event::InstanceSettled { .. }
        | Event::StopFinished { .. }
        | Event::InstanceObserved { .. }
        | Event::DeadlinePassed { .. }
        | Event::RetryDue { .. }
        | Event::Removed { .. }
        | Event::HandlerPanicked { .. } => WritePurpose::Freeing,
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
