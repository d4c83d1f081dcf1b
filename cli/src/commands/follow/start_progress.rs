//! How far a start is that is followed, for a person who interrupts the command.

use std::cell::RefCell;

use hersh_wire::{ProgramView, RolloutStep, RolloutView};

use super::Sent;
use crate::failure::Failure;

/// How far a start is.
#[derive(Default)]
pub(in crate::commands) struct StartProgress(RefCell<Option<Begun>>);

/// A start that the host has begun, with the rollout that it is part of.
struct Begun {
    rollout: Option<RolloutView>,
}

impl StartProgress {
    /// Notes how far the start is.
    pub(super) fn is(&self, view: &ProgramView) {
        let rollout = view.rollout.clone();
        *self.0.borrow_mut() = Some(Begun { rollout });
    }

    /// Returns what goes on without the command, and how to undo it.
    pub(in crate::commands) fn interrupted(&self, sent: &Sent) -> Failure {
        let name = &sent.name;
        let begun = self.0.borrow();
        let Some(Begun { rollout }) = begun.as_ref() else {
            let number = sent.revision;
            let stored = number.map_or_else(String::new, |it| format!(" as revision {it}"));
            return Failure::Interrupted(format!(
                "the host has the source{stored} and may not start it; 'hersh restart {name}' does"
            ));
        };
        let going_on = rollout.as_ref().and_then(|rollout| {
            let (number, before) = (rollout.revision, rollout.fallback?);
            let back = format!("'hersh rollback {name} {before}'");
            Some(match rollout.step {
                RolloutStep::Building => format!(
                    "the host goes on with revision {number}; revision {before} runs until it is built; {back} keeps it, 'hersh stop {name}' ends it"
                ),
                RolloutStep::BuildingOnly => format!(
                    "the host goes on with the build of revision {number}; revision {before} runs on"
                ),
                RolloutStep::StartingBeside => format!(
                    "the host goes on with revision {number}; revision {before} runs until it is ready; {back} keeps it, 'hersh stop {name}' ends both"
                ),
                RolloutStep::Starting | RolloutStep::Other => format!(
                    "the host goes on with revision {number}, and with revision {before} if that fails; {back} goes back now, 'hersh stop {name}' ends it"
                ),
                RolloutStep::Settling => format!(
                    "revision {number} runs, and revision {before} comes back if it ends before it has settled; {back} goes back now, 'hersh stop {name}' ends it"
                ),
            })
        });
        Failure::Interrupted(going_on.unwrap_or_else(|| {
            format!("the host goes on with {name}; 'hersh stop {name}' ends it")
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::sample;

    #[test]
    fn whoever_interrupts_is_told_what_goes_on() {
        let sent = Sent {
            name: "a".into(),
            revision: Some(7),
            build: "build-1".into(),
        };
        let progress = StartProgress::default();
        let told = || progress.interrupted(&sent).to_string();
        assert!(told().contains("as revision 7"), "{}", told());
        progress.is(&sample::program(&json!({})));
        assert!(told().contains("'hersh stop a' ends it"), "{}", told());
        for (step, said) in [
            (
                "building",
                "revision 6 runs until it is built; 'hersh rollback a 6' keeps it",
            ),
            ("starting", "'hersh rollback a 6' goes back now"),
            ("building_only", "revision 6 runs on"),
            (
                "starting_beside",
                "revision 6 runs until it is ready; 'hersh rollback a 6' keeps it",
            ),
            ("settling", "revision 7 runs, and revision 6 comes back"),
        ] {
            let rollout = json!({ "revision": 7, "step": step, "fallback": 6 });
            progress.is(&sample::program(&json!({ "rollout": rollout })));
            assert!(told().contains(said), "{}", told());
        }
        assert_eq!(progress.interrupted(&sent).exit_code(), 130);
    }
}
