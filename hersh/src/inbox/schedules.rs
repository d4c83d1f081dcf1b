//! Every schedule of the parts that several threads use, by loom. Built and run by
//! `scripts/test schedules`, which sets `--cfg hersh_loom`.

use std::sync::Arc;
use std::time::SystemTime;

use loom::thread;

use super::var::Var;
use super::{Inbox, Intake, Message, NextMessage};
use crate::engine::Event;
use crate::{EndKind, Ending};

/// Most interruptions of threads in a schedule; every schedule within this bound runs. Nearly all
/// faults need no more than two (M. Musuvathi, S. Qadeer, "Iterative context bounding", PLDI 2007).
const INTERRUPTIONS: usize = 2;

fn every_schedule(test: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(INTERRUPTIONS);
    model.check(test);
}

/// Takes in events and begins runs as the engine does, until `done` says so. It waits for the bell
/// in between, so a lost wake-up is a deadlock that loom reports.
fn engine(inbox: &Inbox, mut done: impl FnMut(Option<Event>, &Intake) -> bool) {
    loom::future::block_on(async {
        let mut waiting = 0;
        loop {
            let mut intake = Intake::default();
            let event = inbox.take_event();
            match &event {
                Some(Event::MessagesArrived { count }) => waiting += count,
                Some(_) => {}
                None if waiting == 0 => {
                    inbox.arrival().await;
                    continue;
                }
                None => {}
            }
            let next = match waiting {
                0 => NextMessage::Nothing,
                _ => NextMessage::Oldest,
            };
            inbox.begin_run(next, &mut intake);
            waiting -= u64::from(intake.message.is_some());
            if done(event, &intake) {
                return;
            }
        }
    });
}

#[test]
fn messages_of_two_senders_run_once_in_each_senders_order() {
    every_schedule(|| {
        let inbox = Arc::new(Inbox::new(10));
        let sender = inbox.clone();
        let other = thread::spawn(move || {
            sender.push_message("a1".into(), 0).unwrap();
            sender.push_message("a2".into(), 0).unwrap();
        });
        let sender = inbox.clone();
        let third = thread::spawn(move || sender.push_message("b1".into(), 0).unwrap());
        let mut seen = Vec::new();
        engine(&inbox, |_, intake| {
            seen.extend(intake.message.clone().map(|it| it.content.to_string()));
            seen.len() == 3
        });
        other.join().unwrap();
        third.join().unwrap();
        let place = |wanted| seen.iter().position(|it| it == wanted).unwrap();
        assert!(place("a1") < place("a2") && place("b1") < 3);
        assert_eq!(inbox.waiting(), 0);
    });
}

#[test]
fn the_last_value_of_a_source_always_arrives() {
    every_schedule(|| {
        let inbox = Arc::new(Inbox::new(1));
        let at = SystemTime::UNIX_EPOCH;
        let var = Arc::new(Var::new("n".into(), Arc::new(0_u64), at));
        let (source, feed) = (var.clone(), inbox.clone());
        let offers = thread::spawn(move || {
            source.offer(Arc::new(1_u64), at, &feed);
            source.offer(Arc::new(2_u64), at, &feed);
        });
        let mut run = 0;
        engine(&inbox, |_, intake| {
            run += 1;
            for var in &intake.changed {
                var.take_in(run);
            }
            var.show().value == Some(2.into())
        });
        offers.join().unwrap();
        assert!(!inbox.has_news() || inbox.peek(0).variables == 0);
    });
}

#[test]
fn a_wish_to_end_is_told_however_it_meets_a_message() {
    every_schedule(|| {
        let inbox = Arc::new(Inbox::new(1));
        let asker = inbox.clone();
        let asks = thread::spawn(move || {
            asker.request_end(Ending::new(EndKind::Stopped, "enough"), 0);
        });
        // The message is refused when the wish to end came first: no run would follow.
        let mut served = inbox.push_message("a".into(), 0).is_err();
        let mut ended = false;
        engine(&inbox, |event, intake| {
            served |= intake.message.is_some();
            ended |= matches!(event, Some(Event::EndAsked { .. }));
            served && ended
        });
        asks.join().unwrap();
    });
}

#[test]
fn room_is_never_given_twice() {
    every_schedule(|| {
        let inbox = Arc::new(Inbox::new(1));
        let sender = inbox.clone();
        let other = thread::spawn(move || sender.push_message("a".into(), 0).is_ok());
        let mine = inbox.push_message("b".into(), 0).is_ok();
        let theirs = other.join().unwrap();
        assert!(mine || theirs);
        assert_eq!(inbox.waiting(), usize::from(mine) + usize::from(theirs));
        assert_eq!(inbox.waiting(), 1);
    });
}

#[test]
fn a_message_on_its_way_to_the_disk_keeps_its_room() {
    every_schedule(|| {
        let inbox = Arc::new(Inbox::new(1));
        let writer = inbox.clone();
        let other = thread::spawn(move || {
            let is_taken = writer.reserve("a").is_ok();
            if is_taken {
                writer.deliver(Message {
                    number: 1,
                    content: "a".into(),
                    at_ms: 0,
                    kept: None,
                });
                writer.give_back("a");
            }
            is_taken
        });
        let mine = inbox.push_message("b".into(), 0).is_ok();
        let theirs = other.join().unwrap();
        assert!(mine || theirs);
        assert_eq!(inbox.waiting(), usize::from(mine) + usize::from(theirs));
        assert_eq!(inbox.waiting(), 1);
    });
}
