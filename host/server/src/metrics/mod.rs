//! The metrics of a host that are counted as things happen. The metrics that are looked up when somebody asks
//! are in `snapshot.rs`.
//!
//! ```text
//! requests, effects, events, commits ──► Metrics ─┐
//! registry, engine, disk ──gather──► Snapshot ────┴──► GET /metrics, Prometheus text format
//! ```
//!
//! Names begin with `hersh_` and end with their unit. Labels have few values: routes as they are written in
//! the router, kinds, outcomes. Only metrics that belong to one program have its name as a label, and they
//! are gone with the program.

#[cfg(test)]
mod deployed;
mod events;
#[cfg(test)]
pub(crate) mod exposition;
mod labels;
mod measured_effects;
mod snapshot;

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use hersh_base::locked::locked;
use hersh_journal::JournalMetrics;
use hersh_wire::Code;
use prometheus_client::{
    encoding::prometheus_text,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Metric, Registry},
};

pub(crate) use self::{
    events::event_name,
    measured_effects::MeasuredEffects,
    snapshot::{Snapshot, Usage},
};
use self::{
    labels::{
        EffectEnd, EffectKind, EventKind, Label, ProxyEnd, RefusalKind, RequestEnd, Route,
        status_class,
    },
    snapshot::SharedSnapshot,
};

/// The `Content-Type` of a reply.
pub(crate) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Upper bounds of a request's time, seconds.
const REQUEST_SECONDS: [f64; 12] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0, 60.0,
];
/// Upper bounds of an effect's time, seconds. A build may take minutes.
const EFFECT_SECONDS: [f64; 12] = [
    0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1_800.0,
];

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The host's metrics. Clones share their counts.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    looked: SharedSnapshot,
    /// A lock for writing one reply at a time, so that each reply shows its own snapshot.
    writing: Mutex<()>,
    events: Family<EventKind, Counter>,
    effects: Histograms<EffectEnd>,
    effects_running: Family<EffectKind, Gauge>,
    requests: Family<RequestEnd, Counter>,
    request_seconds: Histograms<Route>,
    proxied: Family<ProxyEnd, Counter>,
    proxy_seconds: Histograms<ProxyEnd>,
    /// The two metrics of answered requests, kept here because most requests are answered: this saves the
    /// look-up.
    answered: OnceLock<(Counter, Histogram)>,
    refused: Family<RefusalKind, Counter>,
    connections: ConnectionMetrics,
}

/// The counts of the server's connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionMetrics {
    open: Gauge,
    refused: Counter,
}

impl ConnectionMetrics {
    /// Counts a connection until the guard is dropped.
    pub(crate) fn opened(&self) -> GaugeGuard {
        GaugeGuard::new(self.open.clone())
    }

    /// Counts a connection that was turned away.
    pub(crate) fn turned_away(&self) {
        self.refused.inc();
    }
}

/// A guard that counts something as going on until it is dropped.
#[derive(Debug)]
pub(crate) struct GaugeGuard(Gauge);

impl GaugeGuard {
    fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Makes metrics that begin at zero, beside those of the journal, which was there first.
    pub(crate) fn new(journal: &JournalMetrics) -> Self {
        let mut registry = Registry::with_prefix("hersh");
        let looked = SharedSnapshot::default();
        registry.register_collector(Box::new(looked.clone()));
        journal.register(&mut registry);
        let mut add = Definitions(&mut registry);
        let inner = Inner {
            events: add.counters("program_events", "Events that programs took in, by kind"),
            effects: add.seconds(
                "effect_duration_seconds",
                "How long effects took, by kind and outcome",
                || Histogram::new(EFFECT_SECONDS),
            ),
            effects_running: add.gauges(
                "effects_running",
                "Effects under way, by kind; builds that wait for their turn too",
            ),
            requests: add.counters(
                "api_requests",
                "Answered requests to the host, by method, route and class of status",
            ),
            request_seconds: add.seconds(
                "api_request_duration_seconds",
                "Time until an answer began, by route",
                || Histogram::new(REQUEST_SECONDS),
            ),
            proxied: add.counters(
                "proxy_requests",
                "Requests to programs: answered, or the code of the host's problem instead",
            ),
            proxy_seconds: add.seconds(
                "proxy_request_duration_seconds",
                "Time until an answer to a request to a program began, by outcome",
                || Histogram::new(REQUEST_SECONDS),
            ),
            answered: OnceLock::new(),
            refused: add.counters(
                "auth_failures",
                "Requests refused for who sent them, by reason",
            ),
            connections: ConnectionMetrics {
                open: add.metric("connections", "Open connections to the host"),
                refused: add.metric(
                    "connections_refused",
                    "Connections turned away because their address had too many",
                ),
            },
            looked,
            writing: Mutex::default(),
            registry,
        };
        Self(Arc::new(inner))
    }

