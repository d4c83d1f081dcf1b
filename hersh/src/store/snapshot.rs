//! The durable context on disk: one file, replaced as a whole.
//!
//! `context.json` always holds one committed snapshot: a new one is written beside it, synced,
//! and renamed over it; the folder is synced last. A crash at any instruction leaves the old file
//! or the new one.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Ledger, SavedLedger, Values};
use crate::StartError;

const FILE: &str = "context.json";
const TEMPORARY: &str = "context.json.new";
const LOCK: &str = "context.lock";
/// The version of a file that holds values alone. A watcher that never asked for an effect keeps writing it,
/// so that a release from before effects can go on with its file.
const VALUES_ALONE: u32 = 1;
/// The version of a file that holds open effects too. A later format gets the next number.
const WITH_EFFECTS: u32 = 2;

/// The folder where one watcher keeps its context. The folder is locked while this value lives.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    /// The lock file. It holds the lock until it is dropped.
    _lock: File,
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    version: u32,
    values: BTreeMap<String, Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    effects: Option<SavedLedger>,
}

/// What a file holds.
#[derive(Debug, PartialEq)]
pub(crate) struct Kept {
    pub(crate) values: Values,
    /// The open effects; empty if none was ever asked for.
    pub(crate) ledger: Ledger,
}

impl StateDir {
    /// Opens the folder and reads its snapshot; none is an empty context. The ids of the effects of this life
    /// begin with `space`.
    ///
    /// # Errors
    /// [`StartError::StateDir`] when the folder cannot be used, [`StartError::StateDirBusy`] when
    /// another watcher uses it, [`StartError::Snapshot`] when the file cannot be understood: it
    /// is left as it is, because starting empty would lose what it holds.
    pub(crate) fn open(path: &Path, space: u64) -> Result<(Self, Kept), StartError> {
        let failed = |error: io::Error| StartError::StateDir {
            path: path.into(),
            error: error.to_string(),
        };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = private()
            .create(true)
            .truncate(false)
            .open(path.join(LOCK))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StartError::StateDirBusy { path: path.into() });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let kept = match fs::read(path.join(FILE)) {
            Ok(bytes) => decode(&bytes, space).map_err(|message| StartError::Snapshot {
                path: path.join(FILE),
                message,
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => Kept::nothing(space),
            Err(error) => return Err(failed(error)),
        };
        let directory = Self {
            path: path.into(),
            _lock: lock,
        };
        Ok((directory, kept))
    }

    /// Replaces the snapshot.
    ///
    /// # Errors
    /// The error of the file system; the old snapshot stands.
    pub(crate) fn save(
        &self,
        values: &Values,
        effects: Option<SavedLedger>,
    ) -> io::Result<SaveResult> {
        let temporary = self.path.join(TEMPORARY);
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            // The old temporary file is gone: the next one is our own, whatever somebody had put
            // there.
            Ok(()) | Err(_) => {}
        }
        let mut file = private().create_new(true).open(&temporary)?;
        file.write_all(&encode(values, effects)?)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&temporary, self.path.join(FILE))?;
        let synced = File::open(&self.path).and_then(|folder| folder.sync_all());
        // The new snapshot stands already: if the run counted as failed, its work would be done
        // twice.
        Ok(synced.map_or_else(SaveResult::Unsynced, |()| SaveResult::Synced))
    }
}

impl Kept {
    /// Returns what a new folder holds, for a life whose ids of effects begin with `space`.
    pub(crate) fn nothing(space: u64) -> Self {
        Self {
            values: Values::new(),
            ledger: Ledger::new(space),
        }
    }
}

/// How well a snapshot was saved.
#[derive(Debug)]
pub(crate) enum SaveResult {
    /// The snapshot survives a power cut.
    Synced,
    /// The snapshot survives the end of the process, but a power cut may bring the old one back:
    /// the folder could not be synced.
    Unsynced(io::Error),
}

/// Returns options for files that only their owner may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn encode(values: &Values, effects: Option<SavedLedger>) -> io::Result<Vec<u8>> {
    let mut raw = BTreeMap::new();
    for (key, json) in values {
        raw.insert(key.to_string(), RawValue::from_string(json.to_string())?);
    }
    let version = if effects.is_some() {
        WITH_EFFECTS
    } else {
        VALUES_ALONE
    };
    let snapshot = Snapshot {
        version,
        values: raw,
        effects,
    };
    Ok(serde_json::to_vec(&snapshot)?)
}

