//! Lists, shows and controls programs.

use hersh_wire::{
    ByteSize, Code, Evidence, Manifest, Network, ProbeKind, ProgramList, ProgramView, PropertyView,
    ReceiptView, Resources, RestartPolicy, VerifiedContract,
};
use reqwest::Method;
use serde_json::json;

use super::{
    host_view::HostView,
    liveness::{liveness, silence},
    rollout,
};
use crate::{
    args::{CommandOptions, Output},
    client::Client,
    failure::Failure,
    output,
};

/// The states in which nothing of a program runs.
const AT_REST: [&str; 3] = ["Created", "Stopped", "Error"];

/// Returns whether nothing of a program runs, as far as the host knows.
pub(crate) fn is_at_rest(view: &ProgramView) -> bool {
    AT_REST.contains(&view.state.as_str())
}

pub(crate) async fn list(client: &Client, format: Output) -> Result<(), Failure> {
    let programs = all(client).await?;
    let host_view = HostView::of(client).await;
    let mut object = json!({ "programs": programs });
    host_view.tell(&mut object);
    match format {
        Output::Json => output::json(&object),
        Output::Table => {
            let rows = programs.iter().map(|view| row(view, &host_view));
            let rows: Vec<Vec<String>> = rows.collect();
            output::table(&["PROGRAM", "STATE", "SINCE", "BUILD", "NOTE"], &rows)
        }
    }
}

/// Returns every program, fetched page by page.
async fn all(client: &Client) -> Result<Vec<ProgramView>, Failure> {
    let mut programs = Vec::new();
    let mut query = vec![("limit", "1000".to_owned())];
    loop {
        let request = client.request(Method::GET, &["programs"]).query(&query);
        let page: ProgramList = client.read(request).await?;
        programs.extend(page.programs);
        match page.next_cursor {
            Some(cursor) => {
                query.truncate(1);
                query.push(("cursor", cursor));
            }
            None => return Ok(programs),
        }
    }
}

/// The longest cause in a list, characters; `inspect` shows the whole cause.
const NOTE_CHARS_MAX: usize = 80;

fn row(view: &ProgramView, host_view: &HostView) -> Vec<String> {
    vec![
        view.program_id.clone(),
        state(view, host_view),
        output::age(view.changed_at_ms),
        output::short_build(view.instance_build_id.as_ref().unwrap_or(&view.build_id)).to_owned(),
        note(view),
    ]
}

/// Returns the restarts of the last hour, which tell a crash loop from a single failure, what becomes of the
/// newest revision, and the cause of the last failure.
fn note(view: &ProgramView) -> String {
    let cause = view.cause.as_ref().map(|cause| cause.message.as_str());
    let lines = cause.unwrap_or_default().lines().map(str::trim);
    let cause = lines.filter(|line| !line.is_empty()).take(1);
    let parts: Vec<String> = restarts(view)
        .into_iter()
        .chain(rollout::note(view))
        .chain(cause.map(str::to_owned))
        .collect();
    output::cut(&parts.join("; "), NOTE_CHARS_MAX)
}

/// Returns how often the program was started by itself in the last hour, if it was.
fn restarts(view: &ProgramView) -> Option<String> {
    let count = view.restarts_last_hour;
    (count > 0).then(|| {
        let restarts = output::counted(count, "restart", "restarts");
        format!("{restarts} in the last hour")
    })
}

/// Returns the state in words. For a failed program they say whether it is tried again; for one that the host
/// can't see now, they give the last known state.
fn state(view: &ProgramView, host_view: &HostView) -> String {
    if matches!(host_view, HostView::Lost(_)) && !is_at_rest(view) {
        return format!("unknown, was {}", view.state);
    }
    match &view.retry {
        Some(retry) => format!(
            "{}, next try in {}",
            view.state,
            output::until(retry.due_at_ms)
        ),
        None if view.state == "Error" => "Error, gave up".to_owned(),
        None if view.not_alive.is_some() => format!("{}, not alive", view.state),
        None => view.state.clone(),
    }
}

/// Prints one program as a row.
pub(crate) fn show(view: &ProgramView, format: Output) -> Result<(), Failure> {
    match format {
        Output::Json => output::json(view),
        Output::Table => output::table(
            &["PROGRAM", "STATE", "SINCE", "BUILD", "NOTE"],
            &[row(view, &HostView::Clear)],
        ),
    }
}

