//! Events as Server-Sent Events write them: a name, one line of JSON, an empty line.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::reply::{Timestamp, kind_name};
use crate::inbox::Var;
use crate::shared::{Item, LOG_MESSAGE_LIMIT_BYTES, LogLine, Signal, Status};
use crate::{Ending, WatcherState};

/// A comment, which clients skip.
pub(super) const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";
/// Longest content of a signal in an event, bytes; a longer one is cut.
const CONTENT_LIMIT_BYTES: usize = LOG_MESSAGE_LIMIT_BYTES;
/// Longest value in an event, bytes of JSON. For a longer one, the event holds an error.
const VALUE_LIMIT_BYTES: usize = 64 * 1024;

/// Encoded items.
pub(super) struct Batch {
    pub(super) bytes: Bytes,
    /// The number of items before these that were left out.
    pub(super) lost: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SignalEvent<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    content: &'a str,
    created_at: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StateEvent {
    state: &'static str,
    is_running: bool,
    at: Timestamp,
}

#[derive(Serialize)]
struct ValueEvent<'a> {
    name: &'a str,
    value: Option<Box<RawValue>>,
    error: Option<String>,
}

#[derive(Serialize)]
struct GapEvent {
    lost: u64,
}

#[derive(Serialize)]
struct DroppedEvent<'a> {
    reason: &'a str,
}

#[derive(Serialize)]
struct EndEvent<'a> {
    state: &'static str,
    reason: &'a str,
}

/// Encodes the newest items that fit, in their order, and of each variable only the newest value.
/// For items that do not fit, a `gap` event with their number comes first.
pub(super) fn encode_batch(mut items: VecDeque<Item>, lost: u64, limit_bytes: usize) -> Batch {
    let mut encoded = Vec::new();
    let mut starts = Vec::new();
    let mut encoded_names = HashSet::new();
    while encoded.len() < limit_bytes {
        let Some(item) = items.pop_back() else { break };
        let start = encoded.len();
        match &item {
            Item::Signal(it) => write_signal(&mut encoded, it),
            Item::State { state, at_ms } => {
                write_state(&mut encoded, *state, Timestamp::from_ms(*at_ms));
            }
            Item::Value(var) if encoded_names.insert(var.name.clone()) => {
                write_value(&mut encoded, var)
            }
            Item::Value(_) => continue,
            Item::Log(line) => write_log(&mut encoded, line),
        }
        starts.push(start);
    }
    let is_older =
        |item: &&Item| !matches!(item, Item::Value(var) if encoded_names.contains(&var.name));
    let lost = lost + items.iter().filter(is_older).count() as u64;
    let mut bytes = Vec::with_capacity(encoded.len() + 64);
    if lost > 0 {
        write_event(&mut bytes, "gap", &GapEvent { lost });
    }
    let mut end = encoded.len();
    let mut ranges = Vec::with_capacity(starts.len());
    for start in starts.into_iter().rev() {
        ranges.push(start..end);
        end = start;
    }
    // The newest was encoded first.
    for range in ranges {
        bytes.extend_from_slice(&encoded[range]);
    }
    Batch {
        bytes: bytes.into(),
        lost,
    }
}

/// Encodes the present state: the first event that every client gets.
pub(super) fn state_frame(status: &Status) -> Bytes {
    let mut out = Vec::new();
    write_state(&mut out, status.state, Timestamp(status.last_update));
    out.into()
}

/// Encodes the last event of a client that does not keep up.
pub(super) fn dropped_frame(batches: u64) -> Bytes {
    let mut out = Vec::new();
    let reason = format!("you read too slowly: {batches} batches are gone; connect again");
    write_event(&mut out, "dropped", &DroppedEvent { reason: &reason });
    out.into()
}

/// Encodes how the watcher ended: the last event.
pub(super) fn end_frame(ending: &Ending) -> Bytes {
    let mut out = Vec::new();
    let event = EndEvent {
        state: ending.kind.state().as_str(),
        reason: &ending.reason,
    };
    write_event(&mut out, "end", &event);
    out.into()
}

fn write_signal(out: &mut Vec<u8>, signal: &Signal) {
    let event = SignalEvent {
        kind: kind_name(signal.kind),
        content: cut(&signal.content),
        created_at: Timestamp::from_ms(signal.at_ms),
    };
    write_event(out, "signal", &event);
}

