//! Room within a user's quota, for a program that is to ask for more.

use hersh_program::{Limits, UserId};
use tokio::sync::OwnedMutexGuard;

use super::{Host, QuotaUnknown};
use crate::{
    auth::Quota,
    programs::{
        ProgramEntry,
        admission::{self, QuotaError},
    },
};

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

    /// Checks that the owner's quota has room for the program as it is to be: started, or with other `limits`
    /// and as it stands.
    pub(super) fn check_quota(
        &self,
        entry: &ProgramEntry,
        limits: Option<&Limits>,
        quota: &Quota,
    ) -> Result<(), QuotaError> {
        if *quota == Quota::NONE {
            return Ok(());
        }
        let (id, wanted, started) = entry.supervisor().with_state(|program| {
            let started = limits.is_none() || program.is_started();
            let newest = limits.unwrap_or(&program.source.manifest.limits);
            let wanted = admission::asks(program, newest);
            (program.id.clone(), wanted, started)
        });
        admission::usage(&self.0.registry, entry.owner(), Some(&id))
            .with(&wanted, started)
            .fits(entry.owner(), quota)
    }
}
