//! The route that hands source back.

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use hersh_program::{BuildId, Program, Refusal, RevisionNumber};
use hersh_storage::{SourceTree, TreePurpose, tar_stream};
use hersh_wire::Code;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    extract::{OwnedProgram, Params},
    problem::Failure,
};
use crate::{
    auth::Caller,
    host::{Host, ProgramEntry},
};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FetchQuery {
    /// The revision; the one that the next start runs if left out.
    #[param(minimum = 1)]
    revision: Option<u64>,
}

/// The source of a revision as a tar.
#[utoipa::path(
    get,
    path = "/programs/{id}/source",
    tag = "programs",
    security(("bearer" = ["read"])),
    params(FetchQuery, ("id" = String, Path, description = "The program's id")),
    responses((status = 200, description = "The tree", body = Vec<u8>, content_type = "application/x-tar")),
)]
pub(super) async fn fetch(
    State(host): State<Host>,
    Extension(caller): Extension<Caller>,
    OwnedProgram(entry): OwnedProgram,
    Params(query): Params<FetchQuery>,
) -> Result<Response, Failure> {
    let Some(permit) = host
        .permits()
        .downloads
        .take(&caller.user, caller.role.share())
    else {
        let detail = "too many downloads of source are under way; try again shortly";
        return Err(Failure::new(Code::QueueFull, detail));
    };
    let id = entry.id();
    let build = build_of(&entry, query.revision)?;
    let path = host.storage().source_path(&id, &build);
    let tree = host.blocking(move |_| SourceTree::open(&path)).await;
    let tree = tree.map_err(|error| Failure::internal(&error))?;
    let tree = tree.map_err(|_nothing| {
        let detail = format!("the source of {id} is not on this machine; deploy it again");
        Failure::new(Code::NotFound, detail)
    })?;
    // Checked after the tree was opened. If it were checked before, the program could be removed in
    // between, and the open tree could be another user's program of the same name and so the same path.
    if entry.gone().is_cancelled() {
        return Err(Failure::new(Code::NotFound, format!("{id} was removed")));
    }
    let tree = tar_stream(move || Ok(tree), TreePurpose::Keep, permit);
    let mut answer = Body::from_stream(tree).into_response();
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-tar"),
    );
    let name = format!("attachment; filename=\"{id}-{build}.tar\"");
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(answer)
}

/// Returns the name of a revision's tree, or of the one that the next start builds.
fn build_of(entry: &ProgramEntry, revision: Option<u64>) -> Result<BuildId, Failure> {
    let Some(revision) = revision.map(RevisionNumber) else {
        let wanted = |program: &Program| program.source.build.clone();
        return Ok(entry.supervisor().with_state(wanted));
    };
    let kept = entry.supervisor().with_state(|program| {
        let revisions = program.revisions.as_ref()?;
        Some(revisions.get(revision)?.source.build.clone())
    });
    kept.ok_or_else(|| {
        let refusal = Refusal::NoSuchRevision { revision };
        Failure::new(Code::NotFound, refusal.to_string())
    })
}
