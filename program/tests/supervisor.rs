//! One program alive on tokio: journal, restart of the host, faults.
#![cfg(all(feature = "fake", feature = "tokio"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail"
)]

mod common;

use std::{sync::Arc, time::Duration};

use common::{NOW_MS, host_started, id, image, program, program_with};
use hersh_machine::{
    OpId, Stepper,
    driver::{
        Cancel, Config, Journal, JournalError, MemoryJournal, Recovery, SystemClock, TokioClock,
    },
    sim::Faults,
};
use hersh_program::{
    BuildId, BuildRules, Cause, CommandError, Effect, EffectHandler, Event, FakeHandler, ImageId,
    InstanceNumber, InstanceStatus, Instances, Lifecycle, Manifest, OperationContext, Program,
    ProgramRecord, ProgramStepper, Refusal, RestartPolicy, StartResult, State, Supervisor,
};
use proptest::prelude::*;

/// The first instance of a program.
const FIRST: InstanceNumber = InstanceNumber(1);

/// A journal in memory, which a crash leaves behind.
type Book = MemoryJournal<Lifecycle>;

fn fold(book: &Book) -> ProgramStepper {
    let mut stepper = ProgramStepper::new(program());
    stepper.fold(book.records()).unwrap();
    stepper
}

struct BrokenBook;

impl Journal<Lifecycle> for BrokenBook {
    async fn append(&mut self, _: &ProgramRecord) -> Result<(), JournalError> {
        Err(JournalError::Full)
    }
}

fn run(
    stepper: ProgramStepper,
    handler: &Arc<FakeHandler>,
    journal: impl Journal<Lifecycle>,
) -> Supervisor {
    let clock = TokioClock::starting_at(NOW_MS);
    Supervisor::run(
        stepper,
        Arc::clone(handler),
        journal,
        clock,
        Config::default(),
    )
}

fn faults(max_delay_ms: u64) -> Faults {
    Faults {
        max_delay_ms,
        ..Faults::default()
    }
}

async fn reach(supervisor: &Supervisor, name: &str) -> Program {
    let mut states = supervisor.subscribe();
    let mut program = states.current();
    while program.state.name() != name {
        program = states.changed().await.expect("a live supervisor");
    }
    program
}

#[tokio::test]
async fn a_program_goes_through_its_life() {
    let handler = Arc::new(FakeHandler::instant());
    let supervisor = Supervisor::run(
        Stepper::new(program()),
        Arc::clone(&handler),
        Book::default(),
        SystemClock,
        Config::default(),
    );
    let mut states = supervisor.subscribe();
    let first = states.generation();
    supervisor.call(Event::UserStartRequested).await.unwrap();
    assert_eq!(supervisor.settled().await.state.name(), "ready");
    assert!(states.changed().await.is_some());
    assert!(states.generation() > first);
    let already = supervisor.call(Event::UserStartRequested).await;
    let state = String::from("ready");
    assert_eq!(
        already,
        Err(CommandError::Refused(Refusal::Already { state }))
    );
    assert!(already.unwrap_err().to_string().contains("already ready"));
    supervisor.call(host_started()).await.unwrap();
    // An instant handler keeps no containers, so the runtime knows of none.
    reach(&supervisor, "error").await;
    supervisor.call(Event::UserStopRequested).await.unwrap();
    assert_eq!(supervisor.settled().await.state.name(), "stopped");
    assert!(!supervisor.is_stopped());
    supervisor.call(Event::UserDeleteRequested).await.unwrap();
    supervisor.stopped().await;
    assert!(supervisor.is_stopped());
    assert_eq!(supervisor.settled().await.state, State::Removed);
    assert!(handler.with_world(|_| ()).is_none());
    handler.set_faults(faults(1));
    handler.connect(id(), supervisor);
}

#[tokio::test(start_paused = true)]
async fn a_broken_journal_refuses_commands() {
    let handler = Arc::new(FakeHandler::scripted(faults(0), 1));
    let supervisor = run(Stepper::new(program()), &handler, BrokenBook);
    let refused = supervisor.call(Event::UserStartRequested).await;
    assert!(matches!(refused, Err(CommandError::Journal(_))));
    assert_eq!(supervisor.state().state, State::Created);
    supervisor.stop();
    supervisor.stopped().await;
    assert_eq!(
        supervisor.call(Event::UserStartRequested).await,
        Err(CommandError::Stopped)
    );
}

/// Runs until the program is in `state`, kills the host there, and comes back.
async fn crash_in(state: &str, wish: Option<Event>) -> (Arc<FakeHandler>, Supervisor, Program) {
    let handler = Arc::new(FakeHandler::scripted(faults(1_000), 3));
    let book = Book::default();
    let supervisor = run(Stepper::new(program()), &handler, book.clone());
    supervisor.call(Event::UserStartRequested).await.unwrap();
    if let Some(wish) = wish {
        reach(&supervisor, "ready").await;
        supervisor.call(wish).await.unwrap();
    }
    let before = reach(&supervisor, state).await;
    supervisor.stop();
    supervisor.stopped().await;
    let resumed = run(fold(&book), &handler, book.clone());
    assert_eq!(resumed.state().state, before.state);
    (handler, resumed, before)
}

