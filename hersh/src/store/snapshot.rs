//! The form of `context.json`: all that a watcher keeps at one moment, as JSON that people can read.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::mail::SavedMail;
use super::{FolderContents, Ledger, Mail, SavedLedger, Values};

/// The version of a file that holds values alone. A watcher that never asked for an effect and has no mail ends
/// with such a file, so that a release from before effects can go on with it.
const VALUES_ALONE: u32 = 1;
/// The version of a file that holds open effects too.
const WITH_EFFECTS: u32 = 2;
/// The version of a file that holds mail too, or that a log of commits goes on with. A later format gets the next
/// number.
const WITH_MAIL: u32 = 3;

#[derive(Serialize, Deserialize)]
struct Snapshot {
    version: u32,
    values: BTreeMap<String, Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    effects: Option<SavedLedger>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mail: Option<SavedMail>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log: Option<LogName>,
}

/// Names the log of the commits that followed a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogName {
    /// Which of the two files it is, 0 or 1.
    pub(super) file: u8,
    /// Stands at the beginning of the file too, so that a log of another snapshot is told.
    pub(super) id: String,
}

/// Returns the bytes of a snapshot that a log goes on with, if it has a name.
pub(super) fn encode(kept: &FolderContents, log: Option<LogName>) -> io::Result<Vec<u8>> {
    let mut values = BTreeMap::new();
    for (key, json) in &kept.values {
        values.insert(key.to_string(), RawValue::from_string(json.to_string())?);
    }
    let (effects, mail) = (kept.ledger.saved(), kept.mail.saved());
    let version = match (&effects, &mail, &log) {
        (None, None, None) => VALUES_ALONE,
        (Some(_), None, None) => WITH_EFFECTS,
        (_, _, Some(_)) | (_, Some(_), _) => WITH_MAIL,
    };
    let snapshot = Snapshot {
        version,
        values,
        effects,
        mail,
        log,
    };
    Ok(serde_json::to_vec(&snapshot)?)
}

/// Reads a snapshot, for a life whose ids of effects begin with `space`.
///
/// # Errors
/// Says what cannot be understood.
pub(super) fn decode(
    bytes: &[u8],
    space: u64,
) -> Result<(FolderContents, Option<LogName>), String> {
    let snapshot: Snapshot = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if !(VALUES_ALONE..=WITH_MAIL).contains(&snapshot.version) {
        return Err(format!(
            "it has form {}, this program reads forms {VALUES_ALONE} to {WITH_MAIL}",
            snapshot.version
        ));
    }
    let pair = |(key, json): (String, Box<RawValue>)| (Arc::from(key), Arc::from(json.get()));
    let kept = FolderContents {
        values: snapshot.values.into_iter().map(pair).collect::<Values>(),
        ledger: match snapshot.effects {
            None => Ledger::new(space),
            Some(saved) => Ledger::restore(saved, space)?,
        },
        mail: match snapshot.mail {
            None => Mail::new(),
            Some(saved) => Mail::restore(saved)?,
        },
    };
    Ok((kept, snapshot.log))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn the_form_is_the_oldest_that_can_hold_it() {
        let kept = FolderContents::nothing(7);
        let text = |log| String::from_utf8(encode(&kept, log).unwrap()).unwrap();
        assert_eq!(text(None), r#"{"version":1,"values":{}}"#);
        let (file, id) = (1, "ab".to_owned());
        let log = Some(LogName { file, id });
        assert_eq!(
            text(log),
            r#"{"version":3,"values":{},"log":{"file":1,"id":"ab"}}"#
        );
    }
}
