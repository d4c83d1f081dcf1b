//! `hersh host`: serves until SIGTERM or SIGINT.

use hersh_host::{Config, ConfigError, HostError};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    args::{EngineOptions, HostOptions},
    failure::Failure,
};

pub(crate) async fn serve(options: HostOptions) -> Result<(), Failure> {
    start_logging(options.log_json);
    let config = Config::new(
        options.data_dir,
        options.listen,
        &options.engine.engine,
        options.engine.insecure_runc,
        options.behind_tls_proxy,
    )
    .map_err(|error| refused(&error))?;
    let stop = stop_signal()?;
    hersh_host::serve(config, stop, |_| {})
        .await
        .map_err(|error| {
            if let HostError::Engine(_) = error {
                return Failure::Unavailable(error.to_string());
            }
            Failure::Failed(error.to_string())
        })
}

pub(crate) fn refused(error: &ConfigError) -> Failure {
    Failure::Input(error.to_string())
}

pub(crate) fn engine_socket(options: &EngineOptions) -> Result<hersh_host::EngineSocket, Failure> {
    hersh_host::EngineSocket::parse(&options.engine).map_err(|error| refused(&error))
}

fn start_logging(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("HERSH_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if json {
        builder.json().init();
    } else {
        let plain = std::env::var_os("NO_COLOR").is_some();
        builder
            .with_ansi(!plain && std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init();
    }
}

fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind| {
        signal(kind).map_err(|error| Failure::Failed(format!("can't listen for signals: {error}")))
    };
    let (mut terminate, mut interrupt) = (
        listen(SignalKind::terminate())?,
        listen(SignalKind::interrupt())?,
    );
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
