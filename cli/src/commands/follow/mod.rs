//! Follows a revision that was asked to run: shows its build, its probes and its end. Other people may deploy or
//! stop the same program meanwhile, so the result is compared with what was asked for.
//!
//! ```text
//! build ─► start ─► Ready ─► settled, if another revision ran before
//!   └────────┴────────┴────► what ran still runs, or runs again: told with the cause
//! ```

mod ended;
mod start_progress;

use std::time::Duration;

use futures_util::StreamExt;
use hersh_wire::{Code, ProgramView, RolloutOutcome, RolloutStep, SourceAccepted};
use reqwest::Method;

use self::ended::ended;
pub(super) use self::start_progress::StartProgress;
use super::rollout;
use crate::{args::Output, client::Client, failure::Failure, output};

/// The longest wait for the program to settle before its probe is shown.
const QUIET: &str = "3s";
/// The time after which a revision that is up has settled, in words. It is the host's.
const SETTLED_AFTER: &str = "10 s";
/// The pause between two looks at whether it has settled.
const PAUSE: Duration = Duration::from_millis(500);

/// What was asked to run.
pub(super) struct Sent {
    /// The program's name.
    pub(super) name: String,
    /// The number of the revision; an older host numbers none.
    pub(super) revision: Option<u64>,
    /// The id of its source tree.
    pub(super) build: String,
}

impl Sent {
    /// Returns what a deploy stored.
    pub(super) fn of(created: &SourceAccepted) -> Self {
        Self {
            name: created.program_id.clone(),
            revision: created.revision,
            build: created.build_id.clone(),
        }
    }

    /// Returns what a roll-back or a restart that `begun` answers is about: the wanted revision.
    pub(super) fn wanted(begun: &ProgramView) -> Self {
        Self {
            name: begun.program_id.clone(),
            revision: begun.wanted_revision,
            build: begun.build_id.clone(),
        }
    }

    /// Returns whether the program runs this, or is on its way to it.
    pub(super) fn is_current(&self, view: &ProgramView) -> bool {
        match (self.revision, current(view)) {
            (Some(sent), Some(current)) => sent == current,
            _older_host => {
                view.instance_build_id.as_ref() == Some(&self.build) && !view.has_newer_source
            }
        }
    }
}

/// Returns the number of the revision that is on its way, or else of the one that runs.
fn current(view: &ProgramView) -> Option<u64> {
    let rollout = view.rollout.as_ref().map(|rollout| rollout.revision);
    rollout.or(view.revision)
}

/// Shows the build and waits until the program has settled.
///
/// # Errors
/// [`Failure`] unless what was sent runs, or ended well.
pub(super) async fn follow(
    client: &Client,
    sent: &Sent,
    begun: &ProgramView,
    progress: &StartProgress,
    format: Output,
) -> Result<(), Failure> {
    progress.is(begun);
    let rollout = begun.rollout.as_ref();
    if let Some(rollout) = rollout.filter(|it| it.step == RolloutStep::Building) {
        output::note(&rollout::under_way(rollout));
    }
    // With a known image nothing is built, unless the image was lost.
    let image = rollout.map_or(&begun.image_id, |rollout| &rollout.image_id);
    let is_shown = image.is_none();
    if is_shown {
        show_build(client, sent).await;
    }
    let mut view = at_its_end(client, sent, progress).await?;
    if is_shown {
        forget_build_logs(&mut view);
    }
    ended(sent, &view)?;
    report(client, &view, format)
}

/// Shows the build, and waits until the program has settled without a start.
pub(super) async fn build(
    client: &Client,
    sent: &Sent,
    begun: &ProgramView,
    progress: &StartProgress,
) -> Result<ProgramView, Failure> {
    progress.is(begun);
    show_build(client, sent).await;
    let mut view = settled(client, sent, progress).await?;
    forget_build_logs(&mut view);
    Ok(view)
}

