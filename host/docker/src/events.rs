//! Tells of the exits of containers, as the engine reports them.
//!
//! ```text
//! connect ─► subscribe ─► list: the dead are told, the living are captured ─► read events
//!    ▲                                                                           │
//!    └──────────────── back off ◄──────────────── connection lost ◄──────────────┘
//! ```
//!
//! The engine is subscribed to before the list is made. So an exit at any moment is in the events, in the
//! list, or in both: in the other order, an exit between the two would be missed. [`ends`](super::ends)
//! asks the engine whether an end was the program's own. An engine that goes down does not answer that
//! question, so the end is told once the engine is back.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bollard::{
    models::{
        ContainerSummaryStateEnum::{DEAD, EXITED},
        EventMessage,
    },
    query_parameters::EventsOptions,
};
use futures_util::{Stream, StreamExt};
use hersh_program::{ContainerId, InstanceId};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinError,
};

use super::{
    Inner,
    keyed_tasks::KeyedTasks,
    listed,
    names::{HOST_LABEL, instance_of},
    notices::{self, Notice},
};
use hersh_sandbox::{InstanceEnd, ListedInstance, Unavailable};

const BACK_OFF_FIRST: Duration = Duration::from_millis(100);
const BACK_OFF_LAST: Duration = Duration::from_secs(5);
/// How many containers are looked at at the same time in order to capture them. After a lost connection,
/// all containers that run have to be looked at.
const LOOKS_AT_ONCE: usize = 64;

/// Why the reading of events stopped.
#[derive(Debug)]
enum ReadEnd {
    /// Nobody listens to the exits any more.
    Closed,
    /// The engine does not answer.
    Lost(Unavailable),
}

impl From<Unavailable> for ReadEnd {
    fn from(error: Unavailable) -> Self {
        Self::Lost(error)
    }
}

/// A task about one container that runs beside the reading: at most one of each kind at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum TaskKind {
    Capture,
    TellEnd,
}

/// The result of a task: the container whose end was told, if one was told.
type Outcome = Result<Option<ContainerId>, ReadEnd>;

/// Tells of exits until nobody listens to them.
pub(super) async fn run(inner: Arc<Inner>, sender: mpsc::Sender<InstanceEnd>) {
    let mut watch = EventReader {
        inner: Arc::clone(&inner),
        sender: sender.clone(),
        seen: HashMap::new(),
        tasks: KeyedTasks::new(),
        looks: Arc::new(Semaphore::new(LOOKS_AT_ONCE)),
    };
    let mut back_off = BACK_OFF_FIRST;
    loop {
        let mut connected = false;
        let stopped = tokio::select! {
            stopped = watch.read(&mut connected) => stopped,
            () = sender.closed() => ReadEnd::Closed,
        };
        match stopped {
            ReadEnd::Closed => return,
            ReadEnd::Lost(error) => tracing::warn!(%error, "no events from the container engine"),
        }
        if connected {
            back_off = BACK_OFF_FIRST;
        }
        inner.engine.forget().await;
        tokio::select! {
            () = tokio::time::sleep(back_off) => {}
            () = sender.closed() => return,
        }
        back_off = (back_off * 2).min(BACK_OFF_LAST);
    }
}

/// The state of the reading. The reading itself only reads events: all work that a container can make slow
/// is a task beside the reading. Otherwise the end of one program would delay the news of all others.
struct EventReader {
    inner: Arc<Inner>,
    sender: mpsc::Sender<InstanceEnd>,
    /// The containers that were seen to run. By this record the host tells the end of a container that
    /// vanished while no event was read.
    seen: HashMap<ContainerId, InstanceId>,
    tasks: KeyedTasks<(ContainerId, TaskKind), Outcome>,
    looks: Arc<Semaphore>,
}

