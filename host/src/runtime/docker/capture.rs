//! Taking over what containers print.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bollard::{container::LogOutput, query_parameters::LogsOptions};
use futures_util::StreamExt;
use hersh_program::ProgramId;
use tokio::sync::watch;

use super::{Inner, engine::Fault};
use crate::runtime::logs::{LINE_BYTES, LogLine, Stream, normal_time};

/// The most lines that are written at once.
const BATCH: usize = 256;
/// How many stored lines are compared with what the engine has, when a capture begins.
const REMEMBERED: usize = 1_000;
/// How long the end of a container waits for its last lines.
const LAST_LINES: Duration = Duration::from_secs(2);
const BACK_OFF_FIRST: Duration = Duration::from_millis(100);
const BACK_OFF_LAST: Duration = Duration::from_secs(5);

/// The captures in progress, by container: at most one each.
#[derive(Default)]
pub(super) struct Captures {
    running: Mutex<HashMap<String, watch::Receiver<()>>>,
}

impl Captures {
    /// Takes over the output of a container from the first line that is not stored yet, until it
    /// ends. Does nothing when that is under way.
    pub(super) fn ensure(
        &self,
        inner: &Arc<Inner>,
        program: &ProgramId,
        container: &str,
        limit_bytes: u64,
    ) {
        let (end, ended) = watch::channel(());
        {
            let mut running = self.lock();
            if running.contains_key(container) {
                return;
            }
            running.insert(container.to_owned(), ended);
        }
        let (inner, program) = (Arc::clone(inner), program.clone());
        let leave = Leave {
            inner: Arc::clone(&inner),
            container: container.to_owned(),
            _end: end,
        };
        tokio::spawn(async move {
            capture(&inner, &program, &leave.container, limit_bytes).await;
            drop(leave);
        });
    }

