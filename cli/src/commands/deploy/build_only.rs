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
    let under_way = begun.rollout.as_ref();
    let under_way = under_way.filter(|it| Some(it.revision) == sent.revision);
    match under_way.map(|rollout| rollout.step) {
        Some(RolloutStep::BuildingOnly) => {}
        Some(_) | None => {
            output::note(&format!("{} is unchanged: nothing was built", sent.name));
            return follow::report(client, &begun, format);
        }
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

/// Checks that the build came to a good end.
fn built(sent: &Sent, view: &ProgramView) -> Result<(), Failure> {
    let number = sent.revision.unwrap_or_default();
    let end = view.last_rollout.as_ref();
    match end.filter(|end| end.revision == number) {
        Some(end) if end.outcome == RolloutOutcome::Built => Ok(()),
        Some(_) | None => Err(rollout::came_to_nothing(number, view)),
    }
}

fn words(view: &ProgramView) -> String {
    let name = &view.program_id;
    let number = view.wanted_revision.unwrap_or_default();
    match (view.state.as_str(), view.revision) {
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
        let failed = json!({ "revision": 6, "last_rollout": end("failed") });
        let told = built(&sent(), &sample::program(&failed)).unwrap_err();
        assert!(told.to_string().contains("revision 6 still runs"), "{told}");
    }
}
