//! `hersh user`, `hersh token`, `hersh whoami`, `hersh audit`: users, their tokens, and the log of their
//! changes.

use hersh_wire::{
    AuditList, AuditView, ByteSize, ChangeUser, CreateToken, CreateUser, Quota, Role, Scope, Span,
    TokenCreated, TokenList, TokenView, UserList, UserView, Whoami,
};
use reqwest::Method;
use serde_json::json;

use crate::{
    account_args::{QuotaOptions, TokenTask, UserTask},
    args::Output,
    client::Client,
    failure::Failure,
    output,
};

pub(crate) async fn user(client: &Client, task: UserTask, format: Output) -> Result<(), Failure> {
    match task {
        UserTask::Add { user, admin, quota } => {
            let asked = CreateUser {
                user_id: user,
                role: admin.then_some(Role::Admin),
                quota: None,
            };
            let wanted = read_quota(&quota)?;
            let request = client.request(Method::POST, &["users"]).json(&asked);
            let mut made: UserView = client.read(request).await?;
            if wanted != Quota::default() {
                // Change the usual quota that the host gave the user, so that bounds that the command line
                // does not name are set too.
                made = change_quota(client, &made, wanted).await?;
            }
            show_users(&[made], format)
        }
        UserTask::Ls => {
            let list: UserList = client.get(&["users"]).await?;
            show_users(&list.users, format)
        }
        UserTask::Quota { user, quota } => {
            let wanted = read_quota(&quota)?;
            let standing: UserView = client.get(&["users", &user]).await?;
            show_users(&[change_quota(client, &standing, wanted).await?], format)
        }
        UserTask::Rm { user } => {
            let request = client.request(Method::DELETE, &["users", &user]);
            client.send(request).await?;
            match format {
                Output::Json => output::json(&json!({ "removed": user })),
                Output::Table => output::line(&format!("{user} is removed")),
            }
        }
    }
}

pub(crate) async fn token(client: &Client, task: TokenTask, format: Output) -> Result<(), Failure> {
    match task {
        TokenTask::Create {
            user,
            scope,
            label,
            expires,
        } => {
            let asked = CreateToken {
                user_id: user,
                scope: scope.into(),
                label,
                expires_in: expires.map(read_span).transpose()?,
            };
            let request = client.request(Method::POST, &["tokens"]).json(&asked);
            let made: TokenCreated = client.read(request).await?;
            match format {
                Output::Json => output::json(&made),
                Output::Table => {
                    output::note(&format!(
                        "token {} of {}; its text is shown this once:",
                        made.token.token_id, made.token.user_id
                    ));
                    output::line(&made.secret)
                }
            }
        }
        TokenTask::Ls { user } => {
            let mut request = client.request(Method::GET, &["tokens"]);
            if let Some(user) = user {
                request = request.query(&[("user", user)]);
            }
            let list: TokenList = client.read(request).await?;
            match format {
                Output::Json => output::json(&list.tokens),
                Output::Table => {
                    let rows: Vec<_> = list.tokens.iter().map(token_row).collect();
                    output::table(&TOKEN_HEADER, &rows)
                }
            }
        }
        TokenTask::Rm { token, keep_made } => {
            let mut request = client.request(Method::DELETE, &["tokens", &token]);
            if keep_made {
                request = request.query(&[("made", "keep")]);
            }
            client.send(request).await?;
            match format {
                Output::Json => output::json(&json!({ "removed": token })),
                Output::Table => output::line(&format!("{token} is no longer valid")),
            }
        }
    }
}

pub(crate) async fn whoami(client: &Client, format: Output) -> Result<(), Failure> {
    let me: Whoami = client.get(&["whoami"]).await?;
    if format == Output::Json {
        return output::json(&me);
    }
    show_users(std::slice::from_ref(&me.user), format)?;
    output::table(&TOKEN_HEADER, &[token_row(&me.token)])
}

pub(crate) async fn audit(client: &Client, limit: usize, format: Output) -> Result<(), Failure> {
    let request = client.request(Method::GET, &["audit"]);
    let list: AuditList = client.read(request.query(&[("limit", limit)])).await?;
    if format == Output::Json {
        return output::json(&list.changes);
    }
    let rows: Vec<Vec<String>> = list
        .changes
        .iter()
        .map(|change| {
            vec![
                output::age(change.at_ms),
                change.user_id.clone(),
                change.token_id.clone(),
                change.peer.clone(),
                change.action.clone(),
                about(change).to_owned(),
                change.change.clone(),
                outcome(change),
            ]
        })
        .collect();
    output::table(
        &[
            "AGO", "USER", "TOKEN", "FROM", "ACTION", "ABOUT", "CHANGE", "STATUS",
        ],
        &rows,
    )
}

