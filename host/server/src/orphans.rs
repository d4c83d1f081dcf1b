//! What is there of programs that the journal does not know.

use std::{collections::BTreeMap, time::Duration};

use hersh_program::{InstanceId, Instances, Program, ProgramId};

use crate::{host::Host, supervise::RecoverError};

/// What nobody owns any more is not waited for.
const ORPHAN_GRACE: Duration = Duration::ZERO;

/// Removes instances and folders that no program of the journal accounts for: of a create that a crash
/// cut short, of a removal that it came after, or that an older journal never saw. State is never
/// removed by that.
///
/// An instance that is left would go on writing to the `/state` of its program beside the next one:
/// a start removes nothing but an earlier attempt at the same instance.
pub(crate) async fn remove(
    host: &Host,
    programs: impl Iterator<Item = &Box<Program>>,
) -> Result<(), RecoverError> {
    let known: BTreeMap<&ProgramId, &Program> =
        programs.map(|program| (&program.id, &**program)).collect();
    for InstanceId { program, number } in host
        .runtime()
        .list()
        .await?
        .into_iter()
        .map(|it| it.instance)
    {
        let owner = known.get(&program);
        if owner.is_some_and(|owner| owner.accounts_for(number)) {
            continue;
        }
        tracing::warn!(%program, instance = %number, "removing an instance that no program accounts for");
        let one = Instances::One(number);
        if let Err(error) = host.runtime().stop(&program, one, ORPHAN_GRACE).await {
            tracing::error!(%program, instance = %number, %error, "an instance that no program accounts for is left");
        }
    }
    let folders = host.blocking(|host| host.storage().programs()).await??;
    for id in folders.into_iter().filter(|id| !known.contains_key(id)) {
        tracing::warn!(program = %id, "clearing folders that no program owns");
        if let Err(error) = host.runtime().forget(&id).await {
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
