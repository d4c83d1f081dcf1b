//! Follows a deploy: shows its build, its probes and its end. Other people may deploy or stop the same
//! program meanwhile, so the result is compared with the source that was sent.

use futures_util::StreamExt;
use hersh_wire::{Code, ProgramView, SourceAccepted};
use reqwest::Method;

use crate::{args::Output, client::Client, commands::programs, failure::Failure, output};

/// The longest wait for the program to settle before its probe is shown.
const QUIET: &str = "3s";

/// Shows the build and waits until the program has settled.
///
/// # Errors
/// [`Failure`] unless the source that was sent runs, or ended well.
pub(super) async fn follow(
    client: &Client,
    created: &SourceAccepted,
    begun: &ProgramView,
    format: Output,
) -> Result<(), Failure> {
    let name = created.program_id.as_str();
    // With a known image nothing is built, unless the image was lost.
    let is_shown = begun.image_id.is_none();
    if is_shown {
        show_build(client, created).await;
    }
    let mut view = settled(client, name).await?;
    let is_build = |code: &str| code == "build_failed";
    if let Some(cause) = view
        .cause
        .as_mut()
        .filter(|cause| is_shown && is_build(&cause.code))
    {
        // The end of the build's log was shown a moment ago.
        cause.logs.clear();
    }
    ended(created, &view)?;
    report(client, &view, format)
}

/// Waits until the program has settled. Meanwhile shows what its readiness probes see.
async fn settled(client: &Client, name: &str) -> Result<ProgramView, Failure> {
    let mut told = None;
    loop {
        let request = client
            .request(Method::GET, &["programs", name])
            .query(&[("wait", QUIET)]);
        match client.read(request).await {
            Err(Failure::Refused(problem)) if problem.code == Code::WaitTimedOut => {}
            Err(Failure::Refused(problem)) if problem.code == Code::NotFound => {
                let message = format!("{name} was removed before it was ready");
                return Err(Failure::Failed(message));
            }
            settled => return settled,
        }
        let view: ProgramView = client.get(&["programs", name]).await?;
        if view.last_probe.is_some() && view.last_probe != told {
            let probe = view.last_probe.as_deref().unwrap_or_default();
            output::note(&format!("{name} is not ready yet: {probe}"));
            told = view.last_probe;
        }
    }
}

/// Checks that the program came to a good end with the source that was sent.
fn ended(created: &SourceAccepted, view: &ProgramView) -> Result<(), Failure> {
    let (name, sent) = (&created.program_id, &created.build_id);
    let build = view.instance_build_id.as_ref().unwrap_or(&view.build_id);
    let overtaken = |what: &str| {
        let [build, sent] = [build, sent].map(|id| output::short_build(id));
        Err(Failure::Failed(format!(
            "another deploy overtook this one: {name} {what} {build}, and not {sent} that was sent here"
        )))
    };
    match (view.state.as_str(), view.last_exit_code) {
        ("Ready", _) if build == sent => Ok(()),
        ("Ready", _) => overtaken("runs"),
        ("Error", _) if build == sent => programs::failed(view).map_or(Ok(()), Err),
        ("Error", _) => overtaken("failed with"),
        ("Stopped", Some(_)) if build == sent => Ok(()),
        ("Stopped", Some(_)) => overtaken("ended with"),
        ("Stopped", None) => Err(Failure::Failed(format!(
            "{name} was stopped before it was ready; 'hersh start {name}' starts it"
        ))),
        (state, _) => Err(Failure::Failed(format!(
            "{name} is {state}: somebody else changed it meanwhile; 'hersh inspect {name}' shows it"
        ))),
    }
}

/// Prints the state in which the program settled.
pub(super) fn report(client: &Client, view: &ProgramView, format: Output) -> Result<(), Failure> {
    match (format, view.last_exit_code) {
        (Output::Json, _) => output::json(view),
        (Output::Table, Some(code)) => output::line(&format!(
            "{} ran to its end, with code {code}   next: hersh logs {0}",
            view.program_id
        )),
        (Output::Table, None) => output::line(&format!(
            "{} is {}   watcher: {}   next: hersh inspect {0}, hersh logs -f {0}",
            view.program_id,
            view.state,
            client.address(&view.proxy_url)
        )),
    }
}

/// Shows the build's log while it runs. An error here is not a failure of the deploy.
async fn show_build(client: &Client, created: &SourceAccepted) {
    let path = [
        "programs",
        &created.program_id,
        "builds",
        &created.build_id,
        "logs",
    ];
    let request = client
        .request(Method::GET, &path)
        .query(&[("follow", "true")]);
    let Ok(lines) = client.lines(request).await else {
        return;
    };
    let mut lines = std::pin::pin!(lines);
    while let Some(Ok(line)) = lines.next().await {
        output::note(&format!("  {}", line.line));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::tests::created, *};
    use crate::commands::sample;

    #[test]
    fn a_deploy_tells_the_truth_about_its_own_source() {
        let failed = json!({ "code": "exited", "message": "exited with code 3" });
        for (change, said) in [
            (json!({}), None),
            (
                json!({ "run_build_id": "build-2", "build_id": "build-2" }),
                Some("a runs build-2, and not build-1"),
            ),
            // Newer source is stored; the program runs the source that was sent.
            (
                json!({ "build_id": "build-2", "has_newer_source": true }),
                None,
            ),
            (
                json!({ "state": "Error", "cause": failed }),
                Some("exited with code 3"),
            ),
            (
                json!({ "state": "Error", "cause": failed, "run_build_id": null, "build_id": "build-2" }),
                Some("a failed with build-2"),
            ),
            (
                json!({ "state": "Stopped", "run_build_id": null }),
                Some("a was stopped before it was ready"),
            ),
            (
                json!({ "state": "Stopped", "run_build_id": null, "last_exit_code": 0 }),
                None,
            ),
            (
                json!({ "state": "Building", "run_build_id": "build-2" }),
                Some("somebody else changed it"),
            ),
        ] {
            match (ended(&created(), &sample::program(&change)), said) {
                (Ok(()), None) => {}
                (Err(failure), Some(said)) => {
                    assert!(failure.to_string().contains(said), "{failure}");
                    assert_eq!(failure.exit_code(), 1);
                }
                (found, _) => panic!("{change}: {found:?}"),
            }
        }
    }
}
