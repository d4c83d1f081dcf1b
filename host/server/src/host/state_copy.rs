//! Makes a consistent copy of a program's `/state`: while the program is at rest, or paused for a moment.
//!
//! ```text
//! at rest ──────────────────────────► copy ─────────────────────────► nothing happened meanwhile?
//! Ready ─► noted on the disk ─► pause ─► copy, PAUSE_MAX ─► unpause ─► forgotten ─┘
//! ```
//! Files are never read while the program can write to them. File locks inside a sandbox are invisible outside
//! it: a reader could take a database for unused and even destroy it. The pause is recorded on the disk first,
//! so that a host that dies during the copy unpauses the program at its next start.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hersh_base::{detached::run_detached, permits::Permit, sandbox::StateUsage};
use hersh_journal::JournalError;
use hersh_program::{InstanceId, Program, ProgramId, State};
use hersh_storage::{CopyBounds, StateCopy, StateCopyError, StateFileError, StorageError};
use tokio::task::JoinError;

use super::{Host, ProgramEntry};
use crate::disks::DiskFullError;
use hersh_sandbox::{StopError, Unavailable};

/// The longest that a program is paused for a copy. Requests to it wait meanwhile.
const PAUSE_MAX: Duration = Duration::from_secs(20);
/// The largest state over its program's limit that is still copied, bytes. A larger one is refused.
const KEPT_BYTES_MAX: u64 = 1 << 40;
/// The most programs that are paused at once: more than copies can be under way.
pub(crate) const PAUSES_MAX: u32 = 64;
/// The number of attempts to unpause a program before that is left to the next start of the host.
const UNPAUSE_ATTEMPTS: u32 = 60;
const UNPAUSE_INTERVAL: Duration = Duration::from_secs(1);

