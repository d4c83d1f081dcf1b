//! Tells people how a program is looked after, and that it does not answer.

use hersh_wire::{Liveness, LivenessKind, NotAliveView, OnFailure};

use crate::output;

/// Returns what the last probe saw of a program that does not answer, and for how long it has not.
pub(crate) fn silence(silent: &NotAliveView) -> String {
    let since = output::age(silent.since_ms);
    format!("{}; for {since}", silent.last_probe)
}

/// Returns the liveness probe with how often it is made, and what happens when it fails.
pub(crate) fn liveness(probe: &Liveness) -> String {
    let kind = match probe.kind {
        Some(LivenessKind::None) => return ", liveness none".to_owned(),
        Some(LivenessKind::Http) => "http",
        Some(LivenessKind::Tcp) => "tcp",
        None | Some(LivenessKind::Heartbeat) => "heartbeat",
    };
    let path = probe.path.as_ref();
    let path = path.map_or_else(String::new, |path| format!(" {path}"));
    let every = probe.interval.map_or_else(String::new, |interval| {
        format!(" every {}", String::from(interval))
    });
    let then = match probe.on_failure {
        None | Some(OnFailure::Restart) => "restart",
        Some(OnFailure::Notify) => "notify",
    };
    let failures = output::count(probe.failures.unwrap_or(1), "failure");
    format!(", liveness {kind}{path}{every} (after {failures}: {then})")
}
