//! Where programs are built and run. Nothing above [`Runtime`] knows which engine does it.
//!
//! ```text
//! check ─► build ─► start ──────────────► events: exit ─► stop
//!                    │ create, inspect, start,             │ removes every container
//!                    │ look from inside                    │ with the program's label
//!                    └► Running { container, address, receipt }
//! ```
//!
//! Every operation is idempotent. Starting an instance removes what an earlier attempt at the same one
//! left, and no other; `stop` of what does not run is a success; `build` of a tree that is built
//! already answers with the image that stands.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use futures_util::future::BoxFuture;
use hersh_program::{BuildId, ImageId, InstanceId, Instances, Logs, Observed, ProgramId};
use tokio::sync::mpsc;

use crate::{
    BuildError, BuildRequest, CollectedImages, EngineInfo, Environment, InUse, ListedInstance,
    OnDeath, Retention, Running, RuntimeEvent, Spec, StartError, StartTurn, Stats, StopError,
    Unavailable,
};

/// A container engine as the host sees it. Dropping a future that one of these returned is
/// allowed at any point: what it started is ended in the background, and `stop` finds the rest.
pub trait Runtime: Send + Sync + 'static {
    /// What this runtime adds to a manifest to make a [`Spec`].
    fn environment(&self, program: &ProgramId) -> Environment;

    /// Asks the engine whether it can run programs under the contracts.
    ///
    /// # Errors
    /// [`Unavailable`]: no engine, no gVisor, or something else that keeps it from working.
    fn check(&self) -> BoxFuture<'_, Result<EngineInfo, Unavailable>>;

    /// Builds the image of one source tree, or answers with the one that was built before.
    ///
    /// # Errors
    /// [`BuildError`]; after any of them nothing of the build is left in the engine.
    fn build(&self, request: BuildRequest) -> BoxFuture<'_, Result<ImageId, BuildError>>;

    /// Removes what an earlier attempt at the same instance left, creates the container, verifies it by
    /// inspection, starts it and looks at its kernel from inside. Does not wait until it is ready.
    ///
    /// # Errors
    /// [`StartError`]; after any of them nothing of the instance is left, unless the engine itself does
    /// not answer.
    fn start(&self, spec: Spec) -> BoxFuture<'_, Result<Running, StartError>> {
        self.start_in_turn(spec, Box::new(()))
    }

    /// Like [`start`](Self::start), and drops `turn` as soon as the engine has done its part: what a
    /// container that ended early printed may be waited for long after that.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    fn start_in_turn(
        &self,
        spec: Spec,
        turn: StartTurn,
    ) -> BoxFuture<'_, Result<Running, StartError>>;

    /// Cancels what is in progress for these instances (for all of them, a build of the program too),
    /// waits for its end, and stops and removes them. `grace` is the time from the stop signal to the
    /// kill.
    ///
    /// # Errors
    /// [`StopError`] when something of them may still be there.
    fn stop(
        &self,
        program: &ProgramId,
        instances: Instances,
        grace: Duration,
    ) -> BoxFuture<'_, Result<(), StopError>>;

    /// Kills every instance of the program at once, without waiting for operations in progress: a stop that
    /// waits out its grace period then ends early. The dead instances are left for `stop` to remove.
    ///
    /// # Errors
    /// [`StopError`] when something of the program may still run.
    fn kill(&self, program: &ProgramId) -> BoxFuture<'_, Result<(), StopError>>;

    /// What the engine knows of an instance.
    ///
    /// # Errors
    /// [`Unavailable`] when the engine does not answer.
    fn observe(&self, instance: &InstanceId) -> BoxFuture<'_, Result<Observed, Unavailable>>;

    /// Ends of this host's instances from now on, and those of all that are found dead when
    /// the connection to the engine is made (again): an exit can be told twice, never lost.
    /// Lives as long as the receiver; holds at most [`EVENT_QUEUE`] unread events and then waits.
    fn events(&self) -> mpsc::Receiver<RuntimeEvent>;

    /// Calls `tell` at once for each instance that the engine reports as dead: its last output
    /// is stored before [`Runtime::events`] says how it ended, and nothing may be sent to it meanwhile.
    /// Call it once, before [`Runtime::events`]: deaths reported before this call are not passed to `tell`.
    fn on_death(&self, _tell: OnDeath) {}

    /// The last `tail` lines that the program's containers printed, oldest first; at most 50
    /// lines of 500 characters. Also after the container is gone.
    fn logs(&self, program: &ProgramId, tail: usize) -> BoxFuture<'_, Logs>;

    /// The address at which the host reaches a running instance; `None` without a network or when it
    /// does not run.
    ///
    /// # Errors
    /// [`Unavailable`] when the engine does not answer.
    fn address(&self, instance: &InstanceId) -> BoxFuture<'_, Result<Option<IpAddr>, Unavailable>>;

    /// The addresses on which a running instance listens, as far as they can be seen from the machine;
    /// those of a sandbox with a network stack of its own can't.
    fn listeners(&self, _instance: &InstanceId) -> BoxFuture<'_, Vec<SocketAddr>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Every instance of this host, dead ones too.
    ///
    /// # Errors
    /// [`Unavailable`] when the engine does not answer.
    fn list(&self) -> BoxFuture<'_, Result<Vec<ListedInstance>, Unavailable>>;

    /// The image built for a source tree, if it stands.
    ///
    /// # Errors
    /// [`Unavailable`] when the engine does not answer.
    fn image(
        &self,
        program: &ProgramId,
        build: &BuildId,
    ) -> BoxFuture<'_, Result<Option<ImageId>, Unavailable>>;

    /// Removes every image built for the program, and ends the followers of its output. For a
    /// program that is being removed; nothing there is a success.
    ///
    /// # Errors
    /// [`StopError`] when an image may still be there.
    fn forget(&self, program: &ProgramId) -> BoxFuture<'_, Result<(), StopError>>;

    /// Removes what this host's builds left: images that `in_use` does not name, layers of failed
    /// builds, and base images that were fetched, as `kept` says. Does nothing while a build runs.
    /// What carries somebody else's name, or is used by a container, stays.
    ///
    /// # Errors
    /// [`Unavailable`] when the engine does not answer.
    fn collect<'a>(
        &'a self,
        in_use: &'a (dyn Fn() -> InUse + Send + Sync),
        kept: Retention,
    ) -> BoxFuture<'a, Result<CollectedImages, Unavailable>>;

    /// What an instance uses at this moment; `None` when it does not run.
    ///
    /// # Errors
    /// [`Unavailable`] when the engine does not answer.
    fn stats(&self, instance: &InstanceId) -> BoxFuture<'_, Result<Option<Stats>, Unavailable>>;

    /// Holds an instance still: nothing in it runs until [`Runtime::unpause`].
    ///
    /// # Errors
    /// [`StopError`]; it may be paused all the same if the engine did not answer.
    fn pause(&self, instance: &InstanceId) -> BoxFuture<'_, Result<(), StopError>>;

    /// Lets an instance go on; one that is not paused, or not there, is a success.
    ///
    /// # Errors
    /// [`StopError`] when it may still be paused.
    fn unpause(&self, instance: &InstanceId) -> BoxFuture<'_, Result<(), StopError>>;

    /// Where the engine keeps images and containers, as far as a [`check`](Self::check) told.
    fn folder(&self) -> Option<PathBuf>;
}

/// Instances that are started at once: more would only slow each other down until their time is over.
/// What an instance does until it is ready does not count.
pub const STARTS_AT_ONCE: usize = 8;
/// The most exit events that wait unread; from there on the event stream is not read further.
pub const EVENT_QUEUE: usize = 256;
