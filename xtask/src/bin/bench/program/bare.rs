//! The peer: the same lifecycle as a hand-written tokio task.

use tokio::sync::{mpsc, watch};

use super::Subject;

/// As many as a supervisor's user lane holds.
const QUEUE: usize = 256;

/// A task with a queue and a published state.
pub(crate) struct Program {
    events: mpsc::Sender<Event>,
    state: watch::Receiver<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Created,
    Folders,
    Building,
    Starting,
    Ready,
    Stopping,
    Stopped,
}

#[derive(Debug)]
enum Event {
    Start,
    Stop,
    Done,
}

impl Subject for Program {
    fn create(_: usize) -> Self {
        let (events, mut queue) = mpsc::channel(QUEUE);
        let (publish, state) = watch::channel(State::Created);
        let outcomes = events.downgrade();
        tokio::spawn(async move {
            let mut state = State::Created;
            while let Some(event) = queue.recv().await {
                let (next, effect) = reduce(state, event);
                state = next;
                publish.send_replace(next);
                if effect && let Some(outcomes) = outcomes.upgrade() {
                    // Nobody else sends while an operation is under way: there is room.
                    drop(outcomes.try_send(carry_out().await));
                }
            }
        });
        Self { events, state }
    }

    #[allow(clippy::expect_used, reason = "a lost command would measure nothing")]
    fn ask_start(&self) {
        self.events
            .try_send(Event::Start)
            .expect("room for a command");
    }

    #[allow(clippy::expect_used, reason = "a lost command would measure nothing")]
    fn ask_stop(&self) {
        self.events
            .try_send(Event::Stop)
            .expect("room for a command");
    }

    async fn reach(&self, ready: bool) {
        let wanted = if ready { State::Ready } else { State::Stopped };
        let mut state = self.state.clone();
        // An error says that the task has ended: then there is nothing to wait for.
        drop(state.wait_for(|state| *state == wanted).await);
    }
}

/// The next state, and whether an effect is to be carried out.
fn reduce(state: State, event: Event) -> (State, bool) {
    match (state, event) {
        (State::Created | State::Stopped, Event::Start) => (State::Folders, true),
        (State::Folders, Event::Done) => (State::Building, true),
        (State::Building, Event::Done) => (State::Starting, true),
        (State::Starting, Event::Done) => (State::Ready, false),
        (State::Ready, Event::Stop) => (State::Stopping, true),
        (State::Stopping, Event::Done) => (State::Stopped, false),
        (state, Event::Start | Event::Stop | Event::Done) => (state, false),
    }
}

async fn carry_out() -> Event {
    Event::Done
}
