//! The workers that run beside the supervisors for as long as the host does. A worker that ends before is a
//! defect, and the host must not go on as if nothing were missing: the host ends too, and is started anew.
//!
//! ```text
//! keep the runtime in order · observe exits · forget removed programs · watch /state · look whether instances work · keep books · collect images · the journal's writer
//!                         └── any of them ends ─► WorkerEnded ─► the host ends, not with success
//! ```

pub(crate) mod collect;
mod liveness;
mod overuse;
mod removals;
mod state_watch;

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use hersh_machine::driver::SendError;
use hersh_program::{
    Cause, ContainerId, Event, Exit, ExitReason, InstanceId, InstanceNumber, Program, ProgramId,
    State,
};
use tokio::{sync::mpsc, task::JoinHandle};

pub(crate) use self::removals::{REMOVALS_QUEUED_MAX, Removals};
#[cfg(any(test, feature = "testkit"))]
pub(crate) use self::state_watch::measure_all_states;
use crate::{
    effects::noted_end::noted_end,
    host::{Host, ProgramEntry},
    words::one_line,
};
use hersh_sandbox::InstanceEnd;

/// How often the last uses of tokens are written down, and how often the journal forgets what is too old.
/// Between two rounds, it may pass its bounds by what came since.
const BOOKS_INTERVAL: Duration = Duration::from_secs(60);

