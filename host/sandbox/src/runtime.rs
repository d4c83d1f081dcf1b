//! Where programs run. Nothing above [`Runtime`] knows what does it.
//!
//! ```text
//! check ─► start ──────────────────► events: exit ─► stop
//!           │ make, verify, start,            │ removes every instance
//!           │ look from inside                │ that was asked for
//!           └► Running { container, endpoint, receipt }
//! ```
//!
//! Every operation is idempotent. Starting an instance removes what an earlier attempt at the same one
//! left, and no other; `stop` of what does not run is a success.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use futures_util::future::BoxFuture;
use hersh_base::{endpoint::Endpoint, sandbox::StateUsage};
use hersh_program::{InstanceId, Instances, Observed, ProgramId};
use tokio::sync::mpsc;

use crate::{
    Kernel, ListedInstance, OnDeath, Permit, Running, RuntimeEvent, RuntimeInfo, Spec, StartError,
    Stats, StopError, Unavailable,
};

/// What starts and stops instances, as the host sees it. Dropping a future that one of these returned is
/// allowed at any point: what it started is ended in the background, and `stop` finds the rest.
pub trait Runtime: Send + Sync + 'static {
    /// The kernel that its instances run on.
    fn kernel(&self) -> Kernel;

    /// Asks whether it can run programs under the contracts.
    ///
    /// # Errors
    /// [`Unavailable`]: nothing there to run them, no gVisor, or something else that keeps it from working.
    fn check(&self) -> BoxFuture<'_, Result<RuntimeInfo, Unavailable>>;

    /// Keeps in place what the contracts rest on and somebody else on the machine could take away, until
    /// it is dropped. A host polls it as long as it lives.
    fn keep(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    /// Removes what an earlier attempt at the same instance left, makes the instance, verifies it,
    /// starts it and looks at its kernel from inside. Does not wait until it is ready.
    ///
    /// # Errors
    /// [`StartError`]; after any of them nothing of the instance is left, unless the runtime itself does
    /// not answer.
    fn start(&self, spec: Spec) -> BoxFuture<'_, Result<Running, StartError>> {
        self.start_with_permit(spec, Box::new(()))
    }

    /// Like [`start`](Self::start), and drops `permit` as soon as the runtime has done its part: what an
    /// instance that ended early printed may be waited for long after that.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    fn start_with_permit(
        &self,
        spec: Spec,
        permit: Permit,
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

    /// What is known of an instance.
    ///
    /// # Errors
    /// [`Unavailable`] when the runtime does not answer.
    fn observe(&self, instance: &InstanceId) -> BoxFuture<'_, Result<Observed, Unavailable>>;

    /// Ends of this host's instances from now on, and those of all that are found dead when
    /// the connection to what runs them is made (again): an exit can be told twice, never lost.
    /// Lives as long as the receiver; holds at most [`EVENT_QUEUE`] unread events and then waits.
    fn events(&self) -> mpsc::Receiver<RuntimeEvent>;

    /// Calls `tell` at once for each instance that is reported as dead: its last output
    /// is stored before [`Runtime::events`] says how it ended, and nothing may be sent to it meanwhile.
    /// Call it once, before [`Runtime::events`]: deaths reported before this call are not passed to `tell`.
    fn on_death(&self, _tell: OnDeath) {}

    /// The way to a running instance; `None` when it does not run.
    ///
    /// # Errors
    /// [`Unavailable`] when the runtime does not answer.
    fn endpoint(
        &self,
        instance: &InstanceId,
    ) -> BoxFuture<'_, Result<Option<Endpoint>, Unavailable>>;

    /// The addresses on which a running instance listens, as far as they can be seen from the machine;
    /// those of a sandbox with a network stack of its own can't.
    fn listeners(&self, _instance: &InstanceId) -> BoxFuture<'_, Vec<SocketAddr>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Every instance of this host, dead ones too.
    ///
    /// # Errors
    /// [`Unavailable`] when the runtime does not answer.
    fn list(&self) -> BoxFuture<'_, Result<Vec<ListedInstance>, Unavailable>>;

    /// What an instance uses at this moment; `None` when it does not run.
    ///
    /// # Errors
    /// [`Unavailable`] when the runtime does not answer.
    fn stats(&self, instance: &InstanceId) -> BoxFuture<'_, Result<Option<Stats>, Unavailable>>;

    /// Holds an instance still: nothing in it runs until [`Runtime::unpause`].
    ///
    /// # Errors
    /// [`StopError`]; it may be paused all the same if the runtime did not answer.
    fn pause(&self, instance: &InstanceId) -> BoxFuture<'_, Result<(), StopError>>;

    /// Lets an instance go on; one that is not paused, or not there, is a success.
    ///
    /// # Errors
    /// [`StopError`] when it may still be paused.
    fn unpause(&self, instance: &InstanceId) -> BoxFuture<'_, Result<(), StopError>>;

    /// Measures what a program keeps in `/state`, until that is more than `enough` bytes. Holds `permit`
    /// until the work has ended, also when the caller is gone.
    ///
    /// # Errors
    /// [`Unavailable`] when it can't be measured.
    fn state_bytes(
        &self,
        program: &ProgramId,
        enough: u64,
        permit: Permit,
    ) -> BoxFuture<'_, Result<StateUsage, Unavailable>>;

    /// How an instance is confined, as a file in this runtime's own words that somebody else can use.
    /// It names no folder of the machine, and no value of a variable that the manifest gives.
    fn explain(&self, spec: &Spec) -> String;

    /// The folders of the machine that fill up with images and instances, as far as a
    /// [`check`](Self::check) told.
    fn folders(&self) -> Vec<PathBuf>;
}

/// Instances that are started at once: more would only slow each other down until their time is over.
/// What an instance does until it is ready does not count.
pub const STARTS_AT_ONCE: usize = 8;
/// The most exit events that wait unread; from there on the event stream is not read further.
pub const EVENT_QUEUE: usize = 256;
