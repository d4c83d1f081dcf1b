//! Everything that a journal stores reads back as it was written.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail"
)]

mod common;

use std::sync::Arc;

use common::{
    Walk, container, exit, host_started, host_started_with_orphan, id, image, program, source,
    stop_failed,
};
use hersh_machine::{Record, Stepper};
use hersh_program::{
    BuildRules, Cause, Effect, Event, Exit, ExitReason, InstanceNumber, InstanceStatus, Instances,
    Lifecycle, Manifest, OpId, ProxyRules, Readiness, Recipe, Refusal, RestartPolicy, RevisionNote,
    RevisionNumber, StartResult, StopStep, UserId,
};
use serde::{Serialize, de::DeserializeOwned};

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    let text = serde_json::to_string(value).unwrap();
    let back: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(&back, value, "{text}");
}

fn causes() -> Vec<Cause> {
    let message = || String::from("m");
    let logs = || vec![String::from("l")];
    let (after_ms, last_probe) = (5, message());
    vec![
        Cause::FoldersFailed { message: message() },
        Cause::BuildFailed {
            message: message(),
            logs: logs(),
        },
        Cause::BuildTimedOut { after_ms },
        Cause::StartFailed {
            message: message(),
            logs: logs(),
        },
        Cause::NotRunnable { message: message() },
        Cause::EndedBeforeReady { logs: logs() },
        Cause::Finished { logs: logs() },
        Cause::OutOfProcesses {
            code: 2,
            logs: logs(),
        },
        Cause::ImageGone { image: image('b') },
        Cause::ContractViolated {
            contract: message(),
            message: message(),
        },
        Cause::NotReadyInTime {
            after_ms,
            last_probe,
            logs: logs(),
        },
        Cause::Exited {
            code: -1,
            signal: Some(9),
            logs: logs(),
        },
        Cause::StoppedFromOutside {
            code: 0,
            logs: logs(),
        },
        Cause::OutOfMemory { logs: logs() },
        Cause::StateQuotaExceeded,
        Cause::StateTooLarge {
            used_bytes: 3 << 30,
            limit_bytes: 64 << 20,
        },
        Cause::DiskFilled,
        Cause::StopFailed { message: message() },
        Cause::RemoveFailed { message: message() },
        Cause::RuntimeUnavailable { message: message() },
        Cause::Vanished,
        Cause::HostRestarted,
        Cause::Internal { message: message() },
    ]
}

fn newer_causes() -> [Cause; 3] {
    let message = || String::from("m");
    let logs = || vec![String::from("l")];
    [
        Cause::DiskFull { message: message() },
        Cause::RegistryUnavailable {
            message: message(),
            logs: logs(),
        },
        Cause::NotAlive {
            failures: 3,
            last_probe: message(),
            logs: logs(),
        },
    ]
}

#[test]
fn causes_read_back_and_speak() {
    for cause in causes().into_iter().chain(newer_causes()) {
        round_trip(&cause);
        assert!(cause.to_string().len() > 5);
        let op = OpId(3);
        round_trip(&Event::StartFailed {
            op,
            cause: cause.clone(),
        });
        let result = Err(cause);
        round_trip(&Event::BuildFinished { op, result });
    }
}

#[test]
fn events_of_revisions_and_liveness_read_back() {
    let container = container('c');
    let events = [
        Event::SourceReplaced {
            source: source('e', RestartPolicy::Always),
            note: RevisionNote {
                by: Some(UserId::parse("ann").unwrap()),
                message: Some(String::from("faster")),
            },
        },
        Event::UserBuildRequested,
        Event::UserRollBackRequested {
            revision: RevisionNumber(3),
        },
        Event::InstanceNotAlive {
            instance: InstanceNumber(4),
            container: container.clone(),
            failures: 3,
            last_probe: String::from("503"),
            logs: vec![String::from("l")],
        },
        Event::InstanceAlive {
            instance: InstanceNumber(4),
            container,
        },
    ];
    events.iter().for_each(round_trip);
    // Older hosts told nobody who deployed.
    let old = serde_json::to_value(&events[0]).unwrap();
    let mut old = old.as_object().unwrap().clone();
    old.remove("note");
    let note = RevisionNote::default();
    match serde_json::from_value(old.into()).unwrap() {
        Event::SourceReplaced { note: read, .. } => assert_eq!(read, note),
        other => panic!("{other:?}"),
    }
}

