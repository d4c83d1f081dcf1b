//! Where the host's log goes: standard error as text or JSON, and on demand traces to a collector.
//!
//! ```text
//! tracing spans and events ──level──┬──► standard error, one line each
//!                                   └──► batches ──OTLP over HTTP──► collector (feature "otlp")
//! ```

#[cfg(test)]
pub(crate) mod capture;
#[cfg(feature = "otlp")]
mod export;
#[cfg(test)]
#[cfg(feature = "otlp")]
mod export_tests;
#[cfg(feature = "otlp")]
mod transport;

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::config::{LogFormat, Settings};

/// Why the log could not be begun.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// This process logs already.
    #[error("the log is already set up in this process: {0}")]
    Twice(String),
    /// Traces can't be exported.
    #[error("otlp.endpoint is set, but traces can't be exported: {0}")]
    Export(String),
}

/// The export of traces, if there is one. It must be finished before the process ends so that nothing is
/// lost.
#[must_use = "traces that wait are lost when this is dropped instead of finished"]
pub struct Telemetry {
    #[cfg(feature = "otlp")]
    export: Option<export::Export>,
}

impl Telemetry {
    /// Begins to log, for the whole process. Needs a tokio runtime if traces are exported.
    ///
    /// # Errors
    /// [`TelemetryError`].
    pub fn start(settings: &Settings) -> Result<Self, TelemetryError> {
        let plain = std::env::var_os("NO_COLOR").is_some() || !std::io::stderr().is_terminal();
        let (subscriber, telemetry) = build(settings, !plain, std::io::stderr)?;
        subscriber
            .try_init()
            .map_err(|error| TelemetryError::Twice(error.to_string()))?;
        Ok(telemetry)
    }

    /// Sends the traces that wait. Gives up after a few seconds when the collector does not answer.
    pub async fn finish(self) {
        #[cfg(feature = "otlp")]
        if let Some(export) = self.export {
            export.finish().await;
        }
    }
}

type Sink = Box<dyn Layer<Registry> + Send + Sync>;

/// Makes a subscriber as the settings want it. Spans and events below the level reach no sink.
fn build<W>(
    settings: &Settings,
    colours: bool,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync + use<W>, Telemetry), TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(writer);
    let lines: Sink = match settings.log_format {
        LogFormat::Text => lines.with_ansi(colours).boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed(),
    };
    let (export, telemetry) = export(settings)?;
    let sinks: Vec<Sink> = std::iter::once(lines).chain(export).collect();
    let level = EnvFilter::new(settings.log_level.to_string());
    Ok((Registry::default().with(sinks).with(level), telemetry))
}

#[cfg(feature = "otlp")]
fn export(settings: &Settings) -> Result<(Option<Sink>, Telemetry), TelemetryError> {
    let Some(endpoint) = &settings.otlp_endpoint else {
        return Ok((None, Telemetry { export: None }));
    };
    let (sink, export) = export::start(endpoint)?;
    Ok((
        Some(sink),
        Telemetry {
            export: Some(export),
        },
    ))
}

#[cfg(not(feature = "otlp"))]
fn export(settings: &Settings) -> Result<(Option<Sink>, Telemetry), TelemetryError> {
    if settings.otlp_endpoint.is_some() {
        let message = "this hersh was built without that; build it with --features otlp";
        return Err(TelemetryError::Export(message.to_owned()));
    }
    Ok((None, Telemetry {}))
}

#[cfg(test)]
mod tests;
