//! Whether a program that was up was stopped for a reason.

use hersh_host::testkit::{ProgramHistory, ProgramStep};
use hersh_program::{ContainerId, Effect, Event, InstanceStatus, Instances, Ready};

use crate::{shared::Shared, silence};

/// No program that was Ready was stopped unless somebody asked for it, another revision takes its place, or its
/// container ended.
pub(crate) fn was_not(shared: &Shared, stored: &ProgramHistory) -> Result<(), String> {
    stored.replay(|step| {
        let Some(ready) = step.before.state.ready() else {
            return Ok(());
        };
        match stop_of(ready, step) {
            Some(stopped) if !is_right(shared, &ready.container, stopped, &step.record.event) => {
                Err(format!(
                    "{} was Ready in {} and was stopped by {:?}",
                    step.after.id, ready.container, step.record.event
                ))
            }
            Some(_) | None => Ok(()),
        }
    })
}

/// Returns what is stopped in a step, if the instance that is up is among it.
fn stop_of(ready: &Ready, step: &ProgramStep<'_>) -> Option<Instances> {
    let mut effects = step.record.effects.iter();
    effects.find_map(|(_, effect)| match effect {
        Effect::StopInstances { instances, .. } => match instances {
            Instances::All => Some(Instances::All),
            Instances::One(number) => {
                (*number == ready.instance).then_some(Instances::One(*number))
            }
        },
        Effect::EnsureProgramFolders { .. }
        | Effect::BuildImage { .. }
        | Effect::StartInstance { .. }
        | Effect::ObserveInstance { .. }
        | Effect::ScheduleRetry { .. }
        | Effect::Cancel { .. }
        | Effect::RemoveProgram { .. }
        | Effect::Refuse { .. } => None,
    })
}

fn is_right(shared: &Shared, container: &ContainerId, stopped: Instances, event: &Event) -> bool {
    match event {
        Event::UserStopRequested
        | Event::UserRestartRequested
        | Event::UserDeleteRequested
        | Event::UserRollBackRequested { .. } => true,
        // The next revision is built, or up beside it: it takes the instance's place.
        Event::InstanceStarted { .. } => matches!(stopped, Instances::One(_)),
        Event::BuildFinished { result, .. } => result.is_ok(),
        Event::InstanceNotAlive {
            container: silent,
            failures,
            ..
        } => silent == container && silence::was_silent(shared, silent, *failures),
        Event::InstanceAlive { .. } | Event::InstanceSettled { .. } => false,
        Event::InstanceEnded { .. }
        | Event::HostStarted {
            orphan: Some(_), ..
        } => shared.fault_plan.was_ended_from_outside(container),
        Event::InstanceObserved { result, .. } => {
            !matches!(result, Ok(InstanceStatus::Running(same)) if same == container)
                && shared.fault_plan.was_ended_from_outside(container)
        }
        Event::UserStartRequested
        | Event::UserBuildRequested
        | Event::SourceReplaced { .. }
        | Event::HostStarted { orphan: None, .. }
        | Event::FoldersEnsured { .. }
        | Event::StartFailed { .. }
        | Event::StopFinished { .. }
        | Event::DeadlinePassed { .. }
        | Event::RetryDue { .. }
        | Event::Removed { .. }
        | Event::HandlerPanicked { .. } => false,
    }
}
