//! The names of events, as metrics write them.

use hersh_program::Event;

/// Returns the name of an event.
pub(crate) fn event_name(event: &Event) -> &'static str {
    match event {
        Event::UserStartRequested => "user_start_requested",
        Event::UserStopRequested => "user_stop_requested",
        Event::UserRestartRequested => "user_restart_requested",
        Event::UserDeleteRequested => "user_delete_requested",
        Event::UserBuildRequested => "user_build_requested",
        Event::UserRollBackRequested { .. } => "user_roll_back_requested",
        Event::SourceReplaced { .. } => "source_replaced",
        Event::HostStarted { .. } => "host_started",
        Event::FoldersEnsured { .. } => "folders_ensured",
        Event::BuildFinished { .. } => "build_finished",
        Event::InstanceStarted { .. } => "runtime_started",
        Event::StartFailed { .. } => "start_failed",
        Event::InstanceEnded { .. } => "runtime_exited",
        Event::InstanceNotAlive { .. } => "instance_not_alive",
        Event::InstanceAlive { .. } => "instance_alive",
        Event::InstanceSettled { .. } => "instance_settled",
        Event::StopFinished { .. } => "stop_finished",
        Event::InstanceObserved { .. } => "status_fetched",
        Event::DeadlinePassed { .. } => "deadline_passed",
        Event::RetryDue { .. } => "retry_due",
        Event::Removed { .. } => "removed",
        Event::HandlerPanicked { .. } => "handler_panicked",
    }
}
