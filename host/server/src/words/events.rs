//! Journalled events in plain words, for people who read what happened to a program.

use hersh_program::{
    Cause, Effect, Event, Exit, ExitReason, InstanceNumber, InstanceStatus, Instances,
    ProgramRecord, RevisionNote, RoundedSpan, Source,
};

use super::{folders::without_folders, line::one_line};

/// Returns what happened, and what the host does about it: `build failed: no such step`, or `exited with code
/// 139 (SIGSEGV); stops its container`.
pub(crate) fn record_words(record: &ProgramRecord) -> String {
    let effects: Vec<&Effect> = record.effects.iter().map(|(_, effect)| effect).collect();
    let mut words = event_words(&record.event, !effects.is_empty());
    for next in effects.into_iter().filter_map(effect_words) {
        words.push_str("; ");
        words.push_str(&next);
    }
    words
}

/// Returns what happened. `mattered` says that the host does something about it.
fn event_words(event: &Event, mattered: bool) -> String {
    let done = |done: &str, result: &Result<(), Cause>| match result {
        Ok(()) => done.to_owned(),
        Err(cause) => said(cause),
    };
    match event {
        Event::UserStartRequested => "somebody asked to start it".to_owned(),
        Event::UserStopRequested => "somebody asked to stop it".to_owned(),
        Event::UserRestartRequested => "somebody asked to restart it".to_owned(),
        Event::UserDeleteRequested => "somebody asked to remove it".to_owned(),
        Event::UserBuildRequested => "somebody asked to build it only".to_owned(),
        Event::UserRollBackRequested { revision } => {
            format!("somebody asked to go back to revision {revision}")
        }
        Event::SourceReplaced { source, note } => deployed(source, note),
        Event::HostStarted { orphan: None, .. } => "the host started".to_owned(),
        Event::HostStarted {
            orphan: Some(cause),
            ..
        } => format!(
            "the host started and could not remove an instance of an earlier life: {}",
            said(cause)
        ),
        Event::FoldersEnsured { result, .. } => done("its folders are there", result),
        Event::BuildFinished { result, .. } => match result {
            Ok(_) => "its image is there".to_owned(),
            Err(cause) => said(cause),
        },
        Event::InstanceStarted { .. } => "it is Ready".to_owned(),
        Event::StartFailed { cause, .. } => said(cause),
        Event::InstanceEnded { exit, .. } => exit_words(exit, mattered),
        Event::InstanceNotAlive {
            failures,
            last_probe,
            ..
        } => format!(
            "{failures} liveness probes in a row failed: {}",
            one_line(last_probe)
        ),
        Event::InstanceSettled { .. } => "it stays up".to_owned(),
        Event::InstanceAlive { .. } => "it answers its liveness probe again".to_owned(),
        Event::StopFinished { result, .. } => done("what was to stop is gone", result),
        Event::InstanceObserved { result, .. } => match result {
            Ok(InstanceStatus::Running(_)) => "the engine says that it runs".to_owned(),
            Ok(InstanceStatus::Absent) => "the engine knows no container of it".to_owned(),
            Ok(InstanceStatus::Exited(_, exit)) => exit_words(exit, mattered),
            Err(cause) => said(cause),
        },
        Event::DeadlinePassed { .. } => "that took too long".to_owned(),
        Event::RetryDue { .. } => "an automatic start is due".to_owned(),
        Event::Removed { result, .. } => done("it is removed", result),
        Event::HandlerPanicked { message, .. } => {
            format!("internal error: {}", one_line(message))
        }
    }
}

fn deployed(source: &Source, note: &RevisionNote) -> String {
    let by = note.by.as_ref();
    let by = by.map_or_else(String::new, |user| format!(" by {user}"));
    let message = note.message.as_deref().map_or("", str::trim);
    let message = match message.is_empty() {
        true => String::new(),
        false => format!(": {}", one_line(message)),
    };
    format!("new source or settings{by} ({}){message}", source.build)
}

/// Returns how a container ended. Every stop asks the engine to end a container, so such an end is told as
/// the engine's own only if the host had to do something about it.
fn exit_words(exit: &Exit, mattered: bool) -> String {
    match &exit.reason {
        ExitReason::StoppedFromOutside { .. } if !mattered => "its container ended".to_owned(),
        ExitReason::Code(_)
        | ExitReason::StoppedFromOutside { .. }
        | ExitReason::OutOfMemory
        | ExitReason::OutOfProcesses { .. }
        | ExitReason::NotRunnable { .. }
        | ExitReason::StateQuota
        | ExitReason::DiskFull
        | ExitReason::Vanished => said(&Cause::from(exit)),
    }
}