/// Returns the object of a change. Older hosts give only the path.
fn about(change: &AuditView) -> &str {
    if change.object.is_empty() {
        &change.target
    } else {
        &change.object
    }
}

/// Returns the status of the answer, and how often it was given.
fn outcome(change: &AuditView) -> String {
    let status = change.status.map(|status| status.to_string());
    let status = status.unwrap_or_else(|| "?".to_owned());
    match change.count {
        0 | 1 => status,
        count => format!("{status}, {count} times"),
    }
}

/// Lists the valid tokens, for the person who controls the machine.
pub(super) fn valid_tokens(tokens: &[TokenView], revoke: &str) -> Result<(), Failure> {
    let number = output::count(tokens.len() as u64, "token");
    output::note(&format!(
        "{number} valid now; 'hersh token rm' ends one, {revoke}:"
    ));
    let rows: Vec<_> = tokens.iter().map(token_row).collect();
    output::table(&TOKEN_HEADER, &rows)
}

const TOKEN_HEADER: [&str; 7] = ["TOKEN", "USER", "SCOPE", "LABEL", "MADE", "USED", "ENDS"];

fn token_row(token: &TokenView) -> Vec<String> {
    let scope = match token.scope {
        Scope::Read => "read",
        Scope::Operate => "operate",
        Scope::Admin => "admin",
    };
    vec![
        token.token_id.clone(),
        token.user_id.clone(),
        scope.to_owned(),
        token.label.clone(),
        output::age(token.created_at_ms),
        token
            .last_used_at_ms
            .map_or_else(|| "never".to_owned(), output::age),
        token
            .expires_at_ms
            .map_or_else(|| "never".to_owned(), output::until),
    ]
}

fn show_users(users: &[UserView], format: Output) -> Result<(), Failure> {
    if format == Output::Json {
        return output::json(&users);
    }
    let rows: Vec<Vec<String>> = users.iter().map(user_row).collect();
    output::table(
        &[
            "USER", "ROLE", "PROGRAMS", "MEMORY", "CPUS", "STATE", "BUILDS",
        ],
        &rows,
    )
}

/// Returns the row of a user: what its programs use, and the quota.
fn user_row(user: &UserView) -> Vec<String> {
    let of = |has: String, most: Option<String>| match most {
        Some(most) => format!("{has} of {most}"),
        None => has,
    };
    let (usage, quota) = (&user.usage, &user.quota);
    let text = |size: ByteSize| String::from(size);
    vec![
        user.user_id.clone(),
        match user.role {
            Role::Member => "member".to_owned(),
            Role::Admin => "admin".to_owned(),
        },
        of(
            usage.programs.to_string(),
            quota.programs.map(|most| most.to_string()),
        ),
        of(text(usage.memory), quota.memory.map(text)),
        of(
            usage.cpus.to_string(),
            quota.cpus.map(|most| most.to_string()),
        ),
        of(text(usage.state), quota.state.map(text)),
        quota
            .builds
            .map_or_else(|| "no bound".to_owned(), |most| format!("{most} at once")),
    ]
}

/// Changes the named bounds of a quota; the others stay.
async fn change_quota(
    client: &Client,
    standing: &UserView,
    wanted: Quota,
) -> Result<UserView, Failure> {
    let quota = merged(standing.quota.clone(), wanted);
    let asked = ChangeUser {
        role: None,
        quota: Some(quota),
    };
    let request = client.request(Method::PATCH, &["users", &standing.user_id]);
    client.read(request.json(&asked)).await
}

fn read_quota(asked: &QuotaOptions) -> Result<Quota, Failure> {
    Ok(Quota {
        programs: asked.programs,
        memory: asked.memory.clone().map(read_size).transpose()?,
        cpus: asked.cpus,
        state: asked.state.clone().map(read_size).transpose()?,
        builds: asked.builds,
    })
}

/// Merges two quotas: a bound that `asked` does not name stays as in `standing`.
fn merged(standing: Quota, asked: Quota) -> Quota {
    Quota {
        programs: asked.programs.or(standing.programs),
        memory: asked.memory.or(standing.memory),
        cpus: asked.cpus.or(standing.cpus),
        state: asked.state.or(standing.state),
        builds: asked.builds.or(standing.builds),
    }
}

fn read_size(text: String) -> Result<ByteSize, Failure> {
    ByteSize::try_from(text).map_err(|error| Failure::Input(error.to_string()))
}

fn read_span(text: String) -> Result<Span, Failure> {
    Span::try_from(text).map_err(|error| Failure::Input(error.to_string()))
}
