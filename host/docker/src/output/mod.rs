//! Takes over the output of containers into the logs of their programs.
//!
//! ```text
//! ensure ─► what is stored already is passed over ─► the engine's files ─► lines ─► the program's log
//!                                                      (or its API)          │
//! finish ◄── read to its end ◄── the container ended ◄───────────────────────┘
//! ```

mod engine_log;
mod from_engine;
mod from_files;
mod lines;
mod pace;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use bollard::models::ContainerInspectResponse;
use hersh_base::locked::locked;
use hersh_program::ProgramId;
use hersh_storage::output::{LogLine, Stream, normal_time};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use self::{engine_log::EngineLogReader, pace::Pace};
use crate::{Inner, create::log_file_bytes, engine::Fault, names::INSTANCE_LABEL};

/// How many stored lines are searched for the point from which a capture goes on.
pub(super) const REMEMBERED: usize = 1_000;
/// How long all callers that wait for the last lines of a container may wait together, counted from the
/// first of them. Reading what the engine still has of these lines takes far less time.
const LAST_LINES: Duration = Duration::from_secs(20);

/// The captures in progress, at most one for each container.
#[derive(Default)]
pub(super) struct Captures {
    states: Mutex<CaptureStates>,
}

#[derive(Default)]
struct CaptureStates {
    running: HashMap<String, RunningCapture>,
    /// Containers that ended and whose output is stored to its end. A container stays in here until it is
    /// removed.
    done: HashSet<String>,
}

struct RunningCapture {
    program: ProgramId,
    /// Ends the capture at once, because nobody needs its lines any more.
    given_up: CancellationToken,
    /// Tells the capture that nothing more will be printed.
    ending: watch::Sender<bool>,
    ended: watch::Receiver<()>,
    /// The time from which nobody waits for the capture any more; `None` until somebody waits.
    late_at: Option<Instant>,
}

impl Captures {
    /// Takes over the output of a container, from the first line that is not stored yet until the container
    /// ends. The container may have ended already. Does nothing if the output is stored to its end or a
    /// capture is under way.
    pub(super) fn ensure(
        &self,
        inner: &Arc<Inner>,
        program: &ProgramId,
        container: &str,
        limit_bytes: u64,
    ) {
        let (end, ended) = watch::channel(());
        let (ending, is_ending) = watch::channel(false);
        let given_up = CancellationToken::new();
        {
            let mut states = self.lock();
            if states.running.contains_key(container) || states.done.contains(container) {
                return;
            }
            let running = RunningCapture {
                program: program.clone(),
                given_up: given_up.clone(),
                ending,
                ended,
                late_at: None,
            };
            states.running.insert(container.to_owned(), running);
        }
        let capture = Capture {
            inner: Arc::clone(inner),
            program: program.clone(),
            container: container.to_owned(),
            limit_bytes,
            lost: 0,
        };
        let mut leave = CaptureGuard {
            inner: Arc::clone(inner),
            container: container.to_owned(),
            is_done: false,
            _end: end,
        };
        tokio::spawn(async move {
            tokio::select! {
                done = capture.run(is_ending) => leave.is_done = done,
                () = given_up.cancelled() => {}
            }
            drop(leave);
        });
    }

    /// Waits until the output of an ended container is stored, at most until [`LAST_LINES`] after the first
    /// call for this container. Without this common time limit, a program that prints a lot would delay its
    /// end, its removal and its next start one after the other.
    pub(super) async fn finish(&self, container: &str) {
        let ended = self.lock().running.get_mut(container).map(|running| {
            running.ending.send_replace(true);
            let late_at = running.late_at;
            let late_at = late_at.unwrap_or_else(|| Instant::now() + LAST_LINES);
            running.late_at = Some(late_at);
            (running.ended.clone(), late_at)
        });
        if let Some((mut ended, late_at)) = ended {
            let end = async { while ended.changed().await.is_ok() {} };
            if tokio::time::timeout_at(late_at, end).await.is_err() {
                tracing::warn!(container, "the last lines of a container came too late");
            }
        }
    }

    /// Ends all captures of a removed program and waits until they have ended. Otherwise a capture could
    /// write into the log of the next program of the same name, which is the same log.
    pub(super) async fn give_up(&self, program: &ProgramId) {
        let mut ends = Vec::new();
        for running in self.lock().running.values() {
            if running.program == *program {
                running.given_up.cancel();
                ends.push(running.ended.clone());
            }
        }
        for mut ended in ends {
            while ended.changed().await.is_ok() {}
        }
    }

    /// Forgets a container that was removed: it prints nothing more, and nobody asks for it any more.
    pub(super) fn forget(&self, container: &str) {
        self.lock().done.remove(container);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CaptureStates> {
        locked(&self.states)
    }
}

/// Takes a capture off the list when it is dropped, however the capture ends.
struct CaptureGuard {
    inner: Arc<Inner>,
    container: String,
    is_done: bool,
    _end: watch::Sender<()>,
}

impl Drop for CaptureGuard {
    fn drop(&mut self) {
        let mut states = self.inner.captures.lock();
        states.running.remove(&self.container);
        if self.is_done {
            states.done.insert(self.container.clone());
        }
    }
}

/// The capture of one container's output into its program's log.
pub(super) struct Capture {
    pub(super) inner: Arc<Inner>,
    pub(super) program: ProgramId,
    pub(super) container: String,
    limit_bytes: u64,
    /// How many lines could not be stored and are not reported in the log yet.
    lost: usize,
}

/// Whether a container may still print, as the engine sees it.
pub(super) enum Life {
    /// The container may print more.
    Open,
    /// The container ended.
    Ended,
    /// The container was removed.
    Gone,
}

impl Capture {
    /// Takes over all output until the container ends. Returns whether the output was seen to the
    /// container's end.
    async fn run(mut self, ending: watch::Receiver<bool>) -> bool {
        let path = self.inspected().await.and_then(|it| it.log_path);
        let full_bytes = log_file_bytes(self.limit_bytes);
        let opened = match path.filter(|path| !path.is_empty()) {
            Some(path) => blocking(move || EngineLogReader::open(path.into(), full_bytes))
                .await
                .ok(),
            None => None,
        };
        match opened {
            Some((reader, is_cut)) => {
                from_files::take_over(&mut self, reader, is_cut, ending).await
            }
            // The host can't read the files of this engine, so the engine's API gives the output.
            None => from_engine::take_over(&mut self).await,
        }
        self.mark_end().await
    }

