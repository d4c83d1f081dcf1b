//! Turns users, roles, scopes and quotas into wire types and back.

use hersh_wire as wire;

use crate::{
    auth::{Quota, Role, Scope, User},
    programs::admission::Usage,
};
use hersh_manifest::ManifestError;

/// Returns the view of a user, with what the user's programs ask for.
pub(crate) fn user_view(user: &User, usage: &Usage) -> wire::UserView {
    wire::UserView {
        user_id: user.id.to_string(),
        role: match user.role {
            Role::Member => wire::Role::Member,
            Role::Admin => wire::Role::Admin,
        },
        quota: wire::Quota {
            programs: user.quota.programs,
            memory: user.quota.memory_bytes.map(wire::ByteSize),
            cpus: user.quota.cpu_millis.map(cores),
            state: user.quota.state_bytes.map(wire::ByteSize),
            builds: user.quota.builds,
        },
        usage: wire::Usage {
            programs: usage.programs,
            memory: wire::ByteSize(usage.memory_bytes),
            cpus: cores(usage.cpu_millis),
            state: wire::ByteSize(usage.state_bytes),
        },
        created_at_ms: user.created_at_ms,
    }
}

pub(crate) fn role(asked: wire::Role) -> Role {
    match asked {
        wire::Role::Member => Role::Member,
        wire::Role::Admin => Role::Admin,
    }
}

pub(crate) fn scope(asked: wire::Scope) -> Scope {
    match asked {
        wire::Scope::Read => Scope::Read,
        wire::Scope::Operate => Scope::Operate,
        wire::Scope::Admin => Scope::Admin,
    }
}

/// The most cores that a quota can name; more than any machine has.
const CORES_MAX: f64 = 1_000_000.0;

/// The most programs, and the most builds, that a quota can name.
const COUNT_MAX: u64 = 1_000_000;

/// Reads a quota.
///
/// # Errors
/// [`ManifestError`] names the key that can't be used.
pub(crate) fn quota(asked: &wire::Quota) -> Result<Quota, ManifestError> {
    let cpu_millis = match asked.cpus {
        None => None,
        Some(cores) if (0.0..=CORES_MAX).contains(&cores) => {
            // The value is in range by the line above, so the cast cuts nothing off.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let millis = (cores * 1_000.0).round() as u64;
            Some(millis)
        }
        Some(cores) => {
            return Err(ManifestError {
                key: "quota.cpus".into(),
                value: cores.to_string(),
                rule: format!("use 0 to {CORES_MAX} cores"),
            });
        }
    };
    for (key, count) in [
        ("quota.programs", asked.programs),
        ("quota.builds", asked.builds),
    ] {
        if let Some(count) = count.filter(|count| *count > COUNT_MAX) {
            return Err(ManifestError {
                key: key.into(),
                value: count.to_string(),
                rule: format!("use at most {COUNT_MAX}, or leave it out for no bound"),
            });
        }
    }
    if asked.builds == Some(0) {
        return Err(ManifestError {
            key: "quota.builds".into(),
            value: "0".into(),
            rule: "use 1 or more, or programs = 0 for a user who may have none".into(),
        });
    }
    Ok(Quota {
        programs: asked.programs,
        memory_bytes: asked.memory.map(|size| size.0),
        cpu_millis,
        state_bytes: asked.state.map(|size| size.0),
        builds: asked.builds,
    })
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn cores(millis: u64) -> f64 {
    millis as f64 / 1_000.0
}
