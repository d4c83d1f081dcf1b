//! Drives all three phases of Hersh and prints what it checked.
//!
//! ```text
//! pure    a program's state machine alone: events in, effects out, no IO
//! io      storage, contracts and the real engine, without a host
//! system  a whole host, steered over HTTP, that deploys examples/counter
//! ```
//! The exit code is 0 when every check held. Each phase removes what it made, also when a check
//! fails or Ctrl-C ends it early.

mod counter;
mod engine;
mod host;
mod io;
mod life;
mod patience;
mod pure;
mod report;
mod system;
mod world;

use std::process::ExitCode;

use anyhow::anyhow;
use engine::Engine;
use patience::{Interrupted, Signals};
use report::Report;

#[tokio::main]
async fn main() -> ExitCode {
    // Nothing here speaks TLS, but an HTTP client is not made without somebody who could.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut report = Report::new();
    pure::run(&mut report);
    if phases_on_an_engine(&mut report).await.is_err() {
        // What ran is cleaned up. Checks that were not made are no success.
        let _ = report.check::<()>("all phases run to their end", Err(anyhow!("interrupted")));
    }
    if report.finish() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn phases_on_an_engine(report: &mut Report) -> Result<(), Interrupted> {
    let tools = Engine::from_environment().and_then(|engine| Ok((engine, Signals::listen()?)));
    match tools {
        Ok((engine, mut signals)) => {
            io::run(report, &engine, &mut signals).await?;
            system::run(report, &engine, &mut signals).await
        }
        Err(error) => {
            let _ = report.check::<()>("this process can ask an engine", Err(error));
            Ok(())
        }
    }
}
