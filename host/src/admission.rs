//! What the programs of one user may ask for together.
//!
//! Asked before a change that could ask for more: create, start, restart and new source. One user's
//! changes are looked at one at a time, from the look to the durable change, so that two of them
//! can't both take the last place. A user without bounds never waits.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use hersh_program::{Cause, Limits, Program, ProgramId, State};
use tokio::sync::OwnedMutexGuard;

use crate::{
    auth::{Quota, UserId},
    registry::{Entry, Registry},
};

/// What a user's programs ask for together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Programs, those that are being created too.
    pub(crate) programs: u64,
    /// Memory of the started ones, bytes.
    pub(crate) memory_bytes: u64,
    /// Processor time of the started ones, thousandths of one core.
    pub(crate) cpu_millis: u64,
    /// `/state` of all, bytes.
    pub(crate) state_bytes: u64,
}

/// A change that would ask for more than the user may.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{user} may have {most} {unit}, and this would make it {wanted}; stop or remove a program, ask for less, or have an admin raise the quota"
)]
pub(crate) struct QuotaError {
    user: UserId,
    unit: &'static str,
    wanted: u64,
    most: u64,
}

/// The turns of users who change something.
#[derive(Debug, Default)]
pub(crate) struct Admission(Mutex<HashMap<UserId, Arc<tokio::sync::Mutex<()>>>>);

impl Admission {
    /// Waits for the user's turn; it lasts until the guard is dropped.
    pub(crate) async fn turn(&self, user: &UserId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody waits for go, so that there are as many as users at work.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(user.clone()).or_default())
        };
        turn.lock_owned().await
    }
}

/// What the programs of `owner` ask for now, `except` one.
pub(crate) fn usage(registry: &Registry, owner: &UserId, except: Option<&ProgramId>) -> Usage {
    let (programs, entries) = registry.of(owner);
    let mut usage = Usage {
        programs,
        ..Usage::default()
    };
    for entry in &entries {
        let (id, limits, state_bytes) = asks(entry);
        if except == Some(&id) {
            usage.programs -= 1;
            continue;
        }
        usage.state_bytes = usage.state_bytes.saturating_add(state_bytes);
        if let Some(limits) = limits {
            usage.add_started(&limits);
        }
    }
    usage
}

impl Usage {
    /// With one more program of `limits`, started or not.
    #[must_use]
    pub(crate) fn with(mut self, limits: &Limits, started: bool) -> Self {
        self.programs += 1;
        self.state_bytes = self.state_bytes.saturating_add(limits.state_bytes);
        if started {
            self.add_started(limits);
        }
        self
    }

    /// Whether `quota` allows it.
    ///
    /// # Errors
    /// [`QuotaError`] names the first bound that it passes.
    pub(crate) fn fits(&self, user: &UserId, quota: &Quota) -> Result<(), QuotaError> {
        let bounds = [
            ("programs", self.programs, quota.programs),
            ("bytes of memory", self.memory_bytes, quota.memory_bytes),
            ("thousandths of a core", self.cpu_millis, quota.cpu_millis),
            ("bytes of /state", self.state_bytes, quota.state_bytes),
        ];
        for (unit, wanted, most) in bounds {
            if let Some(most) = most.filter(|most| wanted > *most) {
                return Err(QuotaError {
                    user: user.clone(),
                    unit,
                    wanted,
                    most,
                });
            }
        }
        Ok(())
    }

    fn add_started(&mut self, limits: &Limits) {
        self.memory_bytes = self.memory_bytes.saturating_add(limits.memory_bytes);
        self.cpu_millis = self.cpu_millis.saturating_add(u64::from(limits.cpu_millis));
    }
}

/// Whether the program runs, may still run, is on its way to run, or comes back by itself.
pub(crate) fn is_started(program: &Program) -> bool {
    match &program.state {
        State::Building(_) | State::Starting(_) | State::Ready(_) | State::Stopping(_) => true,
        State::Error(failed) => failed.retry.is_some() || may_still_run(&failed.cause),
        State::Created | State::Stopped(_) | State::Removed => false,
    }
}

/// Whether a program that failed like this may have a container all the same: a stop that failed
/// leaves one, until a stop succeeds.
fn may_still_run(cause: &Cause) -> bool {
    match cause {
        Cause::StopFailed { .. } | Cause::RuntimeUnavailable { .. } | Cause::Internal { .. } => {
            true
        }
        Cause::FoldersFailed { .. }
        | Cause::BuildFailed { .. }
        | Cause::BuildTimedOut { .. }
        | Cause::StartFailed { .. }
        | Cause::ContractViolated { .. }
        | Cause::NotReadyInTime { .. }
        | Cause::Exited { .. }
        | Cause::EngineStopped { .. }
        | Cause::OutOfMemory { .. }
        | Cause::StateQuotaExceeded
        | Cause::RemoveFailed { .. }
        | Cause::Vanished
        | Cause::HostRestarted => false,
    }
}

/// One program's id, what it asks for if it is started, and its `/state`, bytes.
fn asks(entry: &Entry) -> (ProgramId, Option<Limits>, u64) {
    let mut outdated = entry.outdated();
    entry.supervisor().with_state(|program| {
        let limits = &program.source.manifest.limits;
        let started = is_started(program);
        let runs_on = outdated.as_ref().is_some_and(|older| {
            let newer = program.state.container();
            let same =
                older.container.is_none() || newer.is_none() || newer == older.container.as_ref();
            started && same
        });
        if !runs_on {
            *outdated = None;
        }
        let limits_now = match outdated.as_ref() {
            Some(older) => larger(&older.limits, limits),
            None => limits.clone(),
        };
        let id = program.id.clone();
        (id, started.then_some(limits_now), limits.state_bytes)
    })
}

/// The larger of each that a quota counts.
pub(crate) fn larger(one: &Limits, other: &Limits) -> Limits {
    Limits {
        memory_bytes: one.memory_bytes.max(other.memory_bytes),
        cpu_millis: one.cpu_millis.max(other.cpu_millis),
        ..other.clone()
    }
}
