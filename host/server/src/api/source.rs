//! The routes that create a program from its source, and replace the source.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hersh_journal::KeptAnswer;
use hersh_program::{Manifest, Program, ProgramId, RevisionNumber};
use hersh_storage::StagedSource;
use hersh_wire::{BUILD_ARGS_HEADER, Code, CreateProgram, SourceAccepted};

use super::{
    build_query::ARGS_HEADER_IS,
    extract::{OwnedProgram, Params},
    problem::Failure,
    source_query::{CreateQuery, ReplaceQuery},
    upload::{read_over, take},
    view,
};
use crate::{
    auth::{Caller, audit::Particulars},
    host::{Host, NewProgram, NewRevision, Outcome, ProgramEntry},
    idempotency::{Claim, ClaimedRequest, Fingerprint, Key},
};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const REPLAYED: &str = "idempotency-replayed";

/// Takes a program in: source and manifest, as JSON or as a tar (plain, gzip or zstd) with a
/// `Dockerfile` and perhaps a `hersh.toml` at its root. Not started by this.
#[utoipa::path(
    post,
    path = "/programs",
    tag = "programs",
    security(("bearer" = ["operate"])),
    params(CreateQuery, ("idempotency-key" = Option<String>, Header,
        description = "1 to 255 visible ASCII characters: a repeated call gets the first one's answer"),
        ("hersh-build-args" = Option<String>, Header, description = ARGS_HEADER_IS)),
    request_body(content((CreateProgram = "application/json"), (Vec<u8> = "application/x-tar"))),
    responses((status = 201, description = "It was created", body = SourceAccepted)),
)]
pub(super) async fn create(
    State(host): State<Host>,
    Extension(caller): Extension<Caller>,
    Extension(particulars): Extension<Particulars>,
    Params(query): Params<CreateQuery>,
    request: Request,
) -> Result<Response, Failure> {
    let fingerprint = Fingerprint::of(&[
        request.uri().query().unwrap_or_default().as_bytes(),
        header_bytes(&request, header::CONTENT_TYPE.as_str()),
        header_bytes(&request, BUILD_ARGS_HEADER),
    ]);
    let claim = match key(request.headers())? {
        Some(key) => Some(claim(&host, &caller, &key)?),
        None => None,
    };
    let (claim, answered) = answered(&host, claim).await?;
    if let Some(answered) = answered {
        read_over(&host, &caller, request, &fingerprint).await?;
        let program = again(&host, &caller, &answered, &fingerprint.text())?;
        particulars.object(format!("program {}", program.id()));
        particulars.changes_nothing();
        return Ok(replayed(&host, &program));
    }
    let hashed = claim.is_some().then_some(&fingerprint);
    let note = query.note(&caller)?;
    let taken = take(&host, &caller, request, query.build(), hashed).await?;
    let id = match query.name.or(taken.name) {
        Some(name) => ProgramId::parse(&name)
            .map_err(|error| Failure::new(Code::BadManifest, error.to_string()))?,
        None => host.new_id().map_err(|error| Failure::internal(&error))?,
    };
    particulars.object(format!("program {id}"));
    particulars.change(&format!("new, source {}", taken.staged.build_id()));
    let new = NewProgram {
        id,
        revision: NewRevision {
            staged: named(&host, taken.staged, &taken.manifest)?,
            permit: taken.permit,
            manifest: taken.manifest,
            note,
        },
        owner: caller.user,
        claimed: claim
            .zip(taken.fingerprint)
            .map(|(claim, fingerprint)| ClaimedRequest { claim, fingerprint }),
    };
    let entry = host.create(new).await?;
    Ok((StatusCode::CREATED, Json(created(&host, &entry, FIRST))).into_response())
}

/// Replaces source and manifest by a new revision, which the next start or restart runs.
#[utoipa::path(
    put,
    path = "/programs/{id}/source",
    tag = "programs",
    security(("bearer" = ["operate"])),
    params(ReplaceQuery, ("id" = String, Path, description = "The program's id"),
        ("hersh-build-args" = Option<String>, Header, description = ARGS_HEADER_IS)),
    request_body(content((CreateProgram = "application/json"), (Vec<u8> = "application/x-tar"))),
    responses((status = 200, description = "It was replaced", body = SourceAccepted)),
)]
pub(super) async fn replace(
    State(host): State<Host>,
    Extension(caller): Extension<Caller>,
    Extension(particulars): Extension<Particulars>,
    OwnedProgram(entry): OwnedProgram,
    Params(query): Params<ReplaceQuery>,
    request: Request,
) -> Result<Json<SourceAccepted>, Failure> {
    let note = query.note(&caller)?;
    let taken = take(&host, &caller, request, query.build(), None).await?;
    let staged = named(&host, taken.staged, &taken.manifest)?;
    let earlier = |program: &Program| program.source.build.clone();
    let (from, to) = (
        entry.supervisor().with_state(earlier),
        staged.build_id().clone(),
    );
    particulars.change(&format!("source {from} → {to}"));
    let new = NewRevision {
        staged,
        permit: taken.permit,
        manifest: taken.manifest,
        note,
    };
    let replaced = host.replace_source(Arc::clone(&entry), new).await?;
    if replaced.outcome == Outcome::Already {
        particulars.changes_nothing();
    }
    Ok(Json(SourceAccepted {
        build_id: to.to_string(),
        ..created(&host, &entry, replaced.revision)
    }))
}

