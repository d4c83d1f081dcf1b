//! Ends programs that take more of the disk than they may, also when the journal can't be written.
//!
//! ```text
//! too much ─► InstanceEnded event ─► in the journal ─► stopped, as after any end
//!                     └── not within a second ─► noted ─► stopped ─► in the journal once there is space
//! ```
//! The second way is the one effect that runs before its record is on the disk: the record is what the
//! disk has no space for, and the stop is what frees space. A host that ends in between finds the note,
//! an empty file whose name holds container and cause, and journals that end at its next start.

use std::{sync::Arc, time::Duration};

use hersh_program::{ContainerId, Event, Exit, Instances, Program, ProgramId};
use hersh_storage::EndNote;

use crate::{disks::DiskFullError, host::Host, programs::ProgramEntry};

/// How long to wait for the journal to store a program's end before the program is stopped all the same.
const JOURNAL_PATIENCE: Duration = Duration::from_secs(1);
/// A program is ended if its last growth would fill the disk within this many looks, and was at least
/// 1/[`FLOOR_DIVISOR`] of what must stay free: a program that writes little is not the cause.
const LOOKS: u64 = 6;
const FLOOR_DIVISOR: u64 = 8;

/// The kind of overuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overuse {
    /// The program's `/state` is over its limit, in bytes.
    State { limit: u64 },
    /// The program fills the disk, within the limit of its `/state`.
    Disk,
}

/// A running program, and by how much its `/state` grew since the last look, bytes.
pub(crate) struct Growth {
    pub(crate) entry: Arc<ProgramEntry>,
    pub(crate) container: ContainerId,
    pub(crate) bytes: u64,
}

/// Ends a program: its state machine is told that its container is over.
pub(crate) fn end(host: &Host, entry: &Arc<ProgramEntry>, container: ContainerId, what: Overuse) {
    let id = entry.id();
    let said = match what {
        Overuse::State { limit } => format!("/state is larger than its limit of {limit} bytes"),
        Overuse::Disk => "the disk is nearly full, and this program was filling it".to_owned(),
    };
    tracing::warn!(program = %id, "ending it: {said}");
    let exit = Exit {
        reason: what.note().reason(),
        logs: vec![format!("hersh: {said}")],
    };
    let up = |program: &Program| Some(program.state.ready()?.instance);
    let Some(instance) = entry.supervisor().with_state(up) else {
        return;
    };
    // A full queue loses nothing: the next look finds the same overuse.
    let _ = entry.supervisor().send(Event::InstanceEnded {
        instance,
        container: container.clone(),
        exit,
    });
    let (host, entry) = (host.clone(), Arc::clone(entry));
    tokio::spawn(async move {
        let is_over = |program: &Program| program.state.container() != Some(&container);
        let told = entry.supervisor().until(is_over);
        if tokio::time::timeout(JOURNAL_PATIENCE, told).await.is_err() {
            stop_first(&host, id, container, what).await;
        }
    });
}

/// Stops the program although its end is not in the journal yet.
async fn stop_first(host: &Host, id: ProgramId, container: ContainerId, what: Overuse) {
    tracing::warn!(program = %id, "the journal does not take its end: it is stopped before that");
    let program = id.clone();
    let noted =
        host.blocking(move |host| host.storage().note_end(&program, &container, what.note()));
    if let Ok(Err(error)) = noted.await {
        tracing::warn!(program = %id, %error, "why it is stopped is not noted");
    }
    let stopped = host.runtime().stop(&id, Instances::All, Duration::ZERO);
    if let Err(error) = stopped.await {
        tracing::error!(program = %id, %error, "it may still run; the next look ends it");
    }
}

/// Ends the program that fills the disk, if there is one.
pub(crate) fn check_disk(host: &Host, grown: Vec<Growth>) {
    let Err(left) = host.disks().check_data() else {
        return;
    };
    if let Some(Growth {
        entry, container, ..
    }) = filler(grown, &left)
    {
        end(host, &entry, container, Overuse::Disk);
    }
}

/// Returns the program that grew most, if it would use up the free space in a few looks more.
fn filler(grown: Vec<Growth>, left: &DiskFullError) -> Option<Growth> {
    let most = grown.into_iter().max_by_key(|growth| growth.bytes)?;
    fills(most.bytes, left.free_bytes(), left.floor_bytes()).then_some(most)
}

fn fills(grown_bytes: u64, free_bytes: u64, floor_bytes: u64) -> bool {
    grown_bytes.saturating_mul(LOOKS) >= free_bytes && grown_bytes >= floor_bytes / FLOOR_DIVISOR
}

impl Overuse {
    fn note(self) -> EndNote {
        match self {
            Self::State { .. } => EndNote::StateQuota,
            Self::Disk => EndNote::DiskFull,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_little_does_not_fill_the_disk() {
        const MIB: u64 = 1 << 20;
        for (grown, free, expected) in [
            (900 * MIB, 0, true),
            (40 * MIB, 200 * MIB, true),
            (40 * MIB, 250 * MIB, false),
            (4_096, 0, false),
            (0, 0, false),
        ] {
            assert_eq!(fills(grown, free, 256 * MIB), expected, "{grown} of {free}");
        }
    }
}
