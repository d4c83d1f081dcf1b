//! Revisions: what was deployed under a program's name, and what became of the newest one. Times are
//! milliseconds since the Unix epoch.

use serde::{Deserialize, Serialize};

use crate::{CauseView, Manifest};

/// The longest message that a deploy may carry, characters.
pub const REVISION_MESSAGE_CHARS_MAX: usize = 500;

/// Why the message of a deploy is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevisionMessageError {
    /// The message is too long.
    #[error(
        "the message has {chars} characters; use at most {REVISION_MESSAGE_CHARS_MAX}, and a file in the source for more"
    )]
    TooLong {
        /// The number of its characters.
        chars: usize,
    },
    /// A character of the message controls a terminal or breaks the line.
    #[error("the message has a control character, such as a line break; write it in one line")]
    Control,
}

/// Checks the message of a deploy, as the host does.
///
/// # Errors
/// [`RevisionMessageError`] for a message that no host takes.
pub fn check_revision_message(message: &str) -> Result<(), RevisionMessageError> {
    if message.chars().any(char::is_control) {
        return Err(RevisionMessageError::Control);
    }
    let chars = message.chars().count();
    if chars > REVISION_MESSAGE_CHARS_MAX {
        return Err(RevisionMessageError::TooLong { chars });
    }
    Ok(())
}

/// One source tree with its manifest, as it was deployed. It never changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RevisionView {
    /// Its number: 1 for the program's first deploy.
    pub revision: u64,
    /// The id of its source tree.
    pub build_id: String,
    /// Its image, by content, if it was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// Whether it ran and settled once: a roll-back may go to it.
    #[serde(default)]
    pub good: bool,
    /// Whether it runs, is being started, or is started again by itself.
    #[serde(default)]
    pub current: bool,
    /// Whether the next command to start or restart the program starts it.
    #[serde(default)]
    pub wanted: bool,
    /// When it was deployed.
    pub made_at_ms: u64,
    /// Who deployed it; left out where an older host took it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What was written about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Its manifest with every default filled in, without the values of variables.
    pub manifest: Manifest,
}

/// `GET /programs/{id}/revisions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RevisionList {
    /// The revisions that are kept, newest first.
    pub revisions: Vec<RevisionView>,
}

/// A revision on its way to take the place of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RolloutView {
    /// The new revision.
    pub revision: u64,
    /// How far it is.
    pub step: RolloutStep,
    /// The revision that runs until the new one is built or ready, or that comes back if the new one fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<u64>,
    /// The image of the new revision, by content, if it was built before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
}

/// How far a rollout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RolloutStep {
    /// The new revision is built; the one before runs meanwhile.
    Building,
    /// The new revision is built and not started then; the one before runs on.
    BuildingOnly,
    /// The new revision is started in place of the one before.
    Starting,
    /// The new revision is started; the one before runs until that is ready.
    StartingBeside,
    /// The new revision is up, but not for long enough yet: if it ends now, the one before comes back.
    Settling,
    /// A step that a newer host knows.
    #[serde(other)]
    Other,
}

/// How the last rollout ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RolloutEndView {
    /// The revision that was to take the place of another.
    pub revision: u64,
    /// What became of it.
    pub outcome: RolloutOutcome,
    /// When that was known.
    pub at_ms: u64,
    /// The revision that was started again, of one that was rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// The revision that took its place, of one that was superseded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<u64>,
    /// Why it failed or was rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<CauseView>,
}

/// What became of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RolloutOutcome {
    /// The new revision runs and has settled.
    Settled,
    /// The new revision did not build, or did not come up beside the one before. What ran was never touched.
    Failed,
    /// The new revision did not come up, or ended before it had settled, so the one before was started again.
    RolledBack,
    /// Somebody started another revision before this one had settled.
    Superseded,
    /// Somebody stopped the program before the new revision had settled.
    Stopped,
    /// The revision is built and was not started, as somebody asked.
    Built,
    /// Only a build was asked for, and something else that came up ended it.
    Cut,
    /// An outcome that a newer host knows.
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_of_bounded_length() {
        let longest = "ü".repeat(REVISION_MESSAGE_CHARS_MAX);
        for good in ["", "faster", longest.as_str()] {
            assert_eq!(check_revision_message(good), Ok(()));
        }
        let chars = REVISION_MESSAGE_CHARS_MAX + 1;
        let long = "a".repeat(chars);
        let refused = Err(RevisionMessageError::TooLong { chars });
        assert_eq!(check_revision_message(&long), refused);
        for bad in ["a\nb", "\u{1b}[31m", "a\u{7f}", "\u{9b}"] {
            let refused = Err(RevisionMessageError::Control);
            assert_eq!(check_revision_message(bad), refused, "{bad:?}");
        }
    }

    #[test]
    fn what_a_newer_host_says_more_is_read() {
        let text = r#"{"revision": 7, "step": "warming", "more": 1}"#;
        let read: RolloutView = serde_json::from_str(text).unwrap();
        assert_eq!((read.step, read.fallback), (RolloutStep::Other, None));
        let text = r#"{"revision": 7, "outcome": "paused", "at_ms": 1}"#;
        let read: RolloutEndView = serde_json::from_str(text).unwrap();
        assert_eq!(read.outcome, RolloutOutcome::Other);
    }
}
