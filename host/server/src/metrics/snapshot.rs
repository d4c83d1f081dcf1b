//! Every metric that is looked up when somebody asks.

use std::{
    fmt::Error,
    sync::{Arc, Mutex},
};

use hersh_base::locked::locked;
use hersh_program::ProgramId;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// The state of things at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// The number of programs in each state, for all states.
    pub(crate) states: Vec<(&'static str, u64)>,
    /// Automatic starts in the last hour, of programs that had any.
    pub(crate) restarts: Vec<(ProgramId, u32)>,
    /// The number of the newest instance of each program that had one.
    pub(crate) instances: Vec<(ProgramId, u64)>,
    /// Programs that failed and are not tried again.
    pub(crate) gave_up: Vec<ProgramId>,
    /// Programs that are up and do not answer their liveness probe.
    pub(crate) not_alive: Vec<ProgramId>,
    /// The usage of each running program.
    pub(crate) usage: Vec<Usage>,
    /// The number of writes that wait for the journal.
    pub(crate) journal_queue_length: u64,
    /// The number of builds that wait for their turn.
    pub(crate) builds_waiting: Option<u64>,
    pub(crate) engine_up: bool,
    /// The space on the disk of the data folder, bytes; `None` if the disk does not say.
    pub(crate) disk_free_bytes: Option<u64>,
    /// The memory of the host's own process, bytes.
    pub(crate) memory_bytes: Option<u64>,
}

/// The usage of one running program.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Usage {
    pub(crate) program: ProgramId,
    /// The processor time since its container started, seconds.
    pub(crate) cpu_seconds: f64,
    pub(crate) memory_bytes: u64,
}

/// The snapshot that the next reply shows; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedSnapshot(Arc<Mutex<Snapshot>>);

impl SharedSnapshot {
    pub(super) fn set(&self, snapshot: Snapshot) {
        *locked(&self.0) = snapshot;
    }
}

impl Collector for SharedSnapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let snapshot = locked(&self.0);
        snapshot.encode(&mut Page(encoder))
    }
}

impl Snapshot {
    fn encode(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let states = self.states.iter().copied();
        page.gauges("programs", "Programs, by state", "state", states)?;
        self.encode_programs(page)?;
        page.gauge(
            "journal_queue_length",
            "Writes that wait for the journal",
            Some(self.journal_queue_length),
        )?;
        page.gauge(
            "builds_waiting",
            "Builds that wait for their turn",
            self.builds_waiting,
        )?;
        page.gauge(
            "engine_up",
            "1 if the container engine answers",
            Some(self.engine_up.into()),
        )?;
        page.gauge(
            "disk_free_bytes",
            "Room on the disk of the data folder",
            self.disk_free_bytes,
        )?;
        page.gauge(
            "process_memory_bytes",
            "Memory of the host's process",
            self.memory_bytes,
        )?;
        let version = std::iter::once((env!("CARGO_PKG_VERSION"), 1));
        page.gauges("build_info", "The host's version", "version", version)
    }

    fn encode_programs(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let restarts = self.restarts.iter();
        page.gauges(
            "program_restarts_last_hour",
            "Automatic starts in the last hour, of programs that had any",
            "program",
            restarts.map(|(program, restarts)| (program.as_str(), u64::from(*restarts))),
        )?;
        let instances = self.instances.iter();
        page.gauges(
            "program_instance",
            "Number of the program's newest instance, which is how often it was started",
            "program",
            instances.map(|(program, number)| (program.as_str(), *number)),
        )?;
        let gave_up = self.gave_up.iter();
        page.gauges(
            "program_gave_up",
            "1 for each program that failed and is not started again by itself",
            "program",
            gave_up.map(|program| (program.as_str(), 1)),
        )?;
        let not_alive = self.not_alive.iter();
        page.gauges(
            "program_not_alive",
            "1 for each program that is up, does not answer its liveness probe and is left alone",
            "program",
            not_alive.map(|program| (program.as_str(), 1)),
        )?;
        let usage = self.usage.iter();
        page.counters(
            "program_cpu_seconds",
            "Processor time since the container started, of running programs",
            usage.map(|usage| (usage.program.as_str(), usage.cpu_seconds)),
        )?;
        let usage = self.usage.iter();
        page.gauges(
            "program_memory_bytes",
            "Memory of running programs",
            "program",
            usage.map(|usage| (usage.program.as_str(), usage.memory_bytes)),
        )
    }
}

/// Writes metrics one after another.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: Option<u64>) -> Result<(), Error> {
        let Some(value) = value else { return Ok(()) };
        let encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    fn gauges<'n>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl Iterator<Item = (&'n str, u64)>,
    ) -> Result<(), Error> {
        let mut encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (of, value) in values {
            ConstGauge::new(value).encode(encoder.encode_family(&[(label, of)])?)?;
        }
        Ok(())
    }

    fn counters<'n>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (&'n str, f64)>,
    ) -> Result<(), Error> {
        let mut encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (program, value) in values {
            ConstCounter::new(value).encode(encoder.encode_family(&[("program", program)])?)?;
        }
        Ok(())
    }
}