    /// Waits until the output of an ended container is stored, for a short time at most.
    pub(super) async fn finish(&self, container: &str) {
        let ended = self.lock().get(container).cloned();
        if let Some(mut ended) = ended {
            let end = async { while ended.changed().await.is_ok() {} };
            if tokio::time::timeout(LAST_LINES, end).await.is_err() {
                tracing::warn!(container, "the last lines of a container came too late");
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, watch::Receiver<()>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a capture off the list however it ends.
struct Leave {
    inner: Arc<Inner>,
    container: String,
    _end: watch::Sender<()>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.inner.captures.lock().remove(&self.container);
    }
}

async fn capture(inner: &Inner, program: &ProgramId, container: &str, limit_bytes: u64) {
    let mut back_off = BACK_OFF_FIRST;
    loop {
        match read(inner, program, container, limit_bytes, true).await {
            Ok(()) => back_off = BACK_OFF_FIRST,
            Err(error) => {
                tracing::debug!(error, container, "the output of a container was cut off");
            }
        }
        if !may_print_more(inner, container).await {
            break;
        }
        tokio::time::sleep(back_off).await;
        back_off = (back_off * 2).min(BACK_OFF_LAST);
    }
    // An engine can end a followed log before the last line of a container that ended.
    if let Err(error) = read(inner, program, container, limit_bytes, false).await {
        tracing::debug!(
            error,
            container,
            "the end of a container's output may be missing"
        );
    }
}

/// Reads the engine's copy from its start, which is bounded, and with `follow` goes on as it grows.
/// What is stored already is passed over.
async fn read(
    inner: &Inner,
    program: &ProgramId,
    container: &str,
    limit_bytes: u64,
    follow: bool,
) -> Result<(), String> {
    let stored = inner.logs.tail(program, REMEMBERED).await;
    let mut lines = Lines::after(stored.map_err(|error| error.to_string())?);
    let client = inner.engine.client().await.map_err(|error| error.message)?;
    let options = LogsOptions {
        follow,
        stdout: true,
        stderr: true,
        timestamps: true,
        ..LogsOptions::default()
    };
    let output = client.logs(container, Some(options)).ready_chunks(BATCH);
    let mut output = std::pin::pin!(output);
    let mut result = Ok(());
    while let Some(pieces) = output.next().await {
        let mut whole = Vec::new();
        for piece in pieces {
            match piece {
                Ok(piece) => whole.extend(lines.take(piece)),
                Err(error) => result = Err(error.to_string()),
            }
        }
        store(inner, program, whole, limit_bytes).await;
        if result.is_err() {
            break;
        }
    }
    store(inner, program, lines.finish(), limit_bytes).await;
    result
}

async fn store(inner: &Inner, program: &ProgramId, lines: Vec<LogLine>, limit_bytes: u64) {
    if lines.is_empty() {
        return;
    }
    if let Err(error) = inner.logs.append(program, lines, limit_bytes).await {
        tracing::warn!(%error, %program, "lines of a program could not be stored");
    }
}

async fn may_print_more(inner: &Inner, container: &str) -> bool {
    let Ok(client) = inner.engine.client().await else {
        return true;
    };
    match client.inspect_container(container, None).await {
        Ok(inspected) => inspected.state.and_then(|it| it.running).unwrap_or(false),
        Err(error) => !matches!(inner.engine.fault(&error), Fault::NotFound(_)),
    }
}

/// Makes lines of pieces. The engine puts the time before each piece, ends a line with a line
/// feed, and splits long lines into several pieces. The times of the two streams are not in order
/// with each other, so what is stored is told by time and stream, not by the last time alone.
struct Lines {
    stored: HashSet<(String, char)>,
    /// Everything from before this time is stored.
    floor: String,
    unfinished: HashMap<char, LogLine>,
}

impl Lines {
    /// Passes over lines that are among the last stored ones, or older than all of those.
    fn after(stored: Vec<LogLine>) -> Self {
        let oldest = stored.iter().map(|line| &line.at).min().cloned();
        Self {
            floor: oldest
                .filter(|_| stored.len() == REMEMBERED)
                .unwrap_or_default(),
            stored: stored
                .into_iter()
                .map(|line| (line.at, key(line.stream)))
                .collect(),
            unfinished: HashMap::new(),
        }
    }

    fn take(&mut self, piece: LogOutput) -> Option<LogLine> {
        let stream = match piece {
            LogOutput::StdErr { .. } => Stream::Stderr,
            LogOutput::StdOut { .. } | LogOutput::StdIn { .. } | LogOutput::Console { .. } => {
                Stream::Stdout
            }
        };
        let bytes = piece.into_bytes();
        let text = String::from_utf8_lossy(&bytes);
        let (at, text) = text.split_once(' ')?;
        let at = normal_time(at)?;
        let ends = text.ends_with('\n');
        let text = text.trim_end_matches(['\n', '\r']);
        let line = self
            .unfinished
            .entry(key(stream))
            .or_insert_with(|| LogLine {
                at,
                stream,
                text: String::new(),
            });
        let room = LINE_BYTES.saturating_sub(line.text.len());
        line.text.push_str(&text[..text.floor_char_boundary(room)]);
        if !ends {
            return None;
        }
        let line = self.unfinished.remove(&key(stream))?;
        self.is_new(&line).then_some(line)
    }

    fn finish(&mut self) -> Vec<LogLine> {
        let unfinished = std::mem::take(&mut self.unfinished);
        let mut lines: Vec<LogLine> = unfinished.into_values().collect();
        lines.retain(|line| self.is_new(line));
        lines
    }

    fn is_new(&self, line: &LogLine) -> bool {
        line.at >= self.floor && !self.stored.contains(&(line.at.clone(), key(line.stream)))
    }
}

fn key(stream: Stream) -> char {
    match stream {
        Stream::Stdout => 'o',
        Stream::Stderr => 'e',
        Stream::Host => 'h',
    }
}