#[test]
fn events_read_back() {
    let op = OpId(u64::MAX);
    let events = [
        Event::UserStartRequested,
        Event::UserStopRequested,
        Event::UserRestartRequested,
        Event::UserDeleteRequested,
        host_started(),
        host_started_with_orphan(),
        Event::FoldersEnsured { op, result: Ok(()) },
        Event::FoldersEnsured {
            op,
            result: Err(stop_failed()),
        },
        Event::BuildFinished {
            op,
            result: Ok(image('b')),
        },
        Event::InstanceStarted {
            op,
            started: StartResult {
                container: container('c'),
            },
        },
        Event::StopFinished { op, result: Ok(()) },
        Event::InstanceObserved {
            op,
            result: Ok(InstanceStatus::Exited(container('c'), exit(0))),
        },
        Event::InstanceEnded {
            instance: InstanceNumber(3),
            container: container('c'),
            exit: Exit {
                reason: ExitReason::StoppedFromOutside { code: 143 },
                logs: vec![],
            },
        },
        Event::InstanceObserved {
            op,
            result: Ok(InstanceStatus::Running(container('c'))),
        },
        Event::InstanceObserved {
            op,
            result: Ok(InstanceStatus::Absent),
        },
        Event::DeadlinePassed { op },
        Event::RetryDue { op },
        Event::Removed { op, result: Ok(()) },
        Event::HandlerPanicked {
            op,
            message: String::from("m"),
        },
    ];
    for event in events {
        round_trip(&event);
    }
}

#[test]
fn exits_read_back() {
    for reason in [
        ExitReason::Code(137),
        ExitReason::OutOfMemory,
        ExitReason::OutOfProcesses { code: 2 },
        ExitReason::NotRunnable {
            message: String::from("no /app"),
        },
        ExitReason::StateQuota,
        ExitReason::DiskFull,
        ExitReason::Vanished,
    ] {
        round_trip(&Event::InstanceEnded {
            instance: InstanceNumber(3),
            container: container('c'),
            exit: Exit {
                reason,
                logs: vec![],
            },
        });
    }
}

#[test]
fn effects_read_back() {
    let program = id();
    let manifest = source('a', RestartPolicy::Never).manifest;
    for effect in [
        Effect::EnsureProgramFolders {
            program: program.clone(),
        },
        Effect::BuildImage {
            program: program.clone(),
            build: source('a', RestartPolicy::Never).build,
            network: true,
            recipe: Arc::default(),
            timeout_ms: 1,
        },
        Effect::StartInstance {
            program: program.clone(),
            instance: InstanceNumber(3),
            image: image('b'),
            manifest,
        },
        Effect::StopInstances {
            program: program.clone(),
            instances: Instances::One(InstanceNumber(3)),
            drain_ms: 30_000,
            grace_ms: 1,
        },
        Effect::ObserveInstance {
            program: program.clone(),
            instance: InstanceNumber(3),
        },
        Effect::ScheduleRetry {
            after_ms: 1,
            due_ms: 2,
        },
        Effect::Cancel { op: OpId(1) },
        Effect::RemoveProgram { program },
        Effect::Refuse {
            refusal: Refusal::BeingRemoved,
        },
        Effect::Refuse {
            refusal: Refusal::Busy {
                with: String::from("starting"),
            },
        },
        Effect::Refuse {
            refusal: Refusal::Already {
                state: String::from("ready"),
            },
        },
    ] {
        round_trip(&effect);
        round_trip(&Record {
            seq: 1,
            now_ms: 2,
            event: host_started(),
            effects: vec![(OpId(1), effect)],
        });
    }
}

