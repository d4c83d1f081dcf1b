//! `hersh host`: serves until SIGTERM or SIGINT. `hersh host config` shows what it would serve
//! with.

use std::{
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use hersh_host::{
    Config, ConfigError, HostError, IssueError, Settings,
    config::{Effective, Sources, defaults_file},
    telemetry::Telemetry,
};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::journal;
use crate::{
    args::{HostOptions, HostTask, Output},
    failure::Failure,
    output,
};

pub(crate) async fn run(options: HostOptions, format: Output) -> Result<(), Failure> {
    let sources = Sources {
        file: options.config,
        environment: std::env::vars_os().collect(),
        flags: options.flags.0,
    };
    match options.task {
        Some(HostTask::Config { defaults: true }) => output::line(defaults_file().trim_end()),
        Some(HostTask::Config { defaults: false }) => show(sources, format),
        Some(HostTask::Backup { file }) => journal::back_up(&data_dir(sources)?, &file, format),
        Some(HostTask::Restore { file }) => journal::restore(&data_dir(sources)?, &file, format),
        Some(HostTask::Check) => journal::check(&data_dir(sources)?, format),
        Some(HostTask::Token) => issue_token(&data_dir(sources)?, format).await,
        None => serve(sources).await,
    }
}

fn data_dir(sources: Sources) -> Result<PathBuf, Failure> {
    let settings = Effective::gather(sources).and_then(|effective| effective.settings());
    Ok(settings.map_err(refused)?.data_dir)
}

async fn issue_token(data: &Path, format: Output) -> Result<(), Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    let issued = hersh_host::issue_admin_token(data, now_ms).await;
    let path = issued.map_err(|error| match error {
        IssueError::Missing(_) => Failure::Input(error.to_string()),
        IssueError::Lock(_) | IssueError::Open(_) | IssueError::Bootstrap(_) => {
            Failure::Failed(error.to_string())
        }
    })?;
    let path = path.display().to_string();
    match format {
        Output::Json => output::json(&json!({ "token_file": path })),
        Output::Table => output::line(&format!("a new admin token is in {path}")),
    }
}

async fn serve(sources: Sources) -> Result<(), Failure> {
    let effective = Effective::gather(sources).map_err(refused)?;
    let settings = effective.settings().map_err(refused)?;
    let telemetry =
        Telemetry::start(&settings).map_err(|error| Failure::Input(error.to_string()))?;
    let served = serve_with(settings, &effective.unknown_variables).await;
    telemetry.finish().await;
    served
}

async fn serve_with(settings: Settings, unknown_variables: &[String]) -> Result<(), Failure> {
    for variable in unknown_variables {
        tracing::warn!(
            variable,
            "no setting has this name; `hersh host config --defaults` lists them"
        );
    }
    let config = Config::new(settings).map_err(refused)?;
    let stop = stop_signal()?;
    hersh_host::serve(config, stop, |_| {})
        .await
        .map_err(|error| {
            let message = error.to_string();
            if let HostError::Engine(_) = error {
                return Failure::Unavailable(message);
            }
            if let HostError::Tls(_) = error {
                return Failure::Input(message);
            }
            if error.needs_person() {
                return Failure::NeedsPerson(message);
            }
            Failure::Failed(message)
        })
}

/// Shows every value, then says what can't be used: a wrong value is easier found beside its
/// origin.
fn show(sources: Sources, format: Output) -> Result<(), Failure> {
    let effective = Effective::gather(sources).map_err(refused)?;
    match format {
        Output::Json => {
            let rows: Vec<_> = effective
                .values
                .iter()
                .map(|value| json!({ "key": value.key.name, "value": value.text, "origin": value.origin.to_string() }))
                .collect();
            output::json(&rows)?;
        }
        Output::Table => {
            let rows: Vec<Vec<String>> = effective
                .values
                .iter()
                .map(|value| {
                    vec![
                        value.key.name.into(),
                        value.text.clone(),
                        value.origin.to_string(),
                    ]
                })
                .collect();
            output::table(&["KEY", "VALUE", "FROM"], &rows)?;
        }
    }
    for variable in &effective.unknown_variables {
        output::note(&format!(
            "hersh: {variable} is set, but no setting has this name"
        ));
    }
    let settings = effective.settings().map_err(refused)?;
    Config::new(settings).map(drop).map_err(refused)
}

fn refused(error: ConfigError) -> Failure {
    Failure::Input(error.to_string())
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
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal, "asked to end");
    })
}