fn said(cause: &Cause) -> String {
    one_line(&without_folders(&cause.to_string()))
}

fn effect_words(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::EnsureProgramFolders { .. } => "prepares its folders".to_owned(),
        Effect::BuildImage { build, .. } => format!("builds {build}"),
        Effect::StartInstance {
            instance: InstanceNumber::UNNUMBERED,
            ..
        } => "starts it".to_owned(),
        Effect::StartInstance { instance, .. } => format!("starts it as instance {instance}"),
        Effect::StopInstances {
            instances: Instances::All,
            ..
        } => "stops what runs of it".to_owned(),
        Effect::StopInstances {
            instances: Instances::One(instance),
            drain_ms: 0,
            ..
        } => format!("stops instance {instance}"),
        Effect::StopInstances {
            instances: Instances::One(instance),
            drain_ms,
            ..
        } => format!(
            "stops instance {instance} when its requests have ended, in {} at the latest",
            RoundedSpan(*drain_ms)
        ),
        Effect::ObserveInstance { .. } => "asks the engine about it".to_owned(),
        Effect::ScheduleRetry { after_ms, .. } => {
            format!("tries again in {}", RoundedSpan(*after_ms))
        }
        Effect::RemoveProgram { .. } => "removes its files and images".to_owned(),
        Effect::Refuse { refusal } => format!("refused: {refusal}"),
        // The effect that is cancelled was told when it began; the effect that comes instead is told beside
        // this one.
        Effect::Cancel { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use hersh_program::{ContainerId, OpId, ProgramId, Refusal};

    use super::*;

    fn words(event: Event, effects: Vec<Effect>) -> String {
        record_words(&ProgramRecord {
            seq: 1,
            now_ms: 1,
            event,
            effects: effects.into_iter().map(|it| (OpId(1), it)).collect(),
        })
    }

    fn exited(reason: ExitReason) -> Event {
        Event::InstanceEnded {
            instance: InstanceNumber(1),
            container: ContainerId::parse("0123456789ab").unwrap(),
            exit: Exit {
                reason,
                logs: Vec::new(),
            },
        }
    }

    fn stop() -> Effect {
        Effect::StopInstances {
            program: ProgramId::parse("a").unwrap(),
            instances: Instances::All,
            drain_ms: 0,
            grace_ms: 10_000,
        }
    }

    #[test]
    fn an_end_that_was_asked_for_is_not_the_engines() {
        let asked = words(exited(ExitReason::StoppedFromOutside { code: 143 }), vec![]);
        assert_eq!(asked, "its container ended");
        let unasked = words(
            exited(ExitReason::StoppedFromOutside { code: 143 }),
            vec![stop()],
        );
        assert!(unasked.contains("by the container engine"), "{unasked}");
        assert!(unasked.contains("SIGTERM"), "{unasked}");
        assert!(unasked.ends_with("; stops what runs of it"), "{unasked}");
    }

    #[test]
    fn what_happened_is_told_in_plain_words() {
        let retry = Effect::ScheduleRetry {
            after_ms: 1_900,
            due_ms: 5_000,
        };
        for (event, effects, expected) in [
            (
                Event::UserStartRequested,
                vec![Effect::EnsureProgramFolders {
                    program: ProgramId::parse("a").unwrap(),
                }],
                "somebody asked to start it; prepares its folders",
            ),
            (
                Event::BuildFinished {
                    op: OpId(1),
                    result: Err(Cause::BuildFailed {
                        message: "\nline 3: no such step\nmore".to_owned(),
                        logs: Vec::new(),
                    }),
                },
                vec![retry],
                "build failed: line 3: no such step more; tries again in 2 s",
            ),
            (
                exited(ExitReason::Code(139)),
                vec![stop(), Effect::Cancel { op: OpId(1) }],
                "exited with code 139 (SIGSEGV); stops what runs of it",
            ),
            (
                Event::UserRestartRequested,
                vec![Effect::StopInstances {
                    program: ProgramId::parse("a").unwrap(),
                    instances: Instances::One(InstanceNumber(3)),
                    drain_ms: 30_000,
                    grace_ms: 10_000,
                }],
                "somebody asked to restart it; stops instance 3 when its requests have ended, in 30 s at the latest",
            ),
            (
                Event::UserStopRequested,
                vec![Effect::Refuse {
                    refusal: Refusal::BeingRemoved,
                }],
                "somebody asked to stop it; refused: the program is being removed",
            ),
        ] {
            assert_eq!(words(event, effects), expected);
        }
    }
}
