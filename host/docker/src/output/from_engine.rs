//! Takes over a container's output through the engine's API, if the engine's files can't be read.
//!
//! Stored lines are recognised by their time and stream. A reader that falls behind a rotation can miss
//! lines.

use std::{collections::HashSet, time::Duration};

use bollard::{container::LogOutput, query_parameters::LogsOptions};
use futures_util::StreamExt;
use hersh_storage::output::{LogLine, Stream, normal_time};
use tokio::time::Instant;

use super::{
    Capture, Life, REMEMBERED,
    engine_log::Piece,
    lines::{Lines, key},
};

/// The most lines that are written at once.
const BATCH: usize = 256;
const BACK_OFF_FIRST: Duration = Duration::from_millis(100);
const BACK_OFF_LAST: Duration = Duration::from_secs(5);

/// Follows the output until the container has ended, and then reads the rest.
pub(super) async fn take_over(capture: &mut Capture) {
    let stored = capture.stored().await;
    capture.mark_begin(&stored).await;
    let mut back_off = BACK_OFF_FIRST;
    loop {
        match read(capture, true).await {
            Ok(()) => back_off = BACK_OFF_FIRST,
            Err(error) => {
                let container = &capture.container;
                tracing::debug!(error, container, "the output of a container was cut off");
            }
        }
        match capture.life().await {
            Life::Open => {}
            Life::Ended | Life::Gone => break,
        }
        tokio::time::sleep(back_off).await;
        back_off = (back_off * 2).min(BACK_OFF_LAST);
    }
    // An engine can end a followed log before the last line of a container that ended.
    if let Err(error) = read(capture, false).await {
        let container = &capture.container;
        tracing::debug!(
            error,
            container,
            "the end of a container's output may be missing"
        );
    }
}

/// Reads the engine's copy from its start. The copy has a bounded length. With `follow`, the reading goes
/// on as the copy grows. Lines that are stored already are passed over.
async fn read(capture: &mut Capture, follow: bool) -> Result<(), String> {
    let known = StoredLines::of(capture.stored().await);
    let mut lines = Lines::default();
    let client = capture.inner.engine.client().await;
    let client = client.map_err(|error| error.message)?;
    let options = LogsOptions {
        follow,
        stdout: true,
        stderr: true,
        timestamps: true,
        ..LogsOptions::default()
    };
    let output = client.logs(&capture.container, Some(options));
    let mut output = std::pin::pin!(output.ready_chunks(BATCH));
    let mut result = Ok(());
    let mut pace = capture.pace().await;
    while let Some(pieces) = output.next().await {
        let mut whole = Vec::new();
        let mut bytes = 0;
        let count = pieces.len();
        for piece in pieces {
            match piece {
                Ok(output) => {
                    bytes += output.as_ref().len();
                    whole.extend(piece_of(output).and_then(|it| lines.take(it)));
                }
                Err(error) => result = Err(error.to_string()),
            }
        }
        whole.retain(|line| known.is_new(line));
        capture.store(whole).await;
        if result.is_err() {
            break;
        }
        // After the end, the rest is no more than the engine keeps, so it is read without a pause.
        if follow {
            tokio::time::sleep(pace.wait(count, bytes, Instant::now())).await;
        }
    }
    let mut rest = lines.finish();
    rest.retain(|line| known.is_new(line));
    capture.store(rest).await;
    result
}

/// Reads a piece of output. The engine puts the time before each piece.
fn piece_of(output: LogOutput) -> Option<Piece> {
    let stream = match output {
        LogOutput::StdErr { .. } => Stream::Stderr,
        LogOutput::StdOut { .. } | LogOutput::StdIn { .. } | LogOutput::Console { .. } => {
            Stream::Stdout
        }
    };
    let bytes = output.into_bytes();
    let text = String::from_utf8_lossy(&bytes);
    let (at, text) = text.split_once(' ')?;
    Some(Piece {
        at: normal_time(at)?,
        stream,
        text: text.to_owned(),
    })
}

/// The lines that are stored already, each known by its time and stream. The last time alone is not enough,
/// because the times of the two streams are not in order with each other.
struct StoredLines {
    stored: HashSet<(String, char)>,
    /// The time before which every line is stored.
    floor: String,
}

impl StoredLines {
    fn of(stored: Vec<LogLine>) -> Self {
        let oldest = stored.iter().map(|line| &line.at).min().cloned();
        Self {
            floor: oldest
                .filter(|_| stored.len() == REMEMBERED)
                .unwrap_or_default(),
            stored: stored
                .into_iter()
                .map(|line| (line.at, key(line.stream)))
                .collect(),
        }
    }

    fn is_new(&self, line: &LogLine) -> bool {
        line.at >= self.floor && !self.stored.contains(&(line.at.clone(), key(line.stream)))
    }
}