/// Why a state was not copied. The program goes on as before.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error("its state is being copied already; try again when that is done")]
    BeingCopied,
    #[error(
        "it is {state}, on its way to something else; copy its state when it is Ready or Stopped"
    )]
    OnItsWay { state: &'static str },
    #[error("it is {state}; its state is changed only while nothing runs: stop it first")]
    NotAtRest { state: &'static str },
    #[error(
        "its /state is in memory, by [deploy] strategy = \"overlap\": nothing of it is kept, and there is nothing to copy while it runs"
    )]
    KeepsNothing,
    #[error("it did not stay {state} while its state was copied; try again")]
    Changed { state: &'static str },
    #[error("the host is ending; copy its state when it is up again")]
    Ending,
    #[error("it can't be paused: {0}; stop it, copy, and start it again")]
    NotPaused(StopError),
    #[error("it was paused for the copy and can't be woken: {0}; 'hersh restart' ends that")]
    NotUnpaused(StopError),
    #[error(transparent)]
    File(#[from] StateFileError),
    #[error(transparent)]
    Copy(#[from] StateCopyError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("its state can't be measured: {0}")]
    NotMeasured(#[from] Unavailable),
    #[error(transparent)]
    Space(#[from] DiskFullError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the copy was interrupted: {0}")]
    Interrupted(#[from] JoinError),
}

/// Whether the state of a program can be copied now, and whether the program must be paused for it.
enum Phase {
    AtRest,
    Runs(InstanceId),
    OnItsWay,
}

impl Host {
    /// Copies the program's `/state` in a task of its own, so a client that hangs up leaves no program paused.
    /// The task keeps `permit` and returns it with the copy: else hanging up would free it while work goes on.
    ///
    /// # Errors
    /// [`CopyError`].
    pub(crate) async fn copy_state(
        &self,
        entry: Arc<ProgramEntry>,
        permit: Permit,
    ) -> Result<(StateCopy, Permit), CopyError> {
        let host = self.clone();
        run_detached(async move {
            let copied = host.copy_exclusively(&entry).await;
            copied.map(|copy| (copy, permit))
        })
        .await
    }

    async fn copy_exclusively(&self, entry: &ProgramEntry) -> Result<StateCopy, CopyError> {
        let Ok(_alone) = entry.copying().try_lock() else {
            return Err(CopyError::BeingCopied);
        };
        self.disks().check()?;
        let mut states = entry.supervisor().subscribe();
        let program = states.current();
        let seen = states.generation();
        let state = entry.state_name();
        let bounds = CopyBounds {
            bytes_max: program.manifest().limits.state_bytes,
            free_bytes_min: self.disks().floor_bytes(),
            deadline: None,
        };
        let copied = match phase(&program) {
            Phase::OnItsWay => return Err(CopyError::OnItsWay { state }),
            Phase::AtRest => {
                let bytes_max = self.kept_bytes(&program).await?;
                self.copy(
                    &program.id,
                    CopyBounds {
                        bytes_max,
                        ..bounds
                    },
                )
                .await
            }
            Phase::Runs(_) if !program.manifest().deploy.keeps_state() => {
                return Err(CopyError::KeepsNothing);
            }
            Phase::Runs(instance) => {
                let _paused = entry.pauses().begin();
                self.copy_paused(&instance, bounds).await
            }
        };
        states.current();
        if states.generation() != seen {
            return Err(CopyError::Changed { state });
        }
        copied
    }

    /// Replaces one file of the `/state` of a program at rest. The task holds the permit until the work is
    /// done.
    ///
    /// # Errors
    /// [`CopyError`]; the file is as it was, unless the program did not stay at rest.
    pub(crate) async fn put_state_file(
        &self,
        entry: Arc<ProgramEntry>,
        path: String,
        content: Vec<u8>,
        permit: Permit,
    ) -> Result<(), CopyError> {
        let host = self.clone();
        run_detached(async move {
            let _held = permit;
            let Ok(_alone) = entry.copying().try_lock() else {
                return Err(CopyError::BeingCopied);
            };
            host.disks().check()?;
            let mut states = entry.supervisor().subscribe();
            let program = states.current();
            let (seen, state) = (states.generation(), entry.state_name());
            if !matches!(phase(&program), Phase::AtRest) {
                return Err(CopyError::NotAtRest { state });
            }
            let id = program.id.clone();
            let bytes_max = program.manifest().limits.state_bytes;
            // No journal transaction covers this file: `flush` checks that the caller's right is not revoked.
            host.journal().flush().await?;
            let put = move |host: &Host| {
                let storage = host.storage();
                storage.put_state_file(&id, &path, &content, bytes_max)
            };
            host.blocking(put).await??;
            states.current();
            if states.generation() != seen {
                return Err(CopyError::Changed { state });
            }
            Ok(())
        })
        .await
    }

    /// The limit for copying a program at rest, bytes: its own limit, or what it holds if that is more.
    /// A program over its limit is not started, so a copy is the only way to save its data.
    async fn kept_bytes(&self, program: &Program) -> Result<u64, CopyError> {
        let limit = program.manifest().limits.state_bytes;
        let measured = self
            .runtime()
            .state_bytes(&program.id, KEPT_BYTES_MAX, Box::new(()));
        Ok(match measured.await? {
            StateUsage::Bytes(bytes) if bytes <= KEPT_BYTES_MAX => limit.max(bytes),
            StateUsage::Bytes(_) | StateUsage::Unsettled => limit,
        })
    }

    async fn copy(&self, id: &ProgramId, bounds: CopyBounds) -> Result<StateCopy, CopyError> {
        let id = id.clone();
        let copied = self.blocking(move |host| host.storage().copy_state(&id, bounds));
        Ok(copied.await??)
    }

    /// Waits until no program is paused for a copy, and prevents new pauses. Called when the host ends:
    /// a program still paused then would stay paused until the next start. Gives up, with a warning, a little
    /// after the longest time that a copy may pause a program.
    pub(crate) async fn end_pauses(&self) {
        let ended = tokio::time::timeout(
            PAUSE_MAX + UNPAUSE_INTERVAL * 2,
            self.0.pauses.acquire_many(PAUSES_MAX),
        );
        match ended.await {
            Ok(Ok(all)) => all.forget(),
            // The semaphore is never closed.
            Ok(Err(_closed)) => {}
            Err(_elapsed) => {
                tracing::warn!("a program stays paused for a copy; the next start wakes it");
            }
        }
    }

    async fn copy_paused(
        &self,
        instance: &InstanceId,
        bounds: CopyBounds,
    ) -> Result<StateCopy, CopyError> {
        let pause = self.0.pauses.try_acquire();
        let _paused = pause.map_err(|_none| CopyError::Ending)?;
        let paused = instance.clone();
        self.blocking(move |host| host.storage().note_paused(&paused))
            .await??;
        let paused = self.runtime().pause(instance).await;
        let copied = match paused {
            Ok(()) => {
                let deadline = Some(Instant::now() + PAUSE_MAX);
                self.copy(&instance.program, CopyBounds { deadline, ..bounds })
                    .await
            }
            // The pause may have succeeded although its answer was lost, so the program is unpaused in any case.
            Err(error) => Err(CopyError::NotPaused(error)),
        };
        self.unpause(instance)
            .await
            .map_err(CopyError::NotUnpaused)?;
        copied
    }

    /// Unpauses a program that was paused for a copy, and removes the note of the pause.
    ///
    /// # Errors
    /// [`StopError`] if the program may still be paused; the note stays then.
    pub(crate) async fn unpause(&self, instance: &InstanceId) -> Result<(), StopError> {
        let id = &instance.program;
        let mut attempts = 0;
        while let Err(error) = self.runtime().unpause(instance).await {
            attempts += 1;
            tracing::warn!(program = %id, %error, attempts, "a program that was paused for a copy is not awake yet");
            if attempts == UNPAUSE_ATTEMPTS {
                return Err(error);
            }
            tokio::time::sleep(UNPAUSE_INTERVAL).await;
        }
        let program = id.clone();
        let forgotten = self.blocking(move |host| host.storage().forget_paused(&program));
        if let Ok(Err(error)) = forgotten.await {
            tracing::warn!(program = %id, %error, "it is noted as paused until the next start");
        }
        Ok(())
    }
}

fn phase(program: &Program) -> Phase {
    if let Some(instance) = program.ready_instance() {
        return Phase::Runs(instance);
    }
    match &program.state {
        State::Created | State::Stopped(_) => Phase::AtRest,
        State::Error(failed) if failed.retry.is_none() && program.instance_manifest.is_none() => {
            Phase::AtRest
        }
        State::Ready(_)
        | State::Error(_)
        | State::Building(_)
        | State::Starting(_)
        | State::Stopping(_)
        | State::Removed => Phase::OnItsWay,
    }
}
