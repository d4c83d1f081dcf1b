//! Watchers that act: what is asked for, acted on, settled and taken in, in virtual time.

mod asking;
mod attempts;
pub(super) mod chaos;
mod faults;
mod lives;
mod moments;
mod replaying;
mod storm;

use std::cell::Cell;

use super::*;
use crate::{Control, EffectId, Effects, EndKind, HookError, Outcome, Policy, Recovery};

const SECOND: Duration = Duration::from_secs(1);

/// The other side of a watcher: notes each attempt and answers as it was told.
#[derive(Clone)]
struct Side {
    notes: Notes,
    ids: Rc<RefCell<Vec<EffectId>>>,
    answers: Rc<RefCell<Vec<Answer>>>,
    at_once: Rc<Cell<(usize, usize)>>,
}

/// How one attempt is answered.
#[derive(Clone, Copy)]
enum Answer {
    Well,
    Refused,
    After(u64),
    Never,
    Panic,
}

/// Counts an attempt as under way.
struct UnderWay(Side);

impl Side {
    fn new() -> Self {
        Self {
            notes: Notes::new(),
            ids: Rc::default(),
            answers: Rc::default(),
            at_once: Rc::default(),
        }
    }

    /// Answers the next attempts in this way, and all after them well.
    fn answers(self, answers: &[Answer]) -> Self {
        self.answers.borrow_mut().extend(answers.iter().rev());
        self
    }

    async fn act(&self, id: EffectId, input: String) -> crate::Result<String> {
        self.notes.add(&input);
        self.ids.borrow_mut().push(id);
        let _under_way = UnderWay::begin(self);
        let answer = self.answers.borrow_mut().pop();
        match answer.unwrap_or(Answer::Well) {
            Answer::Well => {}
            Answer::Refused => return Err(Error::msg("not now")),
            Answer::After(ms) => pass(ms).await,
            Answer::Never => std::future::pending().await,
            Answer::Panic => panic!("from the other side"),
        }
        Ok(format!("{input} done"))
    }
}

impl UnderWay {
    fn begin(side: &Side) -> Self {
        let (now, most) = side.at_once.get();
        side.at_once.set((now + 1, most.max(now + 1)));
        Self(side.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let (now, most) = self.0.at_once.get();
        self.0.at_once.set((now - 1, most));
    }
}

fn acts(
    cx: &mut Context,
    side: &Side,
    policy: Policy,
) -> std::result::Result<Effects<String, String>, HookError> {
    let side = side.clone();
    cx.effects("acts", policy, async move |id, input: String| {
        side.act(id, input).await
    })
}

fn shown(outcome: Outcome<String>) -> String {
    match outcome {
        Outcome::Done(output) => output,
        Outcome::Failed { error } => format!("failed: {error}"),
        Outcome::Unknown { reason } => format!("unknown: {reason}"),
        Outcome::Cancelled => "cancelled".into(),
    }
}

/// Asks for what messages say, and notes the outcomes. `key:text` is started in order of its key.
async fn bot(cx: &mut Context, side: &Side, policy: Policy, booked: &Notes) -> crate::Result {
    let acts = acts(cx, side, policy)?;
    if let Some(done) = acts.settled(cx)? {
        assert_eq!(cx.triggered().effect.as_deref(), Some("acts"));
        booked.add(format!("{} = {}", done.input, shown(done.outcome)));
        cx.update("booked", |n: u64| n + 1)?;
    }
    let Some(message) = cx.message() else {
        return Ok(());
    };
    match message.split_once(':') {
        Some(("cancel", number)) => {
            let ids: Vec<EffectId> = cx.value("ids")?.unwrap_or_default();
            cx.cancel(ids[number.parse::<usize>()?]);
        }
        Some((key, text)) => drop(cx.start_in_order(&acts, key, &text.to_owned())?),
        None => {
            let id = cx.start(&acts, &message.to_string())?;
            cx.update("ids", |mut ids: Vec<EffectId>| {
                ids.push(id);
                ids
            })?;
        }
    }
    Ok(())
}

/// Plays the bot once, with a script.
async fn play_bot(
    builder: Builder,
    side: &Side,
    policy: Policy,
    script: impl AsyncFnOnce(&Watcher),
) -> (Ending, Vec<String>) {
    let (side, booked) = (side.clone(), Notes::new());
    let books = booked.clone();
    let managed = async move |cx: &mut Context| bot(cx, &side, policy, &books).await;
    let ending = play(builder, managed, script).await;
    (ending, booked.texts())
}

fn of_notes(side: &Side) -> usize {
    side.notes.texts().len()
}
