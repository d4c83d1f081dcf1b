//! What a program can ask of the host.

use alloc::sync::Arc;

use hersh_machine::OpId;
use serde::{Deserialize, Serialize};

use crate::{BuildId, ImageId, InstanceNumber, Instances, Manifest, ProgramId, Recipe, Refusal};

/// What a program asks of the host: complete data, so that a handler makes no choices. Every
/// effect is idempotent, keyed by program and operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Make the program's folders. Ends in `FoldersEnsured`.
    EnsureProgramFolders {
        /// Whose.
        program: ProgramId,
    },
    /// Build an image from the stored source. Ends in `BuildFinished`.
    BuildRuntime {
        /// Whose.
        program: ProgramId,
        /// Which source tree.
        build: BuildId,
        /// Whether its steps may open connections to the internet.
        #[serde(default)]
        network: bool,
        /// What is made of the tree.
        #[serde(default)]
        recipe: Arc<Recipe>,
        /// The time it has once its turn has come, milliseconds. It waits for its turn at most
        /// [`BUILD_QUEUE_MS`](crate::BUILD_QUEUE_MS).
        timeout_ms: u64,
    },
    /// Create, verify and start an instance, and wait until it is ready. Ends in
    /// `RuntimeStarted` or `StartFailed`.
    StartRuntime {
        /// The program.
        program: ProgramId,
        /// The instance's number: none before it had this one.
        #[serde(default)]
        instance: InstanceNumber,
        /// What runs.
        image: ImageId,
        /// How.
        manifest: Arc<Manifest>,
    },
    /// Stop and remove instances of the program. Ends in `StopFinished`.
    StopRuntime {
        /// The program.
        program: ProgramId,
        /// Which of its instances.
        #[serde(default)]
        instances: Instances,
        /// From the stop signal to the kill, milliseconds.
        grace_ms: u64,
    },
    /// Ask the runtime what it knows of an instance. Ends in `StatusFetched`.
    FetchRuntimeStatus {
        /// The program.
        program: ProgramId,
        /// The instance's number.
        #[serde(default)]
        instance: InstanceNumber,
    },
    /// Wait. Ends in `RetryDue`.
    ScheduleRetry {
        /// How long from the event that asked, milliseconds.
        after_ms: u64,
        /// When, milliseconds since the Unix epoch.
        due_ms: u64,
    },
    /// Abort an operation and wait until it is over. Has no outcome of its own.
    Cancel {
        /// Which one.
        op: OpId,
    },
    /// Remove the program's folders and images. Ends in `Removed`.
    RemoveProgram {
        /// Whose.
        program: ProgramId,
    },
    /// Tell the one who asked that the command was not carried out. Has no outcome.
    Refuse {
        /// Why.
        refusal: Refusal,
    },
}
