//! `hersh logs`.
//!
//! Following a program goes on through restarts of the host: when a stream ends, the client asks for it again
//! from the last line on. The host's answer then decides: if the token is not valid any more, or the program
//! is gone, the command ends with an error.

use std::time::Duration;

use futures_util::StreamExt;
use hersh_wire::LogLine;
use reqwest::{Method, RequestBuilder, Response};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::Instant,
};

use crate::{
    args::{LogsOptions, Output},
    client::Client,
    failure::Failure,
    output,
};

/// The longest time without the host before the command gives up.
const AWAY: Duration = Duration::from_secs(5 * 60);
/// The pause before the stream is asked for again.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest line of a stream that is read, bytes. The host sends at most 16 KiB of a program's line, which
/// JSON can make six times as long.
const LINE_BYTES_MAX: usize = 1024 * 1024;

pub(crate) async fn show(
    client: &Client,
    options: LogsOptions,
    format: Output,
) -> Result<(), Failure> {
    let view = View {
        format,
        timestamps: options.timestamps,
    };
    if options.build {
        return build(client, &options, view).await;
    }
    let request = || {
        let request = client.request(Method::GET, &["programs", &options.program, "logs"]);
        request
            .query(&[("tail", options.tail)])
            .query(&[("marks", options.timestamps)])
    };
    if options.follow {
        return follow(client, request, view).await;
    }
    let lines: Vec<LogLine> = client.read(request()).await?;
    view.all(&lines)
}

async fn build(client: &Client, options: &LogsOptions, view: View) -> Result<(), Failure> {
    let path = ["programs", &options.program, "builds", "latest", "logs"];
    let request = client.request(Method::GET, &path);
    if !options.follow {
        let text = client.send(request).await?.text().await;
        let text =
            text.map_err(|error| Failure::Unreachable(format!("the host hung up: {error}")))?;
        return text.lines().try_for_each(output::line);
    }
    let mut lines = std::pin::pin!(client.lines(request.query(&[("follow", "true")])).await?);
    while let Some(line) = lines.next().await {
        view.one(&line?)?;
    }
    Ok(())
}

/// Shows lines until the host refuses to go on, or stays away too long.
async fn follow(
    client: &Client,
    request: impl Fn() -> RequestBuilder,
    view: View,
) -> Result<(), Failure> {
    let first = client.send(request().query(&[("follow", "true")])).await?;
    let (mut last, mut away_since) = (None, None);
    read(first, &mut last, view).await?;
    loop {
        tokio::time::sleep(PAUSE).await;
        let mut again = request().query(&[("follow", "true")]);
        if let Some(id) = &last {
            again = again.header("last-event-id", id);
        }
        match client.send(again).await {
            Ok(stream) => {
                away_since = None;
                read(stream, &mut last, view).await?;
            }
            Err(failure) if may_come_back(&failure) => {
                let since = *away_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= AWAY {
                    return Err(failure);
                }
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Returns whether a host that is being restarted may cause this failure: exit codes 6 and 7.
fn may_come_back(failure: &Failure) -> bool {
    matches!(failure.exit_code(), 6 | 7)
}

/// Shows the lines of one stream until it ends or is cut off. `last` holds the id of the last line shown.
async fn read(stream: Response, last: &mut Option<String>, view: View) -> Result<(), Failure> {
    let bytes = stream
        .bytes_stream()
        .map(|it| it.map_err(std::io::Error::other));
    let mut reader = BufReader::new(tokio_util::io::StreamReader::new(bytes));
    let (mut text, mut id) = (Vec::new(), None);
    loop {
        text.clear();
        let mut limited = tokio::io::AsyncReadExt::take(&mut reader, LINE_BYTES_MAX as u64);
        match limited.read_until(b'\n', &mut text).await {
            Ok(_) if text.ends_with(b"\n") => {}
            // The host sends the cut line again, whole, when the stream goes on.
            Ok(_) | Err(_) => return Ok(()),
        }
        let text = String::from_utf8_lossy(&text);
        let text = text.trim_end_matches(['\n', '\r']);
        if let Some(value) = text.strip_prefix("id:") {
            id = Some(value.trim_start().to_owned());
        } else if let Some(data) = text.strip_prefix("data:") {
            let line = serde_json::from_str(data.trim_start()).map_err(|error| {
                Failure::Failed(format!("the host sent a line that can't be read: {error}"))
            })?;
            view.one(&line)?;
            // A line of the host itself has no id, so the last id stays.
            *last = id.take().or(last.take());
        }
    }
}

/// The format of shown lines.
#[derive(Clone, Copy)]
struct View {
    format: Output,
    timestamps: bool,
}

impl View {
    fn all(self, lines: &[LogLine]) -> Result<(), Failure> {
        match self.format {
            Output::Json => output::json(&lines),
            Output::Table => lines.iter().try_for_each(|line| self.one(line)),
        }
    }

    fn one(self, line: &LogLine) -> Result<(), Failure> {
        match self.format {
            Output::Table if self.timestamps => output::line(&stamped(line)),
            Output::Table => output::line(&line.line),
            Output::Json => {
                let text = serde_json::to_string(line)
                    .map_err(|error| Failure::Failed(format!("can't write JSON: {error}")))?;
                output::line(&text)
            }
        }
    }
}

/// Returns a line with its time, to the millisecond. A line of the host stands between dashes.
fn stamped(line: &LogLine) -> String {
    let at = line.at.as_deref().unwrap_or("");
    let at = match at.get(..23) {
        Some(milliseconds) => format!("{milliseconds}Z"),
        None => at.to_owned(),
    };
    let text = &line.line;
    match line.stream.as_deref() {
        Some("instance" | "host") => format!("{at} --- {text} ---"),
        Some(_) | None => format!("{at} {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_stamped_to_the_millisecond() {
        let line = |stream: &str| LogLine {
            at: Some("2026-01-31T12:00:00.123456789Z".into()),
            stream: Some(stream.into()),
            line: "up".into(),
        };
        assert_eq!(stamped(&line("stdout")), "2026-01-31T12:00:00.123Z up");
        let mark = stamped(&line("instance"));
        assert_eq!(mark, "2026-01-31T12:00:00.123Z --- up ---");
        let bare = LogLine {
            at: None,
            stream: None,
            line: "up".into(),
        };
        assert_eq!(stamped(&bare), " up");
    }
}
