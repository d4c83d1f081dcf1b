//! Tells whether a program came to a good end with what was asked to run.

use hersh_wire::ProgramView;

use super::Sent;
use crate::{
    commands::{programs, rollout},
    failure::Failure,
    output,
};

/// Checks that the program came to a good end with what was sent.
///
/// # Errors
/// [`Failure`] says what runs or ended instead, or how what was sent failed.
pub(super) fn ended(sent: &Sent, view: &ProgramView) -> Result<(), Failure> {
    match (sent.revision, view.revision) {
        (Some(number), Some(current)) if number != current => {
            Err(rollout::came_to_nothing(number, view))
        }
        (Some(_), Some(_)) => of_state(sent, view, true),
        // An older host numbers no revisions.
        (Some(_) | None, _) => {
            let run = view.instance_build_id.as_ref().unwrap_or(&view.build_id);
            of_state(sent, view, *run == sent.build)
        }
    }
}

/// `is_sent` says whether the program's state is about what was sent.
fn of_state(sent: &Sent, view: &ProgramView, is_sent: bool) -> Result<(), Failure> {
    let name = &sent.name;
    let overtaken = |what: &str| {
        let run = view.instance_build_id.as_ref().unwrap_or(&view.build_id);
        let [run, sent] = [run, &sent.build].map(|id| output::short_build(id));
        Err(Failure::Failed(format!(
            "another deploy overtook this one: {name} {what} {run}, and not {sent} that was sent here"
        )))
    };
    match (view.state.as_str(), view.last_exit_code) {
        ("Ready", _) if is_sent => Ok(()),
        ("Ready", _) => overtaken("runs"),
        ("Error", _) if is_sent => programs::failed(view).map_or(Ok(()), Err),
        ("Error", _) => overtaken("failed with"),
        ("Stopped", Some(_)) if is_sent => Ok(()),
        ("Stopped", Some(_)) => overtaken("ended with"),
        ("Stopped", None) => Err(Failure::Failed(format!(
            "{name} was stopped before it was ready; 'hersh start {name}' starts it"
        ))),
        (state, _) => Err(Failure::Failed(format!(
            "{name} is {state}: somebody else changed it meanwhile; 'hersh inspect {name}' shows it"
        ))),
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
    fn a_numbered_deploy_is_told_by_its_number() {
        let failed = json!({ "code": "exited", "message": "exited with code 3" });
        let settled = json!({ "revision": 7, "outcome": "settled", "at_ms": 1 });
        for (change, said) in [
            (json!({ "revision": 7 }), None),
            // It has the tree of a revision before.
            (
                json!({ "revision": 6, "build_id": "build-1" }),
                Some("revision 6 runs, and not revision 7"),
            ),
            (
                json!({ "revision": 7, "state": "Error", "cause": failed, "last_rollout": settled }),
                Some("exited with code 3"),
            ),
            (
                json!({ "revision": 7, "state": "Stopped", "last_exit_code": 0 }),
                None,
            ),
            (
                json!({ "revision": 7, "state": "Stopped" }),
                Some("a was stopped before it was ready"),
            ),
        ] {
            match (ended(&sent(Some(7)), &sample::program(&change)), said) {
                (Ok(()), None) => {}
                (Err(failure), Some(said)) => {
                    assert!(failure.to_string().contains(said), "{failure}");
                }
                (found, _) => panic!("{change}: {found:?}"),
            }
        }
    }

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
            match (ended(&sent(None), &sample::program(&change)), said) {
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
