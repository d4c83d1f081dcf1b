//! Mailbox, stepper, replay and generator.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail"
)]

mod common;

use common::{Desk, Effect, Event, JOB_MS, Office, ask};
use hersh_machine::{
    Capacity, Lane, Machine, Mailbox, OpId, Record, Snapshot, SplitMix64, StepContext, Stepper,
};
use proptest::prelude::*;

fn stepper() -> Stepper<Office> {
    Stepper::new(Desk::default())
}

#[test]
fn lanes_are_strict_in_priority_and_fifo_inside() {
    let mut mailbox = Mailbox::new(Capacity::default());
    for (lane, item) in [
        (Lane::Data, 5),
        (Lane::User, 3),
        (Lane::Control, 1),
        (Lane::User, 4),
        (Lane::Control, 2),
    ] {
        mailbox.offer(lane, item).unwrap();
    }
    assert_eq!(mailbox.len(), 5);
    let order: Vec<_> = std::iter::from_fn(|| mailbox.pop()).collect();
    assert_eq!(order, [1, 2, 3, 4, 5]);
    assert!(mailbox.is_empty());
}

#[test]
fn a_full_lane_hands_the_item_back_and_leaves_the_others_open() {
    let capacity = Capacity {
        control: 1,
        user: 2,
        data: 0,
    };
    let mut mailbox = Mailbox::new(capacity);
    assert_eq!(mailbox.offer(Lane::Data, 'd'), Err('d'));
    assert_eq!(mailbox.offer(Lane::Control, 'a'), Ok(()));
    assert_eq!(mailbox.offer(Lane::Control, 'b'), Err('b'));
    assert_eq!(mailbox.offer(Lane::User, 'c'), Ok(()));
    assert_eq!(mailbox.offer(Lane::User, 'e'), Ok(()));
    assert_eq!(mailbox.offer(Lane::User, 'f'), Err('f'));
    assert_eq!(mailbox.pop_control(), Some('a'));
    assert_eq!(mailbox.pop_control(), None);
    assert_eq!(mailbox.offer(Lane::Control, 'b'), Ok(()));
}

#[test]
fn draining_keeps_the_order_of_each_lane() {
    let mut from = Mailbox::new(Capacity::default());
    let mut to = Mailbox::new(Capacity::default());
    to.offer(Lane::User, 1).unwrap();
    from.offer(Lane::User, 2).unwrap();
    from.offer(Lane::Control, 0).unwrap();
    from.drain_control_into(&mut to);
    assert_eq!((from.len(), to.len()), (1, 2));
    from.drain_into(&mut to);
    assert!(from.is_empty());
    to.retain_mut(|item| *item != 1);
    assert_eq!(to.pop(), Some(0));
    assert_eq!(to.pop(), Some(2));
    to.shrink();
    assert_eq!(to.pop(), None);
}

#[test]
fn a_context_mints_ids_in_order() {
    let mut cx = StepContext::new(7, 3);
    assert_eq!(cx.now_ms(), 7);
    assert_eq!(cx.emit('a'), OpId(3));
    assert_eq!(cx.emit('b'), OpId(4));
    assert_eq!(cx.finish(), (vec![(OpId(3), 'a'), (OpId(4), 'b')], 5));
    assert_eq!(OpId(4).to_string(), "op-4");
}

#[test]
fn a_step_makes_a_record_and_opens_its_operations() {
    let mut stepper = stepper();
    let record = stepper.step(ask("a"), 10).unwrap();
    let expected = Record {
        seq: 1,
        now_ms: 10,
        event: ask("a"),
        effects: vec![(OpId(1), Effect::Job(String::from("a")))],
    };
    assert_eq!(record, expected);
    assert_eq!(stepper.open()[0].op, OpId(1));
    assert_eq!(stepper.open()[0].issued_at_ms, 10);
    assert_eq!(stepper.due(10 + JOB_MS - 1), None);
    assert_eq!(stepper.due(10 + JOB_MS), Some(Event::Late(OpId(1))));
}

#[test]
fn an_outcome_closes_its_operation_and_a_second_one_is_stale() {
    let mut stepper = stepper();
    stepper.step(ask("a"), 1).unwrap();
    let done = Event::Done(OpId(1), String::from("a"));
    assert!(stepper.step(done.clone(), 2).is_some());
    assert!(stepper.open().is_empty());
    assert!(stepper.is_stale(&done));
    assert_eq!(stepper.step(done, 3), None);
    assert_eq!(stepper.seq(), 2);
    let never = Event::Done(OpId(77), String::new());
    assert_eq!(stepper.step(never, 3), None);
}

#[test]
fn a_cancelled_operation_is_over() {
    let mut stepper = stepper();
    stepper.step(ask("a"), 1).unwrap();
    stepper.step(Event::Drop(OpId(1)), 2).unwrap();
    assert!(stepper.open().is_empty());
    assert_eq!(stepper.step(Event::Done(OpId(1), String::new()), 3), None);
    stepper.step(Event::Refuse, 4).unwrap();
    assert!(stepper.open().is_empty());
}

#[test]
fn time_never_goes_backwards() {
    let mut stepper = stepper();
    stepper.step(ask("a"), 100).unwrap();
    assert_eq!(stepper.step(ask("b"), 50).unwrap().now_ms, 100);
    assert_eq!(stepper.prepare(ask("c"), 60).record.now_ms, 100);
}

