//! The routes for users. They are for admins.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State},
    http::StatusCode,
};
use hersh_program::UserId;
use hersh_wire::{ChangeUser, Code, CreateUser, UserList, UserView};

use super::{extract::Body, problem::Failure, view};
use crate::{
    auth::{Quota, Role, User, audit::Particulars},
    host::Host,
};

/// Every user.
#[utoipa::path(
    get,
    path = "/users",
    tag = "users",
    security(("bearer" = ["read", "host"])),
    responses((status = 200, description = "By id", body = UserList)),
)]
pub(super) async fn list(State(host): State<Host>) -> Json<UserList> {
    let users = host.accounts().users();
    let users = users.iter().map(|user| view(&host, user)).collect();
    Json(UserList { users })
}

/// Adds a user, without a token.
#[utoipa::path(
    post,
    path = "/users",
    tag = "users",
    security(("bearer" = ["admin", "host"])),
    request_body = CreateUser,
    responses((status = 201, description = "It was added", body = UserView)),
)]
pub(super) async fn create(
    State(host): State<Host>,
    Extension(particulars): Extension<Particulars>,
    Body(asked): Body<CreateUser>,
) -> Result<(StatusCode, Json<UserView>), Failure> {
    let id = UserId::parse(&asked.user_id)
        .map_err(|error| Failure::new(Code::BadRequest, error.to_string()))?;
    let role = asked.role.map_or(Role::Member, view::role);
    let quota = match &asked.quota {
        Some(quota) => view::quota(quota)?,
        None => Quota::usual(role),
    };
    let user = User {
        id,
        role,
        quota,
        created_at_ms: host.now_ms(),
    };
    particulars.object(format!("user {}", user.id));
    particulars.change(&format!("new, role {}; quota {}", role.name(), user.quota));
    host.accounts().add_user(user.clone()).await?;
    tracing::info!(user = %user.id, role = role.name(), "user added");
    Ok((StatusCode::CREATED, Json(view(&host, &user))))
}

/// One user.
#[utoipa::path(
    get,
    path = "/users/{user}",
    tag = "users",
    security(("bearer" = ["read", "host"])),
    params(("user" = String, Path, description = "The user's id")),
    responses((status = 200, description = "The user", body = UserView)),
)]
pub(super) async fn show(
    State(host): State<Host>,
    Path(id): Path<Arc<str>>,
) -> Result<Json<UserView>, Failure> {
    let user = host.accounts().user(&known(&id)?)?;
    Ok(Json(view(&host, &user)))
}

/// Gives a user another role or quota.
#[utoipa::path(
    patch,
    path = "/users/{user}",
    tag = "users",
    security(("bearer" = ["admin", "host"])),
    params(("user" = String, Path, description = "The user's id")),
    request_body = ChangeUser,
    responses((status = 200, description = "As it is now", body = UserView)),
)]
pub(super) async fn change(
    State(host): State<Host>,
    Extension(particulars): Extension<Particulars>,
    Path(id): Path<Arc<str>>,
    Body(asked): Body<ChangeUser>,
) -> Result<Json<UserView>, Failure> {
    let quota = asked.quota.as_ref().map(view::quota).transpose()?;
    let role = asked.role.map(view::role);
    let id = known(&id)?;
    let before = host.accounts().user(&id)?;
    particulars.change(&difference(&before, role, quota));
    let user = host.accounts().change_user(&id, role, quota).await?;
    if user == before {
        particulars.changes_nothing();
    }
    Ok(Json(view(&host, &user)))
}

/// Removes a user that owns no program, with all tokens.
#[utoipa::path(
    delete,
    path = "/users/{user}",
    tag = "users",
    security(("bearer" = ["admin", "host"])),
    params(("user" = String, Path, description = "The user's id")),
    responses((status = 204, description = "It is gone, and its tokens are no longer valid")),
)]
pub(super) async fn remove(
    State(host): State<Host>,
    Extension(particulars): Extension<Particulars>,
    Path(id): Path<Arc<str>>,
) -> Result<StatusCode, Failure> {
    let id = known(&id)?;
    let role = host.accounts().user(&id)?.role;
    particulars.change(&format!("role {}, removed with its tokens", role.name()));
    host.accounts().remove_user(&id).await?;
    tracing::info!(user = %id, "user removed");
    Ok(StatusCode::NO_CONTENT)
}

/// Returns the view of a user, with what the user's programs ask for.
pub(super) fn view(host: &Host, user: &User) -> UserView {
    view::user_view(user, &host.usage(&user.id))
}

/// Describes in words how a user changes.
fn difference(before: &User, role: Option<Role>, quota: Option<Quota>) -> String {
    let mut words = Vec::new();
    if let Some(role) = role {
        words.push(format!("role {} → {}", before.role.name(), role.name()));
    }
    if let Some(quota) = quota {
        words.push(format!("quota {} → {quota}", before.quota));
    }
    words.join("; ")
}

/// Reads a user's id. An id that can't exist gets the same answer as one that does not exist.
fn known(text: &str) -> Result<UserId, Failure> {
    UserId::parse(text)
        .map_err(|error| Failure::new(Code::NotFound, format!("no such user: {error}")))
}
