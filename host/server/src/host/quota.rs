//! Room within a user's quota, for a program that is to ask for more.

use hersh_program::{Limits, Program, RevisionNumber, State, UserId};
use tokio::sync::OwnedMutexGuard;

use super::{Host, QuotaUnknown};
use crate::{
    auth::Quota,
    programs::{
        ProgramEntry,
        admission::{self, QuotaError},
    },
};

/// A change after which a program may ask for more.
#[derive(Clone, Copy)]
pub(super) enum QuotaChange<'a> {
    /// It is started: the revision of this number, or the wanted one.
    Start(Option<RevisionNumber>),
    /// Source with these limits is stored. The program stays started, or at rest.
    Source(&'a Limits),
}

impl Host {
    pub(super) fn quota(&self, owner: &UserId) -> Result<Quota, QuotaUnknown> {
        let user = self.0.accounts.user(owner);
        user.map(|user| user.quota)
            .map_err(|error| QuotaUnknown(error.to_string()))
    }

    /// Waits for the owner's turn to change something; an owner without bounds waits for none and gets
    /// `None`.
    pub(super) async fn turn(&self, owner: &UserId, quota: &Quota) -> Option<OwnedMutexGuard<()>> {
        if *quota == Quota::NONE {
            return None;
        }
        Some(self.0.admission.turn(owner).await)
    }

    /// Checks that the owner's quota has room for the program as it is to be after the change.
    pub(super) fn check_quota(
        &self,
        entry: &ProgramEntry,
        change: QuotaChange<'_>,
        quota: &Quota,
    ) -> Result<(), QuotaError> {
        if *quota == Quota::NONE {
            return Ok(());
        }
        let now_ms = self.now_ms();
        let (id, wanted, started) = entry.supervisor().with_state(|program| {
            let (newest, started) = match change {
                QuotaChange::Start(number) => (start_limits(program, number), true),
                QuotaChange::Source(limits) => (limits.clone(), program.is_started()),
            };
            let wanted = admission::asks(program, &newest, now_ms);
            (program.id.clone(), wanted, started)
        });
        admission::usage(&self.0.registry, entry.owner(), Some(&id), now_ms)
            .with(&wanted, started)
            .fits(entry.owner(), quota)
    }
}

/// Returns the limits that a start of this revision, or of the wanted one, may come to: its own, with those of the
/// instance that it is started beside, or those of the revision that it goes back to if it fails.
fn start_limits(program: &Program, number: Option<RevisionNumber>) -> Limits {
    let number = number.or_else(|| program.wanted_revision());
    let revisions = program.revisions.as_ref();
    let named = number.and_then(|number| revisions?.get(number));
    let limits = named.map_or(&program.source.manifest.limits, |named| {
        &named.source.manifest.limits
    });
    let overlaps = named.is_some_and(|named| !named.source.manifest.deploy.keeps_state());
    let is_other = number != program.current_revision();
    let limits = match overlaps && is_other && may_be_up(program) {
        true => admission::both(&program.manifest().limits, limits),
        false => limits.clone(),
    };
    let back = number.and_then(|number| program.fallback_of(number));
    match back {
        Some(back) => admission::larger(&back.source.manifest.limits, &limits),
        None => limits,
    }
}

/// Returns whether the program is up, or may be by the time at which it takes a command in.
fn may_be_up(program: &Program) -> bool {
    match &program.state {
        State::Building(building) => building.then.is_start(),
        State::Starting(_) | State::Ready(_) | State::Stopping(_) => true,
        State::Created | State::Stopped(_) | State::Error(_) | State::Removed => false,
    }
}
