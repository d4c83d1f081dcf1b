//! Metrics for Prometheus: all names are here.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::journal::{self, JournalShown};
use super::query::NoQuery;
use super::reply::ErrorReply;
use super::state::Api;
use crate::shared::Health;
use crate::{Status, WatcherState};

const CONTENT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One metric: its name ends in its unit, and in `_total` when it only grows.
struct Metric {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    unit: &'static str,
    read: fn(&WatcherSample<'_>) -> Reading,
}

/// What metrics are read from. All of it is from one moment, as far as that is possible.
struct WatcherSample<'a> {
    api: &'a Api,
    status: Status,
    journal: JournalShown,
    health: Health,
}

/// The value of a metric.
enum Reading {
    Number(u64),
    Seconds(f64),
    /// One sample for each state: 1 for this one.
    State(WatcherState),
    /// The sample 1, with the watcher's name as label.
    Name(Arc<str>),
}

const fn metric(
    name: &'static str,
    kind: &'static str,
    unit: &'static str,
    help: &'static str,
    read: fn(&WatcherSample<'_>) -> Reading,
) -> Metric {
    Metric {
        name,
        help,
        kind,
        unit,
        read,
    }
}

const GAUGE: &str = "gauge";
const COUNTER: &str = "counter";

#[rustfmt::skip]
const METRICS: [Metric; 20] = [
    metric("hersh_watcher_info", GAUGE, "none", "The watcher's name.",
        |look| Reading::Name(look.status.watcher_id.clone())),
    metric("hersh_watcher_state", GAUGE, "none", "What it is doing: 1 for the present state, 0 for the others.",
        |look| Reading::State(look.status.state)),
    metric("hersh_watcher_stalled", GAUGE, "none", "1 while /watcher/health is 503: the engine does not go on.",
        |look| Reading::Number(u64::from(look.health.stall.is_some()))),
    metric("hersh_watcher_uptime_seconds", GAUGE, "seconds", "Since the start.",
        |look| Reading::Seconds(look.status.uptime.as_secs_f64())),
    metric("hersh_watcher_runs_total", COUNTER, "runs", "Runs that have begun.",
        |look| Reading::Number(look.status.runs)),
    metric("hersh_watcher_consecutive_failures", GAUGE, "runs", "Failed runs in a row.",
        |look| Reading::Number(look.status.consecutive_failures)),
    metric("hersh_watcher_messages_pending", GAUGE, "messages", "Messages that wait for their run.",
        |look| count(look.status.waiting_messages)),
    metric("hersh_watcher_messages_capacity", GAUGE, "messages", "Messages that may wait.",
        |look| count(look.api.shared.inbox.capacity())),
    metric("hersh_watcher_variables", GAUGE, "variables", "Watched variables.",
        |look| count(look.api.shared.variables().len())),
    metric("hersh_watcher_memos", GAUGE, "values", "Memoised values that are kept.",
        |look| count(look.api.shared.memos.infos().len())),
    metric("hersh_watcher_context_keys", GAUGE, "keys", "Keys of the durable context.",
        |look| count(look.api.shared.committed.values().len())),
    metric("hersh_watcher_log_lines_total", COUNTER, "lines", "Log lines of all kinds, kept or not.",
        |look| Reading::Number(look.api.shared.log.written())),
    metric("hersh_watcher_journal_recording", GAUGE, "none", "1 while runs are recorded.",
        |look| Reading::Number(u64::from(look.journal.recording))),
    metric("hersh_watcher_journal_runs_total", COUNTER, "runs", "Runs recorded since the start.",
        |look| Reading::Number(look.journal.runs)),
    metric("hersh_watcher_journal_bytes_total", COUNTER, "bytes", "Bytes recorded since the start.",
        |look| Reading::Number(look.journal.bytes)),
    metric("hersh_watcher_event_clients", GAUGE, "clients", "Clients of the event stream.",
        |look| count(look.api.hub.clients())),
    metric("hersh_watcher_event_clients_dropped_total", COUNTER, "clients", "Clients of the event stream that read too slowly and were told so.",
        |look| Reading::Number(look.api.hub.dropped_count())),
    metric("hersh_watcher_events_lost_total", COUNTER, "events", "Events that were too many to be told.",
        |look| Reading::Number(look.api.hub.lost_count())),
    metric("hersh_watcher_event_batches_total", COUNTER, "batches", "Batches of events that were told.",
        |look| Reading::Number(look.api.hub.batch_count())),
    metric("hersh_watcher_connections_cut_off_total", COUNTER, "connections", "Connections whose peer took no bytes for too long.",
        |look| Reading::Number(look.api.cut_off_count())),
];

/// The metrics of the watcher.
#[utoipa::path(
    get,
    path = "/watcher/metrics",
    responses(
        (status = 200, description = "Prometheus text, version 0.0.4", body = String, content_type = "text/plain"),
        (status = 400, description = "It has a query", body = ErrorReply),
    )
)]
pub(super) async fn metrics(State(api): State<Arc<Api>>, _: NoQuery) -> impl IntoResponse {
    // A stalled engine is looked at twice: what else is shown is newer than that.
    let health = api.shared.health().await;
    let look = WatcherSample {
        status: api.shared.status(),
        journal: journal::look(&api.shared),
        health,
        api: &api,
    };
    let mut text = String::with_capacity(8 * 1024);
    for metric in &METRICS {
        // Writing into a string does not fail.
        let _ = write(&mut text, metric, &(metric.read)(&look));
    }
    ([(CONTENT_TYPE, CONTENT)], text)
}

fn write(text: &mut String, metric: &Metric, reading: &Reading) -> std::fmt::Result {
    let Metric {
        name,
        help,
        kind,
        unit,
        ..
    } = metric;
    writeln!(text, "# HELP {name} {help} Unit: {unit}.")?;
    writeln!(text, "# TYPE {name} {kind}")?;
    match reading {
        Reading::Number(number) => writeln!(text, "{name} {number}"),
        Reading::Seconds(seconds) => writeln!(text, "{name} {seconds:.3}"),
        Reading::Name(watcher) => {
            let watcher = label(watcher);
            writeln!(text, "{name}{{watcher=\"{watcher}\"}} 1")
        }
        Reading::State(present) => WatcherState::ALL.into_iter().try_for_each(|state| {
            let is_present = u8::from(state == *present);
            writeln!(text, "{name}{{state=\"{state}\"}} {is_present}")
        }),
    }
}

fn count(count: usize) -> Reading {
    Reading::Number(count as u64)
}

/// Escapes a label's value as the format asks. Other control characters, which the format does not
/// know, become the replacement character.
fn label(text: &str) -> String {
    let mut label = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => label.push_str("\\\\"),
            '"' => label.push_str("\\\""),
            '\n' => label.push_str("\\n"),
            control if control.is_control() => label.push(char::REPLACEMENT_CHARACTER),
            other => label.push(other),
        }
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_they_are() {
        for (index, metric) in METRICS.iter().enumerate() {
            let name = metric.name;
            assert_eq!(metric.kind == COUNTER, name.ends_with("_total"), "{name}");
            let of_time = metric.unit == "seconds";
            assert_eq!(of_time, name.ends_with("_seconds"), "{name}");
            assert!(METRICS[..index].iter().all(|it| it.name != name), "{name}");
            assert!(metric.help.ends_with('.') && !metric.help.contains(['\n', '\\']));
        }
    }

    #[test]
    fn labels_stay_on_their_line() {
        assert_eq!(
            label("a\"b\\c\nd\r\u{85}e é"),
            "a\\\"b\\\\c\\nd\u{fffd}\u{fffd}e é"
        );
    }
}