/// Shows one program; with `as_compose`, shows only its confinement as a compose file.
pub(crate) async fn inspect(
    client: &Client,
    program: &str,
    as_compose: bool,
    format: Output,
) -> Result<(), Failure> {
    if as_compose {
        return compose(client, program, format).await;
    }
    let mut view: ProgramView = client.get(&["programs", program]).await?;
    let receipt: Option<ReceiptView> = match client.get(&["programs", program, "receipt"]).await {
        Ok(receipt) => Some(receipt),
        Err(Failure::Refused(problem)) if problem.code == Code::NotFound => None,
        Err(failure) => return Err(failure),
    };
    let host_view = HostView::of(client).await;
    let mut object = json!({ "program": view, "receipt": receipt });
    host_view.tell(&mut object);
    if format == Output::Json {
        return output::json(&object);
    }
    view.proxy_url = client.address(&view.proxy_url);
    for (key, value) in rows(&view, receipt.as_ref(), &host_view) {
        output::line(&format!("{key:<10} {value}"))?;
    }
    for line in view.cause.iter().flat_map(|cause| &cause.logs) {
        output::line(&format!("  | {line}"))?;
    }
    Ok(())
}

/// Prints the confinement of a program as a compose file.
async fn compose(client: &Client, program: &str, format: Output) -> Result<(), Failure> {
    let request = client.request(Method::GET, &["programs", program, "compose"]);
    let text = client.send(request).await?.text().await;
    let text = text.map_err(|error| Failure::Failed(format!("the file did not come: {error}")))?;
    match format {
        Output::Json => output::json(&json!({ "compose": text })),
        Output::Table => output::line(text.trim_end()),
    }
}

/// Returns the rows that `inspect` shows to people: state, addresses, settings, and what its start proved.
fn rows(
    view: &ProgramView,
    receipt: Option<&ReceiptView>,
    host_view: &HostView,
) -> Vec<(&'static str, String)> {
    let since = output::age(view.changed_at_ms);
    let state = match host_view {
        HostView::Lost(_) if !is_at_rest(view) => state(view, host_view),
        HostView::Lost(_) | HostView::Clear => format!("{} for {since}", view.state),
    };
    let mut rows = vec![
        ("program", view.program_id.clone()),
        ("owner", view.owner.clone()),
        ("state", state),
    ];
    let cause = view.cause.iter();
    rows.extend(cause.map(|cause| ("cause", cause.message.clone())));
    let silent = view.not_alive.iter();
    rows.extend(silent.map(|silent| ("liveness", silence(silent))));
    if let Some(retry) = &view.retry {
        let wait = output::until(retry.due_at_ms);
        rows.push(("next", format!("automatic start in {wait}")));
    } else if view.state == "Error" {
        let next = format!(
            "gave up; mend it, then 'hersh deploy' or 'hersh start {}'",
            view.program_id
        );
        rows.push(("next", next));
    }
    rows.extend(restarts(view).map(|restarts| ("restarts", restarts)));
    rows.push(("watcher", view.proxy_url.clone()));
    let build = view.instance_build_id.as_ref().unwrap_or(&view.build_id);
    rows.push(("build", output::short_build(build).to_owned()));
    let revision = view.revision.iter();
    rows.extend(revision.map(|number| ("revision", number.to_string())));
    let under_way = view.rollout.as_ref().map(rollout::under_way);
    let waiting = under_way
        .is_none()
        .then(|| rollout::waiting(view))
        .flatten();
    rows.extend(under_way.map(|under_way| ("rollout", under_way)));
    rows.extend(waiting.map(|waiting| ("newer", waiting)));
    rows.extend(rollout::failed(view).map(|failed| ("last", failed)));
    rows.extend(view.image_id.iter().map(|image| ("image", image.clone())));
    rows.extend(rollout::instances(view).map(|instances| ("instance", instances)));
    let container = view.container_id.iter();
    rows.extend(container.map(|container| ("container", container.clone())));
    rows.push(("limits", limits(&view.manifest.resources)));
    rows.push(("run", run(&view.manifest)));
    rows.extend(receipt.into_iter().flat_map(|it| receipt_rows(view, it)));
    rows
}

fn receipt_rows(view: &ProgramView, receipt: &ReceiptView) -> Vec<(&'static str, String)> {
    let when = match view.container_id {
        Some(_) => "",
        None => ", of the last start; nothing runs now",
    };
    let made = output::clock(receipt.made_at_ms);
    let mut rows = vec![
        ("verified", format!("at {made}{when}")),
        ("runtime", receipt.runtime.clone()),
        ("kernel", receipt.kernel.clone()),
    ];
    rows.extend(receipt.state.clone().map(|state| ("state", state)));
    for contract in &receipt.contracts {
        rows.push(("contract", format!("{}: {}", contract.name, told(contract))));
    }
    rows
}

