//! The routes for tokens. Members see their own tokens, admins see everybody's.

use axum::{
    Extension, Json,
    extract::{Path, State},
    http::StatusCode,
};
use hersh_base::token_text;
use hersh_program::UserId;
use hersh_wire::{Code, CreateToken, Span, TokenCreated, TokenList, Whoami};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    extract::{Body, Params},
    problem::Failure,
    users, view,
};
use crate::{
    auth::{self, Caller, DescendantTokens, NewToken, Role, Scope, TokenId, audit::Particulars},
    host::Host,
};

const DAY_MS: u64 = 24 * 60 * 60_000;
/// The time that a token is valid unless its maker says otherwise, milliseconds.
const LIFETIME_USUAL_MS: u64 = 90 * DAY_MS;
/// The longest time that a token can be valid, milliseconds.
const LIFETIME_MAX_MS: u64 = 3_650 * DAY_MS;
const LABEL_LENGTH_MAX: usize = 100;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TokensQuery {
    /// Only this user's; for admins.
    #[param(value_type = Option<String>)]
    user: Option<String>,
}

/// The caller's tokens; an admin sees everybody's.
#[utoipa::path(
    get,
    path = "/tokens",
    tag = "tokens",
    security(("bearer" = ["read"])),
    params(TokensQuery),
    responses((status = 200, description = "By id, without their text", body = TokenList)),
)]
pub(super) async fn list(
    State(host): State<Host>,
    Extension(caller): Extension<Caller>,
    Params(query): Params<TokensQuery>,
) -> Result<Json<TokenList>, Failure> {
    let asked = query.user.as_deref().map(UserId::parse).transpose();
    let asked = asked.map_err(|error| Failure::new(Code::BadRequest, error.to_string()))?;
    let user = match caller.role {
        Role::Admin => asked,
        // A member sees no tokens of other users, so the list is empty, whether or not that user exists.
        Role::Member if asked.as_ref().is_some_and(|user| *user != caller.user) => {
            return Ok(Json(TokenList { tokens: Vec::new() }));
        }
        Role::Member => Some(caller.user),
    };
    let tokens = host.accounts().tokens(user.as_ref());
    let tokens = tokens.iter().map(auth::token_view).collect();
    Ok(Json(TokenList { tokens }))
}

/// Makes a token. Its text is in this answer and nowhere else. What it may do, and how long, is
/// within what the caller's token may do; only an admin with scope admin makes one for others.
#[utoipa::path(
    post,
    path = "/tokens",
    tag = "tokens",
    security(("bearer" = ["operate"])),
    request_body = CreateToken,
    responses((status = 201, description = "It is valid from now on", body = TokenCreated)),
)]
pub(super) async fn create(
    State(host): State<Host>,
    Extension(caller): Extension<Caller>,
    Extension(particulars): Extension<Particulars>,
    Body(asked): Body<CreateToken>,
) -> Result<(StatusCode, Json<TokenCreated>), Failure> {
    let now_ms = host.accounts().time_ms(host.now_ms());
    let new = granted(&caller, &asked, now_ms)?;
    particulars.object(format!("token of {}", new.user));
    particulars.change(&format!("new, {}", new.words()));
    let (info, token) = host.accounts().add_token(new, now_ms).await?;
    particulars.object(format!("token {} of {}", info.id, info.user));
    tracing::info!(user = %info.user, token = %info.id, scope = info.scope.name(), "token made");
    let created = TokenCreated {
        secret: token.reveal().to_owned(),
        token: auth::token_view(&info),
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// What becomes of the tokens that the user made with the one that is removed, and with those in turn.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum MadeTokens {
    /// They end with it, but for the caller's and those that were made with that.
    #[default]
    End,
    /// They stay.
    Keep,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RemoveTokenQuery {
    /// What becomes of the tokens that were made with this one: `end`, the default, or `keep`.
    #[serde(default)]
    #[param(inline)]
    made: MadeTokens,
}

/// Makes a token invalid from now on, and those that its user made with it. Those that it made for others
/// stay; they go with the user.
#[utoipa::path(
    delete,
    path = "/tokens/{token}",
    tag = "tokens",
    security(("bearer" = ["operate"])),
    params(("token" = String, Path, description = "The token's id"), RemoveTokenQuery),
    responses((status = 204, description = "It is no longer valid"),
        (status = 409, description = "It is the caller's own, and others were made with it")),
)]
pub(super) async fn remove(
    State(host): State<Host>,
    Extension(caller): Extension<Caller>,
    Extension(particulars): Extension<Particulars>,
    Path(id): Path<String>,
    Params(query): Params<RemoveTokenQuery>,
) -> Result<StatusCode, Failure> {
    let id = TokenId::new(&id);
    let token = host.accounts().token(&id)?;
    particulars.object(format!("token {id} of {}", token.user));
    particulars.change(&format!("removed, scope {}", token.scope.name()));
    let own = token.user == caller.user;
    let rules = caller.role == Role::Admin && caller.scope == Scope::Admin;
    if !own && !rules {
        // A caller without rights over others gets the same answer as if the token did not exist.
        return Err(crate::auth::AccountError::NoToken(id.to_string()).into());
    }
    if token.scope > caller.scope {
        let detail = format!(
            "a token with scope '{}' can't end one with more",
            caller.scope.name()
        );
        return Err(Failure::new(Code::Forbidden, detail));
    }
    let descendants = match query.made {
        MadeTokens::End => DescendantTokens::End,
        MadeTokens::Keep => DescendantTokens::Keep,
    };
    let accounts = host.accounts();
    let also = accounts.remove_token(&id, descendants, Some(&caller.token));
    let also = also.await?;
    if !also.is_empty() {
        let ids: Vec<&str> = also.iter().map(TokenId::as_str).collect();
        let scope = token.scope.name();
        let change = format!("removed, scope {scope}; with it {}", ids.join(" "));
        particulars.change(&change);
    }
    tracing::info!(user = %token.user, token = %id, also = also.len(), "token removed");
    Ok(StatusCode::NO_CONTENT)
}

