//! Rebuilds programs from their rows.
//!
//! ```text
//! snapshot, or the first state ──► + records after it ──► the program as it stands
//! ```

use hersh_program::{ProgramRecord, ProgramSnapshot, ProgramStepper};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{JournalError, ProgramRow, StoredProgram};

/// Returns every program. Two queries, in one transaction so that they see the same data, are each read once
/// from start to end.
pub(super) fn load_all(connection: &Connection) -> Result<Vec<StoredProgram>, JournalError> {
    let one_view = connection.unchecked_transaction()?;
    load_all_in(&one_view)
}

/// Returns every program, within a transaction of the caller.
pub(super) fn load_all_in(connection: &Connection) -> Result<Vec<StoredProgram>, JournalError> {
    let mut programs = connection.prepare(
        "SELECT row, id, owner, created_at_ms, initial, snapshot
         FROM programs LEFT JOIN snapshots ON program = row ORDER BY row",
    )?;
    let mut records = connection.prepare(
        "SELECT r.program, r.seq, r.now_ms, r.event, r.effects
         FROM programs LEFT JOIN snapshots AS s ON s.program = row
         CROSS JOIN records AS r ON r.program = row AND r.seq > COALESCE(s.seq, 0)
         ORDER BY row, r.seq",
    )?;
    let mut records = records.query_map([], StoredRecord::read)?.peekable();
    let mut folded = Vec::new();
    for stored in programs.query_map([], StoredBase::read)? {
        let stored = stored?;
        let row = stored.row;
        let mut program = stored.into_program()?;
        while let Some(record) = records.next_if(|record| {
            // An error is taken from the iterator too, so that it is returned.
            record.as_ref().map_or(true, |record| record.program == row)
        }) {
            program.apply(&record?)?;
        }
        folded.push(program);
    }
    Ok(folded)
}

/// Returns one program as it stood after record `until`; `None` if there is no such program.
pub(super) fn load_one(
    connection: &Connection,
    row: ProgramRow,
    until: u64,
) -> Result<Option<StoredProgram>, JournalError> {
    let stored = connection
        .prepare_cached(
            "SELECT row, id, owner, created_at_ms, initial, snapshot
             FROM programs LEFT JOIN snapshots ON program = row WHERE row = ?1",
        )?
        .query_row([row.0], StoredBase::read)
        .optional()?;
    let Some(stored) = stored else {
        return Ok(None);
    };
    let mut program = stored.into_program()?;
    let mut records = connection.prepare_cached(
        "SELECT program, seq, now_ms, event, effects FROM records
         WHERE program = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq",
    )?;
    let after = program.snapshot_seq;
    for record in records.query_map((row.0, after, until), StoredRecord::read)? {
        program.apply(&record?)?;
    }
    Ok(Some(program))
}

/// Returns one program as it was created; `None` if there is no such program.
#[cfg(any(test, feature = "testkit"))]
pub(super) fn load_first(
    connection: &Connection,
    row: ProgramRow,
) -> Result<Option<StoredProgram>, JournalError> {
    let stored = connection
        .prepare_cached(
            "SELECT row, id, owner, created_at_ms, initial, NULL FROM programs WHERE row = ?1",
        )?
        .query_row([row.0], StoredBase::read)
        .optional()?;
    stored.map(StoredBase::into_program).transpose()
}

impl StoredProgram {
    fn apply(&mut self, stored: &StoredRecord) -> Result<(), JournalError> {
        let record = stored.parse(self.stepper.state().id.as_str())?;
        self.last_event_ms = record.now_ms;
        self.stepper
            .apply(record)
            .map_err(|divergence| JournalError::Diverged {
                program: self.stepper.state().id.clone(),
                seq: divergence.seq,
            })
    }
}

/// The row of a program with its snapshot, from which a fold begins.
struct StoredBase {
    row: i64,
    id: String,
    owner: String,
    created_at_ms: u64,
    initial: String,
    snapshot: Option<String>,
}

impl StoredBase {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            row: row.get(0)?,
            id: row.get(1)?,
            owner: row.get(2)?,
            created_at_ms: row.get(3)?,
            initial: row.get(4)?,
            snapshot: row.get(5)?,
        })
    }

    fn into_program(self) -> Result<StoredProgram, JournalError> {
        let unreadable = |error: serde_json::Error| JournalError::Unreadable {
            program: self.id.clone(),
            seq: 0,
            message: error.to_string(),
        };
        let (stepper, last_event_ms, snapshot_seq) = match &self.snapshot {
            None => {
                let initial: hersh_program::Program =
                    serde_json::from_str(&self.initial).map_err(unreadable)?;
                (ProgramStepper::new(initial), self.created_at_ms, 0)
            }
            Some(snapshot) => {
                let snapshot: ProgramSnapshot =
                    serde_json::from_str(snapshot).map_err(unreadable)?;
                let (now_ms, seq) = (snapshot.now_ms, snapshot.seq);
                (ProgramStepper::from_snapshot(snapshot), now_ms, seq)
            }
        };
        Ok(StoredProgram {
            row: ProgramRow(self.row),
            owner: self.owner,
            created_at_ms: self.created_at_ms,
            last_event_ms,
            snapshot_seq,
            stepper,
        })
    }
}

/// A record as it is stored.
pub(super) struct StoredRecord {
    program: i64,
    seq: u64,
    now_ms: u64,
    event: String,
    effects: String,
}

impl StoredRecord {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            program: row.get(0)?,
            seq: row.get(1)?,
            now_ms: row.get(2)?,
            event: row.get(3)?,
            effects: row.get(4)?,
        })
    }

    /// Returns how many bytes the record takes as text, without its numbers.
    pub(super) fn bytes(&self) -> usize {
        self.event.len() + self.effects.len()
    }

    pub(super) fn parse(&self, program: &str) -> Result<ProgramRecord, JournalError> {
        let unreadable = |error: serde_json::Error| JournalError::Unreadable {
            program: program.to_owned(),
            seq: self.seq,
            message: error.to_string(),
        };
        Ok(ProgramRecord {
            seq: self.seq,
            now_ms: self.now_ms,
            event: serde_json::from_str(&self.event).map_err(unreadable)?,
            effects: serde_json::from_str(&self.effects).map_err(unreadable)?,
        })
    }
}