#[tokio::test(start_paused = true)]
async fn a_host_that_dies_in_the_middle_goes_on_where_it_was() {
    for state in ["building", "starting"] {
        let (handler, supervisor, _) = crash_in(state, None).await;
        let program = supervisor.settled().await;
        assert_eq!(program.state.name(), "ready", "after {state}");
        let container = program.state.container().cloned().unwrap();
        handler.with_world(|world| {
            assert_eq!(world.instances(&id()), [(FIRST, container)]);
            assert_eq!(world.builds(), 0);
        });
    }
    for (wish, end) in [
        (Event::UserStopRequested, "stopped"),
        (Event::UserRestartRequested, "ready"),
        (Event::UserDeleteRequested, "removed"),
    ] {
        let (handler, supervisor, _) = crash_in("stopping", Some(wish)).await;
        let program = supervisor.settled().await;
        assert_eq!(program.state.name(), end);
        let count = handler.with_world(|world| world.instances(&id()).len());
        assert_eq!(count, Some(usize::from(end == "ready")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_ready_program_is_kept_untouched() {
    let (handler, supervisor, before) = crash_in("ready", None).await;
    let mut states = supervisor.subscribe();
    // It is asked about, and the answer changes nothing.
    assert_eq!(states.changed().await.unwrap().state.name(), "ready");
    common::pass(Duration::from_secs(5)).await;
    assert_eq!(supervisor.state().state, before.state);
    let container = before.state.container().cloned().unwrap();
    handler.with_world(|world| assert_eq!(world.instances(&id()), [(FIRST, container)]));
}

#[tokio::test(start_paused = true)]
async fn a_program_that_died_with_the_host_is_settled() {
    let handler = Arc::new(FakeHandler::scripted(faults(10), 3));
    let book = Book::default();
    let supervisor = run(Stepper::new(program()), &handler, book.clone());
    supervisor.call(Event::UserStartRequested).await.unwrap();
    reach(&supervisor, "ready").await;
    supervisor.stop();
    supervisor.stopped().await;
    handler.with_world(|world| world.lose_instances(&id()));
    let resumed = run(fold(&book), &handler, book.clone());
    let program = reach(&resumed, "error").await;
    assert!(matches!(&program.state, State::Error(held) if *held.cause == Cause::Vanished));
    // The policy starts it again.
    reach(&resumed, "ready").await;
}

#[tokio::test(start_paused = true)]
async fn a_program_at_rest_costs_no_record_on_a_host_start() {
    let handler = Arc::new(FakeHandler::scripted(faults(0), 3));
    let book = Book::default();
    let supervisor = run(Stepper::new(program()), &handler, book.clone());
    supervisor.call(Event::UserStartRequested).await.unwrap();
    reach(&supervisor, "ready").await;
    supervisor.call(Event::UserStopRequested).await.unwrap();
    supervisor.settled().await;
    supervisor.stop();
    supervisor.stopped().await;
    let records = book.records().len();
    let resumed = run(fold(&book), &handler, book.clone());
    common::pass(Duration::from_secs(1)).await;
    assert_eq!(resumed.state().state.name(), "stopped");
    assert_eq!(book.records().len(), records);
}

/// A handler that knows what became of its operations.
struct Knowing;

impl EffectHandler for Knowing {
    async fn ensure_program_folders(&self, _: &OperationContext) -> Result<(), Cause> {
        panic!("the disk is on fire")
    }

    async fn build_image(
        &self,
        operation: &OperationContext,
        _: &BuildId,
        _: &BuildRules,
        _: u64,
    ) -> Result<ImageId, Cause> {
        operation.cancel.cancelled().await;
        Err(Cause::HostRestarted)
    }

    async fn start_instance(
        &self,
        _: &OperationContext,
        _: InstanceNumber,
        _: &ImageId,
        _: &Arc<Manifest>,
    ) -> Result<StartResult, Cause> {
        Err(Cause::HostRestarted)
    }

    async fn stop_instances(
        &self,
        _: &OperationContext,
        _: Instances,
        _: u64,
        _: u64,
    ) -> Result<(), Cause> {
        Ok(())
    }

    async fn observe_instance(
        &self,
        _: &OperationContext,
        _: InstanceNumber,
    ) -> Result<InstanceStatus, Cause> {
        Ok(InstanceStatus::Absent)
    }

    async fn remove_program(&self, _: &OperationContext) -> Result<(), Cause> {
        Ok(())
    }

    async fn recover(&self, op: OpId, effect: &Effect, issued_at_ms: u64) -> Recovery<Event> {
        assert_eq!(issued_at_ms, NOW_MS);
        match effect {
            Effect::BuildImage { .. } => {
                let result = Ok(image('b'));
                Recovery::Ended(Event::BuildFinished { op, result })
            }
            _ => Recovery::Rerun,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_know_what_became_of_an_operation() {
    let mut stepper = ProgramStepper::new(program_with(RestartPolicy::Never));
    stepper.step(Event::UserStartRequested, NOW_MS).unwrap();
    let op = OpId(1);
    let folders = Event::FoldersEnsured { op, result: Ok(()) };
    stepper.step(folders, NOW_MS).unwrap();
    let clock = TokioClock::starting_at(NOW_MS);
    let handler = Arc::new(Knowing);
    let (book, config) = (Book::default(), Config::default());
    let supervisor = Supervisor::run(stepper, handler, book, clock, config);
    let program = reach(&supervisor, "error").await;
    assert_eq!(program.image, Some(image('b')));
    assert!(matches!(&program.state, State::Error(held) if *held.cause == Cause::HostRestarted));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_handler_is_an_error_of_its_program() {
    let stepper = Stepper::new(program_with(RestartPolicy::Never));
    let clock = TokioClock::starting_at(NOW_MS);
    let (book, config) = (Book::default(), Config::default());
    let supervisor = Supervisor::run(stepper, Arc::new(Knowing), book, clock, config);
    supervisor.call(Event::UserStartRequested).await.unwrap();
    let program = reach(&supervisor, "error").await;
    let State::Error(failed) = program.state else {
        panic!("{:?}", program.state)
    };
    assert_eq!(
        failed.cause.to_string(),
        "internal error: the disk is on fire"
    );
}

#[tokio::test]
async fn the_contract_says_rerun_when_a_handler_does_not_know() {
    let handler = FakeHandler::instant();
    let effect = Effect::RemoveProgram { program: id() };
    assert_eq!(handler.recover(OpId(1), &effect, 0).await, Recovery::Rerun);
    let operation = OperationContext {
        op: OpId(1),
        program: id(),
        cancel: Cancel::never(),
    };
    assert_eq!(
        handler.observe_instance(&operation, FIRST).await,
        Ok(InstanceStatus::Absent)
    );
}

/// Commands while the handler misbehaves; then it behaves, and all must come to rest.
async fn storm(seed: u64, faults_of_seed: Faults, acts: Vec<u8>) {
    let handler = Arc::new(FakeHandler::scripted(faults_of_seed, seed));
    let book = Book::default();
    let mut supervisor = run(Stepper::new(program()), &handler, book.clone());
    handler.connect(id(), supervisor.clone());
    for act in acts {
        let event = match act {
            0..=2 => Event::UserStartRequested,
            3 | 4 => Event::UserStopRequested,
            5 => Event::UserRestartRequested,
            6 => {
                supervisor.stop();
                supervisor.stopped().await;
                supervisor = run(fold(&book), &handler, book.clone());
                handler.connect(id(), supervisor.clone());
                continue;
            }
            _ => {
                common::pass(Duration::from_secs(u64::from(act) * 4)).await;
                continue;
            }
        };
        // Refused or taken: either is an answer.
        let answer = supervisor.call(event).await;
        assert!(matches!(answer, Ok(()) | Err(CommandError::Refused(_))));
    }
    handler.set_faults(faults(5));
    // Whatever still hangs has a deadline; the longest is that of a build.
    let limit = Duration::from_millis(3_600_000 + hersh_program::BUILD_QUEUE_MS);
    tokio::time::timeout(limit, async {
        while !rests(&supervisor.state()) {
            common::pass(Duration::from_secs(5)).await;
        }
        let stopped = supervisor.call(Event::UserStopRequested).await;
        assert!(matches!(stopped, Ok(()) | Err(CommandError::Refused(_))));
        supervisor.settled().await;
        handler.with_world(|world| {
            assert!(world.instances(&id()).is_empty());
            assert_eq!(world.builds(), 0);
            assert!(world.most_instances() <= 1);
        });
        supervisor.call(Event::UserDeleteRequested).await.unwrap();
        supervisor.stopped().await;
    })
    .await
    .expect("settled within an hour beside the time in the queue");
    assert_eq!(supervisor.state().state, State::Removed);
    assert_eq!(fold(&book).state().state, State::Removed);
}

fn rests(program: &Program) -> bool {
    match &program.state {
        State::Error(held) => held.retry.is_none(),
        other => other.is_settled(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn after_faults_stop_every_program_comes_to_rest(
        seed: u64,
        (fail, hang, duplicate, late) in (0..60_u8, 0..30_u8, 0..50_u8, 0..50_u8),
        acts in proptest::collection::vec(0..12_u8, 1..40),
    ) {
        let faults = Faults { max_delay_ms: 3_000, fail, hang, duplicate, late };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(storm(seed, faults, acts));
    }
}
