//! Turns programs, with their events, builds, receipts and output, into what the API shows of them.

use hersh_base::sandbox::StateBound;
use hersh_program::{BuildId, ExitReason, Failed, Program, ProgramRecord, State};
use hersh_storage::{StoredBuild, output::LogLine};
use hersh_wire as wire;

use super::{
    cause::cause_view,
    revision::{last_rollout_view, rollout_view},
};
use crate::{
    programs::ProgramEntry,
    words::{record_words, state_name, without_folders},
};
use hersh_manifest::{HIDDEN, shown};
use hersh_sandbox::{ContractProofs, Evidence, Kernel, Proof, Receipt};

/// Returns the view of a program as it is now.
pub(crate) fn program_view(entry: &ProgramEntry, now_ms: u64) -> wire::ProgramView {
    let changed_at_ms = entry.changed_at_ms();
    entry.supervisor().with_state(|program| wire::ProgramView {
        program_id: program.id.to_string(),
        owner: entry.owner().to_string(),
        state: state_name(&program.state).to_string(),
        build_id: program.source.build.to_string(),
        instance_build_id: program.current_build().map(ToString::to_string),
        has_newer_source: has_newer_source(program),
        revision: program.current_revision().map(|number| number.0),
        wanted_revision: program.wanted_revision().map(|number| number.0),
        rollout: rollout_view(program, now_ms),
        last_rollout: last_rollout_view(program, now_ms),
        image_id: program.current_image().map(ToString::to_string),
        instance: program.ready_instance().map(|instance| instance.number.0),
        container_id: program.state.container().map(ToString::to_string),
        cause: program.state.failed().map(failure_view),
        last_exit_code: last_exit_code(&program.state),
        last_probe: None,
        leaving_instance: leaving_instance(&program.state),
        not_alive: not_alive(&program.state),
        retry: retry(program),
        attempts: program.attempts,
        restarts_last_hour: program.restarts.last_hour(now_ms),
        proxy_url: format!("/programs/{}/watcher/", program.id),
        created_at_ms: entry.created_at_ms(),
        changed_at_ms,
        manifest: shown(program.current_manifest()),
    })
}

fn has_newer_source(program: &Program) -> bool {
    let is_other_tree = program
        .current_build()
        .is_some_and(|build| *build != program.source.build);
    is_other_tree || program.current_manifest() != &program.source.manifest
}

fn last_exit_code(state: &State) -> Option<i32> {
    let State::Stopped(stopped) = state else {
        return None;
    };
    match stopped.last_exit.as_ref()?.reason {
        ExitReason::Code(code) | ExitReason::StoppedFromOutside { code } => Some(code),
        ExitReason::OutOfMemory
        | ExitReason::OutOfProcesses { .. }
        | ExitReason::NotRunnable { .. }
        | ExitReason::StateQuota
        | ExitReason::DiskFull
        | ExitReason::Vanished => None,
    }
}

fn not_alive(state: &State) -> Option<wire::NotAliveView> {
    let silent = state.ready()?.not_alive.as_ref()?;
    Some(wire::NotAliveView {
        since_ms: silent.since_ms,
        last_probe: without_folders(&silent.last_probe),
    })
}

fn leaving_instance(state: &State) -> Option<u64> {
    let leaving = state.ready()?.leaving.as_ref()?;
    Some(leaving.instance.0)
}

fn retry(program: &Program) -> Option<wire::RetryView> {
    let retry = program.state.failed()?.retry?;
    Some(wire::RetryView {
        due_at_ms: retry.due_ms,
    })
}

fn failure_view(failed: &Failed) -> wire::CauseView {
    let mut view = cause_view(&failed.cause);
    if let Some(not_stopped) = &failed.not_stopped {
        let message = format!("{}; it may still run: {not_stopped}", failed.cause);
        view.message = without_folders(&message);
    }
    view
}

/// Returns the view of a journalled event. If the event carries a manifest, the view shows no values of
/// the manifest's environment.
pub(crate) fn event_view(record: &ProgramRecord) -> Result<wire::EventView, serde_json::Error> {
    let mut event = serde_json::to_value(&record.event)?;
    let mut effects = serde_json::to_value(&record.effects)?;
    hide(&mut event);
    hide(&mut effects);
    Ok(wire::EventView {
        seq: record.seq,
        at_ms: record.now_ms,
        text: record_words(record),
        event,
        effects,
    })
}

/// Hides the values under every key `env` and `args`, and the host's folders in every `message`,
/// however deep.
fn hide(value: &mut serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::Object(env) if matches!(key.as_str(), "env" | "args") => {
                        env.values_mut().for_each(|value| *value = HIDDEN.into());
                    }
                    Value::String(text) if key == "message" => *text = without_folders(text),
                    Value::Object(_)
                    | Value::Array(_)
                    | Value::Null
                    | Value::Bool(_)
                    | Value::Number(_)
                    | Value::String(_) => hide(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Returns the view of a build. `current` is the build that the program's next start runs.
pub(crate) fn build_view(build: &StoredBuild, current: &BuildId) -> wire::BuildView {
    wire::BuildView {
        build_id: build.id.to_string(),
        current: build.id == *current,
        logged_at_ms: build.logged_at_ms,
    }
}

/// Returns the view of a receipt: what the last start proved.
pub(crate) fn receipt_view(receipt: &Receipt) -> wire::ReceiptView {
    wire::ReceiptView {
        program_id: receipt.program.to_string(),
        instance: receipt.instance.0,
        container_id: receipt.container.to_string(),
        image_id: receipt.image.to_string(),
        made_at_ms: receipt.made_at_ms,
        runtime: match receipt.asked_kernel {
            Kernel::Gvisor => "runsc (gVisor)".to_string(),
            Kernel::Machine => "runc: NOT SANDBOXED".to_string(),
        },
        kernel: receipt.kernel.clone(),
        state: receipt.state.as_ref().map(state_bound),
        contracts: receipt.contracts.iter().map(verified_view).collect(),
    }
}

/// Returns the view of a contract. A property that can't be known does not count as verified.
fn verified_view(verified: &ContractProofs) -> wire::VerifiedContract {
    let is_known = |proof: &&Proof| !matches!(proof.evidence, Evidence::Absent(_));
    let known = verified.properties.iter().filter(is_known);
    wire::VerifiedContract {
        name: verified.contract.name().to_string(),
        verified: known.map(|proof| proof.property.clone()).collect(),
        properties: verified.properties.iter().map(property_view).collect(),
    }
}

fn property_view(proof: &Proof) -> wire::PropertyView {
    let (evidence, source) = match &proof.evidence {
        Evidence::Observed(how) => (wire::Evidence::Observed, how),
        Evidence::Declared(by) => (wire::Evidence::Declared, by),
        Evidence::Absent(why) => (wire::Evidence::Absent, why),
    };
    wire::PropertyView {
        property: proof.property.clone(),
        evidence,
        source: source.clone(),
    }
}

fn state_bound(bound: &StateBound) -> String {
    match bound {
        StateBound::Confined { found } => format!("confined by {found}"),
        StateBound::Watched { found } => format!("watched: on {found}"),
    }
}

/// Returns the view of one line of a program's output.
pub(crate) fn log_line(line: LogLine) -> wire::LogLine {
    wire::LogLine {
        at: Some(line.at),
        stream: Some(line.stream.name().to_string()),
        line: line.text,
    }
}
