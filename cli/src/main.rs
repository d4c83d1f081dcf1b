//! The `hersh` command: `hersh host` serves, the rest are clients of a host's HTTP API.
//!
//! ```text
//! arguments ──► commands/* ──► Client (HTTP, token) ──► host
//!                    └──► output: tables for people, -o json for programs, exit code by failure
//! ```

mod account_args;
mod args;
mod build_options;
mod client;
mod commands;
mod connect;
mod failure;
mod message_args;
mod output;
mod setting_flags;
mod token;
mod usage;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Output, Task};
use client::Client;
use failure::Failure;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage::tell(&error),
    };
    let output = arguments.output;
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::failure(&failure, output);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("can't start: {error}")))?;
    runtime.block_on(async {
        let output = arguments.output;
        let client = || Client::new(&arguments.connection);
        match arguments.task {
            Task::Host(options) => commands::host::run(options, output).await,
            Task::Doctor(options) => commands::doctor::examine(options, output).await,
            Task::Deploy(options) => commands::deploy::deploy(&client()?, options, output).await,
            Task::Ps => commands::programs::list(&client()?, output).await,
            Task::Inspect { program, compose } => {
                commands::programs::inspect(&client()?, &program, compose, output).await
            }
            Task::Start(command) => {
                commands::programs::command(&client()?, "start", &command, output).await
            }
            Task::Stop(command) => {
                commands::programs::command(&client()?, "stop", &command, output).await
            }
            Task::Restart(command) => {
                commands::programs::command(&client()?, "restart", &command, output).await
            }
            Task::Revisions { program } => {
                commands::revisions::list(&client()?, &program, output).await
            }
            Task::Rollback(options) => {
                commands::roll_back::roll_back(&client()?, options, output).await
            }
            Task::Diff { program, from, to } => {
                commands::diff::diff(&client()?, &program, (from, to), output).await
            }
            Task::Rm(command) => commands::remove::remove(&client()?, &command, output).await,
            Task::Logs(options) => commands::logs::show(&client()?, options, output).await,
            Task::Events { program } => commands::events::show(&client()?, &program, output).await,
            Task::Send(options) => commands::inbox::send(&client()?, options, output).await,
            Task::Inbox(options) => commands::inbox::inbox(&client()?, &options, output).await,
            Task::State { task } => commands::state::state(&client()?, task, output).await,
            Task::User { task } => commands::accounts::user(&client()?, task, output).await,
            Task::Token { task } => commands::accounts::token(&client()?, task, output).await,
            Task::Whoami => commands::accounts::whoami(&client()?, output).await,
            Task::Audit { limit } => commands::accounts::audit(&client()?, limit, output).await,
            Task::Vars {
                program,
                remove,
                set,
            } => vars(&client()?, &program, remove, set.as_deref(), output).await,
        }
    })
}

/// Shows a watcher's values, or changes one.
async fn vars(
    client: &Client,
    program: &str,
    remove: Option<String>,
    set: Option<&str>,
    output: Output,
) -> Result<(), Failure> {
    let set = set.map(commands::context::set);
    let remove = remove.map(hersh::ContextChange::Remove);
    match set.transpose()?.or(remove) {
        Some(change) => commands::context::change(client, program, change, output).await,
        None => commands::watcher::vars(client, program, output).await,
    }
}
