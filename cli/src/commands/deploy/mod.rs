//! `hersh deploy`: folder → host → image → sandbox.
//!
//! ```text
//! check (nothing is sent) ─► upload ─► unchanged? ─► start or restart ─► follow: what became of it
//! ```

mod check;
mod env_file;
mod follow;
mod upload;

use hersh_wire::{ProgramCreated, ProgramView};
use reqwest::Method;

use super::{host_view::HostView, programs};
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
    source.listing.tell();
    let name = source.name.clone();
    let created = tokio::select! {
        created = upload::send(client, &options.folder, source) => created?,
        _ = tokio::signal::ctrl_c() => return Err(Failure::Interrupted(format!(
            "the upload was cut, nothing of it is kept, and {name} is as it was"
        ))),
    };
    let view: ProgramView = client.get(&["programs", &name]).await?;
    let begun = match step(&view, &created, options.restart) {
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
                .read(client.request(Method::POST, &["programs", &name, verb]))
                .await?
        }
    };
    if options.detach {
        return programs::show(&begun, format);
    }
    tokio::select! {
        ended = follow::follow(client, &created, &begun, format) => ended,
        _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted(format!(
            "the host goes on with {name}; 'hersh stop {name}' ends it"
        ))),
    }
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

fn step(view: &ProgramView, created: &ProgramCreated, restart: bool) -> Step {
    let is_same = view.run_build_id.as_ref() == Some(&created.build_id) && !view.has_newer_source;
    match view.state.as_str() {
        _any if programs::is_at_rest(view) => Step::Command("start"),
        "Ready" if is_same && !restart => Step::Nothing,
        "Building" | "Starting" if is_same && !restart => Step::Follow,
        _other => Step::Command("restart"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::sample;

    /// Returns the answer to an upload.
    pub(super) fn created() -> ProgramCreated {
        ProgramCreated {
            program_id: "a".into(),
            build_id: "build-1".into(),
            revision: None,
            owner: "ann".into(),
            state: "Ready".into(),
            proxy_url: "/programs/a/watcher/".into(),
            created_at_ms: 1,
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
            let found = step(&sample::program(&change), &created(), false);
            assert_eq!(found, expected, "{change}");
        }
        let asked = step(&sample::program(&json!({})), &created(), true);
        assert_eq!(asked, Step::Command("restart"));
    }
}
