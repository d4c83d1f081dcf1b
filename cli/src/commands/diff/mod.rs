//! `hersh diff`: what differs between two revisions.
//!
//! ```text
//! list of revisions ─► both manifests ─► lines ─┐
//! both sources, as tars ─► trees ─► files ──────┴─► text for people, objects for programs
//! ```

mod changes;
mod lines;
mod tree;

use hersh_wire::{Manifest, RevisionList, RevisionView};
use reqwest::Method;
use serde::Serialize;

use self::{changes::FileChange, tree::Tree};
use crate::{args::Output, client::Client, failure::Failure, output};

/// What differs between two revisions.
#[derive(Serialize)]
struct Difference {
    from: u64,
    to: u64,
    /// The changed lines of the settings in force, as `hersh.toml` writes them; none if they are the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
    files: Vec<FileChange>,
}

pub(crate) async fn diff(
    client: &Client,
    program: &str,
    (from, to): (u64, u64),
    format: Output,
) -> Result<(), Failure> {
    let list: RevisionList = client.get(&["programs", program, "revisions"]).await?;
    let [older, newer] = [from, to].map(|number| find(&list, program, number));
    let (older, newer) = (older?, newer?);
    let files = match older.build_id == newer.build_id {
        // One tree, with other settings.
        true => Vec::new(),
        false => {
            let older = fetch(client, program, from).await?;
            let newer = fetch(client, program, to).await?;
            changes::between(&older, &newer, &[from, to])
        }
    };
    let difference = Difference {
        from,
        to,
        manifest: lines::between(
            &written(&older.manifest)?,
            &written(&newer.manifest)?,
            &[from, to].map(|number| format!("revision {number}: settings")),
        ),
        files,
    };
    match format {
        Output::Json => output::json(&difference),
        Output::Table => show(&difference),
    }
}

fn find<'a>(
    list: &'a RevisionList,
    program: &str,
    number: u64,
) -> Result<&'a RevisionView, Failure> {
    let found = list.revisions.iter().find(|it| it.revision == number);
    found.ok_or_else(|| {
        Failure::Input(format!(
            "{program} has no revision {number}; 'hersh revisions {program}' lists those that are kept"
        ))
    })
}

async fn fetch(client: &Client, program: &str, revision: u64) -> Result<Tree, Failure> {
    let request = client
        .request(Method::GET, &["programs", program, "source"])
        .query(&[("revision", revision)]);
    tree::receive(client.send(request).await?).await
}

fn written(manifest: &Manifest) -> Result<String, Failure> {
    toml::to_string(manifest)
        .map_err(|error| Failure::Failed(format!("the settings can't be compared: {error}")))
}

fn show(difference: &Difference) -> Result<(), Failure> {
    let Difference { from, to, .. } = difference;
    if difference.manifest.is_none() && difference.files.is_empty() {
        let same = "have the same files and settings, but perhaps for values of variables";
        return output::line(&format!("revisions {from} and {to} {same}"));
    }
    let manifest = difference.manifest.iter();
    let files = difference.files.iter().map(FileChange::text);
    for text in manifest.cloned().chain(files) {
        text.lines().try_for_each(output::line)?;
    }
    Ok(())
}
