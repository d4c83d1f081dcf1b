//! From a stored source tree to an image: the build's turn, space on the disk, the build itself.
//!
//! ```text
//! image stands? ─► its turn among all builds ─► space? ─► runtime.build, in its own time
//! ```

use std::{path::Path, sync::Arc, time::Duration};

use hersh_base::turns::{Owner, Turn, TurnQueue};
use hersh_program::{
    BUILD_QUEUE_MS, BuildId, BuildRules, Cause, ImageId, OperationContext, ProgramId,
};
use hersh_storage::Storage;
use tokio_util::sync::CancellationToken;

use crate::disks::Disks;
use hersh_sandbox::{BuildError, BuildPermit, BuildRequest, Builder, Incarnation};

/// The most builds of a host at once.
pub(crate) const BUILDS_AT_ONCE: usize = 2;
/// The most builds that wait at once. One more is refused.
pub(crate) const BUILDS_WAITING_MAX: usize = 1_000;

/// Builds the images of a host.
pub(crate) struct Builds {
    pub(crate) storage: Storage,
    pub(crate) builder: Arc<dyn Builder>,
    pub(crate) queue: TurnQueue,
    pub(crate) disks: Disks,
    /// A function that tells whom a program's build is for.
    pub(crate) build_owner: Box<dyn Fn(&ProgramId) -> BuildOwner + Send + Sync>,
}

/// The user and the program that a build is for.
pub(crate) struct BuildOwner {
    /// The owner that the build counts for.
    pub(crate) owner: Owner,
    /// The incarnation of the program; `None` if the program is not there any more.
    pub(crate) incarnation: Option<Incarnation>,
}

impl Builds {
    /// Returns the image of `build` of the operation's program: the image that exists, or a new one that is built
    /// within `timeout` from the build's turn on. Whatever ends the build early, it is gone from the engine
    /// before this returns.
    ///
    /// # Errors
    /// The cause for which the program has no image.
    pub(crate) async fn image(
        &self,
        operation: &OperationContext,
        build: &BuildId,
        rules: &BuildRules,
        timeout: Duration,
    ) -> Result<ImageId, Cause> {
        if let Some(image) = self.builder.find(&operation.program, build).await? {
            return Ok(image);
        }
        let context_dir = self.storage.source_path(&operation.program, build);
        if !context_dir.is_dir() {
            let message = "its source is not on this machine, as after a restore of the journal without the folder programs; deploy it again";
            return Err(not_built(message.to_owned()));
        }
        let Some(incarnation) = (self.build_owner)(&operation.program).incarnation else {
            return Err(not_built("the program is not there any more".to_owned()));
        };
        let log_path = self.storage.build_log_path(&operation.program, build);
        // The turn is held for as long as the engine is busy with the build, also after the build was given
        // up.
        let permit = BuildPermit::new(self.turn(operation, &log_path).await?);
        // Before the build, a full disk is no fault of the program. A disk that fills up during the build
        // may well be filled by it, and another attempt would fill it again.
        self.disks.check().map_err(|error| Cause::DiskFull {
            message: error.to_string(),
        })?;
        let stop = CancellationToken::new();
        let mut building = self.builder.build(BuildRequest {
            program: operation.program.clone(),
            incarnation,
            build: build.clone(),
            context_dir,
            log_path,
            rules: rules.clone(),
            free_bytes: self.disks.left_bytes(),
            permit: permit.clone(),
            cancel: stop.clone(),
        });
        tokio::select! {
            biased;
            built = &mut building => built.map_err(build_cause),
            () = operation.cancel.cancelled() => {
                stop.cancel();
                building.await.map_err(build_cause)
            }
            full = self.disks.runs_out() => {
                stop.cancel();
                let _ = building.await;
                Err(not_built(full.to_string()))
            }
            () = tokio::time::sleep(timeout) => {
                stop.cancel();
                let _ = building.await;
                let after_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                Err(Cause::BuildTimedOut { after_ms })
            }
        }
    }

    /// Waits until the program may build. The log says how many builds go first; the build begins the log
    /// anew.
    async fn turn(&self, operation: &OperationContext, log_path: &Path) -> Result<Turn, Cause> {
        let say = |first: usize| {
            let said = std::fs::write(log_path, waiting_line(first));
            if let Err(error) = said {
                tracing::warn!(%error, program = %operation.program, "a build's log can't be written");
            }
        };
        let owner = (self.build_owner)(&operation.program).owner;
        if owner.at_once == 0 {
            let name = &owner.name;
            let message = format!("{name} may build nothing; have an admin raise the quota");
            return Err(not_built(message));
        }
        let waited = Duration::from_millis(BUILD_QUEUE_MS);
        tokio::select! {
            biased;
            turn = self.queue.turn(owner, say) => {
                turn.map_err(|error| not_built(error.to_string()))
            }
            () = operation.cancel.cancelled() => Err(build_cause(BuildError::Cancelled)),
            () = tokio::time::sleep(waited) => Err(not_built(format!(
                "no build could begin within {} minutes, since too many were under way; try again later",
                waited.as_secs() / 60
            ))),
        }
    }
}

fn waiting_line(first: usize) -> String {
    match first {
        0 => "waiting for its turn: this one is next\n".to_owned(),
        more => format!("waiting for its turn: {more} before this one\n"),
    }
}

fn build_cause(error: BuildError) -> Cause {
    match error {
        BuildError::Failed { message, logs } => Cause::BuildFailed { message, logs },
        BuildError::RegistryUnavailable { message, logs } => {
            Cause::RegistryUnavailable { message, logs }
        }
        BuildError::Files { message } => not_built(message),
        BuildError::Cancelled => not_built("the build was cancelled".into()),
        BuildError::Unavailable(error) => error.into(),
    }
}

fn not_built(message: String) -> Cause {
    Cause::BuildFailed {
        message,
        logs: Vec::new(),
    }
}
