//! The way of requests to a program's instances.
//!
//! ```text
//! the instance that is up ◄── new requests
//! the one that leaves     ◄── only those that are under way
//! ```

use std::{
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::Duration,
};

use hersh_base::{endpoint::Endpoint, locked::locked};
use hersh_program::{ContainerId, Program, Supervisor};
use hersh_proxy::{RequestCount, Rules, Upstream};
use tokio_util::sync::CancellationToken;

/// How long clients may take to hear that what they had under way is ended.
const FAREWELL: Duration = Duration::from_secs(1);

/// The way to one program.
#[derive(Default)]
pub(super) struct ProgramRoute {
    in_flight: RequestCount,
    instances: Mutex<RoutedInstances>,
}

#[derive(Default)]
struct RoutedInstances {
    /// The container that requests go to; valid as long as the program has it.
    upstream: Option<Arc<Upstream>>,
    /// The container that requests went to before, if it may still answer those under way.
    former: Option<Arc<Upstream>>,
    /// The container that is known to be dead.
    dead: Option<ContainerId>,
}

impl ProgramRoute {
    /// Returns the container that requests go to, if the program still has it.
    pub(super) fn upstream(&self, supervisor: &Supervisor) -> Option<Arc<Upstream>> {
        let known = self.instances().upstream.clone()?;
        is_up(supervisor, known.container()).then_some(known)
    }

    /// Sends requests to this container from now on, unless it is dead or not the program's any more. Once the
    /// program has no use for the container, everything that was begun with it ends.
    pub(super) fn lead_to(
        &self,
        supervisor: &Supervisor,
        container: ContainerId,
        endpoint: Endpoint,
    ) -> Option<Arc<Upstream>> {
        let mut instances = self.instances();
        // The container was looked up a while ago. Without this check, a look-up that comes late would send
        // requests back to an instance that leaves.
        if instances.dead.as_ref() == Some(&container) || !is_up(supervisor, &container) {
            return None;
        }
        let known = instances.upstream.as_ref();
        if let Some(same) = known.filter(|it| *it.container() == container) {
            return Some(Arc::clone(same));
        }
        let (id, rules) = supervisor.with_state(|program| {
            let rules = Rules::new(program.manifest());
            (program.id.clone(), rules)
        });
        let in_flight = self.in_flight.clone();
        let upstream = Upstream::new(&id, container.clone(), endpoint, rules, in_flight);
        instances.former = instances.upstream.replace(Arc::clone(&upstream));
        let supervisor = supervisor.clone();
        let gone = async move {
            supervisor.until(|it| !answers_from(it, &container)).await;
        };
        tokio::spawn(Upstream::end_after(Arc::downgrade(&upstream), gone));
        Some(upstream)
    }

    /// Sends no further request to a container that leaves, and waits until those under way have ended, at most
    /// for `patience`. Then ends the rest, so that clients hear of it before the container stops.
    pub(super) async fn drain(&self, container: &ContainerId, patience: Duration) {
        let Some((released, left)) = self.let_go(container) else {
            return;
        };
        if tokio::time::timeout(patience, released.cancelled())
            .await
            .is_ok()
        {
            return;
        }
        if let Some(left) = left.upgrade() {
            left.end();
        }
        // A client that takes nothing hears nothing; the container is stopped all the same.
        let _late = tokio::time::timeout(FAREWELL, released.cancelled()).await;
    }

    /// Takes the container off the route. Holds nothing of it: what is held is not released.
    fn let_go(&self, container: &ContainerId) -> Option<(CancellationToken, Weak<Upstream>)> {
        let mut guard = self.instances();
        let RoutedInstances {
            upstream, former, ..
        } = &mut *guard;
        let is_it = |known: &mut Arc<Upstream>| known.container() == container;
        let left = upstream.take_if(is_it).or_else(|| former.take_if(is_it))?;
        Some((left.released().clone(), Arc::downgrade(&left)))
    }

    /// Ends everything that goes on with a container that is dead. The program's state may still name the
    /// container for a while; nothing is sent to it meanwhile.
    pub(super) fn died(&self, container: &ContainerId) {
        let mut instances = self.instances();
        let known = &mut instances.upstream;
        if let Some(upstream) = known.take_if(|it| it.container() == container) {
            upstream.end();
        }
        instances.dead = Some(container.clone());
    }

    fn instances(&self) -> MutexGuard<'_, RoutedInstances> {
        locked(&self.instances)
    }
}

fn is_up(supervisor: &Supervisor, container: &ContainerId) -> bool {
    supervisor.with_state(|program| program.state.container() == Some(container))
}

fn answers_from(program: &Program, container: &ContainerId) -> bool {
    let ready = program.state.ready();
    ready.is_some_and(|ready| ready.answers_from(container))
}

#[cfg(test)]
mod tests {
    use hersh_base::surroundings::Surroundings;
    use hersh_machine::driver::{Config, MemoryJournal};
    use hersh_program::{
        BuildId, Event, FakeHandler, Manifest, ProgramId, ProgramStepper, Readiness, Source,
    };
    use tokio::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(300);

    /// A program that is up, and the route to it.
    async fn up() -> (Supervisor, ProgramRoute, Arc<Upstream>) {
        let source = Source {
            build: BuildId::parse("build-000000000000").unwrap(),
            manifest: Arc::new(Manifest {
                readiness: Readiness::None { port: 8080 },
                ..Manifest::default()
            }),
        };
        let program = Program::new(ProgramId::parse("a").unwrap(), source, 1);
        let supervisor = Supervisor::run(
            ProgramStepper::new(program),
            Arc::new(FakeHandler::instant()),
            MemoryJournal::default(),
            Surroundings::System,
            Config::default(),
        );
        supervisor.call(Event::UserStartRequested).await.unwrap();
        let up = supervisor.settled().await;
        let container = up.state.container().unwrap().clone();
        let route = ProgramRoute::default();
        let endpoint = Endpoint::at([127, 0, 0, 1].into());
        let upstream = route.lead_to(&supervisor, container, endpoint).unwrap();
        (supervisor, route, upstream)
    }

    #[tokio::test(start_paused = true)]
    async fn a_container_that_nobody_uses_is_drained_at_once() {
        let (supervisor, route, upstream) = up().await;
        let container = upstream.container().clone();
        drop(upstream);
        let began = Instant::now();
        route.drain(&container, PATIENCE).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(route.upstream(&supervisor).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_who_chose_the_container_before() {
        let (_supervisor, route, upstream) = up().await;
        let container = upstream.container().clone();
        let (began, held) = (Instant::now(), Duration::from_secs(7));
        tokio::spawn(async move {
            // tidy: allow(sleep) the clock is paused: how long the request takes
            tokio::time::sleep(held).await;
            drop(upstream);
        });
        route.drain(&container, PATIENCE).await;
        assert_eq!(began.elapsed(), held);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_still_under_way_after_a_drain_is_ended() {
        let (_supervisor, route, upstream) = up().await;
        let container = upstream.container().clone();
        let began = Instant::now();
        route.drain(&container, PATIENCE).await;
        assert_eq!(began.elapsed(), PATIENCE + FAREWELL);
        drop(upstream);
    }
}
