//! Finds instances that are up and do not work any more, and tells their programs.
//!
//! ```text
//! Ready, one interval ─► probe ─► answer ────────────────────────────► probe, one interval later
//!                           └──► failure ─► sooner ─► ... enough in a row ─► InstanceNotAlive, once
//!                                                       an answer after that ─► InstanceAlive
//! ```
//! Only what the instance did itself counts: nothing that was seen while the host stood still, while the
//! instance was paused for a copy of its state, or while the engine does not say that it runs.

mod count;
mod look;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use hersh_base::turns::{Owner, TurnQueue};
use hersh_machine::driver::SendError;
use hersh_program::{ContainerId, Event, InstanceId, Manifest, Program};
use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, MissedTickBehavior},
};

use self::count::{Count, Report, Sight, TICK, Wakefulness};
use crate::{
    effects::last_lines::last_lines,
    host::Host,
    programs::ProgramEntry,
    words::{one_line, without_folders},
};

/// The most probes at once: each holds a connection, and one to a program that hangs lasts until its timeout.
const PROBES_AT_ONCE: usize = 64;
/// The most probes of one owner's programs at once: programs that hang would otherwise keep the host from
/// probing those of others.
const PROBES_AT_ONCE_OF_ONE: usize = 32;
/// The probes that wait at once, one for each program at most. One more waits for its next interval.
const PROBES_WAITING_MAX: usize = 10_000;

/// An instance that is up and is to be probed.
#[derive(Clone, Debug)]
struct Target {
    instance: InstanceId,
    container: ContainerId,
    manifest: Arc<Manifest>,
    /// Whether the program knows that the instance does not answer.
    is_told: bool,
}

/// An instance that is watched.
struct WatchedInstance {
    entry: Arc<ProgramEntry>,
    target: Arc<Target>,
    count: Count,
    /// Whether a task of it is under way: it has one at a time.
    is_busy: bool,
}

/// The outcome of a task.
enum Outcome {
    /// A probe that began then.
    Probed { began: Instant, sight: Sight },
    /// A report, and whether the program took it.
    Told { report: Report, is_taken: bool },
}

type Finished = (ContainerId, Outcome);

/// Everything that is watched, with the tasks under way.
struct Watch {
    host: Host,
    watched: BTreeMap<ContainerId, WatchedInstance>,
    tasks: JoinSet<Finished>,
    turns: TurnQueue,
    wakefulness: Wakefulness,
    /// When the host found that it had stood still. Probes that began before do not count.
    stalled: Option<Instant>,
}

/// Probes every instance that is up and has a liveness probe, until the host ends.
pub(super) async fn watch(host: Host) {
    let wakefulness = Wakefulness::begin(Instant::now(), host.now_ms());
    let watch = Watch {
        host,
        watched: BTreeMap::new(),
        tasks: JoinSet::new(),
        turns: TurnQueue::new(PROBES_AT_ONCE, PROBES_WAITING_MAX),
        wakefulness,
        stalled: None,
    };
    watch.run().await;
}

impl Watch {
    async fn run(mut self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let finished = tokio::select! {
                biased;
                Some(finished) = self.tasks.join_next() => Some(finished),
                _now = ticks.tick() => None,
            };
            // Looked at before anything else: a probe that was cut off by a stall may be told of first.
            self.wake(Instant::now());
            match finished.map(outcome_of) {
                Some(Some(finished)) => self.finish(finished),
                // Only the end of the host cancels a task.
                Some(None) => return,
                None => self.look_around(Instant::now()),
            }
        }
    }

    /// Begins every count anew if the host stood still.
    fn wake(&mut self, now: Instant) {
        if !self.wakefulness.stood_still(now, self.host.now_ms()) {
            return;
        }
        tracing::debug!("this host stood still: liveness is counted anew");
        self.stalled = Some(now);
        let counts = self.watched.values_mut().map(|watched| &mut watched.count);
        counts.for_each(|count| count.begin_anew(now));
    }

    /// Looks which instances are up, and begins what is due.
    fn look_around(&mut self, now: Instant) {
        let mut up = BTreeMap::new();
        for entry in self.host.list() {
            let Some(target) = entry.supervisor().with_state(target) else {
                continue;
            };
            let container = target.container.clone();
            let known = self.watched.remove(&container);
            let watched = known.or_else(|| WatchedInstance::begin(entry, target, now));
            up.extend(watched.map(|watched| (container, watched)));
        }
        self.watched = up;
        for (container, watched) in &mut self.watched {
            let task = match watched.count.report(now) {
                _ if watched.is_busy => continue,
                Some(report) => Task::Tell(report),
                None if watched.count.is_due(now) => Task::Probe(self.turns.clone()),
                None => continue,
            };
            watched.is_busy = true;
            let (host, entry) = (self.host.clone(), Arc::clone(&watched.entry));
            let (target, container) = (Arc::clone(&watched.target), container.clone());
            self.tasks
                .spawn(async move { (container, task.run(&host, &entry, &target).await) });
        }
    }

    fn finish(&mut self, (container, outcome): Finished) {
        // The instance may be over, or another one may be up.
        let Some(watched) = self.watched.get_mut(&container) else {
            return;
        };
        watched.is_busy = false;
        match outcome {
            Outcome::Probed { began, sight } => {
                let is_cut_off = self.stalled.is_some_and(|stalled| began <= stalled);
                let sight = if is_cut_off { Sight::Nothing } else { sight };
                watched.count.take(sight, Instant::now());
            }
            Outcome::Told {
                report,
                is_taken: true,
            } => watched.count.told(&report, Instant::now()),
            // The program's queue is full: it is told at the next tick, if that is still so.
            Outcome::Told {
                is_taken: false, ..
            } => {}
        }
    }
}

