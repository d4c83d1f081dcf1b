//! `hersh events`: what happened to a program, from its journal.

use hersh_wire::{EventList, EventView};
use reqwest::Method;

use crate::{args::Output, client::Client, failure::Failure, output};

/// The longest text of an event that is shown, characters; `-o json` shows the whole text.
const TEXT_CHARS_MAX: usize = 200;

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
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    output::table(&["SEQ", "TIME", "WHAT HAPPENED"], &rows)
}

fn row(event: &EventView) -> Vec<String> {
    // An older host sends no text for the event, so show the event's name.
    let name = || {
        event.event["event"]
            .as_str()
            .unwrap_or("?")
            .replace('_', " ")
    };
    let text = match event.text.as_str() {
        "" => name(),
        text => text.to_owned(),
    };
    vec![
        event.seq.to_string(),
        output::clock(event.at_ms),
        output::cut(&text, TEXT_CHARS_MAX),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_told_in_words_with_the_time_of_a_clock() {
        let mut event = EventView {
            seq: 7,
            at_ms: 951_782_400_000,
            text: "it is Ready".to_owned(),
            event: json!({ "event": "runtime_started" }),
            effects: json!([]),
        };
        assert_eq!(row(&event), ["7", "2000-02-29 00:00:00Z", "it is Ready"]);
        event.text.clear();
        assert_eq!(row(&event)[2], "runtime started");
    }
}
