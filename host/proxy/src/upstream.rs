//! One instance of a program as the proxy sees it: its endpoint, the connections that wait for the next
//! request, and when it is over.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hersh_base::{endpoint::Endpoint, locked::locked};
use hersh_program::{ContainerId, ProgramId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{ForwardError, IN_FLIGHT_MAX, program_connection::ProgramConnection, rules::Rules};
use crate::io_threads;

/// The most connections to one instance that wait for the next request.
const IDLE_MAX: usize = 32;
/// How long a connection waits for the next request. Common servers close an idle connection after five
/// seconds or later.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a connection may have waited before it carries a request that must not be sent twice. No
/// common server closes an idle connection so early, so none closes it while such a request comes.
const IDLE_MAX_FOR_CHANGES: Duration = Duration::from_secs(1);

/// The number of requests that one program has under way. Clones share one count.
#[derive(Clone, Debug, Default)]
pub struct RequestCount(Arc<AtomicUsize>);

/// One instance of a program, with the connections to it.
pub struct Upstream {
    container: ContainerId,
    endpoint: Endpoint,
    /// The name that requests carry as their host: the program's id.
    authority: String,
    rules: Rules,
    in_flight: RequestCount,
    idle: Mutex<Vec<(Instant, Box<ProgramConnection>)>>,
    ended: CancellationToken,
    released: CancellationToken,
}

/// A permit for one request under way, until it is dropped.
pub(super) struct RequestPermit(Arc<Upstream>);

impl Upstream {
    /// Returns the instance of `program` at `endpoint`, without any connection yet. Its requests count with
    /// the others of `in_flight`.
    pub fn new(
        program: &ProgramId,
        container: ContainerId,
        endpoint: Endpoint,
        rules: Rules,
        in_flight: RequestCount,
    ) -> Arc<Self> {
        Arc::new(Self {
            container,
            authority: program.to_string(),
            rules,
            endpoint,
            in_flight,
            idle: Mutex::default(),
            ended: CancellationToken::new(),
            released: CancellationToken::new(),
        })
    }

    /// Closes connections that waited too long, until `gone` resolves or nobody uses the instance any more. Then
    /// ends everything that still goes on with it.
    pub async fn end_after(instance: Weak<Self>, gone: impl Future<Output = ()>) {
        let mut gone = pin!(gone);
        while tokio::time::timeout(IDLE_TIMEOUT, gone.as_mut())
            .await
            .is_err()
        {
            let Some(instance) = instance.upgrade() else {
                return;
            };
            let now = Instant::now();
            let mut idle = instance.idle();
            idle.retain(|(since, _)| now.duration_since(*since) < IDLE_TIMEOUT);
        }
        if let Some(instance) = instance.upgrade() {
            instance.end();
        }
    }

    /// Returns the token that fires when nobody uses this instance any more: no request is under way, and none
    /// can begin.
    pub fn released(&self) -> &CancellationToken {
        &self.released
    }

    /// Ends everything that still goes on with this instance.
    pub fn end(&self) {
        self.ended.cancel();
        self.idle().clear();
    }

    /// Returns the id of the instance's container.
    pub fn container(&self) -> &ContainerId {
        &self.container
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Returns the name that requests carry as their host.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns the rules of the program's manifest for requests to it.
    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Returns the token that fires when this instance is not the program's any more.
    pub(super) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Takes a permit for one request under way.
    pub(super) fn permit(self: Arc<Self>) -> Result<RequestPermit, ForwardError> {
        let another = |count: usize| (count < IN_FLIGHT_MAX).then_some(count + 1);
        let count = &self.in_flight.0;
        count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, another)
            .map_err(|_| ForwardError::Busy)?;
        Ok(RequestPermit(self))
    }

    /// Takes this I/O thread's most recently used idle connection. `may_ask_again` says whether the request
    /// may be sent twice; if not, a connection that was idle for `IDLE_MAX_FOR_CHANGES` is not used.
    pub(super) fn take(&self, may_ask_again: bool) -> Option<Box<ProgramConnection>> {
        let here = io_threads::here();
        let mut idle = self.idle();
        let at = idle
            .iter()
            .rposition(|(_, connection)| connection.io_thread() == here)?;
        let waited = idle[at].0.elapsed();
        if !may_ask_again && waited >= IDLE_MAX_FOR_CHANGES {
            // The others of this thread were idle even longer. They stay for requests that may be sent twice.
            return None;
        }
        let (_, connection) = idle.remove(at);
        (waited < IDLE_TIMEOUT).then_some(connection)
    }

    /// Keeps a connection for the next request, unless enough wait already or the instance is over.
    pub(super) fn put(&self, connection: Box<ProgramConnection>) {
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX && !self.ended.is_cancelled() {
            idle.push((Instant::now(), connection));
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Instant, Box<ProgramConnection>)>> {
        locked(&self.idle)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.released.cancel();
    }
}

impl RequestPermit {
    /// Returns the instance that may be asked.
    pub(super) fn upstream(&self) -> &Upstream {
        &self.0
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        self.0.in_flight.0.fetch_sub(1, Ordering::Relaxed);
    }
}
