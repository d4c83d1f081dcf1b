//! Watches how much programs keep in `/state` while an instance of them may run.
//!
//! The file system itself sets no bound on one folder, so the host looks from time to time:
//!
//! ```text
//! Starting ─► its start fails           (the effect that starts it looks)
//! Ready ─► ended, `StateQuotaExceeded`
//! Stopping, Error that was not stopped ─► killed at once, whatever grace is left
//! Ready, the instance before leaves ─► that one is killed at once, whatever requests are under way
//! ```
//! While the disk is nearly full, the program that fills it is ended too, with `DiskFilled`. Between two
//! looks it can write as much as the disk takes. A program that is over its limit is not started again.

use std::{sync::Arc, time::Duration};

use hersh_base::sandbox::StateUsage;
use hersh_program::{
    ContainerId, InstanceNumber, Instances, Manifest, Program, ProgramId, State, StopStep,
};

use super::overuse::{self, Growth, Overuse};
use crate::{
    host::Host,
    programs::{LOOK_INTERVAL, ProgramEntry},
};

/// How often a program that was asked to end is looked at: it knows that, and has its grace to write.
const STOPPING_INTERVAL: Duration = Duration::from_secs(1);

/// What is known of an instance that may run.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// The container that runs and is meant to.
    Up(ContainerId),
    /// The instance before the one that is up, whose requests may end first.
    Leaving(InstanceNumber),
    /// An instance that is to end.
    Stopping,
    /// An instance that could not be ended.
    Left,
}

/// Looks again and again at every program of which an instance may run, until the host ends.
pub(crate) async fn watch(host: Host) {
    let all = every(LOOK_INTERVAL, || check(&host, |_| true));
    let stopping = every(STOPPING_INTERVAL, || {
        check(&host, |phase| {
            matches!(phase, Phase::Stopping | Phase::Leaving(_))
        })
    });
    tokio::join!(all, stopping);
}

async fn every<F: Future<Output = ()>>(interval: Duration, look: impl Fn() -> F) {
    let mut looks = tokio::time::interval(interval);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        look().await;
    }
}

/// Looks once at every program of which an instance may run.
#[cfg(any(test, feature = "testkit"))]
pub(crate) async fn measure_all_states(host: &Host) {
    check(host, |_| true).await;
}

async fn check(host: &Host, of_interest: impl Fn(&Phase) -> bool) {
    let mut grown = Vec::new();
    for entry in host.list() {
        let seen = entry.supervisor().with_state(|program| {
            let limit = limit(program)?;
            phase(program).map(|phase| (program.id.clone(), phase, limit))
        });
        let Some((id, phase, limit)) = seen.filter(|(_, phase, _)| of_interest(phase)) else {
            continue;
        };
        let usage = host.runtime().state_bytes(&id, limit, Box::new(())).await;
        let before = entry.state_readings().bytes();
        match usage {
            Ok(usage) if entry.state_readings().take(usage, limit) => match phase {
                Phase::Up(container) => {
                    overuse::end(host, &entry, container, Overuse::State { limit });
                }
                Phase::Leaving(instance) => kill(host, &id, Instances::One(instance), limit).await,
                Phase::Stopping | Phase::Left => kill(host, &id, Instances::All, limit).await,
            },
            Ok(usage) => grown.extend(growth(entry, phase, before, usage)),
            Err(error) => tracing::warn!(program = %id, %error, "state can't be measured"),
        }
    }
    overuse::check_disk(host, grown);
}

/// Returns the limit of the program's folder, bytes. Of an instance whose `/state` is in memory nothing comes into
/// it, and of two instances only the one before may keep anything: the other one came up beside it.
fn limit(program: &Program) -> Option<u64> {
    let instances = [Some(program.manifest()), program.manifest_beside()];
    let keeps = |manifest: &&Arc<Manifest>| manifest.deploy.keeps_state();
    let kept = instances.into_iter().flatten().find(keeps)?;
    Some(kept.limits.state_bytes)
}

fn phase(program: &Program) -> Option<Phase> {
    match &program.state {
        State::Ready(ready) => Some(match &ready.leaving {
            Some(leaving) if leaving.manifest.deploy.keeps_state() => {
                Phase::Leaving(leaving.instance)
            }
            Some(_) | None => Phase::Up(ready.container.clone()),
        }),
        State::Stopping(stopping) => match stopping.step {
            StopStep::Instances => Some(Phase::Stopping),
            StopStep::Files => None,
        },
        State::Error(_) => program.instance_manifest.is_some().then_some(Phase::Left),
        // The effect that starts the program looks, since the container is not known here.
        State::Starting(_)
        | State::Created
        | State::Building(_)
        | State::Stopped(_)
        | State::Removed => None,
    }
}

/// Returns by how much the `/state` of a running program grew since it was measured as `before`. Without an
/// earlier measure the growth is 0, since the program may have held all of it for long.
fn growth(
    entry: Arc<ProgramEntry>,
    phase: Phase,
    before: Option<u64>,
    usage: StateUsage,
) -> Option<Growth> {
    match (phase, usage) {
        (Phase::Up(container), StateUsage::Bytes(used)) => Some(Growth {
            bytes: used.saturating_sub(before.unwrap_or(used)),
            entry,
            container,
        }),
        (Phase::Up(_), StateUsage::Unsettled)
        | (Phase::Leaving(_) | Phase::Stopping | Phase::Left, _) => None,
    }
}

/// Kills instances that are to end anyway.
async fn kill(host: &Host, id: &ProgramId, instances: Instances, limit: u64) {
    tracing::warn!(program = %id, limit, "state is larger than its limit");
    if let Err(error) = host.runtime().kill(id, instances).await {
        tracing::error!(program = %id, %error, "it keeps too much and can't be killed");
    }
}
