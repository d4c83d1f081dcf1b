//! Turns causes of failures into what the API shows of them.

use hersh_program::{Cause, Logs};
use hersh_wire as wire;

use crate::words::without_folders;

/// Returns the view of a cause, with the last lines that were printed.
pub(super) fn cause_view(cause: &Cause) -> wire::CauseView {
    let (code, logs) = code_and_logs(cause);
    wire::CauseView {
        code: code.to_string(),
        message: without_folders(&cause.to_string()),
        logs: logs.cloned().unwrap_or_default(),
    }
}

fn code_and_logs(cause: &Cause) -> (&'static str, Option<&Logs>) {
    match cause {
        Cause::FoldersFailed { .. } => ("folders_failed", None),
        Cause::BuildFailed { logs, .. } => ("build_failed", Some(logs)),
        Cause::BuildTimedOut { .. } => ("build_timed_out", None),
        Cause::StartFailed { logs, .. } => ("start_failed", Some(logs)),
        Cause::NotRunnable { .. } => ("not_runnable", None),
        Cause::EndedBeforeReady { logs } => ("ended_before_ready", Some(logs)),
        Cause::Finished { logs } => ("finished", Some(logs)),
        Cause::ImageGone { .. } => ("image_gone", None),
        Cause::ContractViolated { .. } => ("contract_violated", None),
        Cause::NotReadyInTime { logs, .. } => ("not_ready_in_time", Some(logs)),
        Cause::NotAlive { logs, .. } => ("not_alive", Some(logs)),
        Cause::Exited { logs, .. } => ("exited", Some(logs)),
        Cause::StoppedFromOutside { logs, .. } => ("engine_stopped", Some(logs)),
        Cause::OutOfMemory { logs } => ("out_of_memory", Some(logs)),
        Cause::OutOfProcesses { logs, .. } => ("out_of_processes", Some(logs)),
        Cause::StateQuotaExceeded => ("state_quota_exceeded", None),
        Cause::StateTooLarge { .. } => ("state_too_large", None),
        Cause::DiskFilled => ("disk_filled", None),
        Cause::StopFailed { .. } => ("stop_failed", None),
        Cause::RemoveFailed { .. } => ("remove_failed", None),
        Cause::RuntimeUnavailable { .. } => ("runtime_unavailable", None),
        Cause::RegistryUnavailable { logs, .. } => ("registry_unavailable", Some(logs)),
        Cause::DiskFull { .. } => ("disk_full", None),
        Cause::Vanished => ("vanished", None),
        Cause::HostRestarted => ("host_restarted", None),
        Cause::Internal { .. } => ("internal", None),
    }
}