impl EventReader {
    async fn read(&mut self, connected: &mut bool) -> ReadEnd {
        // An end that a task could not find out is found by the list.
        while let Some(ended) = self.tasks.ended_already() {
            if let Err(ReadEnd::Closed) = self.take_outcome(ended) {
                return ReadEnd::Closed;
            }
        }
        let client = match self.inner.engine.client().await {
            Ok(client) => client,
            Err(error) => return ReadEnd::Lost(error),
        };
        let filters = [
            ("type", vec!["container".to_owned()]),
            ("event", vec!["die".to_owned(), "start".to_owned()]),
            (
                "label",
                vec![format!("{HOST_LABEL}={}", self.inner.config.host_id)],
            ),
        ];
        let options = EventsOptions {
            filters: Some(filters.map(|(key, value)| (key.to_owned(), value)).into()),
            ..EventsOptions::default()
        };
        let inner = Arc::clone(&self.inner);
        let events = client
            .events(Some(options))
            .map(|event| event.map_err(|error| lost(&inner, &error)));
        let mut events = std::pin::pin!(events);
        // Holds at most one event for each container that changes while one list is made.
        let mut early = Vec::new();
        {
            // The subscription is sent by the first poll, so both are polled together.
            let mut listed = std::pin::pin!(self.list());
            loop {
                tokio::select! {
                    biased;
                    event = events.next() => match event {
                        Some(Ok(event)) => early.push(event),
                        Some(Err(stop)) => return stop,
                        None => return closed(),
                    },
                    result = &mut listed => match result {
                        Ok(()) => break,
                        Err(stop) => return stop,
                    },
                }
            }
        }
        *connected = true;
        early.into_iter().for_each(|event| self.take(event));
        self.attend(events, connected).await
    }

    /// Handles the engine's events and the results of tasks, until one of the two fails.
    async fn attend(
        &mut self,
        mut events: impl Stream<Item = Result<EventMessage, ReadEnd>> + Unpin,
        connected: &mut bool,
    ) -> ReadEnd {
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(event)) => self.take(event),
                    Some(Err(stop)) => return stop,
                    None => return closed(),
                },
                ended = self.tasks.ended() => if let Err(stop) = self.take_outcome(ended) {
                    // The task would fail again at once, so the wait before the next list grows.
                    *connected = false;
                    return stop;
                },
            }
        }
    }

    /// Tells the end of all dead containers and captures all that run.
    async fn list(&mut self) -> Result<(), ReadEnd> {
        let mut vanished = self.seen.clone();
        vanished.extend(self.inner.started().clone());
        for container in self.inner.containers(None).await? {
            let state = container.state;
            let Some(ListedInstance {
                instance,
                container,
                running,
            }) = listed(&container)
            else {
                continue;
            };
            vanished.remove(&container);
            if running {
                self.capture(instance, container);
                continue;
            }
            // A container that is only made yet has not ended.
            if let Some(EXITED | DEAD) = state {
                self.died(&instance, &container);
            }
            self.tell_end(instance, container, Notice::List);
        }
        for (container, instance) in vanished {
            self.died(&instance, &container);
            // The task that tells its end already knows more about the end.
            let telling = (container, TaskKind::TellEnd);
            if !self.tasks.is_under_way(&telling) {
                self.tell_end(instance, telling.0, Notice::Absence);
            }
        }
        Ok(())
    }

    fn take(&mut self, event: EventMessage) {
        let actor = event.actor.unwrap_or_default();
        let attributes = actor.attributes.unwrap_or_default();
        // The labels of the container are among the attributes.
        let name = attributes.get("name").map(String::as_str);
        let instance = instance_of(&attributes, name.into_iter());
        let container = actor.id.and_then(|id| ContainerId::parse(&id).ok());
        let (Some(instance), Some(container)) = (instance, container) else {
            return;
        };
        if event.action.as_deref() == Some("start") {
            self.capture(instance, container);
        } else {
            self.died(&instance, &container);
            let code = attributes.get("exitCode");
            let code = code.and_then(|code| code.parse().ok());
            self.tell_end(instance, container, Notice::Event(code));
        }
    }

    /// Takes note of the result of a task.
    fn take_outcome(&mut self, ended: Result<Outcome, JoinError>) -> Result<(), ReadEnd> {
        let outcome = ended.unwrap_or_else(|error| {
            let message = format!("an end could not be told: {error}");
            Err(ReadEnd::Lost(Unavailable { message }))
        });
        // The container is forgotten only now, so that an end that the engine gave no reason for is found
        // by the next list.
        if let Some(container) = outcome? {
            self.seen.remove(&container);
            self.inner.started().remove(&container);
        }
        Ok(())
    }

    /// Says at once that nothing may be sent to a container any more. The end itself is told later, after
    /// the last lines of the container were stored.
    fn died(&self, instance: &InstanceId, container: &ContainerId) {
        if let Some(tell) = self.inner.on_death.get() {
            tell(instance, container);
        }
    }

    fn capture(&mut self, instance: InstanceId, container: ContainerId) {
        self.seen.insert(container.clone(), instance.clone());
        let (inner, looks) = (Arc::clone(&self.inner), Arc::clone(&self.looks));
        let key = (container.clone(), TaskKind::Capture);
        self.tasks.begin(key, async move {
            // Nobody closes the semaphore.
            let _look = looks.acquire().await;
            notices::capture(&inner, &instance.program, &container).await?;
            Ok(None)
        });
    }

    fn tell_end(&mut self, instance: InstanceId, container: ContainerId, notice: Notice) {
        let (inner, sender) = (Arc::clone(&self.inner), self.sender.clone());
        let key = (container.clone(), TaskKind::TellEnd);
        self.tasks.begin(key, async move {
            let exit = notices::exit(&inner, &instance.program, &container, notice).await?;
            let Some(exit) = exit else {
                return Ok(None);
            };
            let event = InstanceEnd {
                instance,
                container: container.clone(),
                exit,
            };
            let sent = sender.send(event).await;
            sent.map_err(|_closed| ReadEnd::Closed)?;
            Ok(Some(container))
        });
    }
}

