//! Sends spans to a collector, in batches, from a thread of their own.

use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider},
};
use tracing_subscriber::Layer;

use super::{Sink, TelemetryError, transport::Transport};
use crate::config::OtlpEndpoint;

/// The most spans that wait for the collector. While there is no room, new spans are dropped: the host never
/// waits.
const QUEUE_SPANS_MAX: usize = 4_096;
/// The most spans of one message.
const BATCH_SPANS_MAX: usize = 512;
/// How long a span waits for other spans to go with.
const BATCH_DELAY: Duration = Duration::from_secs(5);
/// How long the collector may take for a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last spans may take when the host ends.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// The way to the collector.
pub(super) struct Export(SdkTracerProvider);

/// Begins to send. The collector is not asked anything yet: a collector that is down is reported in the log.
pub(super) fn start(endpoint: &OtlpEndpoint) -> Result<(Sink, Export), TelemetryError> {
    let unusable = |error: &dyn std::fmt::Display| TelemetryError::Export(error.to_string());
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Transport::new(SEND_TIMEOUT).map_err(|error| unusable(&error))?)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint.traces())
        .with_timeout(SEND_TIMEOUT)
        .build()
        .map_err(|error| unusable(&error))?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_SPANS_MAX)
        .with_max_export_batch_size(BATCH_SPANS_MAX)
        .with_scheduled_delay(BATCH_DELAY)
        .build();
    let processor = BatchSpanProcessor::builder(exporter)
        .with_batch_config(batches)
        .build();
    let resource = Resource::builder_empty()
        .with_service_name("hersh-host")
        .with_attribute(opentelemetry::KeyValue::new(
            "service.version",
            env!("CARGO_PKG_VERSION"),
        ))
        .build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_resource(resource)
        .build();
    let sink = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("hersh-host"))
        .with_location(false)
        .with_threads(false)
        .boxed();
    Ok((sink, Export(provider)))
}

impl Export {
    pub(super) async fn finish(self) {
        // The shutdown blocks while the last message is on its way over this very tokio runtime.
        let ended =
            tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FINISH_TIMEOUT));
        if let Ok(Err(error)) = ended.await {
            tracing::warn!(%error, "the last traces did not reach the collector");
        }
    }
}
