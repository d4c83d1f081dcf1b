//! A small state machine for the tests: it does jobs, one deadline each; a late one for "... for long".
#![allow(dead_code, reason = "every test binary uses another part")]

use hersh_machine::{Lane, Machine, OpId, StepContext};
use serde::{Deserialize, Serialize};

/// How long a job may take, milliseconds.
pub(crate) const JOB_MS: u64 = 60_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Desk {
    /// Open jobs with their deadlines, oldest first.
    pub(crate) jobs: Vec<(OpId, u64)>,
    /// What happened, in order.
    pub(crate) log: Vec<String>,
    pub(crate) closed: bool,
    pub(crate) broken: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    Ask(String),
    Drop(OpId),
    Refuse,
    Close,
    Explode,
    Break,
    Note(String),
    Done(OpId, String),
    Panicked(OpId, String),
    Late(OpId),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Effect {
    Job(String),
    Cancel(OpId),
    Answer(String),
}

pub(crate) enum Office {}

impl Machine for Office {
    type State = Desk;
    type Event = Event;
    type Effect = Effect;

    fn lane(event: &Event) -> Lane {
        match event {
            Event::Done(..) | Event::Panicked(..) | Event::Late(_) => Lane::Control,
            Event::Note(_) => Lane::Data,
            _ => Lane::User,
        }
    }

    fn completes(event: &Event) -> Option<OpId> {
        match event {
            Event::Done(op, _) | Event::Panicked(op, _) => Some(*op),
            _ => None,
        }
    }

    fn cancels(effect: &Effect) -> Option<OpId> {
        match effect {
            Effect::Cancel(op) => Some(*op),
            _ => None,
        }
    }

    fn is_reply(effect: &Effect) -> bool {
        matches!(effect, Effect::Answer(_))
    }

    fn wake(desk: &Desk) -> Option<(u64, Event)> {
        let next = desk.jobs.iter().min_by_key(|(_, at_ms)| *at_ms);
        next.map(|(op, at_ms)| (*at_ms, Event::Late(*op)))
    }

    fn is_terminal(desk: &Desk) -> bool {
        desk.closed
    }

    fn reduce(mut desk: Desk, event: Event, cx: &mut StepContext<Effect>) -> Desk {
        match event {
            Event::Ask(job) => {
                desk.log.push(format!("ask {job}"));
                let times = if job.ends_with("for long") { 10 } else { 1 };
                let op = cx.emit(Effect::Job(job));
                desk.jobs.push((op, cx.now_ms() + times * JOB_MS));
            }
            Event::Drop(op) => {
                desk.jobs.retain(|(open, _)| *open != op);
                cx.emit(Effect::Cancel(op));
            }
            Event::Refuse => {
                cx.emit(Effect::Answer(String::from("no")));
            }
            Event::Close => desk.closed = true,
            Event::Explode => panic!("a defect of the reducer"),
            Event::Break => desk.broken = true,
            Event::Note(text) => desk.log.push(text),
            Event::Done(op, text) => {
                desk.jobs.retain(|(open, _)| *open != op);
                desk.log.push(format!("done {text}"));
            }
            Event::Panicked(op, message) => {
                desk.jobs.retain(|(open, _)| *open != op);
                desk.log.push(format!("panic {message}"));
            }
            Event::Late(op) => {
                desk.jobs.retain(|(open, _)| *open != op);
                desk.log.push(format!("late {op}"));
                cx.emit(Effect::Cancel(op));
            }
        }
        desk
    }

    fn invariants(desk: &Desk) -> Result<(), String> {
        if desk.broken {
            return Err(String::from("the desk must be whole"));
        }
        Ok(())
    }
}

pub(crate) fn ask(job: &str) -> Event {
    Event::Ask(job.to_owned())
}

/// Lets virtual time pass.
pub(crate) async fn pass(time: std::time::Duration) {
    // tidy: allow(sleep) the clock of these tests is paused: it stands for time, waits for none
    tokio::time::sleep(time).await;
}