fn lost(inner: &Inner, error: &bollard::errors::Error) -> ReadEnd {
    ReadEnd::Lost(inner.engine.fault(error).into_unavailable())
}

fn closed() -> ReadEnd {
    ReadEnd::Lost(Unavailable {
        message: "the container engine closed its event stream".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Mutex};

    use axum::{Router, body::Body, http::Uri, response::IntoResponse};
    use futures_util::stream;
    use hersh_program::ExitReason;
    use hersh_storage::{Storage, output::LogStore};
    use serde_json::json;
    use tokio::net::UnixListener;

    use super::*;
    use crate::{DockerConfig, DockerRuntime};

    fn container(program: &str) -> String {
        program.repeat(64)
    }

    /// Serves an engine that reports the end of program a, then of b, and never answers questions about a.
    fn serve(socket: &Path) {
        let end = |program: &str| {
            let attributes = json!({
                "name": format!("hersh-host-{program}.1"),
                HOST_LABEL: "host",
                crate::names::INSTANCE_LABEL: "1",
                crate::names::PROGRAM_LABEL: program,
                "exitCode": "3",
            });
            let actor = json!({"ID": container(program), "Attributes": attributes});
            let event = json!({"Type": "container", "Action": "die", "Actor": actor});
            Ok::<_, std::io::Error>(format!("{event}\n"))
        };
        let ends = Mutex::new(vec![end("a"), end("b")]);
        let answer = Arc::new(move |uri: Uri| {
            let ends = uri.path().ends_with("/events").then(|| {
                let ends = std::mem::take(&mut *ends.lock().unwrap());
                stream::iter(ends).chain(stream::pending())
            });
            async move {
                let path = uri.path();
                if let Some(ends) = ends {
                    Body::from_stream(ends).into_response()
                } else if path.ends_with("/version") {
                    axum::Json(json!({"ApiVersion": "1.41"})).into_response()
                } else if path.ends_with("/containers/json") {
                    axum::Json(json!([])).into_response()
                } else if path.contains(&container("a")) {
                    std::future::pending().await
                } else {
                    axum::http::StatusCode::NOT_FOUND.into_response()
                }
            }
        });
        let router = Router::new().fallback(move |uri: Uri| answer(uri));
        let listener = UnixListener::bind(socket).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    #[tokio::test]
    async fn an_end_that_is_never_found_out_holds_up_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let config = DockerConfig {
            socket: folder.path().join("engine.sock"),
            ..DockerConfig::default()
        };
        serve(&config.socket);
        let storage = Storage::open(&folder.path().join("data")).unwrap();
        let runtime = DockerRuntime::new(config, storage.clone(), LogStore::new(storage)).unwrap();
        let (sender, mut ends) = mpsc::channel(1);
        tokio::spawn(run(Arc::clone(&runtime.inner), sender));
        let told = tokio::time::timeout(Duration::from_secs(30), ends.recv()).await;
        let told = told.expect("b is told of").unwrap();
        assert_eq!(told.instance.to_string(), "b.1");
        assert_eq!(told.exit.reason, ExitReason::Code(3));
    }
}
