//! What must hold of instances that do not answer their liveness probe.

use hersh_host::testkit::{ProgramHistory, Silence};
use hersh_program::{ContainerId, Event, OnNotAlive, Program, RestartPolicy};

use crate::shared::Shared;

type Outcome = Result<(), String>;

/// Returns whether an instance was really silent for so many probes in a row.
pub(crate) fn was_silent(shared: &Shared, container: &ContainerId, failures: u32) -> bool {
    failures > 0 && shared.engine.missed_probes(container) >= failures
}

/// No instance that answered its probes was told to be silent.
pub(crate) fn is_told_truly(shared: &Shared, stored: &ProgramHistory) -> Outcome {
    for record in &stored.records {
        if let Event::InstanceNotAlive {
            container,
            failures,
            ..
        } = &record.event
            && !was_silent(shared, container, *failures)
        {
            let (id, missed) = (&stored.program.id, shared.engine.missed_probes(container));
            return Err(format!(
                "{id} was told of {failures} failures of {container}, which missed {missed} probes in a row"
            ));
        }
    }
    Ok(())
}

/// Returns whether something has yet to come of the silence, or of the answers, of a program that is up: one that
/// is to be started again does not stay silent, and of one that is left alone it is known whether it is.
pub(crate) fn is_open(shared: &Shared, program: &Program) -> bool {
    let manifest = program.manifest();
    let (Some(ready), Some(liveness)) = (program.state.ready(), &manifest.liveness) else {
        return false;
    };
    match (
        shared.engine.silence_of(&ready.container),
        liveness.on_failure,
        manifest.restart,
    ) {
        (Some(Silence::Probes(_)), _, _) => true,
        (
            Some(Silence::ForGood),
            OnNotAlive::Restart,
            RestartPolicy::OnFailure | RestartPolicy::Always,
        ) => true,
        (Some(Silence::ForGood), OnNotAlive::Restart, RestartPolicy::Never)
        | (Some(Silence::ForGood), OnNotAlive::Notify, _) => ready.not_alive.is_none(),
        (None, _, _) => ready.not_alive.is_some(),
    }
}
