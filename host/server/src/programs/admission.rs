//! What the programs of one user may ask for together.
//!
//! The quota is checked before a change that could ask for more: create, start, restart and new source. One
//! user's changes are checked one at a time, from the check to the durable change: otherwise two of them
//! could both take the last of the quota. A user without bounds never waits.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use hersh_base::locked::locked;
use hersh_program::{Limits, Program, ProgramId, UserId};
use tokio::sync::OwnedMutexGuard;

use super::Registry;
use crate::auth::Quota;

/// The sum of what a user's programs ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The number of programs, including those that are being created.
    pub(crate) programs: u64,
    /// The memory of the started programs, bytes.
    pub(crate) memory_bytes: u64,
    /// The processor time of the started programs, thousandths of one core.
    pub(crate) cpu_millis: u64,
    /// The `/state` of all programs, bytes.
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
    wanted: String,
    most: String,
}

/// The turns of users who change something.
#[derive(Debug, Default)]
pub(crate) struct Admission(Mutex<HashMap<UserId, Arc<tokio::sync::Mutex<()>>>>);

impl Admission {
    /// Waits for the user's turn; it lasts until the guard is dropped.
    pub(crate) async fn turn(&self, user: &UserId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = locked(&self.0);
            // Turns that nobody has or waits for are dropped, so that there are as many as users at work.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(user.clone()).or_default())
        };
        turn.lock_owned().await
    }
}

/// Returns what the programs of `owner` ask for at `now_ms`, without the program `except`.
pub(crate) fn usage(
    registry: &Registry,
    owner: &UserId,
    except: Option<&ProgramId>,
    now_ms: u64,
) -> Usage {
    let (programs, entries) = registry.of(owner);
    let mut usage = Usage {
        // The programs that are being created; the others are added one by one.
        programs: programs.saturating_sub(entries.len() as u64),
        ..Usage::default()
    };
    for entry in &entries {
        let (limits, started) = entry.supervisor().with_state(|program| {
            let limits = asks(program, &program.source.manifest.limits, now_ms);
            let counts = except != Some(&program.id);
            (counts.then_some(limits), program.is_started())
        });
        if let Some(limits) = limits {
            usage = usage.with(&limits, started);
        }
    }
    usage
}

impl Usage {
    /// Adds one more program of `limits`, started or not.
    #[must_use]
    pub(crate) fn with(mut self, limits: &Limits, started: bool) -> Self {
        self.programs += 1;
        self.state_bytes = self.state_bytes.saturating_add(limits.state_bytes);
        if started {
            self.add_started(limits);
        }
        self
    }

    /// Checks that `quota` allows this usage.
    ///
    /// # Errors
    /// [`QuotaError`] names the first bound that the usage passes.
    pub(crate) fn fits(&self, user: &UserId, quota: &Quota) -> Result<(), QuotaError> {
        let bounds = [
            (
                "programs",
                self.programs,
                quota.programs,
                count as BoundFormat,
            ),
            ("of memory", self.memory_bytes, quota.memory_bytes, size),
            ("cores", self.cpu_millis, quota.cpu_millis, cores),
            ("of /state", self.state_bytes, quota.state_bytes, size),
        ];
        for (unit, wanted, most, told) in bounds {
            if let Some(most) = most.filter(|most| wanted > *most) {
                return Err(QuotaError {
                    user: user.clone(),
                    unit,
                    wanted: told(wanted),
                    most: told(most),
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

/// Returns what the program asks for with `newest` as its limits: the largest of these, and of those of every
/// revision that runs or may be started by itself: the one that is built, the one that a retry starts, and the
/// one that a failed rollout goes back to. Two instances that run at once ask for the sum of theirs.
pub(crate) fn asks(program: &Program, newest: &Limits, now_ms: u64) -> Limits {
    let building = program.state.any_build();
    let building = building.map(|building| &building.source.manifest);
    let to_come = program.revisions_to_come(now_ms);
    let by_themselves = building
        .into_iter()
        .chain(program.instance_manifest.as_ref())
        .chain(to_come.iter().map(|revision| &revision.source.manifest));
    let asked = by_themselves.fold(newest.clone(), |asked, manifest| {
        larger(&manifest.limits, &asked)
    });
    match program.manifest_beside() {
        Some(beside) => larger(&both(&program.manifest().limits, &beside.limits), &asked),
        None => asked,
    }
}

/// Returns the limits of two instances of a program that run at once. They have one `/state`.
pub(crate) fn both(one: &Limits, other: &Limits) -> Limits {
    Limits {
        memory_bytes: one.memory_bytes.saturating_add(other.memory_bytes),
        cpu_millis: one.cpu_millis.saturating_add(other.cpu_millis),
        state_bytes: one.state_bytes.max(other.state_bytes),
        ..other.clone()
    }
}

/// Returns the larger of each limit that a quota counts.
pub(crate) fn larger(one: &Limits, other: &Limits) -> Limits {
    Limits {
        memory_bytes: one.memory_bytes.max(other.memory_bytes),
        cpu_millis: one.cpu_millis.max(other.cpu_millis),
        state_bytes: one.state_bytes.max(other.state_bytes),
        ..other.clone()
    }
}

/// A function that writes a bound for people.
type BoundFormat = fn(u64) -> String;

fn count(number: u64) -> String {
    number.to_string()
}

fn size(bytes: u64) -> String {
    String::from(hersh_wire::ByteSize(bytes))
}

fn cores(millis: u64) -> String {
    let (whole, part) = (millis / 1_000, millis % 1_000);
    let text = format!("{whole}.{part:03}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
