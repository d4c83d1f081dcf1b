//! When a failed program is tried again.
//!
//! The n-th retry waits `base * factor^(n-1)`, at most the cap, and of that a random part between
//! one half and the whole ("equal jitter": M. Brooker, "Exponential Backoff And Jitter", AWS
//! Architecture Blog, 2015): programs that failed together do not come back together, and no
//! retry comes sooner than half its back-off. The randomness is a function of the program's seed
//! and the attempt, so a replay waits equally long.

use hersh_machine::SplitMix64;

use crate::{Cause, RestartPolicy};

/// The first back-off, milliseconds.
pub const BASE_MS: u64 = 1_000;
/// How much longer each back-off is than the one before.
pub const FACTOR: u64 = 2;
/// The longest back-off, milliseconds.
pub const CAP_MS: u64 = 5 * 60_000;
/// Retries before a program stays in `Error`.
pub const MAX_ATTEMPTS: u32 = 6;
/// A run of this length forgets the attempts before it, milliseconds.
pub const RESET_AFTER_MS: u64 = 10 * 60_000;
/// A run of this length is started again at once after a clean exit under
/// [`RestartPolicy::Always`], and when the engine stopped it; after a shorter one it waits like
/// a failure, so that a program that ends as soon as it starts does not spin. Milliseconds.
pub const SETTLED_RUN_MS: u64 = 10_000;

/// How long the retry after `attempts` earlier ones waits, milliseconds.
#[must_use]
pub fn back_off_ms(seed: u64, attempts: u32) -> u64 {
    let full = FACTOR
        .checked_pow(attempts)
        .and_then(|factor| BASE_MS.checked_mul(factor))
        .map_or(CAP_MS, |full| full.min(CAP_MS));
    let half = full / 2;
    half + SplitMix64::new(seed ^ u64::from(attempts)).below(full - half + 1)
}

/// Whether a program that failed with `cause`, after `attempts` retries, is tried again by itself.
#[must_use]
pub fn retries(policy: RestartPolicy, attempts: u32, cause: &Cause) -> bool {
    let wanted = match policy {
        RestartPolicy::Never => false,
        RestartPolicy::OnFailure | RestartPolicy::Always => true,
    };
    wanted && attempts < MAX_ATTEMPTS && may_pass(policy, cause)
}

/// True for causes that may be gone the next time. The others need another source, another
/// manifest or a person.
fn may_pass(policy: RestartPolicy, cause: &Cause) -> bool {
    match cause {
        Cause::StartFailed { .. }
        | Cause::ImageGone { .. }
        | Cause::NotReadyInTime { .. }
        | Cause::Exited { .. }
        | Cause::EngineStopped { .. }
        | Cause::OutOfMemory { .. }
        | Cause::OutOfProcesses { .. }
        | Cause::StopFailed { .. }
        | Cause::RuntimeUnavailable { .. }
        | Cause::Vanished
        | Cause::HostRestarted
        | Cause::Internal { .. } => true,
        // Who wants it to run always wants it to run after it ended well, too.
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
