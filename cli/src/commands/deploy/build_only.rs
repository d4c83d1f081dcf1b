//! `hersh deploy --build-only`: the revision is built, and waits for a command.

use hersh_wire::{ProgramView, RolloutOutcome, RolloutStep};
use reqwest::Method;

use crate::{
    args::Output,
    client::Client,
    commands::{
        follow::{self, Sent, StartProgress},
        programs, rollout,
    },
    failure::Failure,
    output,
};

/// Has what was stored built and not started, and follows the build unless `detach` says not to.
pub(super) async fn build_only(
    client: &Client,
    sent: &Sent,
    detach: bool,
    progress: &StartProgress,
    format: Output,
) -> Result<(), Failure> {
    let request = client.request(Method::POST, &["programs", &sent.name, "build"]);
    let begun: ProgramView = client.read(request).await?;
    if let Some(told) = over_already(sent, &begun) {
        output::note(&told);
        return follow::report(client, &begun, format);
    }
    if detach {
        return programs::show(&begun, format);
    }
    let view = follow::build(client, sent, &begun, progress).await?;
    built(sent, &view)?;
    match format {
        Output::Json => output::json(&view),
        Output::Table => output::line(&words(&view)),
    }
}

/// Returns what is told if nothing is built for this command: the revision runs, or is on its way to that.
fn over_already(sent: &Sent, begun: &ProgramView) -> Option<String> {
    let (name, number) = (&sent.name, sent.revision?);
    match &begun.rollout {
        Some(rollout) if rollout.revision == number => match rollout.step {
            RolloutStep::BuildingOnly => None,
            RolloutStep::Building
            | RolloutStep::Starting
            | RolloutStep::StartingBeside
            | RolloutStep::Settling
            | RolloutStep::Other => Some(rollout::under_way(rollout)),
        },
        Some(_) | None => {
            let runs = begun.revision == Some(number) && begun.state == "Ready";
            runs.then(|| format!("{name} is unchanged and runs: nothing was built"))
        }
    }
}

/// Checks that the build came to a good end. A start that came meanwhile went on from it.
fn built(sent: &Sent, view: &ProgramView) -> Result<(), Failure> {
    let number = sent.revision.unwrap_or_default();
    let end = view.last_rollout.as_ref();
    match end.filter(|end| end.revision == number) {
        Some(end) if end.outcome == RolloutOutcome::Built => Ok(()),
        None if view.revision == Some(number) && view.image_id.is_some() => Ok(()),
        Some(_) | None => Err(rollout::came_to_nothing(number, view)),
    }
}

fn words(view: &ProgramView) -> String {
    let name = &view.program_id;
    let number = view.wanted_revision.unwrap_or_default();
    match (view.state.as_str(), view.revision) {
        ("Ready", Some(runs)) if runs == number => {
            format!("revision {number} of {name} is built, and runs by now")
        }
        ("Ready", Some(runs)) => format!(
            "revision {number} of {name} is built; revision {runs} runs on   next: hersh restart {name}"
        ),
        _at_rest => format!("revision {number} of {name} is built   next: hersh start {name}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::sample;

    fn sent() -> Sent {
        Sent {
            name: "a".into(),
            revision: Some(7),
            build: "build-1".into(),
        }
    }

    #[test]
    fn what_was_built_is_told_with_the_next_step() {
        let end = |outcome| json!({ "revision": 7, "outcome": outcome, "at_ms": 1 });
        let running = json!({ "revision": 6, "wanted_revision": 7, "last_rollout": end("built") });
        let running = sample::program(&running);
        built(&sent(), &running).unwrap();
        assert_eq!(
            words(&running),
            "revision 7 of a is built; revision 6 runs on   next: hersh restart a"
        );
        let new = json!({ "state": "Created", "revision": 7, "wanted_revision": 7 });
        assert_eq!(
            words(&sample::program(&new)),
            "revision 7 of a is built   next: hersh start a"
        );
        let started = json!({ "revision": 7, "wanted_revision": 7, "image_id": "sha256:1" });
        built(&sent(), &sample::program(&started)).unwrap();
        assert!(words(&sample::program(&started)).contains("runs by now"));
        let failed = json!({ "revision": 6, "last_rollout": end("failed") });
        let told = built(&sent(), &sample::program(&failed)).unwrap_err();
        assert!(told.to_string().contains("revision 6 still runs"), "{told}");
    }

    #[test]
    fn what_is_not_built_for_this_command_is_told_why() {
        let rollout = |step: &str| json!({ "revision": 7, "step": step, "fallback": 6 });
        for (change, said) in [
            (json!({ "rollout": rollout("building_only") }), None),
            (
                json!({ "rollout": rollout("building") }),
                Some("is being built"),
            ),
            (json!({ "revision": 7 }), Some("a is unchanged and runs")),
            // The build was over before the answer was made.
            (json!({ "revision": 6 }), None),
        ] {
            let told = over_already(&sent(), &sample::program(&change));
            match (told, said) {
                (None, None) => {}
                (Some(told), Some(said)) => assert!(told.contains(said), "{told}"),
                (told, _) => panic!("{change}: {told:?}"),
            }
        }
    }
}
