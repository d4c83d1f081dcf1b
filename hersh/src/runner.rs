//! The loop around the engine: waits, steps, carries out effects. Owns the engine's thread.
//!
//! One operation (run, save or cleanup) is in progress at a time. While it is, the loop goes on
//! taking in what happens, so a stop or a deadline is decided at once; an operation that the
//! engine aborts is dropped before anything else begins.

use std::sync::Arc;

use hersh_machine::OpId;

use crate::crank::{Core, attend};
use crate::engine::{Effect, Event, Note, Outcome, Policy, RunKind};
use crate::managed::CleanupFn;
use crate::shared::Milestone;
use crate::snapshot::StateDir;
use crate::{Context, EndKind, Ending, Error};

/// A watcher on its way.
pub(crate) struct Runner<F> {
    managed: F,
    cleanup: Option<CleanupFn>,
    cx: Context,
    state_dir: Option<Arc<StateDir>>,
    core: Core,
}

impl<F, E> Runner<F>
where
    F: AsyncFnMut(&mut Context) -> Result<(), E>,
    E: Into<Error>,
{
    pub(crate) fn new(
        managed: F,
        cleanup: Option<CleanupFn>,
        cx: Context,
        state_dir: Option<StateDir>,
        policy: Policy,
    ) -> Self {
        let core = Core::new(cx.shared.clone(), policy);
        Self {
            managed,
            cleanup,
            cx,
            state_dir: state_dir.map(Arc::new),
            core,
        }
    }

    /// Runs the watcher until it is over.
    pub(crate) async fn drive(&mut self) -> Ending {
        self.core.step(Event::Started);
        loop {
            match self.core.pop_effect() {
                Some((op, Effect::Run { kind, message })) => {
                    self.core.take_turns().await;
                    self.run(op, kind, message).await;
                }
                Some((op, Effect::Save)) => self.save(op).await,
                Some((op, Effect::Cleanup)) => self.clean_up(op).await,
                // Carried out by `attend` at the moment of the step.
                Some((_, Effect::Abort { .. })) => {}
                Some((_, Effect::Note(note))) => self.note(&note),
                None => {
                    if let Some(ending) = self.core.ending() {
                        return ending.clone();
                    }
                    let event = self.core.next().await;
                    self.core.step(event);
                }
            }
        }
    }

    async fn run(&mut self, op: OpId, kind: RunKind, message: bool) {
        let (init, recovery) = (kind == RunKind::Init, kind == RunKind::Recover);
        self.cx.begin_run(init, recovery, message);
        self.cx.shared.publish_run(self.cx.run_number());
        let (managed, cx) = (&mut self.managed, &mut self.cx);
        let work = async move { managed(cx).await };
        let Some(result) = attend(&mut self.core, op, work).await else {
            self.cx.store.discard();
            return;
        };
        let outcome = match result {
            Ok(Ok(())) => Outcome::Succeeded {
                changed: self.is_changed(),
            },
            Ok(Err(error)) => self.unsuccessful(error.into()),
            Err(panic) => self.failed(panic, false),
        };
        self.core.step(Event::RunEnded { op, outcome });
    }

    /// What an error of the managed function means.
    fn unsuccessful(&mut self, error: Error) -> Outcome {
        let Some(control) = error.control() else {
            let set_up = error.hook().is_some_and(crate::HookError::is_set_up);
            return self.failed(error.to_string(), set_up);
        };
        let ending = control.ending();
        if ending.kind == EndKind::Crashed {
            self.cx.store.discard();
        }
        Outcome::Steered {
            ending,
            changed: self.is_changed(),
        }
    }

    fn failed(&mut self, reason: String, set_up: bool) -> Outcome {
        self.cx.store.discard();
        Outcome::Failed {
            reason: reason.into(),
            set_up,
        }
    }

    /// True when there is something to write; without a state folder a commit is immediate.
    fn is_changed(&mut self) -> bool {
        let changed = self.cx.store.is_changed();
        if changed && self.state_dir.is_none() {
            self.cx.store.commit();
            return false;
        }
        if !changed {
            self.cx.store.discard();
        }
        changed
    }

    async fn save(&mut self, op: OpId) {
        let Some(directory) = self.state_dir.clone() else {
            self.cx.store.commit();
            self.core.step(Event::Saved { op, result: Ok(()) });
            return;
        };
        let values = self.cx.store.merged();
        let work = async {
            // Off this thread: a slow disk must not keep the engine from answering.
            let write = tokio::task::spawn_blocking(move || directory.save(&values));
            write.await
        };
        let result = match attend(&mut self.core, op, work).await {
            Some(Ok(Ok(Ok(())))) => Ok(()),
            Some(Ok(Ok(Err(error)))) => Err(error.to_string()),
            Some(Ok(Err(error))) => Err(error.to_string()),
            Some(Err(panic)) => Err(panic),
            // Whether the write still happens is unknown. The watcher ends, and saves no more.
            None => {
                self.cx.store.discard();
                self.state_dir = None;
                return;
            }
        };
        match &result {
            Ok(()) => self.cx.store.commit(),
            Err(_) => self.cx.store.discard(),
        }
        let result = result.map_err(Into::into);
        self.core.step(Event::Saved { op, result });
    }

    async fn clean_up(&mut self, op: OpId) {
        self.cx.shared.inbox.close();
        self.cx.begin_cleanup();
        let Some(mut cleanup) = self.cleanup.take() else {
            let result = Ok(false);
            self.core.step(Event::CleanupEnded { op, result });
            return;
        };
        let result = attend(&mut self.core, op, cleanup.call(&mut self.cx)).await;
        let result = match result {
            Some(Ok(Ok(()))) => Ok(self.is_changed()),
            Some(Ok(Err(error))) => Err(error.to_string()),
            Some(Err(panic)) => Err(panic),
            None => {
                self.cx.store.discard();
                return;
            }
        };
        if result.is_err() {
            self.cx.store.discard();
        }
        let result = result.map_err(Into::into);
        self.core.step(Event::CleanupEnded { op, result });
    }

    fn note(&self, note: &Note) {
        let shared = &self.cx.shared;
        let (level, kind, message) = note.line();
        let (time, run) = (shared.clock.wall(), self.cx.run_number());
        shared.log.write(time, level, kind, run, &message);
        if *note == Note::Initialised {
            shared.milestone.send_replace(Milestone::Up);
        }
    }
}
