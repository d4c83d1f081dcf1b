//! Turns a reading of a program's use into what the API shows of it.

use hersh_wire as wire;

use crate::programs::ProgramEntry;
use hersh_sandbox::Stats;

/// Returns the view of the reading made at `at_ms`, with the last measure of `/state`.
pub(crate) fn stats_view(entry: &ProgramEntry, stats: &Stats, at_ms: u64) -> wire::StatsView {
    let state_limit_bytes = entry
        .supervisor()
        .with_state(|program| program.manifest().limits.state_bytes);
    wire::StatsView {
        at_ms,
        cpu_us: stats.cpu_us,
        memory_bytes: stats.memory_bytes,
        memory_limit_bytes: stats.memory_limit_bytes,
        pids: stats.pids,
        received_bytes: stats.received_bytes,
        sent_bytes: stats.sent_bytes,
        state_bytes: entry.state_readings().bytes(),
        state_limit_bytes,
    }
}
