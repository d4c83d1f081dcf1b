//! Effects: the requests of a program to the host.

use alloc::sync::Arc;

use hersh_machine::OpId;
use serde::{Deserialize, Serialize};

use crate::{BuildId, ImageId, InstanceNumber, Instances, Manifest, ProgramId, Recipe, Refusal};

/// A request of a program to the host. Its data is complete, so that a handler makes no choices. Every effect
/// is idempotent, keyed by program and operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Makes the program's folders. Ends in `FoldersEnsured`.
    EnsureProgramFolders {
        /// The program whose folders are made.
        program: ProgramId,
    },
    /// Builds an image from the stored source. Ends in `BuildFinished`.
    #[serde(rename = "build_runtime")]
    BuildImage {
        /// The program whose image is built.
        program: ProgramId,
        /// The source tree that is built.
        build: BuildId,
        /// Whether the build's steps may open connections to the internet.
        #[serde(default)]
        network: bool,
        /// The rest of the build's input, beyond the source tree.
        #[serde(default)]
        recipe: Arc<Recipe>,
        /// The longest time for the build once its turn has come, milliseconds. Before that it waits for its
        /// turn, at most [`BUILD_QUEUE_MS`](crate::BUILD_QUEUE_MS).
        timeout_ms: u64,
    },
    /// Creates, verifies and starts an instance, and waits until it is ready. Ends in `InstanceStarted` or
    /// `StartFailed`.
    #[serde(rename = "start_runtime")]
    StartInstance {
        /// The program that is started.
        program: ProgramId,
        /// The new instance's number. No earlier instance of the program had it.
        #[serde(default)]
        instance: InstanceNumber,
        /// The image that the instance runs.
        image: ImageId,
        /// The limits, network and other settings of the instance.
        manifest: Arc<Manifest>,
    },
    /// Stops and removes instances of the program. Ends in `StopFinished`.
    #[serde(rename = "stop_runtime")]
    StopInstances {
        /// The program whose instances are stopped.
        program: ProgramId,
        /// The instances that are stopped.
        #[serde(default)]
        instances: Instances,
        /// The longest wait before the stop signal for requests under way to end, milliseconds. No new ones are
        /// begun meanwhile.
        #[serde(default, skip_serializing_if = "is_zero")]
        drain_ms: u64,
        /// The time from the stop signal to the kill, milliseconds.
        grace_ms: u64,
    },
    /// Asks the runtime for the status of an instance. Ends in `InstanceObserved`.
    #[serde(rename = "fetch_runtime_status")]
    ObserveInstance {
        /// The program whose instance is asked about.
        program: ProgramId,
        /// The instance's number.
        #[serde(default)]
        instance: InstanceNumber,
    },
    /// Waits. Ends in `RetryDue`.
    ScheduleRetry {
        /// The length of the wait from the event that asked for it, milliseconds.
        after_ms: u64,
        /// The end of the wait, milliseconds since the Unix epoch.
        due_ms: u64,
    },
    /// Aborts an operation and waits until it is over. Has no outcome of its own.
    Cancel {
        /// The operation that is aborted.
        op: OpId,
    },
    /// Removes the program's folders and images. Ends in `Removed`.
    RemoveProgram {
        /// The program whose folders and images are removed.
        program: ProgramId,
    },
    /// Tells the sender of a command that it was not carried out. Has no outcome.
    Refuse {
        /// The reason, for the sender.
        refusal: Refusal,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(ms: &u64) -> bool {
    *ms == 0
}