    /// Returns the pace at which the output of this container is taken over.
    async fn pace(&self) -> Pace {
        let config = self.inspected().await.and_then(|it| it.host_config);
        Pace::new(config.and_then(|it| it.nano_cpus), Instant::now())
    }

    /// Returns the newest stored lines, with the host's own lines among them.
    pub(super) async fn stored(&self) -> Vec<LogLine> {
        let stored = self.inner.logs.tail_with_marks(&self.program, REMEMBERED);
        stored.await.unwrap_or_default()
    }

    pub(super) async fn store(&mut self, mut lines: Vec<LogLine>) {
        if lines.is_empty() {
            return;
        }
        if self.lost > 0 {
            let text = format!("up to {} lines could not be stored here", self.lost);
            lines.insert(0, said_now(Stream::Host, text));
        }
        let (count, logs) = (lines.len(), &self.inner.logs);
        match logs.append(&self.program, lines, self.limit_bytes).await {
            Ok(()) => self.lost = 0,
            Err(error) => {
                let program = &self.program;
                if self.lost == 0 {
                    tracing::warn!(%error, %program, "lines of a program could not be stored");
                }
                self.lost = self.lost.saturating_add(count);
            }
        }
    }

    /// Writes a line that says that lines may be missing between the stored ones and the next.
    pub(super) async fn mark_gap(&mut self) {
        let text = "lines are missing here: they came faster than they could be taken over";
        let gap = said_now(Stream::Host, text.to_owned());
        self.store(vec![gap]).await;
    }

    /// Writes a mark that says that the output of one more instance begins.
    pub(super) async fn mark_begin(&mut self, stored: &[LogLine]) {
        let inspected = self.inspected().await.unwrap_or_default();
        let text = format!("instance {} began", self.named(&inspected));
        let began = inspected.state.and_then(|state| state.started_at);
        self.mark(began.as_deref(), text, stored).await;
    }

    async fn mark_end(&mut self) -> bool {
        let Some(inspected) = self.inspected().await else {
            return false;
        };
        let named = self.named(&inspected);
        let Some(state) = inspected.state else {
            return false;
        };
        if state.running.unwrap_or(false) {
            return false;
        }
        let how = if state.oom_killed.unwrap_or(false) {
            "ran out of memory".to_owned()
        } else {
            format!("ended with code {}", state.exit_code.unwrap_or(-1))
        };
        let text = format!("instance {named} {how}");
        let stored = self.stored().await;
        self.mark(state.finished_at.as_deref(), text, &stored).await;
        true
    }

    /// Stores a mark, unless it is stored already.
    async fn mark(&mut self, at: Option<&str>, text: String, stored: &[LogLine]) {
        let is_there = |line: &LogLine| line.stream == Stream::Mark && line.text == text;
        if stored.iter().any(is_there) {
            return;
        }
        let mut line = said_now(Stream::Mark, text);
        if let Some(at) = at.and_then(normal_time) {
            line.at = at;
        }
        self.store(vec![line]).await;
    }

    /// Asks the engine whether the container may print more.
    pub(super) async fn life(&self) -> Life {
        let Ok(client) = self.inner.engine.client().await else {
            return Life::Open;
        };
        match client.inspect_container(&self.container, None).await {
            Ok(inspected) => match inspected.state.and_then(|it| it.running) {
                Some(true) => Life::Open,
                Some(false) | None => Life::Ended,
            },
            Err(error) => match self.inner.engine.fault(&error) {
                Fault::NotFound(_) => Life::Gone,
                Fault::Unavailable(_) | Fault::Conflict(_) | Fault::Refused(_) => Life::Open,
            },
        }
    }

    async fn inspected(&self) -> Option<ContainerInspectResponse> {
        let client = self.inner.engine.client().await.ok()?;
        client.inspect_container(&self.container, None).await.ok()
    }

    /// Returns the number of the instance, if it has one, with enough of its container's name to tell it
    /// from others.
    fn named(&self, inspected: &ContainerInspectResponse) -> String {
        let labels = inspected.config.as_ref().and_then(|it| it.labels.as_ref());
        match labels.and_then(|labels| labels.get(INSTANCE_LABEL)) {
            Some(number) => format!("{number} ({})", self.short()),
            None => self.short().to_owned(),
        }
    }

    /// Returns enough of the container's name to tell it from others.
    fn short(&self) -> &str {
        self.container.get(..12).unwrap_or(&self.container)
    }
}

fn said_now(stream: Stream, text: String) -> LogLine {
    LogLine {
        at: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
        stream,
        text,
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(job)
        .await
        .map_err(std::io::Error::other)?
}
