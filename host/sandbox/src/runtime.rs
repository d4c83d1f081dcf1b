//! The trait [`Runtime`], which starts and stops instances. The code above it does not know which engine
//! runs them.
//!
//! ```text
//! check ─► start ──────────────────► events: exit ─► stop
//!           │ make, verify, start,            │ removes every instance
//!           │ look from inside                │ that was asked for
//!           └► RunningInstance { container, endpoint, receipt }
//! ```
//!
//! Every operation is idempotent. Starting an instance removes what an earlier attempt at the same
//! instance left, and touches no other instance. Stopping an instance that does not run is a success.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use futures_util::future::BoxFuture;
use hersh_base::{endpoint::Endpoint, sandbox::StateUsage};
use hersh_program::{ContainerId, InstanceId, InstanceStatus, Instances, ProgramId};
use tokio::sync::mpsc;

use crate::{
    DeathListener, InstanceEnd, Kernel, ListedInstance, Permit, RunningInstance, RuntimeInfo, Spec,
    StartError, Stats, StopError, Unavailable,
};

/// Starts and stops instances. A caller may drop any future of these methods at any point: the work that
/// the future started is ended in the background, and `stop` removes whatever is left.
pub trait Runtime: Send + Sync + 'static {
    /// Returns the kernel that instances of this runtime run on.
    fn kernel(&self) -> Kernel;

    /// Checks whether this runtime can run programs under the contracts.
    ///
    /// # Errors
    /// [`Unavailable`] when there is no engine, when the engine has no gVisor, or when something else
    /// keeps the runtime from working.
    fn check(&self) -> BoxFuture<'_, Result<RuntimeInfo, Unavailable>>;

    /// Restores what the contracts rest on whenever somebody else on the machine takes it away, such as
    /// firewall rules after a reload. The future works until it is dropped; a host polls it as long as
    /// the host runs.
    fn keep(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    /// Removes what an earlier attempt at the same instance left, makes the instance, verifies it, starts
    /// it and looks at its kernel from inside. Does not wait until the instance is ready.
    ///
    /// # Errors
    /// [`StartError`]; after any of them nothing of the instance is left, unless the runtime itself does
    /// not answer.
    fn start(&self, spec: Spec) -> BoxFuture<'_, Result<RunningInstance, StartError>> {
        self.start_with_permit(spec, Box::new(()))
    }

    /// Does as [`start`](Self::start), and drops `permit` as soon as the runtime has done its part. After
    /// that the call may still wait long for the output of an instance that ended early, and the permit
    /// must not keep other starts waiting meanwhile.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    fn start_with_permit(
        &self,
        spec: Spec,
        permit: Permit,
    ) -> BoxFuture<'_, Result<RunningInstance, StartError>>;

    /// Cancels the operations in progress for these instances and waits for their end. Then stops and
    /// removes the instances. For all instances, also cancels a build of the program. `grace` is the time
    /// from the stop signal to the kill; a stop waits no longer than the instances run. A paused instance is
    /// unpaused first, because it would not see the signal.
    ///
    /// # Errors
    /// [`StopError`] when a part of these instances may still be there.
    fn stop(
        &self,
        program: &ProgramId,
        instances: Instances,
        grace: Duration,
    ) -> BoxFuture<'_, Result<(), StopError>>;

    /// Kills these instances of the program at once, without waiting for operations in progress. A `stop`
    /// that is waiting for its grace period then ends early. The dead instances stay until `stop` removes
    /// them.
    ///
    /// # Errors
    /// [`StopError`] when one of these instances may still run.
    fn kill(
        &self,
        program: &ProgramId,
        instances: Instances,
    ) -> BoxFuture<'_, Result<(), StopError>>;

    /// Returns what is known of an instance.
    ///
    /// # Errors
    /// [`Unavailable`] when the runtime does not answer.
    fn observe(&self, instance: &InstanceId) -> BoxFuture<'_, Result<InstanceStatus, Unavailable>>;

    /// Returns a stream of the ends of this host's instances from now on. Each time the runtime connects
    /// to its engine, the stream also tells the ends of all instances that are found dead: an end can be
    /// told twice, and is never lost. The stream lives as long as the receiver. It holds at most
    /// [`EVENT_QUEUE`] unread events and then waits for the reader.
    fn events(&self) -> mpsc::Receiver<InstanceEnd>;

    /// Calls `tell` for each instance as soon as it is reported dead, by itself or by order.
    /// [`Runtime::events`] tells the end only later, after the last output was stored, and nothing may be
    /// sent to the instance in between. A death can be told again each time the runtime connects to its
    /// engine. Call this method once, before [`Runtime::events`]: `tell` does not hear of earlier deaths.
    fn on_death(&self, tell: DeathListener);

    /// Returns the endpoint of a running instance; `None` when the instance does not run.
    ///
    /// # Errors
    /// [`Unavailable`] when the runtime does not answer.
    fn endpoint(
        &self,
        instance: &InstanceId,
    ) -> BoxFuture<'_, Result<Option<Endpoint>, Unavailable>>;

    /// Returns the instance's answer to a liveness probe, in a runtime whose instances have no sockets: only a
    /// simulation has them. The answer may never come. `None` means that the probe goes to [`Runtime::endpoint`].
    fn liveness_answer(&self, _container: &ContainerId) -> Option<BoxFuture<'_, ()>> {
        None
    }

    /// Returns whether readiness probes reach instances. Those of a simulation have no sockets, and are ready as
    /// soon as they run.
    fn has_sockets(&self) -> bool {
        true
    }

    /// Returns the addresses on which a running instance listens, as far as they can be seen from the
    /// machine. Those of a sandbox with a network stack of its own can't be seen.
    fn listeners(&self, _instance: &InstanceId) -> BoxFuture<'_, Vec<SocketAddr>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Returns every instance of this host, dead ones too.
    ///
    /// # Errors
    /// [`Unavailable`] when the runtime does not answer.
    fn list(&self) -> BoxFuture<'_, Result<Vec<ListedInstance>, Unavailable>>;

    /// Returns the resources that an instance uses at this moment; `None` when the instance does not run.
    ///
    /// # Errors
    /// [`Unavailable`] when the runtime does not answer.
    fn stats(&self, instance: &InstanceId) -> BoxFuture<'_, Result<Option<Stats>, Unavailable>>;

    /// Pauses an instance: nothing in the instance runs until [`Runtime::unpause`] or a stop.
    ///
    /// # Errors
    /// [`StopError`], also when the instance does not run; the instance may be paused all the same if the
    /// runtime did not answer.
    fn pause(&self, instance: &InstanceId) -> BoxFuture<'_, Result<(), StopError>>;

    /// Lets a paused instance go on. An instance that is not paused, or does not exist, is a success.
    ///
    /// # Errors
    /// [`StopError`] when the instance may still be paused.
    fn unpause(&self, instance: &InstanceId) -> BoxFuture<'_, Result<(), StopError>>;

    /// Measures how many bytes a program keeps in `/state`, and stops once there are more than `enough`.
    /// Holds `permit` until the work has ended, also when the caller is gone: otherwise callers that give
    /// up could cause more work at once than the limit allows.
    ///
    /// # Errors
    /// [`Unavailable`] when the state can't be measured.
    fn state_bytes(
        &self,
        program: &ProgramId,
        enough: u64,
        permit: Permit,
    ) -> BoxFuture<'_, Result<StateUsage, Unavailable>>;

    /// Returns a file that describes how an instance is confined, in this runtime's own format, which
    /// others can use. The file names no folder of the machine. It holds no value of a variable from the
    /// manifest, since such a value may be a secret.
    fn explain(&self, spec: &Spec) -> String;

    /// Returns the folders of the machine that fill up with images and instances, as far as a
    /// [`check`](Self::check) found them.
    fn folders(&self) -> Vec<PathBuf>;
}

/// The most instances that are started at the same time. More starts would slow each other down until
/// they time out. The time from an instance's start until the instance is ready does not count.
pub const STARTS_AT_ONCE: usize = 8;
/// The most events that wait unread. When so many wait, the event stream of the engine is not read
/// further.
pub const EVENT_QUEUE: usize = 256;
