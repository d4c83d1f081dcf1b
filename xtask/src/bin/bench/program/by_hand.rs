//! The peer: the same lifecycle as somebody writes it without Hersh, a task with a loop that matches on the
//! state, writes a row, and carries the effect out.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use super::{
    Subject,
    by_hand_rows::{Row, Rows},
};

/// As many as a supervisor's user lane holds.
const QUEUE: usize = 256;

/// A task with a queue and a published state.
pub(crate) struct Program {
    events: mpsc::Sender<Event>,
    state: watch::Receiver<State>,
}

#[derive(Clone, PartialEq, Eq, Serialize)]
enum State {
    Created,
    Folders,
    Building,
    Starting { image: String },
    Ready { container: String },
    Stopping,
    Stopped,
}

#[derive(Debug, Serialize)]
enum Event {
    Start,
    Stop,
    FoldersMade,
    Built { image: String },
    Started { container: String },
    ContainerStopped,
}

enum Effect {
    MakeFolders,
    Build,
    Start,
    Stop,
}

impl Subject for Program {
    type Journal = Rows;

    fn open(folder: &Path) -> Result<Rows> {
        Rows::open(folder)
    }

    async fn create(rows: &Rows, number: usize) -> Result<Self> {
        let program = rows.create(format!("program-{number}")).await?;
        let (events, queue) = mpsc::channel(QUEUE);
        let (publish, state) = watch::channel(State::Created);
        tokio::spawn(live(
            program,
            rows.clone(),
            queue,
            events.downgrade(),
            publish,
        ));
        Ok(Self { events, state })
    }

    async fn start(&self) -> Result<()> {
        self.events.send(Event::Start).await?;
        self.reach(|state| matches!(state, State::Ready { .. }))
            .await
    }

    async fn stop(&self) -> Result<()> {
        self.events.send(Event::Stop).await?;
        self.reach(|state| *state == State::Stopped).await
    }
}

impl Program {
    async fn reach(&self, is_reached: impl FnMut(&State) -> bool) -> Result<()> {
        self.state.clone().wait_for(is_reached).await?;
        Ok(())
    }
}

/// Runs a program until nobody can send to it, or until its journal fails.
async fn live(
    program: i64,
    rows: Rows,
    mut queue: mpsc::Receiver<Event>,
    outcomes: mpsc::WeakSender<Event>,
    publish: watch::Sender<State>,
) -> Result<()> {
    let (mut state, mut seq) = (State::Created, 0);
    while let Some(event) = queue.recv().await {
        let (next, effect) = step(&state, &event);
        seq += 1;
        let row = Row {
            program,
            seq,
            event: serde_json::to_string(&event)?,
            state: serde_json::to_string(&next)?,
        };
        rows.append(row).await?;
        state = next;
        publish.send_replace(state.clone());
        if let Some(effect) = effect
            && let Some(outcomes) = outcomes.upgrade()
        {
            // Nobody else sends while an operation is under way: there is room.
            outcomes.try_send(carry_out(effect).await)?;
        }
    }
    Ok(())
}

/// The next state, and the effect that is to be carried out.
fn step(state: &State, event: &Event) -> (State, Option<Effect>) {
    match (state, event) {
        (State::Created | State::Stopped, Event::Start) => {
            (State::Folders, Some(Effect::MakeFolders))
        }
        (State::Folders, Event::FoldersMade) => (State::Building, Some(Effect::Build)),
        (State::Building, Event::Built { image }) => {
            let image = image.clone();
            (State::Starting { image }, Some(Effect::Start))
        }
        (State::Starting { .. }, Event::Started { container }) => {
            let container = container.clone();
            (State::Ready { container }, None)
        }
        (State::Ready { .. }, Event::Stop) => (State::Stopping, Some(Effect::Stop)),
        (State::Stopping, Event::ContainerStopped) => (State::Stopped, None),
        (
            state,
            Event::Start
            | Event::Stop
            | Event::FoldersMade
            | Event::Built { .. }
            | Event::Started { .. }
            | Event::ContainerStopped,
        ) => (state.clone(), None),
    }
}

async fn carry_out(effect: Effect) -> Event {
    match effect {
        Effect::MakeFolders => Event::FoldersMade,
        Effect::Build => Event::Built {
            image: format!("sha256:{}", "0".repeat(64)),
        },
        Effect::Start => Event::Started {
            container: "0".repeat(64),
        },
        Effect::Stop => Event::ContainerStopped,
    }
}
