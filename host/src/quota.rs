//! Watches how much running programs keep in `/state`.
//!
//! The file system itself sets no bound on one folder, so the host looks from time to time: a
//! program past its limit is ended, with the cause `StateQuotaExceeded`. Between two looks it can
//! write as much as the disk takes.

use std::{sync::Arc, time::Duration};

use hersh_program::{ContainerId, Event, Exit, ExitReason, ProgramId, State};

use crate::{host::Host, registry::Entry};

/// How often every running program is looked at.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);

/// Looks at every running program again and again, until the host ends.
pub(crate) async fn watch(host: Host) {
    let mut looks = tokio::time::interval(INTERVAL);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        check(&host).await;
    }
}

/// Looks at every running program once.
pub(crate) async fn check(host: &Host) {
    for entry in host.list() {
        let Some((id, container, limit)) = running(&entry) else {
            continue;
        };
        let program = id.clone();
        let used = host
            .blocking(move |host| host.storage().state_bytes(&program, limit))
            .await;
        if let Ok(Ok(used)) = used {
            entry.remember_state_bytes(used);
        }
        match used {
            Ok(Ok(used)) if used > limit => end(&entry, &id, container, limit),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(program = %id, %error, "state can't be measured"),
            Err(error) => tracing::warn!(program = %id, %error, "state was not measured"),
        }
    }
}

fn running(entry: &Arc<Entry>) -> Option<(ProgramId, ContainerId, u64)> {
    entry
        .supervisor()
        .with_state(|program| match &program.state {
            State::Ready(ready) => {
                let limit = program.manifest().limits.state_bytes;
                Some((program.id.clone(), ready.container.clone(), limit))
            }
            State::Created
            | State::Building(_)
            | State::Starting(_)
            | State::Stopping(_)
            | State::Stopped(_)
            | State::Error(_)
            | State::Removed => None,
        })
}

/// Tells the program that it is over; that stops and removes its container.
fn end(entry: &Entry, id: &ProgramId, container: ContainerId, limit: u64) {
    tracing::warn!(program = %id, limit, "state is larger than its limit");
    let logs = vec![format!(
        "hersh: /state is larger than its limit of {limit} bytes"
    )];
    let exit = Exit {
        reason: ExitReason::StateQuota,
        logs,
    };
    // A full queue is no loss: the next look finds the same.
    let _ = entry
        .supervisor()
        .send(Event::RuntimeExited { container, exit });
}
