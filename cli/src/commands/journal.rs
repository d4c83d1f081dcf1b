//! `hersh host backup`, `restore` and `check`: what is done with a journal from outside.

use std::path::Path;

use hersh_host::journal::{self, BackupError, Contents};
use serde_json::json;

use super::{accounts, host::not_issued};
use crate::{args::Output, failure::Failure, output};

pub(crate) fn back_up(data: &Path, file: &Path, format: Output) -> Result<(), Failure> {
    let contents = journal::backup(data, file).map_err(failed)?;
    output::note("sources, /state, logs and the admin-token file are not in it");
    show(&contents, &file.display().to_string(), None, format)
}

pub(crate) async fn restore(
    data: &Path,
    file: &Path,
    revoke_tokens: bool,
    format: Output,
) -> Result<(), Failure> {
    let now_s = output::now_ms() / 1_000;
    let restored = journal::restore(data, file, now_s).map_err(failed)?;
    let kept = restored.kept.map(|path| path.display().to_string());
    if let Some(kept) = &kept {
        output::note(&format!("the journal that was there is kept as {kept}"));
    }
    let place = data.join(journal::JOURNAL_FILE);
    let place = place.display().to_string();
    let valid = || hersh_host::valid_tokens(data, output::now_ms()).map_err(not_issued);
    if format == Output::Json {
        let revoked = match revoke_tokens {
            true => Some(super::host::issue(data, true).await?.revoked),
            false => None,
        };
        let mut shown = as_json(&restored.contents, &place, kept);
        shown["tokens_revoked"] = revoked.into();
        shown["tokens"] = json!(valid()?);
        return output::json(&shown);
    }
    show(&restored.contents, &place, kept, format)?;
    if revoke_tokens {
        let issued = super::host::issue(data, true).await?;
        let revoked = output::count(issued.revoked, "token");
        let file = issued.path.display();
        output::note(&format!(
            "{revoked} revoked; a new admin token is in {file}"
        ));
        return Ok(());
    }
    let revoke = "'hersh host token --revoke-others' ends all and makes a new one";
    accounts::valid_tokens(&valid()?, revoke)
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
        Output::Json => output::json(&as_json(contents, file, kept)),
        Output::Table => output::line(&format!(
            "{file} is whole: {}, {}, {} KiB",
            output::count(contents.programs, "program"),
            output::count(contents.records, "event"),
            contents.bytes.div_ceil(1_024)
        )),
    }
}

fn as_json(contents: &Contents, file: &str, kept: Option<String>) -> serde_json::Value {
    json!({
        "file": file,
        "programs": contents.programs,
        "records": contents.records,
        "bytes": contents.bytes,
        "kept": kept,
    })
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
