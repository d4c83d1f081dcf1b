//! Random commands and random faults: whatever happens, the laws hold after every step; and
//! after the faults stop the program settles and nothing it started is left running.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail"
)]
#![cfg(feature = "fake")]

mod common;

use common::{NOW_MS, end_of, exit, host_started, program_with, source};
use hersh_machine::sim::{Faults, Simulation};
use hersh_program::{
    Event, FakeWorld, Lifecycle, Program, RestartPolicy, RevisionNumber, Source, State,
};
use proptest::prelude::*;

type World = Simulation<Lifecycle, FakeWorld>;

/// Steps within which a program settles once nothing goes wrong any more: commands that still wait are carried out one
/// after the other, and a restart of another revision builds, stops, starts and settles.
const SETTLES_WITHIN: u32 = 120;
/// The same, for a program with commands that wait: each deploy is two of them, and builds before it stops.
const SETTLES_AFTER_DEPLOYS_WITHIN: u32 = 1_000;

#[derive(Clone, Copy, Debug)]
enum Act {
    Start,
    Stop,
    Restart,
    Delete,
    NewTree,
    NewManifest,
    BuildOnly,
    Exit(i32),
    Lose,
    StrangerExits,
    HostRestarts,
    RollBack(u64),
    Steps(u32),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Start),
        3 => Just(Act::Stop),
        2 => Just(Act::Restart),
        1 => Just(Act::Delete),
        1 => Just(Act::NewTree),
        1 => Just(Act::NewManifest),
        1 => Just(Act::BuildOnly),
        2 => (0..3_i32).prop_map(Act::Exit),
        1 => Just(Act::Lose),
        1 => Just(Act::StrangerExits),
        2 => Just(Act::HostRestarts),
        12 => (1..6_u32).prop_map(Act::Steps),
    ]
}

/// What happens to a program that its people want to be up: they deploy and go back, and never stop it.
fn act_of_rollouts() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => Just(Act::Restart),
        3 => Just(Act::NewTree),
        1 => Just(Act::NewManifest),
        1 => Just(Act::BuildOnly),
        1 => (1..6_u64).prop_map(Act::RollBack),
        2 => Just(Act::Exit(1)),
        1 => Just(Act::Lose),
        1 => Just(Act::StrangerExits),
        2 => Just(Act::HostRestarts),
        12 => (1..6_u32).prop_map(Act::Steps),
    ]
}

fn has_good(world: &World) -> bool {
    let revisions = world.state().revisions.as_ref();
    revisions.is_some_and(|it| it.iter().any(|revision| revision.is_good))
}

fn faults() -> impl Strategy<Value = Faults> {
    (0..2_000_u64, 0..60_u8, 0..30_u8, 0..50_u8, 0..50_u8).prop_map(
        |(max_delay_ms, fail, hang, duplicate, late)| Faults {
            max_delay_ms,
            fail,
            hang,
            duplicate,
            late,
        },
    )
}

/// What the trees and manifests are that people deploy.
#[derive(Clone, Copy, Debug)]
struct Deployed {
    policy: RestartPolicy,
    /// Whether a new tree is started beside what runs.
    trees_overlap: bool,
    /// The same for a new manifest of the first tree.
    manifests_overlap: bool,
}

impl Deployed {
    fn replacing(policy: RestartPolicy) -> Self {
        Self {
            policy,
            trees_overlap: false,
            manifests_overlap: false,
        }
    }

    fn source(self, digit: char, overlaps: bool) -> Source {
        match overlaps {
            true => common::overlapping(digit, self.policy),
            false => source(digit, self.policy),
        }
    }

    /// The most instances that may run at once.
    fn most(self) -> usize {
        1 + usize::from(self.trees_overlap || self.manifests_overlap)
    }
}

fn deployed() -> impl Strategy<Value = Deployed> {
    let overlap = (any::<bool>(), any::<bool>());
    (policy(), overlap).prop_map(|(policy, (trees_overlap, manifests_overlap))| Deployed {
        policy,
        trees_overlap,
        manifests_overlap,
    })
}

fn policy() -> impl Strategy<Value = RestartPolicy> {
    prop_oneof![
        Just(RestartPolicy::Never),
        Just(RestartPolicy::OnFailure),
        Just(RestartPolicy::Always)
    ]
}

