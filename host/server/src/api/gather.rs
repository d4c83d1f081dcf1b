//! Looks up those measures for the metrics that are not counted as things happen.

use std::{collections::BTreeMap, path::Path, time::Duration};

use futures_util::StreamExt;
use hersh_program::{Program, State};

use crate::{
    host::Host,
    metrics::{Snapshot, Usage},
    words,
};

/// The longest time that the engine may take to show that it is there.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest time that all readings of programs may take together.
const STATS_TIMEOUT: Duration = Duration::from_secs(5);
/// The number of readings that are made at once.
const STATS_AT_ONCE: usize = 8;

/// Returns the measures as they are now.
pub(crate) async fn gather(host: &Host) -> Snapshot {
    let engine_up = tokio::time::timeout(ENGINE_TIMEOUT, host.runtime().check())
        .await
        .is_ok_and(|answer| answer.is_ok());
    let looked = host.blocking(|host| (disk_free_bytes(host.storage().data_dir()), memory_bytes()));
    let (disk_free_bytes, memory_bytes) = looked.await.unwrap_or_default();
    let mut snapshot = Snapshot {
        usage: usage(host).await,
        journal_queue_length: host.journal().queue_length() as u64,
        builds_waiting: Some(host.build_queue().waiting() as u64),
        engine_up,
        disk_free_bytes,
        memory_bytes,
        ..Snapshot::default()
    };
    count_programs(host, &mut snapshot);
    snapshot
}

/// Returns what running programs use. Leaves out programs that the engine does not report in time.
async fn usage(host: &Host) -> Vec<Usage> {
    let deadline = tokio::time::Instant::now() + STATS_TIMEOUT;
    let running = host.list().into_iter().filter_map(|entry| {
        let instance = entry.supervisor().with_state(Program::ready_instance)?;
        Some((entry, instance))
    });
    let readings = futures_util::stream::iter(running).map(|(entry, instance)| async move {
        let reading = host.instance_stats(&entry, &instance);
        let (stats, _at_ms) = tokio::time::timeout_at(deadline, reading)
            .await
            .ok()?
            .ok()??;
        Some(Usage {
            program: entry.id(),
            cpu_seconds: Duration::from_micros(stats.cpu_us).as_secs_f64(),
            memory_bytes: stats.memory_bytes,
        })
    });
    let read = readings.buffer_unordered(STATS_AT_ONCE);
    read.filter_map(std::future::ready).collect().await
}

fn count_programs(host: &Host, snapshot: &mut Snapshot) {
    let now_ms = host.now_ms();
    let mut states: BTreeMap<&'static str, u64> = words::STATE_NAMES.map(|name| (name, 0)).into();
    for entry in host.list() {
        let seen = entry.supervisor().with_state(|program| {
            let restarts = program.restarts.last_hour(now_ms);
            let restarts = (restarts > 0).then(|| (program.id.clone(), restarts));
            let instance = program.instances.filter(|number| *number > 0);
            let instance = instance.map(|number| (program.id.clone(), number));
            let gone = matches!(program.state, State::Removed);
            let gave_up = matches!(&program.state, State::Error(failed) if failed.retry.is_none());
            let gave_up = gave_up.then(|| program.id.clone());
            let ready = program.state.ready();
            let is_silent = ready.is_some_and(|ready| ready.not_alive.is_some());
            let not_alive = is_silent.then(|| program.id.clone());
            (!gone).then(|| {
                let state = words::state_name(&program.state);
                (state, restarts, instance, gave_up, not_alive)
            })
        });
        if let Some((state, restarts, instance, gave_up, not_alive)) = seen {
            *states.entry(state).or_default() += 1;
            snapshot.restarts.extend(restarts);
            snapshot.instances.extend(instance);
            snapshot.gave_up.extend(gave_up);
            snapshot.not_alive.extend(not_alive);
        }
    }
    snapshot.states = states.into_iter().collect();
}

fn disk_free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// Returns the memory that this process holds, bytes.
fn memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}