impl WatchedInstance {
    fn begin(entry: Arc<ProgramEntry>, target: Target, now: Instant) -> Option<Self> {
        let rules = target.manifest.liveness.as_ref()?;
        Some(Self {
            count: Count::begin(rules, target.is_told, now),
            target: Arc::new(target),
            entry,
            is_busy: false,
        })
    }
}

/// Work for one instance.
enum Task {
    Probe(TurnQueue),
    Tell(Report),
}

impl Task {
    async fn run(self, host: &Host, entry: &Arc<ProgramEntry>, target: &Target) -> Outcome {
        match self {
            Self::Probe(turns) => {
                let owner = Owner {
                    name: entry.owner().to_string(),
                    at_once: PROBES_AT_ONCE_OF_ONE,
                };
                let turn = turns.turn(owner, |_first| ()).await;
                let began = Instant::now();
                let sight = match &turn {
                    Ok(_turn) => look::look(host, entry, target).await,
                    Err(_full) => Sight::Nothing,
                };
                Outcome::Probed { began, sight }
            }
            Self::Tell(report) => {
                let is_taken = tell(host, entry, target, &report).await;
                Outcome::Told { report, is_taken }
            }
        }
    }
}

/// Tells the program of an instance. Returns false if its queue is full.
async fn tell(host: &Host, entry: &ProgramEntry, target: &Target, report: &Report) -> bool {
    let InstanceId { program, number } = &target.instance;
    let (instance, container) = (*number, target.container.clone());
    let event = match report {
        Report::NotAlive {
            failures,
            last_probe,
        } => Event::InstanceNotAlive {
            instance,
            container,
            failures: *failures,
            last_probe: last_probe.clone(),
            logs: last_lines(host.output(), &host.surroundings(), program).await,
        },
        Report::Alive => Event::InstanceAlive {
            instance,
            container,
        },
    };
    match entry.supervisor().send(event) {
        Ok(()) => {}
        Err(SendError::QueueFull(_)) => return false,
        // The program is gone, or the host ends.
        Err(SendError::Stopped(_)) => return true,
    }
    let instance = number.0;
    match report {
        Report::NotAlive {
            failures,
            last_probe,
        } => {
            let last_probe = one_line(&without_folders(last_probe));
            tracing::warn!(%program, instance, failures, last_probe, "does not answer its liveness probe");
        }
        Report::Alive => tracing::info!(%program, instance, "answers its liveness probe again"),
    }
    true
}

/// Returns the instance of a program that is up and is to be probed.
fn target(program: &Program) -> Option<Target> {
    let ready = program.state.ready()?;
    let manifest = program.manifest();
    manifest.liveness.as_ref()?;
    Some(Target {
        instance: program.ready_instance()?,
        container: ready.container.clone(),
        manifest: Arc::clone(manifest),
        is_told: ready.not_alive.is_some(),
    })
}

/// Returns what became of a task; `None` if it was cancelled. If it panicked, the worker panics too.
fn outcome_of(finished: Result<Finished, JoinError>) -> Option<Finished> {
    match finished {
        Ok(finished) => Some(finished),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_cancelled) => None,
    }
}
