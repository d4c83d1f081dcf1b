//! Forgets programs whose removal is done. The last trace of each is its row; once that is gone, its name is
//! free.

use std::{collections::BTreeSet, time::Duration};

use hersh_journal::ProgramRow;
use hersh_program::{Program, ProgramId, State};
use tokio::{sync::mpsc, task::JoinSet};

use crate::host::Host;

/// The most removals that wait to be taken up, which happens at once. A further removal waits in its effect.
pub(crate) const REMOVALS_QUEUED_MAX: usize = 256;

/// The pause after the journal could not delete a row, doubled with each try.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The programs to forget.
pub(crate) struct Removals {
    /// The programs whose files are gone, as the effect handler reports them.
    queue: mpsc::Receiver<ProgramId>,
    /// The programs that the host before this one could not delete, with the names reserved.
    undeleted: Vec<(ProgramId, ProgramRow)>,
}

impl Removals {
    pub(crate) fn new(
        queue: mpsc::Receiver<ProgramId>,
        undeleted: Vec<(ProgramId, ProgramRow)>,
    ) -> Self {
        Self { queue, undeleted }
    }

    /// Forgets the programs, until the host ends. Each has a task, so that none waits for another; there are
    /// never more tasks than programs.
    pub(super) async fn forget(mut self, host: Host) {
        let mut tasks = JoinSet::new();
        let mut ids = BTreeSet::new();
        for (id, row) in self.undeleted {
            ids.insert(id.clone());
            tasks.spawn(forget_left(host.clone(), id, row));
        }
        loop {
            tokio::select! {
                biased;
                Some(ended) = tasks.join_next() => match ended {
                    Ok(id) => drop(ids.remove(&id)),
                    Err(error) if error.is_panic() => {
                        std::panic::resume_unwind(error.into_panic());
                    }
                    // Only the end of the host cancels a task.
                    Err(_) => return,
                },
                id = self.queue.recv() => match id {
                    Some(id) if ids.insert(id.clone()) => {
                        tasks.spawn(forget(host.clone(), id));
                    }
                    // A removal that came too late and was asked for again.
                    Some(_) => {}
                    None => return,
                },
            }
        }
    }
}

/// Forgets a program once its removal is in the journal. Its entry, and so its name, stays until
/// its row is gone.
async fn forget(host: Host, id: ProgramId) -> ProgramId {
    let Some(entry) = host.registry().get(&id) else {
        return id;
    };
    let is_removed = |program: &Program| matches!(program.state, State::Removed);
    if is_removed(&entry.supervisor().until(is_removed).await) {
        remove_row(&host, &id, entry.row()).await;
        // Cancelled before the program's name is free: a reader of what lies under that name then sees that
        // the program is gone. Otherwise it would be given what the name's next owner puts there.
        entry.gone().cancel();
        // A client may have asked for the program's output during the removal.
        host.output().forget(&id);
        host.registry().remove(&id);
        tracing::info!(program = %id, "removed");
    }
    id
}

async fn forget_left(host: Host, id: ProgramId, row: ProgramRow) -> ProgramId {
    remove_row(&host, &id, row).await;
    host.registry().remove(&id);
    tracing::info!(program = %id, "removed");
    id
}

async fn remove_row(host: &Host, id: &ProgramId, row: ProgramRow) {
    let mut pause = PAUSE_FIRST;
    while let Err(error) = host.journal().remove(row).await {
        tracing::warn!(program = %id, %error, "a removed program keeps its name until its row can go");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