/// Returns the tree under the name that its image gets. The name is a new one if the image is to be made
/// anew.
fn named(host: &Host, staged: StagedSource, manifest: &Manifest) -> Result<StagedSource, Failure> {
    if !manifest.build.recipe.is_fresh() {
        return Ok(staged);
    }
    let random = host.surroundings().random();
    let random = random.map_err(|error| Failure::internal(&error))?;
    Ok(staged.anew(random)?)
}

/// The number of the revision that a program is created with.
const FIRST: Option<RevisionNumber> = Some(RevisionNumber(1));

fn created(host: &Host, entry: &ProgramEntry, revision: Option<RevisionNumber>) -> SourceAccepted {
    let view = view::program_view(entry, host.now_ms());
    SourceAccepted {
        program_id: view.program_id,
        build_id: view.build_id,
        revision: revision.map(|number| number.0),
        owner: view.owner,
        state: view.state,
        proxy_url: view.proxy_url,
        created_at_ms: view.created_at_ms,
    }
}

fn key(headers: &HeaderMap) -> Result<Option<Key>, Failure> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let key = value.to_str().ok().and_then(Key::parse);
    key.map(Some).ok_or_else(|| {
        let detail =
            "Idempotency-Key has 1 to 255 visible ASCII characters, and no token among them";
        Failure::new(Code::BadRequest, detail)
    })
}

fn header_bytes<'a>(request: &'a Request, name: &str) -> &'a [u8] {
    let value = request.headers().get(name);
    value.map_or(&[], HeaderValue::as_bytes)
}

/// Claims the key for this call. Fails while another call has it.
fn claim(host: &Host, caller: &Caller, key: &Key) -> Result<Claim, Failure> {
    host.claims().claim(&caller.user, key).ok_or_else(|| {
        let detail = "a call with this Idempotency-Key is under way; wait for its end";
        Failure::new(Code::Conflict, detail)
    })
}

/// Looks up what an earlier call with the claimed key was answered. Nothing of this call's body is stored
/// before that.
async fn answered(
    host: &Host,
    claim: Option<Claim>,
) -> Result<(Option<Claim>, Option<KeptAnswer>), Failure> {
    let Some(claim) = claim else {
        return Ok((None, None));
    };
    let (claim, answered) = host
        .blocking(move |host| {
            let answered = claim.answered(host.journal(), host.now_ms());
            (claim, answered)
        })
        .await
        .map_err(|error| Failure::internal(&error))?;
    Ok((Some(claim), answered?))
}

/// Returns the program that the first call with this key made, if this call is the same. If that program
/// was removed, fails even when a later program has its name.
fn again(
    host: &Host,
    caller: &Caller,
    answered: &KeptAnswer,
    fingerprint: &str,
) -> Result<Arc<ProgramEntry>, Failure> {
    if answered.fingerprint != fingerprint {
        return Err(Failure::new(
            Code::IdempotencyMismatch,
            "this Idempotency-Key was used for another request; take a new one",
        ));
    }
    let id = ProgramId::parse(&answered.answer).map_err(|error| Failure::internal(&error))?;
    let entry = host.get(caller, &id)?;
    if entry.created_at_ms() != answered.at_ms || *entry.owner() != caller.user {
        let detail = format!(
            "the program {id} that this Idempotency-Key made was removed; take a new key to make another"
        );
        return Err(Failure::new(Code::NotFound, detail));
    }
    Ok(entry)
}

/// Answers a repeated call like the first one, but shows the program as it is now.
fn replayed(host: &Host, entry: &ProgramEntry) -> Response {
    let mut answer = (StatusCode::CREATED, Json(created(host, entry, FIRST))).into_response();
    let headers = answer.headers_mut();
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    answer
}