fn write_state(out: &mut Vec<u8>, state: WatcherState, at: Timestamp) {
    let event = StateEvent {
        state: state.as_str(),
        is_running: state.is_running(),
        at,
    };
    write_event(out, "state", &event);
}

fn write_value(out: &mut Vec<u8>, var: &Arc<Var>) {
    let current = var.current();
    let json = var.write(&current.value).and_then(|json| {
        if json.len() > VALUE_LIMIT_BYTES {
            let bytes = json.len();
            return Err(format!(
                "the value has {bytes} bytes: see /watcher/varState"
            ));
        }
        RawValue::from_string(json).map_err(|error| error.to_string())
    });
    let (value, error) = match json {
        Ok(value) => (Some(value), current.error.as_deref().map(Into::into)),
        Err(error) => (None, Some(error)),
    };
    let name = &var.name;
    write_event(out, "value", &ValueEvent { name, value, error });
}

fn write_log(out: &mut Vec<u8>, line: &LogLine) {
    write_event(out, "log", line);
}

/// Writes one event. Its data stays on one line whatever is in it: JSON escapes line ends in
/// strings, and those between tokens, which raw JSON may have, become blanks.
fn write_event(out: &mut Vec<u8>, name: &str, data: &impl Serialize) {
    let start = out.len();
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    let data_start = out.len();
    if serde_json::to_writer(&mut *out, data).is_err() {
        // No event fails here: values were encoded before.
        out.truncate(start);
        return;
    }
    for byte in &mut out[data_start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    out.extend_from_slice(b"\n\n");
}

fn cut(content: &str) -> &str {
    &content[..content.floor_char_boundary(CONTENT_LIMIT_BYTES)]
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn state(at_ms: u64) -> Item {
        let state = WatcherState::Ready;
        Item::State { state, at_ms }
    }

    fn text(batch: &Batch) -> String {
        String::from_utf8_lossy(&batch.bytes).into_owned()
    }

    #[test]
    fn too_many_items_are_a_gap_before_the_newest() {
        let items = (0..100).map(state).collect();
        let batch = encode_batch(items, 7, 300);
        let text = text(&batch);
        let events: Vec<&str> = text.split_terminator("\n\n").collect();
        let told = events.len() as u64 - 1;
        assert_eq!(batch.lost, 7 + 100 - told);
        assert_eq!(
            events[0],
            format!("event: gap\ndata: {{\"lost\":{}}}", batch.lost)
        );
        assert!(events[events.len() - 1].contains("1970-01-01T00:00:00.099Z"));
        assert!(batch.bytes.len() < 500, "{}", batch.bytes.len());
    }

    #[test]
    fn only_the_newest_value_of_a_variable_is_told() {
        let var = |name: &str| Arc::new(Var::new(name.into(), Arc::new(5), SystemTime::UNIX_EPOCH));
        let (a, b) = (var("a"), var("b"));
        let items = [&a, &b, &a, &a].map(|var| Item::Value(var.clone()));
        let batch = encode_batch(items.into(), 0, 1024);
        let expected = "event: value\ndata: {\"name\":\"b\",\"value\":5,\"error\":null}\n\n\
            event: value\ndata: {\"name\":\"a\",\"value\":5,\"error\":null}\n\n";
        assert_eq!((text(&batch).as_str(), batch.lost), (expected, 0));
    }

    #[test]
    fn long_contents_and_values_are_bounded() {
        let content = "é".repeat(CONTENT_LIMIT_BYTES);
        let signal = Signal {
            kind: crate::shared::SignalKind::User,
            content: format!("x{content}").into(),
            at_ms: 0,
        };
        let value = Arc::new("y".repeat(VALUE_LIMIT_BYTES));
        let var = Var::new("long".into(), value, SystemTime::UNIX_EPOCH);
        let items = [Item::Signal(signal), Item::Value(Arc::new(var))];
        let batch = encode_batch(items.into(), 0, 1024 * 1024);
        assert!(batch.bytes.len() < CONTENT_LIMIT_BYTES + 500);
        let expected = "{\"name\":\"long\",\"value\":null,\"error\":\"the value has 65538 bytes: see /watcher/varState\"}";
        assert!(text(&batch).contains(expected), "{}", text(&batch));
    }
}
