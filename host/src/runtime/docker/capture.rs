//! Taking over what containers print.

use std::{
    collections::HashMap,
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
    let stored = inner.logs.tail(program, 1).await.unwrap_or_default();
    let mut lines = Lines {
        last_at: stored
            .into_iter()
            .next()
            .map(|line| line.at)
            .unwrap_or_default(),
        unfinished: HashMap::new(),
    };
    let mut back_off = BACK_OFF_FIRST;
    loop {
        let before = lines.last_at.clone();
        if let Err(error) = read(inner, program, container, limit_bytes, &mut lines).await {
            tracing::debug!(%error, container, "the output of a container was cut off");
        }
        if before != lines.last_at {
            back_off = BACK_OFF_FIRST;
        }
        if !may_print_more(inner, container).await {
            return;
        }
        tokio::time::sleep(back_off).await;
        back_off = (back_off * 2).min(BACK_OFF_LAST);
    }
}

/// Reads the engine's copy from its start, which is bounded, and goes on as it grows. What is
/// stored already is passed over by its time.
async fn read(
    inner: &Inner,
    program: &ProgramId,
    container: &str,
    limit_bytes: u64,
    lines: &mut Lines,
) -> Result<(), String> {
    let client = inner.engine.client().await.map_err(|error| error.message)?;
    let options = LogsOptions {
        follow: true,
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
/// feed, and splits long lines into several pieces.
struct Lines {
    last_at: String,
    unfinished: HashMap<char, LogLine>,
}

impl Lines {
    fn take(&mut self, piece: LogOutput) -> Option<LogLine> {
        let (key, stream) = match piece {
            LogOutput::StdErr { .. } => ('e', Stream::Stderr),
            LogOutput::StdOut { .. } | LogOutput::StdIn { .. } | LogOutput::Console { .. } => {
                ('o', Stream::Stdout)
            }
        };
        let bytes = piece.into_bytes();
        let text = String::from_utf8_lossy(&bytes);
        let (at, text) = text.split_once(' ')?;
        let at = normal_time(at)?;
        if at <= self.last_at && !self.unfinished.contains_key(&key) {
            return None;
        }
        let ends = text.ends_with('\n');
        let text = text.trim_end_matches(['\n', '\r']);
        let line = self.unfinished.entry(key).or_insert_with(|| LogLine {
            at,
            stream,
            text: String::new(),
        });
        let room = LINE_BYTES.saturating_sub(line.text.len());
        line.text.push_str(&text[..text.floor_char_boundary(room)]);
        if !ends {
            return None;
        }
        let line = self.unfinished.remove(&key)?;
        self.last_at = self.last_at.clone().max(line.at.clone());
        Some(line)
    }

    fn finish(&mut self) -> Vec<LogLine> {
        let mut lines: Vec<LogLine> = self.unfinished.drain().map(|(_, line)| line).collect();
        lines.sort_by(|one, other| one.at.cmp(&other.at));
        if let Some(line) = lines.last() {
            self.last_at = self.last_at.clone().max(line.at.clone());
        }
        lines
    }
}
