//! `hersh revisions`: what was deployed under a program's name.

use hersh_wire::{ProgramView, RevisionList, RevisionView, RolloutOutcome, RolloutStep};

use crate::{args::Output, client::Client, failure::Failure, output};

/// The longest part of a message in the list, characters; the JSON has all of it.
const MESSAGE_CHARS_MAX: usize = 60;

pub(crate) async fn list(client: &Client, program: &str, format: Output) -> Result<(), Failure> {
    let list: RevisionList = client.get(&["programs", program, "revisions"]).await?;
    if format == Output::Json {
        return output::json(&list);
    }
    let view: ProgramView = client.get(&["programs", program]).await?;
    let rows: Vec<Vec<String>> = list.revisions.iter().map(|it| row(it, &view)).collect();
    let header = ["REVISION", "STATE", "BUILD", "BY", "AGE", "MESSAGE"];
    output::table(&header, &rows)
}

fn row(revision: &RevisionView, view: &ProgramView) -> Vec<String> {
    let message = revision.message.as_deref().unwrap_or_default();
    vec![
        revision.revision.to_string(),
        state(revision, view),
        output::short_build(&revision.build_id).to_owned(),
        revision.by.clone().unwrap_or_default(),
        output::age(revision.made_at_ms),
        output::cut(message, MESSAGE_CHARS_MAX),
    ]
}

/// Returns what is there of a revision now; if nothing is, what became of it.
fn state(revision: &RevisionView, view: &ProgramView) -> String {
    let number = revision.revision;
    let rollout = view.rollout.as_ref().filter(|it| it.revision == number);
    match rollout.map(|rollout| rollout.step) {
        Some(RolloutStep::Building | RolloutStep::BuildingOnly) => return "building".to_owned(),
        Some(RolloutStep::StartingBeside) => return "starting".to_owned(),
        Some(RolloutStep::Starting | RolloutStep::Settling | RolloutStep::Other) | None => {}
    }
    if revision.current {
        return match view.state.as_str() {
            "Ready" if rollout.is_some() => "running, not settled".to_owned(),
            "Ready" => "running".to_owned(),
            "Error" => "failed, tried again".to_owned(),
            _on_its_way => view.state.to_lowercase(),
        };
    }
    let end = view.last_rollout.as_ref();
    let end = end.filter(|end| end.revision == number);
    let state = match end.map(|end| end.outcome) {
        Some(RolloutOutcome::Failed) => "failed",
        Some(RolloutOutcome::RolledBack) => "rolled back",
        Some(
            RolloutOutcome::Settled
            | RolloutOutcome::Superseded
            | RolloutOutcome::Stopped
            | RolloutOutcome::Built
            | RolloutOutcome::Cut
            | RolloutOutcome::Other,
        )
        | None => match (revision.good, &revision.image_id) {
            (true, _) => "good",
            (false, Some(_)) => "built",
            (false, None) => "",
        },
    };
    let wanted = match revision.wanted {
        true => "wanted",
        false => "",
    };
    let parts = [wanted, state].into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::commands::sample;

    fn revision(change: &Value) -> RevisionView {
        let mut view = json!({
            "revision": 7, "build_id": "build-0123456789abcdef", "made_at_ms": 1,
            "by": "ann", "message": "faster", "manifest": {},
        });
        let change = change.as_object().unwrap().clone();
        view.as_object_mut().unwrap().extend(change);
        serde_json::from_value(view).unwrap()
    }

    #[test]
    fn a_revision_is_told_by_what_is_there_of_it() {
        let ready = json!({ "revision": 7 });
        let step = |step: &str| json!({ "rollout": { "revision": 7, "step": step } });
        let end = |outcome: &str| json!({ "last_rollout": { "revision": 7, "outcome": outcome, "at_ms": 1 } });
        for (of, view, told) in [
            (json!({ "current": true, "good": true }), ready, "running"),
            (
                json!({ "current": true }),
                step("settling"),
                "running, not settled",
            ),
            (
                json!({ "current": true }),
                json!({ "state": "Starting" }),
                "starting",
            ),
            (
                json!({ "current": true }),
                json!({ "state": "Error" }),
                "failed, tried again",
            ),
            (json!({ "wanted": true }), step("building"), "building"),
            (json!({ "wanted": true }), json!({}), "wanted"),
            (
                json!({ "wanted": true, "good": true }),
                json!({}),
                "wanted, good",
            ),
            (json!({ "good": true }), end("settled"), "good"),
            (json!({}), end("failed"), "failed"),
            (json!({}), end("rolled_back"), "rolled back"),
            (json!({}), json!({}), ""),
        ] {
            let row = row(&revision(&of), &sample::program(&view));
            assert_eq!(row[1], told, "{of} {view}");
            assert_eq!(row[0], "7");
            assert_eq!(row[2], "build-0123456789ab");
            assert_eq!((row[3].as_str(), row[5].as_str()), ("ann", "faster"));
        }
    }
}
