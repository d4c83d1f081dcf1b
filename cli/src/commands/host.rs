//! `hersh host`: serves until SIGTERM or SIGINT. `hersh host config` shows the settings that the host would
//! use.

use hersh_host::{
    Config, ConfigError, HostError, Settings,
    config::{EffectiveSettings, Sources, defaults_file},
    telemetry::Telemetry,
};
use hersh_journal::Home;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{accounts, admin_token::issue, journal, set_aside};
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
        Some(HostTask::Backup { file }) => journal::back_up(home(sources)?, &file, format),
        Some(HostTask::Restore {
            file,
            revoke_tokens,
        }) => journal::restore(home(sources)?, &file, revoke_tokens, format).await,
        Some(HostTask::Check) => journal::check(home(sources)?, format),
        Some(HostTask::SetAside) => set_aside::set_aside(&settings(sources)?, format).await,
        Some(HostTask::Token { revoke_others }) => {
            issue_token(home(sources)?, revoke_others, format).await
        }
        None => serve(sources).await,
    }
}

fn home(sources: Sources) -> Result<Home, Failure> {
    Ok(settings(sources)?.home())
}

fn settings(sources: Sources) -> Result<Settings, Failure> {
    let settings = EffectiveSettings::gather(sources).and_then(|effective| effective.settings());
    settings.map_err(refused)
}

async fn issue_token(home: Home, revoke_others: bool, format: Output) -> Result<(), Failure> {
    let issued = issue(home, revoke_others).await?;
    let path = issued.path.display().to_string();
    if format == Output::Json {
        return output::json(&json!({
            "token_file": path,
            "revoked": issued.revoked,
            "tokens": issued.valid,
        }));
    }
    output::line(&format!("a new admin token is in {path}"))?;
    if revoke_others {
        let revoked = output::count(issued.revoked, "other token");
        return output::line(&format!("{revoked} revoked"));
    }
    accounts::valid_tokens(
        &issued.valid,
        "--revoke-others makes all but the new one invalid",
    )
}

async fn serve(sources: Sources) -> Result<(), Failure> {
    let effective = EffectiveSettings::gather(sources).map_err(refused)?;
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

/// Shows every value, then says which can't be used: a wrong value is easier to find beside its origin.
fn show(sources: Sources, format: Output) -> Result<(), Failure> {
    let effective = EffectiveSettings::gather(sources).map_err(refused)?;
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