fn exits(world: &mut World, code: i32) {
    if let Some(ready) = world.state().state.ready().cloned() {
        let program = world.state().id.clone();
        world.world.lose_instance(&program, ready.instance);
        let event = Event::InstanceEnded {
            instance: ready.instance,
            container: ready.container,
            exit: exit(code),
        };
        world.offer(event).unwrap();
    }
}

fn perform(world: &mut World, act: Act, deployed: Deployed) {
    let offer = |world: &mut World, event| world.offer(event).unwrap();
    match act {
        Act::Start => offer(world, Event::UserStartRequested),
        Act::Stop => offer(world, Event::UserStopRequested),
        Act::Restart => offer(world, Event::UserRestartRequested),
        Act::Delete => offer(world, Event::UserDeleteRequested),
        Act::NewTree => {
            let source = deployed.source('e', deployed.trees_overlap);
            offer(world, common::replaced(source));
        }
        Act::NewManifest => {
            let source = deployed.source('a', deployed.manifests_overlap);
            offer(world, common::replaced(source));
        }
        Act::BuildOnly => offer(world, Event::UserBuildRequested),
        Act::Exit(code) => exits(world, code),
        Act::Lose => world.world.lose_instances(&common::id()),
        Act::StrangerExits => {
            let event = end_of(world.state(), common::container('f'), exit(1));
            offer(world, event);
        }
        Act::RollBack(revision) => {
            let revision = RevisionNumber(revision);
            offer(world, Event::UserRollBackRequested { revision });
        }
        Act::HostRestarts => {
            world.crash().unwrap();
            offer(world, host_started());
        }
        Act::Steps(count) => {
            world.run(count).unwrap();
        }
    }
}

/// Runs until only retries and questions are left, which go on for ever by design.
fn settle(world: &mut World) -> u32 {
    settle_within(world, SETTLES_WITHIN)
}

fn settle_within(world: &mut World, limit: u32) -> u32 {
    for steps in 0..limit {
        let restful = match &world.state().state {
            State::Ready(held) => {
                held.check.is_none() && held.rollout.is_none() && held.leaving.is_none()
            }
            State::Error(held) => held.retry.is_none(),
            State::Created | State::Stopped(_) | State::Removed => true,
            State::Building(_) | State::Starting(_) | State::Stopping(_) => false,
        };
        if restful && !world.step().unwrap() {
            return steps;
        }
        if !restful {
            world.step().unwrap();
        }
    }
    panic!("not settled: {:?}", world.state());
}

fn nothing_left(world: &World, deployed: Deployed) {
    let program: &Program = world.state();
    let instances = world.world.instances(&program.id);
    assert_eq!(world.world.builds(), 0, "a build goes on");
    few_instances(world, deployed);
    if let State::Ready(ready) = &program.state {
        let own = (ready.instance, ready.container.clone());
        assert!(instances.iter().all(|instance| *instance == own));
    } else if !matches!(program.state, State::Error(_)) {
        assert!(instances.is_empty(), "{instances:?} in {:?}", program.state);
    }
    if matches!(program.state, State::Removed) {
        assert!(!world.world.has_folders(&program.id));
    }
}

