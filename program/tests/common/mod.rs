//! What the tests of the lifecycle share.
#![allow(dead_code, reason = "every test binary uses another part")]

use std::sync::Arc;

use hersh_machine::{Machine, StepContext};
use hersh_program::{
    BuildId, Cause, ContainerId, DeployStrategy, Effect, Event, Exit, ExitReason, ImageId,
    InstanceNumber, Lifecycle, Manifest, OpId, Program, ProgramId, RestartPolicy, RevisionNote,
    Rules, Source, StartResult,
};

pub(crate) const NOW_MS: u64 = 1_700_000_000_000;
/// How long requests may go on with an instance of [`overlapping`] that leaves.
pub(crate) const DRAIN_MS: u64 = 30_000;

pub(crate) fn id() -> ProgramId {
    ProgramId::parse("counter").unwrap()
}

pub(crate) fn source(digit: char, restart: RestartPolicy) -> Source {
    Source {
        build: BuildId::parse(&format!("build-{}", digit.to_string().repeat(12))).unwrap(),
        manifest: Arc::new(Manifest {
            restart,
            ..Manifest::default()
        }),
    }
}

/// Works like [`source`], for instances that are started beside the one that is up.
pub(crate) fn overlapping(digit: char, restart: RestartPolicy) -> Source {
    let source = source(digit, restart);
    let manifest = Manifest {
        deploy: DeployStrategy::Overlap { drain_ms: DRAIN_MS },
        ..Manifest::clone(&source.manifest)
    };
    Source {
        manifest: Arc::new(manifest),
        ..source
    }
}

pub(crate) fn program() -> Program {
    program_with(RestartPolicy::OnFailure)
}

pub(crate) fn program_with(restart: RestartPolicy) -> Program {
    Program::new(id(), source('a', restart), 7)
}

pub(crate) fn image(digit: char) -> ImageId {
    ImageId::parse(&format!("sha256:{}", digit.to_string().repeat(64))).unwrap()
}

pub(crate) fn container(digit: char) -> ContainerId {
    ContainerId::parse(&digit.to_string().repeat(64)).unwrap()
}

pub(crate) fn exit(code: i32) -> Exit {
    Exit {
        reason: ExitReason::Code(code),
        logs: vec![String::from("last line")],
    }
}

pub(crate) fn stop_failed() -> Cause {
    Cause::StopFailed {
        message: String::from("busy"),
    }
}

/// A deploy of `source` by nobody in particular.
pub(crate) fn replaced(source: Source) -> Event {
    Event::SourceReplaced {
        source,
        note: RevisionNote::default(),
    }
}

/// What a host says when it starts.
pub(crate) fn host_started() -> Event {
    Event::HostStarted {
        numbers_instances: true,
        rules: Rules::CURRENT,
        orphan: None,
    }
}

/// What a host says when it starts and could not remove an instance that the program does not account
/// for.
pub(crate) fn host_started_with_orphan() -> Event {
    Event::HostStarted {
        numbers_instances: true,
        rules: Rules::CURRENT,
        orphan: Some(stop_failed()),
    }
}

/// The end of the newest instance of a program.
pub(crate) fn end_of(program: &Program, container: ContainerId, exit: Exit) -> Event {
    Event::InstanceEnded {
        instance: InstanceNumber(program.instances.unwrap_or_default()),
        container,
        exit,
    }
}

/// A program at a time, with what it asked for.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    pub(crate) program: Box<Program>,
    pub(crate) now_ms: u64,
    pub(crate) next_op: u64,
    /// The effects of the last step.
    pub(crate) effects: Vec<(OpId, Effect)>,
}

impl Walk {
    pub(crate) fn new(program: Program) -> Self {
        Self {
            program: Box::new(program),
            now_ms: NOW_MS,
            next_op: 1,
            effects: Vec::new(),
        }
    }

    /// Takes one event in and checks the invariants.
    pub(crate) fn event(mut self, event: Event) -> Self {
        let mut cx = StepContext::new(self.now_ms, self.next_op);
        self.program = Lifecycle::reduce(self.program, event, &mut cx);
        (self.effects, self.next_op) = cx.finish();
        Lifecycle::invariants(&self.program).unwrap();
        self
    }

    pub(crate) fn wait(mut self, after_ms: u64) -> Self {
        self.now_ms += after_ms;
        self
    }

    /// The id of the last effect, which is the one that the state waits for.
    pub(crate) fn op(&self) -> OpId {
        self.effects.last().expect("an effect").0
    }

    /// The names of the effects of the last step.
    pub(crate) fn asked(&self) -> Vec<&'static str> {
        self.effects
            .iter()
            .map(|(_, effect)| name(effect))
            .collect()
    }

    pub(crate) fn state(&self) -> &'static str {
        self.program.state.name()
    }

    pub(crate) fn start(self) -> Self {
        self.event(Event::UserStartRequested)
    }

    pub(crate) fn stop(self) -> Self {
        self.event(Event::UserStopRequested)
    }

    pub(crate) fn restart(self) -> Self {
        self.event(Event::UserRestartRequested)
    }

    pub(crate) fn delete(self) -> Self {
        self.event(Event::UserDeleteRequested)
    }

    pub(crate) fn folders(self) -> Self {
        let op = self.op();
        self.event(Event::FoldersEnsured { op, result: Ok(()) })
    }

    pub(crate) fn built(self, digit: char) -> Self {
        let op = self.op();
        let result = Ok(image(digit));
        self.event(Event::BuildFinished { op, result })
    }

    pub(crate) fn started(self, digit: char) -> Self {
        let op = self.op();
        let started = StartResult {
            container: container(digit),
        };
        self.event(Event::InstanceStarted { op, started })
    }

    pub(crate) fn stop_finished(self) -> Self {
        let op = self.op();
        self.event(Event::StopFinished { op, result: Ok(()) })
    }

    pub(crate) fn removed(self) -> Self {
        let op = self.op();
        self.event(Event::Removed { op, result: Ok(()) })
    }

    pub(crate) fn exited(self, digit: char, code: i32) -> Self {
        let event = end_of(&self.program, container(digit), exit(code));
        self.event(event)
    }

    /// What time alone causes, when it does.
    pub(crate) fn wake(self) -> Self {
        let (at_ms, event) = Lifecycle::wake(&self.program).expect("a wake-up");
        let now_ms = self.now_ms.max(at_ms);
        Self { now_ms, ..self }.event(event)
    }

    pub(crate) fn building(self) -> Self {
        self.start().folders()
    }

    pub(crate) fn starting(self) -> Self {
        self.building().built('b')
    }

    pub(crate) fn ready(self) -> Self {
        self.starting().started('c')
    }
}

pub(crate) fn name(effect: &Effect) -> &'static str {
    match effect {
        Effect::EnsureProgramFolders { .. } => "folders",
        Effect::BuildImage { .. } => "build",
        Effect::StartInstance { .. } => "start",
        Effect::StopInstances { .. } => "stop",
        Effect::ObserveInstance { .. } => "status",
        Effect::ScheduleRetry { .. } => "retry",
        Effect::Cancel { .. } => "cancel",
        Effect::RemoveProgram { .. } => "remove",
        Effect::Refuse { .. } => "refuse",
    }
}

/// Lets virtual time pass.
pub(crate) async fn pass(time: std::time::Duration) {
    // tidy: allow(sleep) the clock of these tests is paused: it stands for time, waits for none
    tokio::time::sleep(time).await;
}
