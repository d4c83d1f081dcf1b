//! Removes what is there that no program of the journal accounts for.

use std::{collections::BTreeMap, time::Duration};

use hersh_program::{Cause, InstanceId, Instances, Program, ProgramId};
use tokio::time::Instant;

use super::RecoverError;
use crate::host::Host;

/// The grace of instances that no program accounts for: nobody waits for them.
const ORPHAN_GRACE: Duration = Duration::ZERO;
/// The longest time that the engine may take to remove all orphans before the host's start goes on without:
/// an engine that hangs must not keep the host from its other programs, however many instances are left.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(60);

/// The causes for which something of a program could not be removed, by program.
pub(crate) type RemainingOrphans = BTreeMap<ProgramId, Cause>;

/// Removes instances and folders that no program of the journal accounts for: those of a create that a crash
/// cut short, those of a removal that a crash came after, and those that an older journal never saw. No state
/// is removed by this.
///
/// Returns what could not be removed, by program. Each program must hear of this before anything of it is
/// started: an instance that is left would go on writing to the program's `/state` beside the next instance,
/// as a start removes nothing but an earlier attempt at the same instance.
pub(crate) async fn remove(
    host: &Host,
    programs: impl Iterator<Item = &Box<Program>>,
) -> Result<RemainingOrphans, RecoverError> {
    let known: BTreeMap<&ProgramId, &Program> =
        programs.map(|program| (&program.id, &**program)).collect();
    let left = remove_instances(host, &known).await?;
    remove_folders(host, &known).await?;
    Ok(left)
}

async fn remove_instances(
    host: &Host,
    known: &BTreeMap<&ProgramId, &Program>,
) -> Result<RemainingOrphans, RecoverError> {
    let mut left = RemainingOrphans::new();
    let deadline = Instant::now() + ORPHAN_PATIENCE;
    for instance in host
        .runtime()
        .list()
        .await?
        .into_iter()
        .map(|it| it.instance)
    {
        let owner = known.get(&instance.program);
        if owner.is_some_and(|owner| owner.accounts_for(instance.number)) {
            continue;
        }
        tracing::warn!(%instance, "removing an instance that no program accounts for");
        if let Err(cause) = remove_instance(host, &instance, deadline).await {
            tracing::error!(%instance, %cause, "an instance that no program accounts for is left");
            left.insert(instance.program, cause);
        }
    }
    Ok(left)
}

async fn remove_instance(
    host: &Host,
    instance: &InstanceId,
    deadline: Instant,
) -> Result<(), Cause> {
    let one = Instances::One(instance.number);
    let stop = host.runtime().stop(&instance.program, one, ORPHAN_GRACE);
    match tokio::time::timeout_at(deadline, stop).await {
        Ok(stopped) => stopped.map_err(Cause::from),
        Err(_late) => Err(Cause::StopFailed {
            message: format!(
                "{instance} was not removed within {ORPHAN_PATIENCE:?} of the host's start"
            ),
        }),
    }
}

async fn remove_folders(
    host: &Host,
    known: &BTreeMap<&ProgramId, &Program>,
) -> Result<(), RecoverError> {
    let removed = host.blocking(|host| host.storage().remove_compose_files());
    if let Err(error) = removed.await? {
        tracing::error!(%error, "a compose file of an older host is left; it shows values of variables");
    }
    let folders = host.blocking(|host| host.storage().programs()).await??;
    for id in folders.into_iter().filter(|id| !known.contains_key(id)) {
        tracing::warn!(program = %id, "clearing folders that no program owns");
        if let Err(error) = host.builder().forget(&id).await {
            tracing::error!(program = %id, %error, "images that no program owns are left");
        }
        let program = id.clone();
        let disowned = host
            .blocking(move |host| host.storage().disown(&program, host.now_ms()))
            .await?;
        match disowned {
            Ok(None) => {}
            Ok(Some(aside)) => {
                tracing::warn!(program = %id, folder = %aside.display(), "it has state: set aside");
            }
            Err(error) => {
                tracing::error!(program = %id, %error, "folders that no program owns are left");
            }
        }
    }
    Ok(())
}