fn few_instances(world: &World, deployed: Deployed) {
    let most = world.world.most_instances();
    assert!(most <= deployed.most(), "{most} instances at once");
    assert!(world.world.most_writers() <= 1, "two write to one /state");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn settles_after_faults_and_leaves_nothing_running(
        seed: u64,
        deployed in deployed(),
        faults in faults(),
        acts in proptest::collection::vec(act(), 1..60),
    ) {
        let mut world = World::new(program_with(deployed.policy), FakeWorld::default(), seed, NOW_MS);
        world.faults = faults;
        for act in acts {
            perform(&mut world, act, deployed);
        }
        world.faults = Faults::default();
        // What hung before the faults stopped still needs its deadline.
        settle(&mut world);
        nothing_left(&world, deployed);
        world.refold().unwrap();

        world.offer(Event::UserStopRequested).unwrap();
        settle(&mut world);
        nothing_left(&world, deployed);
        prop_assert!(!matches!(world.state().state, State::Error(_)));
        prop_assert!(world.world.instances(&world.state().id).is_empty());

        world.offer(Event::UserDeleteRequested).unwrap();
        settle(&mut world);
        prop_assert_eq!(&world.state().state, &State::Removed);
        nothing_left(&world, deployed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn rollouts_end_and_a_good_revision_is_up_again(
        seed: u64,
        always: bool,
        (trees_overlap, manifests_overlap) in any::<(bool, bool)>(),
        faults in faults(),
        acts in proptest::collection::vec(act_of_rollouts(), 1..60),
    ) {
        let policy = match always {
            true => RestartPolicy::Always,
            false => RestartPolicy::OnFailure,
        };
        let deployed = Deployed { policy, trees_overlap, manifests_overlap };
        let mut world = World::new(program_with(deployed.policy), FakeWorld::default(), seed, NOW_MS);
        // Slow enough that revisions settle while the next one is built.
        world.faults.max_delay_ms = 20_000;
        perform(&mut world, Act::Start, deployed);
        settle(&mut world);
        world.faults = Faults { max_delay_ms: 20_000, ..faults };
        let mut was_good = false;
        for act in acts {
            perform(&mut world, act, deployed);
            if matches!(act, Act::NewTree | Act::NewManifest) {
                perform(&mut world, Act::Restart, deployed);
            }
            prop_assert!(has_good(&world) || !was_good, "a good revision was forgotten");
            was_good = has_good(&world);
            few_instances(&world, deployed);
        }
        world.faults = Faults::default();
        settle_within(&mut world, SETTLES_AFTER_DEPLOYS_WITHIN);
        nothing_left(&world, deployed);
        world.refold().unwrap();
        if was_good {
            prop_assert!(matches!(world.state().state, State::Ready(_)), "{:?}", world.state());
        }
    }
}

#[test]
fn one_seed_gives_one_trace() {
    let run = || {
        let mut world = World::new(
            program_with(RestartPolicy::Always),
            FakeWorld::default(),
            42,
            NOW_MS,
        );
        world.faults = Faults {
            max_delay_ms: 500,
            fail: 30,
            hang: 10,
            duplicate: 20,
            late: 20,
        };
        let deployed = Deployed::replacing(RestartPolicy::Always);
        for _ in 0..10 {
            perform(&mut world, Act::Restart, deployed);
            perform(&mut world, Act::Steps(10), deployed);
            perform(&mut world, Act::HostRestarts, deployed);
        }
        world.trace().to_vec()
    };
    assert_eq!(run(), run());
    assert!(run().len() > 20);
}

#[test]
fn a_crash_after_any_record_changes_nothing_in_the_end() {
    let lives: [(&[Act], Event, &str); 4] = [
        (&[Act::Start], Event::UserStartRequested, "ready"),
        (
            &[Act::Start, Act::Steps(4), Act::Stop],
            Event::UserStopRequested,
            "stopped",
        ),
        (
            &[Act::Start, Act::Steps(4), Act::Restart],
            Event::UserRestartRequested,
            "ready",
        ),
        (
            &[Act::Start, Act::Steps(2), Act::Delete],
            Event::UserDeleteRequested,
            "removed",
        ),
    ];
    let deployed = Deployed::replacing(RestartPolicy::OnFailure);
    for (acts, last, end) in lives {
        for crash_after in 0..12 {
            let program = program_with(RestartPolicy::OnFailure);
            let mut world = World::new(program, FakeWorld::default(), 1, NOW_MS);
            world.faults.max_delay_ms = 100;
            for act in acts {
                perform(&mut world, *act, deployed);
            }
            world.run(crash_after).unwrap();
            // A command that was not yet durable is lost with the host: it was not answered.
            let durable = world.trace().iter().any(|record| record.event == last);
            perform(&mut world, Act::HostRestarts, deployed);
            if durable {
                settle(&mut world);
                assert_eq!(world.state().state.name(), end, "crash after {crash_after}");
                let count = world.world.instances(&common::id()).len();
                assert_eq!(count, usize::from(end == "ready"));
                nothing_left(&world, deployed);
            }
        }
    }
}