/// A part of the host that ended although it should have run as long as the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the worker that {0} ended unexpectedly, so the host ends; start it again and report what its log says"
)]
pub struct WorkerEnded(&'static str);

/// The tasks of the workers, each with words for what it does.
pub(crate) struct Workers(Vec<(&'static str, JoinHandle<()>)>);

impl Workers {
    pub(crate) fn spawn(
        host: &Host,
        upkeep: JoinHandle<()>,
        exits: mpsc::Receiver<InstanceEnd>,
        removals: Removals,
    ) -> Self {
        Self(vec![
            ("keeps in place what contracts rest on", upkeep),
            (
                "tells programs of exits",
                tokio::spawn(observe_ends(host.clone(), exits)),
            ),
            (
                "forgets removed programs",
                tokio::spawn(removals.forget(host.clone())),
            ),
            (
                "watches the size of state",
                tokio::spawn(state_watch::watch(host.clone())),
            ),
            (
                "looks whether instances work",
                tokio::spawn(liveness::watch(host.clone())),
            ),
            ("keeps the books", tokio::spawn(keep_books(host.clone()))),
            (
                "collects images",
                tokio::spawn(collect::watch(host.clone())),
            ),
        ])
    }

    /// Waits until a worker, or the journal's writer, has ended.
    async fn ended(&mut self, host: &Host) -> WorkerEnded {
        let any = poll_fn(|cx| {
            for (name, worker) in &mut self.0 {
                if Pin::new(worker).poll(cx).is_ready() {
                    return Poll::Ready(WorkerEnded(name));
                }
            }
            Poll::Pending
        });
        tokio::select! {
            biased;
            ended = any => ended,
            () = host.journal().writer_ended() => WorkerEnded("writes the journal"),
        }
    }

    /// Waits for `stop`, which asks the host to end, or until the host must end.
    ///
    /// # Errors
    /// [`WorkerEnded`] if the host must end because a worker did.
    pub(crate) async fn hold(
        &mut self,
        host: &Host,
        stop: impl Future<Output = ()>,
    ) -> Result<(), WorkerEnded> {
        tokio::select! {
            biased;
            () = stop => Ok(()),
            ended = self.ended(host) => {
                tracing::error!("{ended}");
                Err(ended)
            }
        }
    }

    /// Ends the workers.
    pub(crate) fn stop(&self) {
        self.0.iter().for_each(|(_, worker)| worker.abort());
    }
}

/// Writes to the journal what is only in memory. Writes that were queued before are on the disk then, too.
pub(crate) async fn close_books(host: &Host) {
    if let Err(error) = host.accounts().note_uses(host.now_ms()).await {
        tracing::warn!(%error, "the last use of tokens was not written down");
    }
    if let Err(error) = host.journal().flush().await {
        tracing::warn!(%error, "outcomes may be missing in the audit log");
    }
}

/// Tells programs how their instances ended, until the host ends.
async fn observe_ends(host: Host, mut exits: mpsc::Receiver<InstanceEnd>) {
    while let Some(InstanceEnd {
        instance,
        container,
        exit,
    }) = exits.recv().await
    {
        let Some(entry) = host.registry().get(&instance.program) else {
            continue;
        };
        let exit = as_noted(&host, &instance.program, &container, exit).await;
        tell_end(&entry, &instance, &container, &exit);
        let mut event = Event::InstanceEnded {
            instance: instance.number,
            container,
            exit,
        };
        let mut changes = entry.supervisor().subscribe();
        // A full queue gets room with the next change of state, so the event waits for that.
        while let Err(SendError::QueueFull(back)) = entry.supervisor().send(event) {
            event = back;
            if changes.changed().await.is_none() {
                break;
            }
        }
    }
}

/// Returns the end of a container. If a host ended it and could not journal that, the noted reason is used.
async fn as_noted(host: &Host, program: &ProgramId, container: &ContainerId, exit: Exit) -> Exit {
    let id = program.clone();
    let noted = host.blocking(move |host| noted_end(host.storage(), &id));
    match noted.await {
        Ok(Some((of, noted))) if of == *container => Exit {
            reason: noted.reason,
            ..exit
        },
        Ok(_) | Err(_) => exit,
    }
}

/// The host's log entry for the end of an instance.
#[derive(Debug, PartialEq, Eq)]
enum EndReport {
    /// The instance ended because somebody asked for that.
    Asked,
    /// The instance ended; it is not known who caused that.
    Ended,
    /// The instance ended like this, and nobody asked for it.
    How(String),
}

fn told(program: &Program, instance: InstanceNumber, exit: &Exit) -> EndReport {
    let engine_stopped = matches!(exit.reason, ExitReason::StoppedFromOutside { .. });
    match &program.state {
        State::Ready(ready) if ready.instance == instance => {}
        // The stop under way asked for this end, or the end is that of an earlier instance.
        State::Ready(_)
        | State::Stopping(_)
        | State::Created
        | State::Building(_)
        | State::Stopped(_)
        | State::Error(_)
        | State::Removed => return EndReport::Asked,
        // The end of a restart's stop may be told only now, when the next instance is not known yet.
        State::Starting(_) if engine_stopped => return EndReport::Ended,
        State::Starting(_) => {}
    }
    EndReport::How(one_line(&Cause::from(exit).to_string()))
}

/// Writes one line to the host's log for the end of an instance.
fn tell_end(entry: &ProgramEntry, instance: &InstanceId, container: &ContainerId, exit: &Exit) {
    let InstanceId { program, number } = instance;
    let told = entry.supervisor().with_state(|it| told(it, *number, exit));
    let instance = number.0;
    match told {
        EndReport::Asked => {
            tracing::info!(%program, instance, %container, "instance ended, as asked")
        }
        EndReport::Ended => tracing::info!(%program, instance, %container, "instance ended"),
        EndReport::How(how) => {
            tracing::info!(%program, instance, %container, how, "instance ended")
        }
    }
}

/// Writes to the journal every [`BOOKS_INTERVAL`] what is only in memory, until the host ends.
async fn keep_books(host: Host) {
    let mut rounds = tokio::time::interval(BOOKS_INTERVAL);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        if let Err(error) = host.accounts().note_uses(host.now_ms()).await {
            tracing::warn!(%error, "the last use of tokens was not written down");
        }
        if let Err(error) = host.journal().prune(host.now_ms()).await {
            tracing::warn!(%error, "old rows of the journal stay until the next look");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hersh_program::{
        AfterStop, BuildId, ImageId, Manifest, OpId, Ready, Source, Starting, StopStep, Stopping,
    };

    use super::*;

    fn program(state: State) -> Program {
        let source = Source {
            build: BuildId::parse("build-0123456789ab").unwrap(),
            manifest: Arc::new(Manifest::default()),
        };
        let mut program = Program::new(ProgramId::parse("counter").unwrap(), source, 7);
        program.state = state;
        program
    }

    #[test]
    fn a_restart_that_somebody_asked_for_is_not_the_engines_doing() {
        let (own, other) = (InstanceNumber(2), InstanceNumber(1));
        let image = ImageId::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
        let stopping = State::Stopping(Stopping {
            op: OpId(1),
            deadline_ms: 1,
            step: StopStep::Instances,
            instance: Some(own),
            beside: None,
            then: AfterStop::Start,
        });
        let starting = State::Starting(Starting {
            op: OpId(1),
            deadline_ms: 1,
            instance: own,
            image: image.clone(),
            exits: Vec::new(),
        });
        let ready = State::Ready(Ready {
            instance: own,
            image,
            container: ContainerId::parse("0123456789ab").unwrap(),
            since_ms: 1,
            check: None,
            not_alive: None,
            rollout: None,
            leaving: None,
        });
        let end = |reason| Exit {
            reason,
            logs: Vec::new(),
        };
        let stopped = end(ExitReason::StoppedFromOutside { code: 143 });
        for (state, expected) in [
            (stopping, EndReport::Asked),
            (starting.clone(), EndReport::Ended),
        ] {
            assert_eq!(told(&program(state), own, &stopped), expected);
        }
        let ready = program(ready);
        assert_eq!(told(&ready, other, &stopped), EndReport::Asked);
        let EndReport::How(how) = told(&ready, own, &stopped) else {
            panic!("nobody asked for that end");
        };
        assert!(how.contains("container engine"), "{how}");
        let crashed = end(ExitReason::Code(139));
        for state in [ready, program(starting)] {
            let how = EndReport::How("exited with code 139 (SIGSEGV)".to_owned());
            assert_eq!(told(&state, own, &crashed), how);
        }
    }
}