/// Returns the properties of a contract, grouped by how they are known. Properties with the value `none` are
/// only in the JSON.
fn told(contract: &VerifiedContract) -> String {
    let is_there = |property: &&str| !property.ends_with(" none");
    let by = |evidence: Evidence| {
        let all = contract.properties.iter();
        let all = all.filter(move |it| it.evidence == evidence);
        let there = all.filter(|it| is_there(&it.property.as_str()));
        let told: Vec<String> = there.map(property).collect();
        told.join(", ")
    };
    let older = contract.verified.iter().map(String::as_str);
    let older: Vec<&str> = match contract.properties.is_empty() {
        true => older.filter(is_there).collect(),
        false => Vec::new(),
    };
    let parts = [
        ("seen", by(Evidence::Observed)),
        ("declared", by(Evidence::Declared)),
        ("not known", by(Evidence::Absent)),
        ("declared", older.join(", ")),
    ];
    let parts = parts.into_iter().filter(|(_, told)| !told.is_empty());
    let parts: Vec<String> = parts.map(|(how, told)| format!("{how} {told}")).collect();
    match parts.is_empty() {
        true => "none".to_owned(),
        false => parts.join("; "),
    }
}

/// Returns a property, with its source where a person would ask for it.
fn property(view: &PropertyView) -> String {
    let PropertyView {
        property, source, ..
    } = view;
    match view.evidence {
        Evidence::Observed if property.starts_with("kernel ") => format!("{property} ({source})"),
        Evidence::Absent => format!("{property} ({source})"),
        Evidence::Observed | Evidence::Declared => property.clone(),
    }
}

fn limits(resources: &Resources) -> String {
    let size = |size: Option<ByteSize>| size.map_or_else(String::new, String::from);
    format!(
        "{} memory, {}, {}, {} /state, {} /tmp, {} logs",
        size(resources.memory),
        output::count(resources.cpus.unwrap_or_default(), "core"),
        output::counted(resources.pids.unwrap_or_default(), "process", "processes"),
        size(resources.state),
        size(resources.tmp),
        size(resources.logs),
    )
}

/// Returns the settings that a program runs with, by their names in `hersh.toml`.
fn run(manifest: &Manifest) -> String {
    let network = match manifest.network {
        None | Some(Network::Internal) => "internal",
        Some(Network::None) => "none",
        Some(Network::Egress) => "egress",
    };
    let restart = manifest.restart.unwrap_or_default();
    let policy = match restart.policy {
        Some(RestartPolicy::Never) => "never",
        None | Some(RestartPolicy::OnFailure) => "on-failure",
        Some(RestartPolicy::Always) => "always",
    };
    let most = restart.give_up_after.map_or_else(String::new, |most| {
        let attempts = output::counted(most, "attempt", "attempts");
        format!(" (gives up after {attempts})")
    });
    let readiness = manifest.readiness.as_ref().map_or_else(String::new, |it| {
        let port = it.port.map_or_else(String::new, |port| format!(" {port}"));
        let path = it
            .path
            .as_ref()
            .map_or_else(String::new, |it| format!(" {it}"));
        let kind = match it.kind {
            ProbeKind::Http => "http",
            ProbeKind::Tcp => "tcp",
            ProbeKind::None => "none",
        };
        format!(", readiness {kind}{port}{path}")
    });
    let liveness = manifest
        .liveness
        .as_ref()
        .map_or_else(String::new, liveness);
    format!("network {network}, restart {policy}{most}{readiness}{liveness}")
}

pub(crate) async fn command(
    client: &Client,
    verb: &str,
    options: &CommandOptions,
    format: Output,
) -> Result<(), Failure> {
    let path = ["programs", &options.program];
    let request = client.request(Method::POST, &[path[0], path[1], verb]);
    let begun: ProgramView = client.read(request).await?;
    if options.detach {
        return show(&begun, format);
    }
    let request = client.request(Method::GET, &path);
    let view: ProgramView = client.read(request.query(&[("wait", "1h")])).await?;
    // A revision that was to take the place of what runs may have failed, and what ran is there as before.
    let wanted = begun.rollout.as_ref().map(|rollout| rollout.revision);
    let other = wanted.filter(|wanted| Some(*wanted) != view.revision);
    let failed = other.map_or_else(
        || failed(&view),
        |wanted| Some(rollout::came_to_nothing(wanted, &view)),
    );
    match failed {
        Some(failure) => Err(failure),
        None => show(&view, format),
    }
}

