//! The commands that users give to programs.

use hersh_program::{Event, RevisionNumber};

/// A kind of command; each kind leaves an event of its own in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CommandKind {
    Start,
    Stop,
    Restart,
    Replace,
    Build,
    /// To this revision, or to the one before.
    RollBack(Option<RevisionNumber>),
    Delete,
}

/// The answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommandAnswer {
    Status(u16),
    /// The revision to go back to is not kept.
    NoSuchRevision,
    /// There is no revision to go back to.
    NoEarlierRevision,
}

impl CommandKind {
    /// All kinds but roll-backs, which are told apart by their revisions.
    pub(crate) const PLAIN: [Self; 6] = [
        Self::Start,
        Self::Stop,
        Self::Restart,
        Self::Replace,
        Self::Build,
        Self::Delete,
    ];

    /// The command that left `event`, if one did.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        match event {
            Event::UserStartRequested => Some(Self::Start),
            Event::UserStopRequested => Some(Self::Stop),
            Event::UserRestartRequested => Some(Self::Restart),
            Event::UserDeleteRequested => Some(Self::Delete),
            Event::SourceReplaced { .. } => Some(Self::Replace),
            Event::UserBuildRequested => Some(Self::Build),
            Event::UserRollBackRequested { revision } => Some(Self::RollBack(Some(*revision))),
            Event::HostStarted { .. }
            | Event::InstanceNotAlive { .. }
            | Event::InstanceAlive { .. }
            | Event::InstanceSettled { .. }
            | Event::FoldersEnsured { .. }
            | Event::BuildFinished { .. }
            | Event::InstanceStarted { .. }
            | Event::StartFailed { .. }
            | Event::InstanceEnded { .. }
            | Event::StopFinished { .. }
            | Event::InstanceObserved { .. }
            | Event::DeadlinePassed { .. }
            | Event::RetryDue { .. }
            | Event::Removed { .. }
            | Event::HandlerPanicked { .. } => None,
        }
    }
}