#[test]
fn states_read_back() {
    let new = || Walk::new(program());
    for walk in [
        new(),
        new().start(),
        new().building(),
        new().starting().exited('d', 1),
        new().ready(),
        new().ready().event(host_started()),
        new().ready().stop(),
        new().ready().restart(),
        new().ready().delete(),
        new().ready().exited('c', 0),
        new().ready().exited('c', 1),
        new().ready().exited('c', 0).stop_finished(),
        new().ready().exited('c', 1).stop_finished(),
        new().delete().removed(),
        new().event(Event::UserBuildRequested),
        new()
            .ready()
            .exited('c', 0)
            .stop_finished()
            .event(Event::UserBuildRequested),
        beside_a_second_instance(),
        beside_a_second_instance().started('d'),
    ] {
        round_trip(&walk.program);
    }
}

/// A program whose next revision is being started beside it.
fn beside_a_second_instance() -> Walk {
    let next = common::overlapping('e', RestartPolicy::Never);
    let deployed = Walk::new(program()).ready().event(common::replaced(next));
    deployed.restart().folders().built('e')
}

#[test]
fn a_rollout_of_an_older_host_is_read_back() {
    let next = source('e', RestartPolicy::Never);
    let deployed = Walk::new(program()).ready().event(common::replaced(next));
    let stored = serde_json::to_value(&deployed.restart().program).unwrap();
    let rollout = &stored["state"]["rollout"];
    assert_eq!(rollout["revision"], 2);
    assert_eq!(rollout["building"]["step"], "folders");
    assert_eq!(stored["state"].get("leaving"), None);
}

#[test]
fn a_snapshot_goes_on_where_it_was_taken() {
    let mut stepper: Stepper<Lifecycle> = Stepper::new(program());
    stepper.step(Event::UserStartRequested, 5).unwrap();
    let snapshot = stepper.snapshot();
    round_trip(&snapshot);
    let mut again = Stepper::<Lifecycle>::from_snapshot(snapshot);
    let op = OpId(1);
    let event = Event::FoldersEnsured { op, result: Ok(()) };
    assert_eq!(stepper.step(event.clone(), 6), again.step(event, 6));
    assert_eq!(again.open().len(), 1);
}

#[test]
fn identifiers_keep_their_rules() {
    use hersh_program::{BuildId, ContainerId, ImageId, ProgramId};
    for good in ["a", "counter-1", &"x".repeat(63)] {
        assert_eq!(ProgramId::parse(good).unwrap().to_string(), good);
    }
    for bad in [
        "",
        "-a",
        "a-",
        "A",
        "a.b",
        "a/b",
        "..",
        "a b",
        &"x".repeat(64),
    ] {
        let error = ProgramId::parse(bad).unwrap_err();
        assert!(error.to_string().starts_with("program id"), "{error}");
        assert!(serde_json::from_value::<ProgramId>(bad.into()).is_err());
    }
    // Those of older hosts have twelve digits.
    for good in ["0123456789ab".to_owned(), "0123456789abcdef".repeat(4)] {
        assert!(BuildId::parse(&format!("build-{good}")).is_ok());
    }
    for bad in [
        &format!("build-{}", "a".repeat(32)),
        &format!("build-{}", "a".repeat(65)),
        "build-",
        "build-0123456789AB",
        "0123456789ab",
        "build-0123456789abc",
    ] {
        assert!(BuildId::parse(bad).is_err());
    }
    assert!(ImageId::parse(&format!("sha256:{}", "0".repeat(64))).is_ok());
    assert!(ImageId::parse("sha256:0").is_err());
    assert!(ContainerId::parse(&"0".repeat(12)).is_ok());
    assert!(ContainerId::parse(&"0".repeat(11)).is_err());
    assert!(ContainerId::parse(&"0".repeat(65)).is_err());
}