/// Returns the failure of a program that settled in `Error`.
pub(crate) fn failed(view: &ProgramView) -> Option<Failure> {
    let cause = view.cause.as_ref().filter(|_| view.state == "Error")?;
    let logs: String = cause
        .logs
        .iter()
        .map(|line| format!("\n  | {line}"))
        .collect();
    let retry = if view.retry.is_some() {
        "; it will be tried again by its restart policy"
    } else {
        "; the host gave up, so mend it and start it again"
    };
    let failure = match cause.code.as_str() {
        "runtime_unavailable" => Failure::Unavailable,
        _ => Failure::Failed,
    };
    Some(failure(format!(
        "{} failed: {}{retry}{logs}",
        view.program_id, cause.message
    )))
}

#[cfg(test)]
mod tests {
    use hersh_wire::{CauseView, RetryView};

    use super::*;
    use crate::commands::sample;

    fn view(state: &str) -> ProgramView {
        let resources = json!({ "cpus": 1.0, "pids": 256 });
        sample::program(&json!({ "state": state, "manifest": { "resources": resources } }))
    }

    fn failed_view(retry: Option<RetryView>) -> ProgramView {
        ProgramView {
            cause: Some(CauseView {
                code: "exited".into(),
                message: "exited with code 3".into(),
                logs: Vec::new(),
            }),
            retry,
            attempts: 2,
            ..view("Error")
        }
    }

    fn page(view: &ProgramView) -> String {
        let lines = rows(view, None, &HostView::Clear).into_iter();
        lines
            .map(|(key, value)| format!("{key} {value}\n"))
            .collect()
    }

    #[test]
    fn a_host_that_gave_up_is_told_wherever_the_state_is() {
        let view = failed_view(None);
        assert_eq!(row(&view, &HostView::Clear)[1], "Error, gave up");
        assert!(page(&view).contains("next gave up"), "{}", page(&view));
        assert!(failed(&view).unwrap().to_string().contains("gave up"));
    }

    #[test]
    fn a_failure_that_is_tried_again_is_not_told_as_given_up() {
        let due_at_ms = u64::MAX;
        let view = failed_view(Some(RetryView { due_at_ms }));
        assert!(
            row(&view, &HostView::Clear)[1].starts_with("Error, next try in "),
            "{:?}",
            row(&view, &HostView::Clear)
        );
        assert!(page(&view).contains("next automatic start in "));
        assert!(!failed(&view).unwrap().to_string().contains("gave up"));
        assert_eq!(
            row(&super::tests::view("Ready"), &HostView::Clear)[1],
            "Ready"
        );
    }

    #[test]
    fn a_crash_loop_is_told_from_a_single_failure() {
        let due_at_ms = u64::MAX;
        let once = failed_view(Some(RetryView { due_at_ms }));
        assert_eq!(note(&once), "exited with code 3");
        let loops = ProgramView {
            restarts_last_hour: 12,
            ..once
        };
        assert_eq!(
            note(&loops),
            "12 restarts in the last hour; exited with code 3"
        );
        assert!(page(&loops).contains("restarts 12 restarts in the last hour"));
        let up = ProgramView {
            restarts_last_hour: 1,
            ..view("Ready")
        };
        assert_eq!(note(&up), "1 restart in the last hour");
    }

    #[test]
    fn a_program_that_does_not_answer_is_told_so() {
        let manifest = json!({ "liveness": { "kind": "http", "path": "/up", "interval": "10s",
            "failures": 3, "on_failure": "notify" } });
        let silent = json!({ "since_ms": 1, "last_probe": "GET /up: status 503" });
        let silent = sample::program(&json!({ "not_alive": silent, "manifest": manifest }));
        assert_eq!(row(&silent, &HostView::Clear)[1], "Ready, not alive");
        let page = page(&silent);
        assert!(
            page.contains("liveness GET /up: status 503; for "),
            "{page}"
        );
        let run = "liveness http /up every 10s (after 3 failures: notify)";
        assert!(page.contains(run), "{page}");
    }

    #[test]
    fn limits_are_told_in_numbers_of_people() {
        let page = page(&view("Ready"));
        assert!(page.contains(" 1 core, 256 processes,"), "{page}");
    }
}