#[test]
fn a_prepared_step_changes_nothing_before_it_is_committed() {
    let mut stepper = stepper();
    let before = stepper.snapshot();
    let step = stepper.prepare(ask("a"), 5);
    assert_eq!(stepper.snapshot(), before);
    let record = stepper.commit(step);
    let mut other = Stepper::<Office>::new(Desk::default());
    assert_eq!(other.step(ask("a"), 5), Some(record));
    assert_eq!(other.snapshot(), stepper.snapshot());
}

#[test]
fn a_snapshot_reads_back_and_goes_on() {
    let mut stepper = stepper();
    stepper.step(ask("a"), 5).unwrap();
    let text = serde_json::to_string(&stepper.snapshot()).unwrap();
    let snapshot: Snapshot<Desk, Effect> = serde_json::from_str(&text).unwrap();
    let mut again = Stepper::<Office>::from_snapshot(snapshot);
    let done = Event::Done(OpId(1), String::from("a"));
    assert_eq!(again.step(done.clone(), 6), stepper.step(done, 6));
}

fn events() -> Vec<Event> {
    vec![
        ask("a"),
        ask("b"),
        Event::Done(OpId(1), String::from("a")),
        Event::Drop(OpId(2)),
        Event::Refuse,
        Event::Note(String::from("n")),
    ]
}

fn records() -> Vec<Record<Event, Effect>> {
    let mut stepper = stepper();
    let take = |(at, event)| stepper.step(event, at as u64);
    events().into_iter().enumerate().filter_map(take).collect()
}

#[test]
fn a_fold_rebuilds_state_and_open_operations() {
    let mut live = stepper();
    for (at, event) in events().into_iter().enumerate() {
        live.step(event, at as u64);
    }
    let mut folded = stepper();
    folded.fold(records()).unwrap();
    assert_eq!(folded.snapshot(), live.snapshot());
}

#[test]
fn a_fold_names_the_first_record_that_differs() {
    let mut wrong_effect = records();
    wrong_effect[3].effects.clear();
    let mut gap = records();
    gap.remove(3);
    let mut backwards = records();
    backwards[3].now_ms = 0;
    for (records, seq) in [(wrong_effect, 4), (gap, 4), (backwards, 4)] {
        let expected = records[3].clone();
        let mut folded = stepper();
        let divergence = folded.fold(records).unwrap_err();
        assert_eq!(divergence.seq, seq);
        assert_eq!(*divergence.expected, expected);
        assert_ne!(divergence.seen, divergence.expected);
        assert!(divergence.to_string().contains("record 4"));
        assert_eq!(folded.seq(), 3);
    }
}

#[test]
fn a_reducer_that_panics_changes_nothing() {
    let mut stepper = stepper();
    stepper.step(ask("a"), 1).unwrap();
    let before = stepper.snapshot();
    let explode = std::panic::AssertUnwindSafe(|| stepper.step(Event::Explode, 2));
    assert!(std::panic::catch_unwind(explode).is_err());
    assert_eq!(stepper.snapshot(), before);
}

#[test]
fn the_default_machine_has_no_replies() {
    enum Plain {}
    impl Machine for Plain {
        type State = ();
        type Event = ();
        type Effect = ();
        fn lane((): &()) -> Lane {
            Lane::Data
        }
        fn completes((): &()) -> Option<OpId> {
            None
        }
        fn cancels((): &()) -> Option<OpId> {
            None
        }
        fn wake((): &()) -> Option<(u64, ())> {
            None
        }
        fn is_terminal((): &()) -> bool {
            false
        }
        fn reduce((): (), (): (), cx: &mut StepContext<()>) {
            cx.emit(());
        }
        fn invariants((): &()) -> Result<(), String> {
            Ok(())
        }
    }
    let mut stepper = Stepper::<Plain>::new(());
    stepper.step((), 1).unwrap();
    assert_eq!(stepper.open().len(), 1);
}

#[test]
fn the_generator_gives_the_published_numbers() {
    let mut rng = SplitMix64::new(1_234_567);
    let numbers = [rng.next_u64(), rng.next_u64(), rng.next_u64()];
    let published = [
        6_457_827_717_110_365_317,
        3_203_168_211_198_807_973,
        9_817_491_932_198_370_423,
    ];
    assert_eq!(numbers, published);
    assert_eq!(rng.below(0), 0);
    assert!((0..1_000).all(|_| rng.below(7) < 7));
    assert!(!rng.chance(0) && rng.chance(100));
}

proptest! {
    #[test]
    fn folding_any_journal_gives_what_was(choices in proptest::collection::vec(0..6_u8, 0..60)) {
        let mut live = stepper();
        let mut records = Vec::new();
        for (at, choice) in choices.into_iter().enumerate() {
            let open = live.open().first().map_or(OpId(1), |open| open.op);
            let event = match choice {
                0 | 1 => ask("job"),
                2 => Event::Done(open, String::from("job")),
                3 => Event::Drop(open),
                4 => Event::Late(open),
                _ => Event::Refuse,
            };
            records.extend(live.step(event, at as u64));
        }
        let mut folded = stepper();
        folded.fold(records).unwrap();
        prop_assert_eq!(folded.snapshot(), live.snapshot());
    }
}
