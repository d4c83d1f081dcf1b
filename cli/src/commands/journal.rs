//! `hersh host backup`, `restore` and `check`: what is done with a journal from outside.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use hersh_host::journal::{self, BackupError, Contents};
use serde_json::json;

use crate::{args::Output, failure::Failure, output};

pub(crate) fn back_up(data: &Path, file: &Path, format: Output) -> Result<(), Failure> {
    let contents = journal::backup(data, file).map_err(failed)?;
    output::note("sources, /state, logs and the admin-token file are not in it");
    show(&contents, &file.display().to_string(), None, format)
}

pub(crate) fn restore(data: &Path, file: &Path, format: Output) -> Result<(), Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = now.map_or(0, |now| now.as_secs());
    let restored = journal::restore(data, file, now_s).map_err(failed)?;
    let kept = restored.kept.map(|path| path.display().to_string());
    if let Some(kept) = &kept {
        output::note(&format!("the journal that was there is kept as {kept}"));
    }
    let place = data.join(journal::JOURNAL_FILE);
    show(
        &restored.contents,
        &place.display().to_string(),
        kept,
        format,
    )
}

pub(crate) fn check(data: &Path, format: Output) -> Result<(), Failure> {
    let contents = journal::check(data).map_err(failed)?;
    let place = data.join(journal::JOURNAL_FILE);
    show(&contents, &place.display().to_string(), None, format)
}

fn show(
    contents: &Contents,
    file: &str,
    kept: Option<String>,
    format: Output,
) -> Result<(), Failure> {
    match format {
        Output::Json => output::json(&json!({
            "file": file,
            "programs": contents.programs,
            "records": contents.records,
            "bytes": contents.bytes,
            "kept": kept,
        })),
        Output::Table => output::line(&format!(
            "{file} is whole: {}, {}, {} KiB",
            output::count(contents.programs, "program"),
            output::count(contents.records, "event"),
            contents.bytes.div_ceil(1_024)
        )),
    }
}

fn failed(error: BackupError) -> Failure {
    match &error {
        BackupError::Missing(_) | BackupError::InDataFolder(_) | BackupError::NoJournal(_) => {
            Failure::Input(error.to_string())
        }
        BackupError::Lock(_)
        | BackupError::Open(_)
        | BackupError::Unfit { .. }
        | BackupError::File { .. } => Failure::Failed(error.to_string()),
    }
}
