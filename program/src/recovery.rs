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
/// The number of retries before a program of [`Rules::First`](crate::Rules::First) stays in `Error`.
pub const FIRST_RULES_ATTEMPTS: u32 = 6;
/// The longest back-off while the cause lies outside of the program, milliseconds: the program is back
/// within this time after the cause is gone.
pub const OUTSIDE_CAP_MS: u64 = 30_000;
/// The shortest execution that resets the count of attempts, milliseconds.
pub const RESET_AFTER_MS: u64 = 10 * 60_000;
/// The shortest execution that counts as settled, milliseconds. A settled program is started again at once
/// after a clean exit under [`RestartPolicy::Always`], and when the engine stopped it. After a shorter
/// execution it waits as after a failure: otherwise a program that ends as soon as it starts would be
/// restarted without a pause.
pub const SETTLED_RUN_MS: u64 = 10_000;

/// Where the fault for a failure lies, and with that whether another attempt can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Outside of the program, such as an engine that is away: it may be gone soon, and no attempt of the
    /// program is counted for it.
    Outside,
    /// In the program: it may do better at the next attempt.
    Program,
    /// In what was deployed: another attempt can't help. It needs another source, another manifest or a
    /// person.
    Deployed,
}

/// Returns how long the retry after `attempts` earlier ones waits, milliseconds.
#[must_use]
pub fn back_off_ms(seed: u64, attempts: u32) -> u64 {
    capped_back_off_ms(seed, attempts, CAP_MS)
}

/// Returns how long the retry after `waits` earlier ones for a cause outside of the program waits,
/// milliseconds.
#[must_use]
pub fn outside_back_off_ms(seed: u64, waits: u32) -> u64 {
    capped_back_off_ms(seed, waits, OUTSIDE_CAP_MS)
}

fn capped_back_off_ms(seed: u64, attempts: u32, cap_ms: u64) -> u64 {
    let full = FACTOR
        .checked_pow(attempts)
        .and_then(|factor| BASE_MS.checked_mul(factor))
        .map_or(cap_ms, |full| full.min(cap_ms));
    let half = full / 2;
    half + SplitMix64::new(seed ^ u64::from(attempts)).below(full - half + 1)
}

/// Returns whether a program that failed through `fault`, after `attempts` counted retries, is tried again by
/// itself. Without `give_up_after` it is tried for ever.
#[must_use]
pub fn retries(
    policy: RestartPolicy,
    give_up_after: Option<u32>,
    attempts: u32,
    fault: Fault,
) -> bool {
    let wanted = match policy {
        RestartPolicy::Never => false,
        RestartPolicy::OnFailure | RestartPolicy::Always => true,
    };
    wanted
        && match fault {
            Fault::Outside => true,
            Fault::Program => give_up_after.is_none_or(|most| attempts < most),
            Fault::Deployed => false,
        }
}

/// Returns where the fault for `cause` lies by the first rules, which know no fault outside of the program.
#[must_use]
pub fn first_rules_fault(policy: RestartPolicy, cause: &Cause) -> Fault {
    match matches!(cause, Cause::FoldersFailed { .. }) {
        true => Fault::Deployed,
        false => fault(policy, cause).max(Fault::Program),
    }
}

/// Returns where the fault for `cause` lies.
#[must_use]
pub fn fault(policy: RestartPolicy, cause: &Cause) -> Fault {
    match cause {
        Cause::FoldersFailed { .. }
        | Cause::ImageGone { .. }
        | Cause::StoppedFromOutside { .. }
        | Cause::StopFailed { .. }
        | Cause::RuntimeUnavailable { .. }
        | Cause::RegistryUnavailable { .. }
        | Cause::DiskFull { .. }
        | Cause::Vanished
        | Cause::HostRestarted
        | Cause::Internal { .. } => Fault::Outside,
        Cause::StartFailed { .. }
        | Cause::NotReadyInTime { .. }
        | Cause::NotAlive { .. }
        | Cause::Exited { .. }
        | Cause::OutOfMemory { .. }
        | Cause::OutOfProcesses { .. } => Fault::Program,
        // The program ended well. Under `Always` it is started again after that too.
        Cause::EndedBeforeReady { .. } | Cause::Finished { .. } => match policy {
            RestartPolicy::Always => Fault::Program,
            RestartPolicy::Never | RestartPolicy::OnFailure => Fault::Deployed,
        },
        Cause::NotRunnable { .. }
        | Cause::BuildFailed { .. }
        | Cause::BuildTimedOut { .. }
        | Cause::ContractViolated { .. }
        | Cause::StateQuotaExceeded
        | Cause::StateTooLarge { .. }
        | Cause::DiskFilled
        | Cause::RemoveFailed { .. } => Fault::Deployed,
    }
}
