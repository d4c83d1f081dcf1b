//! One program of this host, with what the host keeps beside its state.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hersh_base::endpoint::Endpoint;
use hersh_journal::ProgramRow;
use hersh_program::{
    BuildId, ContainerId, InstanceNumber, Program, ProgramId, RevisionNumber, Supervisor, UserId,
};
use hersh_proxy::Upstream;
use hersh_sandbox::Incarnation;
use tokio_util::sync::CancellationToken;

use super::{
    last_reading::LastReading, pauses::Pauses, route::ProgramRoute, state_readings::StateReadings,
};
use crate::words;

/// One program of this host.
pub(crate) struct ProgramEntry {
    row: ProgramRow,
    owner: UserId,
    created_at_ms: u64,
    last_event_ms: Arc<AtomicU64>,
    supervisor: Supervisor,
    route: ProgramRoute,
    state_readings: StateReadings,
    gone: CancellationToken,
    /// The lock that is held while new source is stored, the program is told of it, and older source is
    /// removed. It is also held while a removal is asked for, so that no removal begins in between.
    replacing: tokio::sync::Mutex<()>,
    /// The lock that is held while `/state` is copied, and while the program is unpaused after a copy.
    copying: Arc<tokio::sync::Mutex<()>>,
    pauses: Pauses,
    last_reading: LastReading,
}

impl ProgramEntry {
    pub(crate) fn new(
        row: ProgramRow,
        owner: UserId,
        created_at_ms: u64,
        last_event_ms: Arc<AtomicU64>,
        supervisor: Supervisor,
    ) -> Self {
        Self {
            row,
            owner,
            created_at_ms,
            last_event_ms,
            supervisor,
            route: ProgramRoute::default(),
            state_readings: StateReadings::default(),
            gone: CancellationToken::new(),
            replacing: tokio::sync::Mutex::new(()),
            copying: Arc::default(),
            pauses: Pauses::default(),
            last_reading: LastReading::default(),
        }
    }

    pub(crate) fn owner(&self) -> &UserId {
        &self.owner
    }

    pub(crate) fn row(&self) -> ProgramRow {
        self.row
    }

    /// Returns the incarnation, which tells this program from earlier programs of the same name.
    pub(crate) fn incarnation(&self) -> Incarnation {
        let seed = self.supervisor.with_state(|program| program.seed);
        Incarnation::new(self.row.number(), seed)
    }

    pub(crate) fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    pub(crate) fn created_at_ms(&self) -> u64 {
        self.created_at_ms
    }

    /// Returns the time since which the program is Ready; in any other state, the time of its last event.
    /// Milliseconds since the Unix epoch.
    pub(crate) fn changed_at_ms(&self) -> u64 {
        let since = |program: &Program| program.state.ready().map(|ready| ready.since_ms);
        let ready_since_ms = self.supervisor.with_state(since);
        if let Some(since_ms) = ready_since_ms {
            return since_ms;
        }
        self.last_event_ms
            .load(Ordering::Relaxed)
            .max(self.created_at_ms)
    }

    /// Returns true once somebody has asked to remove the program.
    pub(crate) fn is_being_removed(&self) -> bool {
        self.supervisor.with_state(Program::is_being_removed)
    }

    /// Keeps others from replacing the source and from asking for removal until the guard is dropped.
    pub(crate) async fn replacing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.replacing.lock().await
    }

    /// Returns the lock that keeps two copies of `/state` apart.
    pub(crate) fn copying(&self) -> &Arc<tokio::sync::Mutex<()>> {
        &self.copying
    }

    /// Returns when the host held an instance still.
    pub(crate) fn pauses(&self) -> &Pauses {
        &self.pauses
    }

    /// Returns what the program used when it was last looked at.
    pub(crate) fn last_reading(&self) -> &LastReading {
        &self.last_reading
    }

    /// Returns a token that fires once the program is removed, before its name is free for another.
    pub(crate) fn gone(&self) -> &CancellationToken {
        &self.gone
    }

    pub(crate) fn id(&self) -> ProgramId {
        self.supervisor.with_state(|program| program.id.clone())
    }

    pub(crate) fn state_name(&self) -> &'static str {
        self.supervisor
            .with_state(|program| words::state_name(&program.state))
    }

    /// Returns the build that is under way or was last: what `latest` means for build logs.
    pub(crate) fn build_id(&self) -> BuildId {
        self.supervisor.with_state(|program| {
            let source = program.state.any_build().map(|building| &building.source);
            source.unwrap_or(&program.source).build.clone()
        })
    }

    /// Returns the source tree of a revision, if no image of it is known and it is not being built. Without a
    /// number, that of the revision that the next command starts.
    pub(crate) fn unbuilt(&self, number: Option<RevisionNumber>) -> Option<(ProgramId, BuildId)> {
        self.supervisor.with_state(|program| {
            let revisions = program.revisions.as_ref();
            let named = revisions.and_then(|revisions| revisions.get(number?));
            let (build, image) = match named {
                Some(revision) => (&revision.source.build, &revision.image),
                None => (&program.source.build, &program.image),
            };
            let is_building = is_building(program, build);
            (image.is_none() && !is_building).then(|| (program.id.clone(), build.clone()))
        })
    }

    /// Returns true while a build is under way or may be about to be: a restart builds after it has stopped.
    pub(crate) fn may_build(&self, build: &BuildId) -> bool {
        self.supervisor.with_state(|program| {
            let other = program.state.any_build().is_some() && !is_building(program, build);
            program.is_building() && !other
        })
    }

    /// Returns what was seen of the program's `/state`.
    pub(crate) fn state_readings(&self) -> &StateReadings {
        &self.state_readings
    }

    /// Returns the container that requests go to, if the program still has it.
    pub(crate) fn upstream(&self) -> Option<Arc<Upstream>> {
        self.route.upstream(&self.supervisor)
    }

    /// Sends requests to this container from now on, unless it is dead or not the program's any more.
    pub(crate) fn route_to(
        &self,
        container: ContainerId,
        endpoint: Endpoint,
    ) -> Option<Arc<Upstream>> {
        self.route.lead_to(&self.supervisor, container, endpoint)
    }

    /// Ends everything that goes on with a container that is dead.
    pub(crate) fn container_died(&self, container: &ContainerId) {
        self.route.died(container);
    }

    /// Waits until no request is under way with an instance that leaves the program, at most for `patience`. Then
    /// ends the rest.
    pub(crate) async fn drain(&self, instance: InstanceNumber, patience: Duration) {
        // The stop may come before the state that asks for it is shown. Requests would still be sent to the
        // instance then.
        let is_up = |program: &Program| {
            let ready = program.state.ready();
            ready.is_some_and(|ready| ready.instance == instance)
        };
        let program = self.supervisor.until(|it| !is_up(it)).await;
        let leaving = program.state.ready().and_then(|it| it.leaving.as_ref());
        let container = leaving
            .filter(|leaving| leaving.instance == instance)
            .and_then(|leaving| leaving.container.as_ref());
        if let Some(container) = container {
            self.route.drain(container, patience).await;
        }
    }
}

fn is_building(program: &Program, build: &BuildId) -> bool {
    let under_way = program.state.any_build();
    under_way.is_some_and(|building| building.source.build == *build)
}
