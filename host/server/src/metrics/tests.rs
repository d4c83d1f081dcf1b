use hersh_program::ProgramId;

use super::{exposition::Family, snapshot::Usage, *};

fn program(name: &str) -> ProgramId {
    ProgramId::parse(name).unwrap()
}

fn full() -> Snapshot {
    Snapshot {
        states: vec![("Ready", 2), ("Error", 0)],
        restarts: vec![(program("restless"), 4)],
        instances: vec![(program("busy"), 7)],
        gave_up: vec![program("hopeless")],
        not_alive: vec![program("silent")],
        usage: vec![Usage {
            program: program("busy"),
            cpu_seconds: 1.5,
            memory_bytes: 4096,
        }],
        journal_queue_length: 7,
        builds_waiting: Some(1),
        engine_up: true,
        disk_free_bytes: Some(1 << 40),
        memory_bytes: Some(1 << 20),
    }
}

/// Metrics in which everything happened once.
pub(super) fn everything() -> std::collections::BTreeMap<String, Family> {
    let journal = JournalMetrics::default();
    let metrics = Metrics::new(&journal);
    let took = Duration::from_millis(3);
    journal.committed(5, took, false);
    metrics.event("runtime_exited");
    let _running = metrics.effect_began("start_runtime");
    metrics.effect_ended("start_runtime", "ok", took);
    metrics.request("GET", "/programs/{id}", 404, took);
    metrics.proxied(None, took);
    metrics.proxied(Some(Code::GatewayTimeout), took);
    metrics.refused(Code::Unauthorized);
    metrics.connections().turned_away();
    let _open = metrics.connections().opened();
    exposition::read(&metrics.text(full()).unwrap())
}

#[test]
fn everything_is_written_as_prometheus_reads_it() {
    let families = everything();
    let value = |series: &str| {
        let samples = families.values().flat_map(|family| &family.samples);
        samples
            .filter(|(name, _)| *name == series)
            .map(|(_, value)| *value)
            .next()
    };
    for (series, expected) in [
        ("hersh_program_events_total{event=\"runtime_exited\"}", 1.0),
        (
            "hersh_effect_duration_seconds_count{effect=\"start_runtime\",outcome=\"ok\"}",
            1.0,
        ),
        (
            "hersh_effect_duration_seconds_sum{effect=\"start_runtime\",outcome=\"ok\"}",
            0.003,
        ),
        ("hersh_effects_running{effect=\"start_runtime\"}", 1.0),
        (
            "hersh_api_requests_total{method=\"GET\",route=\"/programs/{id}\",status=\"4xx\"}",
            1.0,
        ),
        ("hersh_proxy_requests_total{outcome=\"answered\"}", 1.0),
        (
            "hersh_proxy_requests_total{outcome=\"gateway_timeout\"}",
            1.0,
        ),
        ("hersh_auth_failures_total{reason=\"unauthorized\"}", 1.0),
        ("hersh_connections", 1.0),
        ("hersh_connections_refused_total", 1.0),
        ("hersh_journal_batch_writes_sum", 5.0),
        ("hersh_journal_failures_total", 1.0),
        ("hersh_journal_queue_length", 7.0),
        ("hersh_programs{state=\"Ready\"}", 2.0),
        ("hersh_programs{state=\"Error\"}", 0.0),
        (
            "hersh_program_restarts_last_hour{program=\"restless\"}",
            4.0,
        ),
        ("hersh_program_instance{program=\"busy\"}", 7.0),
        ("hersh_program_gave_up{program=\"hopeless\"}", 1.0),
        ("hersh_program_not_alive{program=\"silent\"}", 1.0),
        ("hersh_program_cpu_seconds_total{program=\"busy\"}", 1.5),
        ("hersh_program_memory_bytes{program=\"busy\"}", 4096.0),
        ("hersh_builds_waiting", 1.0),
        ("hersh_engine_up", 1.0),
        ("hersh_disk_free_bytes", (1_u64 << 40) as f64),
    ] {
        assert_eq!(value(series), Some(expected), "{series}: {families:#?}");
    }
}

#[test]
fn a_program_that_is_gone_leaves_no_series() {
    let metrics = Metrics::new(&JournalMetrics::default());
    assert!(metrics.text(full()).unwrap().contains("busy"));
    let text = metrics.text(Snapshot::default()).unwrap();
    for gone in [
        "busy",
        "restless",
        "hersh_builds_waiting",
        "hersh_disk_free_bytes",
    ] {
        assert!(!text.contains(gone), "{gone}: {text}");
    }
    assert!(text.contains("hersh_engine_up 0"), "{text}");
}

#[test]
fn what_goes_on_is_counted_until_it_ends() {
    let metrics = Metrics::new(&JournalMetrics::default());
    let running = || {
        let text = metrics.text(Snapshot::default()).unwrap();
        let families = exposition::read(&text);
        families["hersh_effects_running"].samples["hersh_effects_running{effect=\"build_runtime\"}"]
    };
    let first = metrics.effect_began("build_runtime");
    let second = metrics.effect_began("build_runtime");
    assert_eq!(running(), 2.0);
    drop(first);
    assert_eq!(running(), 1.0);
    drop(second);
    assert_eq!(running(), 0.0);
}