/// Forgets the end of a build's log, which was shown a moment ago.
fn forget_build_logs(view: &mut ProgramView) {
    let rollout = view.last_rollout.as_mut();
    let rollout = rollout.and_then(|end| end.cause.as_mut());
    for cause in view.cause.iter_mut().chain(rollout) {
        if cause.code == "build_failed" {
            cause.logs.clear();
        }
    }
}

/// Waits until it is known what becomes of what was sent. A revision that took the place of another is known to
/// run once it has settled.
async fn at_its_end(
    client: &Client,
    sent: &Sent,
    progress: &StartProgress,
) -> Result<ProgramView, Failure> {
    let mut is_told = false;
    loop {
        let view = settled(client, sent, progress).await?;
        let rollout = view.rollout.as_ref();
        let settles = rollout.filter(|it| it.step == RolloutStep::Settling);
        let Some(rollout) = settles.filter(|it| Some(it.revision) == sent.revision) else {
            return Ok(view);
        };
        if !is_told {
            let before = rollout.fallback.unwrap_or_default();
            output::note(&format!(
                "revision {} is Ready; revision {before} comes back if it ends within {SETTLED_AFTER} (--detach does not wait)",
                rollout.revision
            ));
            is_told = true;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until the program has settled, or somebody else took it over. Meanwhile shows what its readiness
/// probes see.
async fn settled(
    client: &Client,
    sent: &Sent,
    progress: &StartProgress,
) -> Result<ProgramView, Failure> {
    let name = sent.name.as_str();
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
            Err(failure) => return Err(failure),
            Ok(view) => {
                progress.is(&view);
                return Ok(view);
            }
        }
        let view: ProgramView = client.get(&["programs", name]).await?;
        progress.is(&view);
        if is_over(sent, &view) {
            return Ok(view);
        }
        if view.last_probe.is_some() && view.last_probe != told {
            let probe = view.last_probe.as_deref().unwrap_or_default();
            output::note(&format!("{name} is not ready yet: {probe}"));
            told = view.last_probe;
        }
    }
}

/// Returns whether the end of what was sent is known, though something else is under way in the program.
fn is_over(sent: &Sent, view: &ProgramView) -> bool {
    if sent.revision.is_none() || sent.is_current(view) {
        return false;
    }
    // A newer revision is built beside it.
    if view.state == "Ready" && view.revision == sent.revision {
        return true;
    }
    let end = view.last_rollout.as_ref();
    let end = end.filter(|end| Some(end.revision) == sent.revision);
    end.is_some_and(|end| match end.outcome {
        RolloutOutcome::Superseded
        | RolloutOutcome::Stopped
        | RolloutOutcome::Failed
        | RolloutOutcome::Built
        | RolloutOutcome::Cut => true,
        // Whether the revision before runs again is to be seen.
        RolloutOutcome::RolledBack | RolloutOutcome::Settled | RolloutOutcome::Other => false,
    })
}

/// Prints the state in which the program settled.
pub(super) fn report(client: &Client, view: &ProgramView, format: Output) -> Result<(), Failure> {
    let number = view.revision;
    let revision = number.map_or_else(String::new, |number| format!(", revision {number}"));
    match (format, view.last_exit_code) {
        (Output::Json, _) => output::json(view),
        (Output::Table, Some(code)) => output::line(&format!(
            "{} ran to its end, with code {code}   next: hersh logs {0}",
            view.program_id
        )),
        (Output::Table, None) => output::line(&format!(
            "{} is {}{revision}   watcher: {}   next: hersh inspect {0}, hersh logs -f {0}",
            view.program_id,
            view.state,
            client.address(&view.proxy_url)
        )),
    }
}

/// Shows the build's log while it runs. An error here is not a failure of the deploy.
async fn show_build(client: &Client, sent: &Sent) {
    let path = ["programs", &sent.name, "builds", &sent.build, "logs"];
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
