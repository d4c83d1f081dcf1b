//! Reads what a program uses at this moment, from the kernel's counters. If those can't be seen, the
//! engine's counters are read.

use bollard::{
    models::{ContainerMemoryStats, ContainerStatsResponse},
    query_parameters::StatsOptions,
};
use futures_util::StreamExt;
use hersh_program::InstanceId;

use super::{Inner, counters, engine::Fault};
use hersh_sandbox::{Stats, Unavailable};

impl Inner {
    pub(super) async fn stats(&self, instance: &InstanceId) -> Result<Option<Stats>, Unavailable> {
        let Some(found) = self.find(instance).await? else {
            return Ok(None);
        };
        let client = self.engine.client().await?;
        let id = found.container.as_str();
        let pid = found.inspected.state.and_then(|state| state.pid);
        let Some(pid) = pid.filter(|pid| *pid > 0) else {
            return Ok(None);
        };
        if let Some(stats) = counters::read(id, pid) {
            return Ok(Some(stats));
        }
        // Without this option, the engine takes a second to measure twice.
        let options = StatsOptions {
            stream: false,
            one_shot: true,
        };
        let mut said = std::pin::pin!(client.stats(id, Some(options)));
        match said.next().await {
            Some(Ok(said)) => Ok(stats(said)),
            Some(Err(error)) => match self.engine.fault(&error) {
                Fault::NotFound(_) | Fault::Conflict(_) => Ok(None),
                fault @ (Fault::Unavailable(_) | Fault::Refused(_)) => {
                    Err(fault.into_unavailable())
                }
            },
            None => Ok(None),
        }
    }
}

/// Reads the engine's counters; `None` for a container that ended meanwhile, because its counters are
/// empty.
fn stats(said: ContainerStatsResponse) -> Option<Stats> {
    let memory = said.memory_stats?;
    let limit = memory.limit?;
    let cpu = said.cpu_stats.and_then(|cpu| cpu.cpu_usage);
    let networks = said.networks.unwrap_or_default();
    let sum = |bytes: fn(&bollard::models::ContainerNetworkStats) -> Option<u64>| {
        networks.values().filter_map(bytes).sum()
    };
    Some(Stats {
        cpu_us: cpu.and_then(|cpu| cpu.total_usage).unwrap_or(0) / 1_000,
        memory_bytes: used(&memory),
        memory_limit_bytes: limit,
        pids: said.pids_stats.and_then(|it| it.current).unwrap_or(0),
        received_bytes: sum(|network| network.rx_bytes),
        sent_bytes: sum(|network| network.tx_bytes),
    })
}

/// Returns the memory in use, without files that the kernel keeps only as long as there is room. Both
/// versions of control groups count such files.
fn used(memory: &ContainerMemoryStats) -> u64 {
    let usage = memory.usage.unwrap_or(0);
    let stat = |name: &str| memory.stats.as_ref().and_then(|it| it.get(name)).copied();
    let droppable = stat("total_inactive_file").or_else(|| stat("inactive_file"));
    usage.saturating_sub(droppable.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_can_be_dropped_do_not_count() {
        for name in ["total_inactive_file", "inactive_file"] {
            let memory = ContainerMemoryStats {
                usage: Some(1_000),
                stats: Some([(name.to_owned(), 300)].into()),
                ..ContainerMemoryStats::default()
            };
            assert_eq!(used(&memory), 700);
        }
    }

    #[test]
    fn a_container_that_ended_has_no_stats() {
        assert_eq!(stats(ContainerStatsResponse::default()), None);
    }
}
