//! `hersh host backup`, `restore` and `check`: commands on a journal from outside the host.

use std::{io, path::Path};

use hersh_journal::{self as journal, BackupError, BackupTokens, Contents, Home, RestoredJournal};
use hersh_wire::TokenView;
use serde_json::json;

use super::{
    accounts,
    admin_token::{issue, not_issued},
};
use crate::{args::Output, failure::Failure, output};

pub(crate) fn back_up(home: Home, file: &Path, format: Output) -> Result<(), Failure> {
    const LEFT_OUT: &str = "sources, /state, logs and the admin-token file are not in it";
    if file == Path::new("-") {
        output::refuse_terminal("the journal", "hersh host backup - > FILE")?;
        journal::backup_to(home, &mut io::stdout().lock()).map_err(failed)?;
        // The standard output holds only the copy, so notes go to the standard error.
        output::note(LEFT_OUT);
        return Ok(());
    }
    let contents = journal::backup(home, file).map_err(failed)?;
    output::note(LEFT_OUT);
    show(&contents, &file.display().to_string(), None, format)
}

pub(crate) async fn restore(
    home: Home,
    file: &Path,
    revoke_tokens: bool,
    format: Output,
) -> Result<(), Failure> {
    let now_s = output::now_ms() / 1_000;
    let tokens = match revoke_tokens {
        true => BackupTokens::Revoke,
        false => BackupTokens::Keep,
    };
    let restored = journal::restore(home.clone(), file, tokens, now_s).map_err(failed)?;
    let kept = restored.kept.as_ref();
    let kept = kept.map(|path| path.display().to_string());
    if let Some(kept) = &kept {
        output::note(&format!("the journal that was there is kept as {kept}"));
    }
    let place = home.file().display().to_string();
    let valid = || hersh_host::valid_tokens(home.clone(), output::now_ms()).map_err(not_issued);
    let issued = match tokens {
        BackupTokens::Revoke => Some(issue(home.clone(), true).await?),
        BackupTokens::Keep => None,
    };
    if format == Output::Json {
        let mut shown = as_json(&restored.contents, &place, kept);
        shown["tokens_revoked"] = issued.map(|_| restored.revoked).into();
        shown["tokens_revived"] = json!(restored.revived);
        shown["tokens"] = json!(valid()?);
        return output::json(&shown);
    }
    show(&restored.contents, &place, kept, format)?;
    if let Some(issued) = issued {
        let revoked = output::count(restored.revoked, "token");
        let file = issued.path.display();
        output::note(&format!(
            "{revoked} revoked; a new admin token is in {file}"
        ));
        return Ok(());
    }
    let valid = valid()?;
    if let Some(said) = revived(&restored, &valid) {
        output::note(&said);
    }
    let revoke = "'hersh host token --revoke-others' ends all and makes a new one";
    accounts::valid_tokens(&valid, revoke)
}

/// Returns a note on tokens that were removed since the backup and are valid again, if there are any.
fn revived(restored: &RestoredJournal, valid: &[TokenView]) -> Option<String> {
    let ids = valid.iter().map(|token| token.token_id.as_str());
    let ids: Vec<&str> = ids.filter(|id| restored.revived.contains(*id)).collect();
    let number = u64::try_from(ids.len()).unwrap_or(u64::MAX);
    (number > 0).then(|| {
        let number = output::count(number, "token");
        let ids = ids.join(", ");
        format!("{number} removed since the backup can be used again: {ids}")
    })
}

pub(crate) fn check(home: Home, format: Output) -> Result<(), Failure> {
    let place = home.file();
    let contents = journal::check(home).map_err(failed)?;
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
        BackupError::Missing(_)
        | BackupError::InDataFolder(_)
        | BackupError::NoJournal(_)
        | BackupError::Named(_) => Failure::Input(error.to_string()),
        BackupError::Reader(_)
        | BackupError::Lock(_)
        | BackupError::Open(_)
        | BackupError::Unfit { .. }
        | BackupError::File { .. } => Failure::Failed(error.to_string()),
    }
}
