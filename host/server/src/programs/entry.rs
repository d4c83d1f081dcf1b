//! One program of this host, with what the host keeps beside its state.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

use hersh_base::endpoint::Endpoint;
use hersh_base::locked::locked;
use hersh_journal::ProgramRow;
use hersh_program::{BuildId, ContainerId, Program, ProgramId, RevisionNumber, Supervisor, UserId};
use hersh_proxy::{RequestCount, Rules, Upstream};
use hersh_sandbox::Incarnation;
use tokio_util::sync::CancellationToken;

use super::{last_reading::LastReading, pauses::Pauses, state_readings::StateReadings};
use crate::words;

/// One program of this host.
pub(crate) struct ProgramEntry {
    row: ProgramRow,
    owner: UserId,
    created_at_ms: u64,
    last_event_ms: Arc<AtomicU64>,
    supervisor: Supervisor,
    in_flight: RequestCount,
    route: Mutex<ProgramRoute>,
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
            in_flight: RequestCount::default(),
            route: Mutex::default(),
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
        let known = self.route().upstream.clone()?;
        let is_current = self
            .supervisor
            .with_state(|program| program.state.container() == Some(known.container()));
        is_current.then_some(known)
    }

    /// Sends requests to this container from now on, unless it is dead. Once the program no longer has the
    /// container, everything that was begun with it ends.
    pub(crate) fn route_to(
        &self,
        container: ContainerId,
        endpoint: Endpoint,
    ) -> Option<Arc<Upstream>> {
        let mut route = self.route();
        if route.dead.as_ref() == Some(&container) {
            return None;
        }
        let known = route.upstream.as_ref();
        if let Some(same) = known.filter(|it| *it.container() == container) {
            return Some(Arc::clone(same));
        }
        let (id, rules) = self.supervisor.with_state(|program| {
            let rules = Rules::new(program.manifest());
            (program.id.clone(), rules)
        });
        let in_flight = self.in_flight.clone();
        let upstream = Upstream::new(&id, container.clone(), endpoint, rules, in_flight);
        route.upstream = Some(Arc::clone(&upstream));
        let supervisor = self.supervisor.clone();
        let gone = async move {
            let is_over = |program: &Program| program.state.container() != Some(&container);
            supervisor.until(is_over).await;
        };
        tokio::spawn(Arc::clone(&upstream).end_after(gone));
        Some(upstream)
    }

    /// Ends everything that goes on with a container that is dead. The program's state may still name the
    /// container for a while; nothing is sent to it meanwhile.
    pub(crate) fn container_died(&self, container: &ContainerId) {
        let mut route = self.route();
        let known = &mut route.upstream;
        if let Some(upstream) = known.take_if(|it| it.container() == container) {
            upstream.end();
        }
        route.dead = Some(container.clone());
    }

    fn route(&self) -> MutexGuard<'_, ProgramRoute> {
        locked(&self.route)
    }
}

fn is_building(program: &Program, build: &BuildId) -> bool {
    let under_way = program.state.any_build();
    under_way.is_some_and(|building| building.source.build == *build)
}

/// The way to a program.
#[derive(Default)]
struct ProgramRoute {
    /// The container that requests go to; valid as long as the program has it.
    upstream: Option<Arc<Upstream>>,
    /// The container that is known to be dead.
    dead: Option<ContainerId>,
}