/// Who the caller is, what it may have and has.
#[utoipa::path(
    get,
    path = "/whoami",
    tag = "tokens",
    security(("bearer" = ["read"])),
    responses((status = 200, description = "The caller", body = Whoami)),
)]
pub(super) async fn whoami(
    State(host): State<Host>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Whoami>, Failure> {
    let user = host.accounts().user(&caller.user)?;
    let token = host.accounts().token(&caller.token)?;
    Ok(Json(Whoami {
        user: users::view(&host, &user),
        token: auth::token_view(&token),
    }))
}

/// Returns the token that the caller asks for, if the caller may hand on that much.
fn granted(caller: &Caller, asked: &CreateToken, now_ms: u64) -> Result<NewToken, Failure> {
    let refuse = |code, detail: String| Err(Failure::new(code, detail));
    let user = match asked.user_id.as_deref().map(UserId::parse).transpose() {
        Ok(user) => user.unwrap_or_else(|| caller.user.clone()),
        Err(error) => return refuse(Code::BadRequest, error.to_string()),
    };
    let rules = caller.role == Role::Admin && caller.scope == Scope::Admin;
    if user != caller.user && !rules {
        let detail = "only an admin's token with scope 'admin' makes tokens for others";
        return refuse(Code::Forbidden, detail.to_owned());
    }
    let scope = view::scope(asked.scope);
    if scope > caller.scope {
        let detail = format!(
            "this token has scope '{}' and can't make one with '{}'",
            caller.scope.name(),
            scope.name()
        );
        return refuse(Code::Forbidden, detail);
    }
    let plain = |c: char| !hersh_wire::is_hidden(c);
    if asked.label.chars().count() > LABEL_LENGTH_MAX || !asked.label.chars().all(plain) {
        let detail =
            format!("a label has at most {LABEL_LENGTH_MAX} characters, none of them hidden ones");
        return refuse(Code::BadRequest, detail);
    }
    if token_text::is_spelled_in(asked.label.as_bytes()) {
        let detail = "there is a token in the label; remove that token, since labels are kept";
        return refuse(Code::BadRequest, detail.to_owned());
    }
    let lifetime_ms = asked.expires_in.map_or(LIFETIME_USUAL_MS, |Span(ms)| ms);
    if !(1_000..=LIFETIME_MAX_MS).contains(&lifetime_ms) {
        return refuse(Code::BadRequest, "expires_in can be 1s to 3650d".to_owned());
    }
    // No token outlives the token that made it. Else a leaked token could make another that is valid for
    // longer than the leaked one says.
    let own_ms = caller.expires_at_ms.unwrap_or(u64::MAX);
    let expires_at_ms = now_ms.saturating_add(lifetime_ms).min(own_ms);
    Ok(NewToken {
        user,
        scope,
        label: asked.label.clone(),
        expires_at_ms: Some(expires_at_ms),
        made_by: Some(caller.token.clone()),
    })
}
