//! Tells people of rollouts: of the one that is under way, and of the last one if it came to nothing.

use hersh_wire::{
    CauseView, ProgramView, RolloutEndView, RolloutOutcome, RolloutStep, RolloutView,
};

use crate::failure::Failure;

/// Returns what becomes of the newest revision, if that is worth a note: it is on its way, it waits for a
/// command, or it failed.
pub(super) fn note(view: &ProgramView) -> Option<String> {
    let under_way = view.rollout.as_ref().map(under_way);
    under_way.or_else(|| waiting(view)).or_else(|| failed(view))
}

/// Returns how far a rollout is.
pub(super) fn under_way(rollout: &RolloutView) -> String {
    let number = rollout.revision;
    let before = rollout.fallback.map(|before| format!("revision {before}"));
    let before = before.as_deref().unwrap_or("what ran");
    match rollout.step {
        RolloutStep::Building => {
            format!("revision {number} is being built; {before} runs meanwhile")
        }
        RolloutStep::BuildingOnly => {
            format!("revision {number} is being built and will wait for a start")
        }
        RolloutStep::Starting => format!("revision {number} is started in place of {before}"),
        RolloutStep::StartingBeside => {
            format!("revision {number} is being started; {before} runs until it is ready")
        }
        RolloutStep::Settling => {
            format!("revision {number} has not settled yet: if it ends now, {before} comes back")
        }
        RolloutStep::Other => format!("revision {number} takes the place of {before}"),
    }
}

/// Returns which revision waits for a command, if another one runs.
pub(super) fn waiting(view: &ProgramView) -> Option<String> {
    let name = &view.program_id;
    match (view.revision, view.wanted_revision) {
        _any if !view.has_newer_source => None,
        (Some(runs), Some(wanted)) if runs == wanted => None,
        (_, Some(wanted)) => Some(format!(
            "revision {wanted} waits for 'hersh restart {name}'"
        )),
        // An older host numbers no revisions.
        (_, None) => Some(format!("newer source waits for 'hersh restart {name}'")),
    }
}

/// Returns how the last rollout failed, if it did.
pub(super) fn failed(view: &ProgramView) -> Option<String> {
    let end = view.last_rollout.as_ref()?;
    let what = match end.outcome {
        RolloutOutcome::Failed => "failed",
        RolloutOutcome::RolledBack => "rolled back",
        RolloutOutcome::Settled
        | RolloutOutcome::Superseded
        | RolloutOutcome::Stopped
        | RolloutOutcome::Built
        | RolloutOutcome::Cut
        | RolloutOutcome::Other => return None,
    };
    let cause = end.cause.as_ref().map_or("", |cause| &cause.message);
    let mut lines = cause.lines().map(str::trim);
    let cause = lines.find(|line| !line.is_empty());
    let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
    Some(format!("revision {} {what}{cause}", end.revision))
}

/// Returns the number of the instance that is up, with that of the one that leaves.
pub(super) fn instances(view: &ProgramView) -> Option<String> {
    let up = view.instance?;
    Some(match view.leaving_instance {
        Some(leaving) => {
            format!("{up}; instance {leaving} is stopped once its requests have ended")
        }
        None => up.to_string(),
    })
}

/// Returns the failure of a revision that was to run, of a program whose current revision is another one.
pub(super) fn came_to_nothing(number: u64, view: &ProgramView) -> Failure {
    let end = view.last_rollout.as_ref();
    match end.filter(|end| end.revision == number) {
        Some(end) => of_end(end, view),
        None => overtaken(number, view),
    }
}

fn of_end(end: &RolloutEndView, view: &ProgramView) -> Failure {
    let (name, number) = (&view.program_id, end.revision);
    let cause = end.cause.as_ref();
    let failed = cause.map_or_else(String::new, |cause| format!(": {}", cause.message));
    let failed = format!("revision {number} failed{failed}");
    let lines = cause.into_iter().flat_map(|cause| &cause.logs);
    let lines: String = lines.map(|line| format!("\n  | {line}")).collect();
    let said = match end.outcome {
        RolloutOutcome::Failed => format!("{failed}; {}{lines}", current(view, "still runs")),
        RolloutOutcome::RolledBack => {
            format!("{failed}{lines}\nrolled back: {}", current(view, "runs"))
        }
        RolloutOutcome::Superseded => match end.by {
            Some(by) if by < number => {
                format!("somebody went back to revision {by} before revision {number} had settled")
            }
            Some(by) => format!("deploy of revision {by} took its place"),
            None => return overtaken(number, view),
        },
        RolloutOutcome::Stopped => format!(
            "{name} was stopped before revision {number} ran; 'hersh start {name}' starts it"
        ),
        RolloutOutcome::Built => {
            format!("revision {number} was built only; 'hersh start {name}' starts it")
        }
        RolloutOutcome::Cut => format!(
            "the build of revision {number} was cut because what runs ended meanwhile; 'hersh deploy --build-only' builds it again"
        ),
        RolloutOutcome::Settled | RolloutOutcome::Other => return overtaken(number, view),
    };
    match cause {
        Some(CauseView { code, .. }) if code == "runtime_unavailable" => Failure::Unavailable(said),
        Some(_) | None => Failure::Failed(said),
    }
}

