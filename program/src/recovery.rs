//! Rules for retries: whether and when a failed program is tried again.
//!
//! The n-th retry has a back-off of `base * factor^(n-1)`, at most the cap. It waits for a random part of
//! that back-off, between one half and the whole ("equal jitter": M. Brooker, "Exponential Backoff And
//! Jitter", AWS Architecture Blog, 2015). So programs that failed together do not come back together, and no
//! retry comes sooner than half its back-off. The random part depends only on the program's seed and the
//! attempt, so a replay waits equally long.

use hersh_machine::SplitMix64;

use crate::{Cause, RestartPolicy};

/// The first back-off, milliseconds.
pub const BASE_MS: u64 = 1_000;
/// The factor between one back-off and the next.
pub const FACTOR: u64 = 2;
/// The longest back-off, milliseconds.
pub const CAP_MS: u64 = 5 * 60_000;
/// The number of retries before a program stays in `Error`.
pub const MAX_ATTEMPTS: u32 = 6;
/// The shortest execution that resets the count of attempts, milliseconds.
pub const RESET_AFTER_MS: u64 = 10 * 60_000;
/// The shortest execution that counts as settled, milliseconds. A settled program is started again at once
/// after a clean exit under [`RestartPolicy::Always`], and when the engine stopped it. After a shorter
/// execution it waits as after a failure: otherwise a program that ends as soon as it starts would be
/// restarted without a pause.
pub const SETTLED_RUN_MS: u64 = 10_000;

/// Returns how long the retry after `attempts` earlier ones waits, milliseconds.
#[must_use]
pub fn back_off_ms(seed: u64, attempts: u32) -> u64 {
    let full = FACTOR
        .checked_pow(attempts)
        .and_then(|factor| BASE_MS.checked_mul(factor))
        .map_or(CAP_MS, |full| full.min(CAP_MS));
    let half = full / 2;
    half + SplitMix64::new(seed ^ u64::from(attempts)).below(full - half + 1)
}

/// Returns whether a program that failed with `cause`, after `attempts` retries, is tried again by itself.
#[must_use]
pub fn retries(policy: RestartPolicy, attempts: u32, cause: &Cause) -> bool {
    let wanted = match policy {
        RestartPolicy::Never => false,
        RestartPolicy::OnFailure | RestartPolicy::Always => true,
    };
    wanted && attempts < MAX_ATTEMPTS && may_pass(policy, cause)
}

/// Returns whether a cause may be gone at the next attempt. The other causes need another source, another
/// manifest or a person.
fn may_pass(policy: RestartPolicy, cause: &Cause) -> bool {
    match cause {
        Cause::StartFailed { .. }
        | Cause::ImageGone { .. }
        | Cause::NotReadyInTime { .. }
        | Cause::Exited { .. }
        | Cause::StoppedFromOutside { .. }
        | Cause::OutOfMemory { .. }
        | Cause::OutOfProcesses { .. }
        | Cause::StopFailed { .. }
        | Cause::RuntimeUnavailable { .. }
        | Cause::Vanished
        | Cause::HostRestarted
        | Cause::Internal { .. } => true,
        // The program ended well. Under `Always` it is started again after that too.
        Cause::EndedBeforeReady { .. } | Cause::Finished { .. } => match policy {
            RestartPolicy::Always => true,
            RestartPolicy::Never | RestartPolicy::OnFailure => false,
        },
        Cause::FoldersFailed { .. }
        | Cause::NotRunnable { .. }
        | Cause::BuildFailed { .. }
        | Cause::BuildTimedOut { .. }
        | Cause::ContractViolated { .. }
        | Cause::StateQuotaExceeded
        | Cause::StateTooLarge { .. }
        | Cause::DiskFilled
        | Cause::RemoveFailed { .. } => false,
    }
}