fn decode(bytes: &[u8], space: u64) -> Result<Kept, String> {
    let snapshot: Snapshot = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if ![VALUES_ALONE, WITH_EFFECTS].contains(&snapshot.version) {
        return Err(format!(
            "it has form {}, this program reads forms {VALUES_ALONE} and {WITH_EFFECTS}",
            snapshot.version
        ));
    }
    let pair = |(key, json): (String, Box<RawValue>)| (Arc::from(key), Arc::from(json.get()));
    Ok(Kept {
        values: snapshot.values.into_iter().map(pair).collect(),
        ledger: match snapshot.effects {
            None => Ledger::new(space),
            Some(saved) => Ledger::restore(saved, space)?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{LedgerChange, OpenEffect, Progress};

    fn values(pairs: &[(&str, &str)]) -> Values {
        let pair = |(key, json): &(&str, &str)| (Arc::from(*key), Arc::from(*json));
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_is_saved_is_read_back_exactly() {
        let folder = tempfile::tempdir().unwrap();
        let saved = values(&[
            ("a", "1"),
            ("big", "340282366920938463463374607431768211455"),
        ]);
        let (state, empty) = StateDir::open(folder.path(), 7).unwrap();
        assert_eq!(empty, Kept::nothing(7));
        state.save(&saved, None).unwrap();
        drop(state);
        assert_eq!(StateDir::open(folder.path(), 7).unwrap().1.values, saved);
    }

    #[test]
    fn a_crash_while_writing_leaves_the_old_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let (state, _) = StateDir::open(folder.path(), 7).unwrap();
        state.save(&values(&[("a", "1")]), None).unwrap();
        let next = encode(&values(&[("a", "2")]), None).unwrap();
        drop(state);
        for end in 0..=next.len() {
            fs::write(folder.path().join(TEMPORARY), &next[..end]).unwrap();
            let (_, read) = StateDir::open(folder.path(), 7).unwrap();
            assert_eq!(read.values, values(&[("a", "1")]));
        }
    }

    #[test]
    fn the_state_file_is_private_and_no_link_is_followed() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, "mine").unwrap();
        let (state, _) = StateDir::open(folder.path(), 7).unwrap();
        symlink(&elsewhere, folder.path().join(TEMPORARY)).unwrap();
        state.save(&values(&[("a", "1")]), None).unwrap();
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "mine");
        let mode = fs::metadata(folder.path().join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_folder_serves_one_watcher_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateDir::open(folder.path(), 7).unwrap();
        let second = StateDir::open(folder.path(), 7).unwrap_err();
        assert!(matches!(second, StartError::StateDirBusy { .. }));
        drop(first);
        StateDir::open(folder.path(), 7).unwrap();
    }

    #[test]
    fn a_damaged_snapshot_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        for damaged in ["", "{\"version\":1,\"val", "{\"version\":9,\"values\":{}}"] {
            fs::write(&file, damaged).unwrap();
            let error = StateDir::open(folder.path(), 7).unwrap_err();
            assert!(matches!(error, StartError::Snapshot { .. }), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), damaged);
        }
    }

    #[test]
    fn a_failed_save_leaves_the_old_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let (state, _) = StateDir::open(folder.path(), 7).unwrap();
        state.save(&values(&[("a", "1")]), None).unwrap();
        // A folder in the way of the temporary file fails even for root.
        fs::create_dir(folder.path().join(TEMPORARY)).unwrap();
        assert!(state.save(&values(&[("a", "2")]), None).is_err());
        drop(state);
        let (_, read) = StateDir::open(folder.path(), 7).unwrap();
        assert_eq!(read.values, values(&[("a", "1")]));
    }

    #[test]
    fn effects_are_read_back_and_each_life_has_ids_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (state, kept) = StateDir::open(folder.path(), 7).unwrap();
        let mut ledger = kept.ledger;
        let mut effect = OpenEffect {
            space: 7,
            effect: "orders".into(),
            key: Some("btc".into()),
            input: r#"{"price":0.1,"text":"\"quoted\""}"#.into(),
            asked_at_ms: 1,
            once: true,
            cancelled: false,
            progress: Progress::Waiting,
        };
        let id = ledger.outline().ask(&effect).unwrap();
        ledger.apply(LedgerChange::Asked(id.number, effect.clone()));
        state.save(&Values::new(), ledger.into_saved()).unwrap();
        drop(state);
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(
            text.contains(&*effect.input),
            "inputs stand there as they are: {text}"
        );
        let (_state, kept) = StateDir::open(folder.path(), 8).unwrap();
        assert_eq!(kept.ledger.get(1), Some(&effect));
        assert_eq!(kept.ledger.number(id), Some(1));
        effect.space = 8;
        assert_eq!(
            kept.ledger.outline().ask(&effect).unwrap().to_string(),
            "0000000000000008-2"
        );
    }

    #[test]
    fn a_ledger_that_cannot_be_is_refused() {
        let effect = r#"{"space":7,"effect":"a","input":1,"asked_at_ms":1,"progress":"waiting"}"#;
        for (next, settled, open) in [
            ("0", "", String::new()),
            ("18446744073709551615", "", String::new()),
            ("1", "", format!("\"1\":{effect}")),
            ("2", "1", format!("\"1\":{effect}")),
            ("2", "3", String::new()),
        ] {
            let text = format!(
                r#"{{"version":2,"values":{{}},"effects":{{"next":{next},"settled":[{settled}],"open":{{{open}}}}}}}"#
            );
            assert!(decode(text.as_bytes(), 7).is_err(), "{text}");
        }
    }
}