    /// Returns all metrics in Prometheus' text format.
    ///
    /// # Errors
    /// None that writing to a text can cause.
    pub(crate) fn text(&self, snapshot: Snapshot) -> Result<String, fmt::Error> {
        let _alone = locked(&self.0.writing);
        self.0.looked.set(snapshot);
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.0.registry)?;
        Ok(text)
    }

    /// Counts an event that a program took in.
    pub(crate) fn event(&self, event: &'static str) {
        self.0.events.get_or_create(&EventKind { event }).inc();
    }

    /// Counts an effect as under way until the guard is dropped.
    pub(crate) fn effect_began(&self, effect: &'static str) -> GaugeGuard {
        GaugeGuard::new(
            self.0
                .effects_running
                .get_or_create_owned(&EffectKind { effect }),
        )
    }

    /// Counts an effect that ended, with its outcome: `ok`, `failed` or `cancelled`.
    pub(crate) fn effect_ended(&self, effect: &'static str, outcome: &'static str, took: Duration) {
        let end = EffectEnd { effect, outcome };
        self.0
            .effects
            .get_or_create(&end)
            .observe(took.as_secs_f64());
    }

    /// Counts a request to the host itself that was answered.
    pub(crate) fn request(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let route = Route {
            route: route.to_owned(),
        };
        let seconds = self.0.request_seconds.get_or_create_owned(&route);
        seconds.observe(took.as_secs_f64());
        let end = RequestEnd {
            method,
            route: route.route,
            status: status_class(status),
        };
        self.0.requests.get_or_create(&end).inc();
    }

    /// Counts a request to a program that was answered by the program, or by the host in its stead with a
    /// code.
    pub(crate) fn proxied(&self, code: Option<Code>, took: Duration) {
        let metrics = |outcome| {
            let end = ProxyEnd { outcome };
            let seconds = self.0.proxy_seconds.get_or_create_owned(&end);
            (self.0.proxied.get_or_create_owned(&end), seconds)
        };
        let count = |(requests, seconds): &(Counter, Histogram)| {
            requests.inc();
            seconds.observe(took.as_secs_f64());
        };
        match code {
            None => count(self.0.answered.get_or_init(|| metrics("answered"))),
            Some(code) => count(&metrics(code.name())),
        }
    }

    /// Counts a request that was refused because of who sent it.
    pub(crate) fn refused(&self, code: Code) {
        let reason = code.name();
        self.0.refused.get_or_create(&RefusalKind { reason }).inc();
    }

    pub(crate) fn connections(&self) -> &ConnectionMetrics {
        &self.0.connections
    }
}

/// Makes metrics and tells the registry what they are.
struct Definitions<'a>(&'a mut Registry);

impl Definitions<'_> {
    fn metric<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.0.register(name, help, metric.clone());
        metric
    }

    fn counters<L: Label>(&mut self, name: &str, help: &str) -> Family<L, Counter> {
        self.metric(name, help)
    }

    fn gauges<L: Label>(&mut self, name: &str, help: &str) -> Family<L, Gauge> {
        self.metric(name, help)
    }

    fn seconds<L: Label>(
        &mut self,
        name: &str,
        help: &str,
        make: fn() -> Histogram,
    ) -> Histograms<L> {
        let family = Family::new_with_constructor(make);
        self.0.register(name, help, family.clone());
        family
    }
}

#[cfg(test)]
mod tests;