/// Journals of hosts that knew no recipes are read, and mean the plain one.
#[test]
fn builds_of_older_hosts_read_back() {
    let rules: BuildRules = serde_json::from_str(r#"{"network":true}"#).unwrap();
    let plain = BuildRules {
        network: true,
        recipe: Arc::default(),
    };
    assert_eq!(rules, plain);
    assert!(!rules.recipe.is_fresh());
    let build = r#"{"effect":"build_runtime","program":"p","build":"build-0123456789ab","network":true,"timeout_ms":1}"#;
    let Effect::BuildImage { recipe, .. } = serde_json::from_str(build).unwrap() else {
        panic!("it is no build");
    };
    assert_eq!(recipe, plain.recipe);
    let recipe: Recipe = serde_json::from_str(r#"{"pull":true}"#).unwrap();
    assert!(recipe.is_fresh());
    let asked = BuildRules {
        recipe: recipe.into(),
        ..plain
    };
    round_trip(&asked);
}

#[test]
fn manifests_of_older_hosts_read_with_the_usual_port_and_proxy() {
    let mut old = serde_json::to_value(Manifest::default()).unwrap();
    old.as_object_mut().unwrap().remove("proxy");
    for (readiness, port) in [
        (r#"{"kind":"none"}"#, 8080),
        (r#"{"kind":"tcp","port":9000}"#, 9000),
        (r#"{"kind":"http","port":3000,"path":"/x"}"#, 3000),
    ] {
        old["readiness"] = serde_json::from_str(readiness).unwrap();
        let read: Manifest = serde_json::from_value(old.clone()).unwrap();
        assert_eq!(read.readiness.port(), port, "{readiness}");
        assert_eq!(read.proxy, ProxyRules::default());
    }
    let partly: ProxyRules = serde_json::from_str(r#"{"body_bytes":7}"#).unwrap();
    let expected = ProxyRules {
        body_bytes: 7,
        ..ProxyRules::default()
    };
    assert_eq!(partly, expected);
    assert_eq!(Readiness::default().port(), 8080);
}

/// A host reads journals of all older hosts, so what is stored keeps its name whatever the code calls it.
#[test]
fn journals_keep_the_names_they_were_written_with() {
    fn says<T: Serialize>(value: &T, names: &[&str]) {
        let text = serde_json::to_string(value).unwrap();
        for name in names {
            assert!(text.contains(&format!("\"{name}\"")), "{name}: {text}");
        }
    }
    let (op, program, instance) = (OpId(1), id(), InstanceNumber(1));
    let manifest = Arc::new(Manifest::default());
    let exit = Exit {
        reason: ExitReason::StoppedFromOutside { code: 0 },
        logs: vec![],
    };
    let started = StartResult {
        container: container('c'),
    };
    says(
        &Event::InstanceStarted { op, started },
        &["runtime_started"],
    );
    let ended = Event::InstanceEnded {
        instance,
        container: container('c'),
        exit,
    };
    says(&ended, &["runtime_exited", "engine_stopped"]);
    let result = Ok(InstanceStatus::Absent);
    says(&Event::InstanceObserved { op, result }, &["status_fetched"]);
    let build = Effect::BuildImage {
        program: program.clone(),
        build: source('a', RestartPolicy::Never).build,
        network: false,
        recipe: Arc::new(Recipe::default()),
        timeout_ms: 1,
    };
    says(&build, &["build_runtime"]);
    let start = Effect::StartInstance {
        program: program.clone(),
        instance,
        image: image('b'),
        manifest,
    };
    says(&start, &["start_runtime"]);
    let stop = Effect::StopInstances {
        program: program.clone(),
        instances: Instances::All,
        drain_ms: 0,
        grace_ms: 1,
    };
    says(&stop, &["stop_runtime"]);
    says(
        &Effect::ObserveInstance { program, instance },
        &["fetch_runtime_status"],
    );
    let cause = Cause::StoppedFromOutside {
        code: 0,
        logs: vec![],
    };
    says(&cause, &["engine_stopped"]);
    says(&StopStep::Instances, &["containers"]);
}
