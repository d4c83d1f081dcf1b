//! `hersh deploy`: folder → host → image → sandbox.
//!
//! ```text
//! check (nothing is sent) ─► upload ─► unchanged? ─► start or restart ─► follow: what became of it
//! ```

mod build_only;
mod check;
mod env_file;
mod upload;

use hersh_wire::{ProgramView, RolloutStep};
use reqwest::Method;

use self::build_only::build_only;
use super::{
    follow::{self, Sent, StartProgress},
    host_view::HostView,
    programs,
};
use crate::{
    args::{DeployOptions, Output},
    client::Client,
    failure::Failure,
    output,
};

pub(crate) async fn deploy(
    client: &Client,
    options: DeployOptions,
    format: Output,
) -> Result<(), Failure> {
    let source = check::source(&options)?;
    source.listing.show_notes();
    let name = source.name.clone();
    let created = tokio::select! {
        created = upload::send(client, &options.folder, source) => created?,
        _ = tokio::signal::ctrl_c() => return Err(Failure::Interrupted(format!(
            "the upload was cut, nothing of it is kept, and {name} is as it was"
        ))),
    };
    let (sent, progress) = (Sent::of(&created), StartProgress::default());
    let follow = async {
        match options.build_only {
            true => build_only(client, &sent, options.detach, &progress, format).await,
            false => start(client, &sent, &options, &progress, format).await,
        }
    };
    tokio::select! {
        ended = follow => ended,
        _ = tokio::signal::ctrl_c() => Err(progress.interrupted(&sent)),
    }
}

/// Has what was stored started, and follows that.
async fn start(
    client: &Client,
    sent: &Sent,
    options: &DeployOptions,
    progress: &StartProgress,
    format: Output,
) -> Result<(), Failure> {
    let name = sent.name.as_str();
    let view: ProgramView = client.get(&["programs", name]).await?;
    let begun = match step(&view, sent, options.restart) {
        Step::Nothing => {
            if let HostView::Lost(why) = HostView::of(client).await {
                return Err(Failure::Unavailable(format!(
                    "{name} is unchanged, so nothing was restarted; whether it runs is not known: {why}"
                )));
            }
            output::note(&format!(
                "{name} is unchanged and runs: nothing was restarted (--restart does)"
            ));
            return follow::report(client, &view, format);
        }
        Step::Follow => view,
        Step::Command(verb) => {
            client
                .read(client.request(Method::POST, &["programs", name, verb]))
                .await?
        }
    };
    if options.detach {
        return programs::show(&begun, format);
    }
    follow::follow(client, sent, &begun, progress, format).await
}

/// The next step once the source is stored.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// The program runs this source already, so there is nothing to do.
    Nothing,
    /// The program is on its way up with this source already.
    Follow,
    /// Send this command.
    Command(&'static str),
}

fn step(view: &ProgramView, sent: &Sent, restart: bool) -> Step {
    let is_same = sent.is_current(view);
    let rollout = view.rollout.as_ref();
    match view.state.as_str() {
        // Somebody has it built only, and now it is to be started: that goes on from the build.
        state if rollout.is_some_and(|it| it.step == RolloutStep::BuildingOnly) => match state {
            "Ready" => Step::Command("restart"),
            _at_rest => Step::Command("start"),
        },
        _any if programs::is_at_rest(view) => Step::Command("start"),
        "Ready" if is_same && !restart && view.rollout.is_none() => Step::Nothing,
        "Ready" | "Building" | "Starting" if is_same && !restart => Step::Follow,
        _other => Step::Command("restart"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::sample;

    fn sent(revision: Option<u64>) -> Sent {
        Sent {
            name: "a".into(),
            revision,
            build: "build-1".into(),
        }
    }

    #[test]
    fn a_numbered_revision_is_left_alone_where_it_runs() {
        let building = json!({ "revision": 7, "step": "building", "fallback": 6 });
        let at_rest = json!({ "revision": 7, "step": "building_only" });
        let building_only = json!({ "revision": 7, "step": "building_only", "fallback": 6 });
        let settling = json!({ "revision": 7, "step": "settling", "fallback": 6 });
        let steps = [
            (json!({ "revision": 7 }), Step::Nothing),
            (json!({ "revision": 7, "rollout": settling }), Step::Follow),
            (
                json!({ "revision": 6, "rollout": building_only }),
                Step::Command("restart"),
            ),
            (json!({ "revision": 6, "rollout": building }), Step::Follow),
            (
                json!({ "revision": 7, "state": "Building", "rollout": at_rest }),
                Step::Command("start"),
            ),
            // The same tree, and other settings.
            (json!({ "revision": 6 }), Step::Command("restart")),
            (json!({ "revision": 7, "state": "Starting" }), Step::Follow),
        ];
        for (change, expected) in steps {
            let found = step(&sample::program(&change), &sent(Some(7)), false);
            assert_eq!(found, expected, "{change}");
        }
    }

    #[test]
    fn what_runs_as_it_was_sent_is_left_alone() {
        let steps = [
            (json!({}), Step::Nothing),
            (
                json!({ "has_newer_source": true }),
                Step::Command("restart"),
            ),
            (
                json!({ "run_build_id": "build-0" }),
                Step::Command("restart"),
            ),
            (json!({ "run_build_id": null }), Step::Command("restart")),
            (json!({ "state": "Building" }), Step::Follow),
            (json!({ "state": "Starting" }), Step::Follow),
            (json!({ "state": "Stopping" }), Step::Command("restart")),
            (json!({ "state": "Stopped" }), Step::Command("start")),
            (json!({ "state": "Error" }), Step::Command("start")),
            (json!({ "state": "Created" }), Step::Command("start")),
        ];
        for (change, expected) in steps {
            let found = step(&sample::program(&change), &sent(None), false);
            assert_eq!(found, expected, "{change}");
        }
        let asked = step(&sample::program(&json!({})), &sent(None), true);
        assert_eq!(asked, Step::Command("restart"));
    }
}