fn overtaken(number: u64, view: &ProgramView) -> Failure {
    let current = current(view, "runs");
    Failure::Failed(format!(
        "another command overtook this one: {current}, and not revision {number}"
    ))
}

/// Returns what is there of a program: `revision 6 runs`, or the state that it is in.
fn current(view: &ProgramView, runs: &str) -> String {
    let number = view.revision.unwrap_or_default();
    match view.state.as_str() {
        "Ready" => format!("revision {number} {runs}"),
        state => {
            let cause = view.cause.as_ref();
            let cause = cause.map_or_else(String::new, |cause| format!(" ({})", cause.message));
            format!("revision {number} is {state}{cause}")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::commands::sample;

    fn view(change: &Value) -> ProgramView {
        let mut of = json!({ "revision": 6, "wanted_revision": 6 });
        let change = change.as_object().unwrap().clone();
        of.as_object_mut().unwrap().extend(change);
        sample::program(&of)
    }

    fn end(outcome: &str, more: &Value) -> Value {
        let mut end = json!({
            "revision": 7, "outcome": outcome, "at_ms": 1,
            "cause": { "code": "exited", "message": "exited with code 3", "logs": ["one", "two"] },
        });
        let more = more.as_object().unwrap().clone();
        end.as_object_mut().unwrap().extend(more);
        json!({ "last_rollout": end })
    }

    #[test]
    fn a_rollout_is_noted_while_it_goes_on_and_if_it_failed() {
        let step =
            |step: &str| json!({ "rollout": { "revision": 7, "step": step, "fallback": 6 } });
        let waits = json!({ "has_newer_source": true, "wanted_revision": 7 });
        let is_older =
            json!({ "has_newer_source": true, "revision": null, "wanted_revision": null });
        for (change, noted) in [
            (json!({}), None),
            (
                step("building"),
                Some("being built; revision 6 runs meanwhile"),
            ),
            (step("starting"), Some("in place of revision 6")),
            (
                step("starting_beside"),
                Some("being started; revision 6 runs until it is ready"),
            ),
            (step("settling"), Some("revision 6 comes back")),
            (
                step("warming"),
                Some("revision 7 takes the place of revision 6"),
            ),
            (waits, Some("revision 7 waits for 'hersh restart a'")),
            (is_older, Some("newer source waits for 'hersh restart a'")),
            (end("settled", &json!({})), None),
            (
                end("failed", &json!({})),
                Some("revision 7 failed: exited with code 3"),
            ),
            (
                end("rolled_back", &json!({ "to": 6 })),
                Some("revision 7 rolled back: exited with code 3"),
            ),
        ] {
            match (note(&view(&change)), noted) {
                (None, None) => {}
                (Some(found), Some(noted)) => assert!(found.contains(noted), "{found}"),
                (found, _) => panic!("{change}: {found:?}"),
            }
        }
    }

    #[test]
    fn an_instance_that_leaves_is_told_beside_the_one_that_is_up() {
        let up = json!({ "instance": 3 });
        assert_eq!(instances(&view(&up)).unwrap(), "3");
        let both = json!({ "instance": 3, "leaving_instance": 2 });
        let told = instances(&view(&both)).unwrap();
        assert_eq!(
            told,
            "3; instance 2 is stopped once its requests have ended"
        );
    }

    #[test]
    fn what_came_to_nothing_is_told_with_what_runs() {
        let error = json!({ "state": "Error", "cause": { "code": "exited", "message": "bad" } });
        let merged = |mut one: Value, other: &Value| {
            let other = other.as_object().unwrap().clone();
            one.as_object_mut().unwrap().extend(other);
            one
        };
        let back = end("rolled_back", &json!({ "to": 6 }));
        for (change, said) in [
            (
                end("failed", &json!({})),
                "revision 7 failed: exited with code 3; revision 6 still runs\n  | one\n  | two",
            ),
            (
                back.clone(),
                "exited with code 3\n  | one\n  | two\nrolled back: revision 6 runs",
            ),
            (
                merged(back, &error),
                "rolled back: revision 6 is Error (bad)",
            ),
            (
                end("superseded", &json!({ "by": 8, "cause": null })),
                "deploy of revision 8 took its place",
            ),
            (
                end("superseded", &json!({ "by": 6, "cause": null })),
                "somebody went back to revision 6",
            ),
            (
                end("stopped", &json!({ "cause": null })),
                "a was stopped before revision 7 ran",
            ),
            (
                json!({}),
                "another command overtook this one: revision 6 runs, and not revision 7",
            ),
        ] {
            let failure = came_to_nothing(7, &view(&change));
            assert!(failure.to_string().contains(said), "{failure}");
            assert_eq!(failure.exit_code(), 1);
        }
    }
}
