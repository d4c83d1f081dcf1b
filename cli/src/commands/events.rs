//! `hersh events`: what happened to a program, from its journal.

use hersh_wire::{EventList, EventView};
use reqwest::Method;
use serde_json::Value;

use crate::{args::Output, client::Client, failure::Failure, output};

/// What an event says of itself is cut here; `-o json` shows it whole.
const DETAIL_CHARS_MAX: usize = 80;

pub(crate) async fn show(client: &Client, program: &str, format: Output) -> Result<(), Failure> {
    let mut all: Vec<EventView> = Vec::new();
    let mut after = Some(0);
    while let Some(place) = after {
        let request = client
            .request(Method::GET, &["programs", program, "events"])
            .query(&[("after", place), ("limit", 1_000)]);
        let page: EventList = client.read(request).await?;
        all.extend(page.events);
        after = page.next_after;
    }
    if format == Output::Json {
        return output::json(&all);
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|event| {
            let effects = event.effects.as_array().into_iter().flatten();
            let effects: Vec<&str> = effects.map(|effect| text(&effect[1], "effect")).collect();
            vec![
                event.seq.to_string(),
                output::age(event.at_ms),
                text(&event.event, "event").to_string(),
                detail(&event.event),
                effects.join(", "),
            ]
        })
        .collect();
    output::table(&["SEQ", "AGO", "EVENT", "DETAIL", "EFFECTS"], &rows)
}

/// Why something failed or ended; empty for an event that is its own detail.
fn detail(event: &Value) -> String {
    let cause = [&event["result"]["Err"], &event["cause"]];
    let failed = cause
        .into_iter()
        .find(|cause| cause.is_object())
        .map(|cause| {
            let lines = text(cause, "message").lines();
            let message = lines
                .map(str::trim)
                .find(|line| !line.is_empty())
                .unwrap_or("");
            format!("{}: {message}", text(cause, "cause"))
                .trim_end_matches([':', ' '])
                .to_string()
        });
    let reason = &event["exit"]["reason"];
    let ended = match (reason["code"].as_i64(), reason.as_str()) {
        (Some(code), _) => Some(format!("code {code}")),
        (None, reason) => reason.map(ToString::to_string),
    };
    let detail = failed.or(ended).unwrap_or_default();
    output::cut(&detail, DETAIL_CHARS_MAX)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_says_why_something_failed_or_ended() {
        for (event, expected) in [
            (json!({ "event": "user_start_requested" }), ""),
            (
                json!({ "event": "folders_ensured", "result": { "Ok": null } }),
                "",
            ),
            (
                json!({ "event": "build_finished", "result": { "Err": { "cause": "build_failed", "message": "\nno such step\n" } } }),
                "build_failed: no such step",
            ),
            (
                json!({ "event": "start_failed", "cause": { "cause": "vanished" } }),
                "vanished",
            ),
            (
                json!({ "event": "runtime_exited", "exit": { "reason": { "code": 3 } } }),
                "code 3",
            ),
            (
                json!({ "event": "runtime_exited", "exit": { "reason": "out_of_memory" } }),
                "out_of_memory",
            ),
        ] {
            assert_eq!(detail(&event), expected, "{event}");
        }
    }
}
