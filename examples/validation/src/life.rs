//! One program's life without any IO: the test decides what happens and what the time is.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use hersh_machine::Machine;
use hersh_program::{
    BuildId, Cause, ContainerId, Effect, Event, Exit, ExitReason, ImageId, InstanceNumber,
    InstanceStatus, Lifecycle, Manifest, OpId, Program, ProgramId, ProgramRecord, ProgramStepper,
    RestartPolicy, Source, StartResult, State,
};

/// Any moment: the machine knows no other clock.
const BEGAN_AT_MS: u64 = 1_700_000_000_000;
/// Where a life's jitter comes from.
pub(crate) const SEED: u64 = 7;

/// A program, its machine, and all that happened to it.
pub(crate) struct Life {
    /// As it was before the first event.
    pub(crate) created: Program,
    /// The machine with its books.
    pub(crate) stepper: ProgramStepper,
    /// What a journal would hold.
    pub(crate) records: Vec<ProgramRecord>,
    now_ms: u64,
    containers: u64,
    story: Vec<(&'static str, Vec<&'static str>)>,
}

impl Life {
    /// A program that was never started.
    ///
    /// # Errors
    /// When an id is refused.
    pub(crate) fn new(restart: RestartPolicy) -> Result<Self> {
        let manifest = Manifest {
            restart,
            ..Manifest::default()
        };
        let source = Source {
            build: BuildId::parse("build-0123456789ab")?,
            manifest: Arc::new(manifest),
        };
        let created = Program::new(ProgramId::parse("pure")?, source, SEED);
        Ok(Self {
            stepper: ProgramStepper::new(created.clone()),
            created,
            records: Vec::new(),
            now_ms: BEGAN_AT_MS,
            containers: 0,
            story: Vec::new(),
        })
    }

    /// One that came up.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn ready(restart: RestartPolicy) -> Result<Self> {
        let mut life = Self::new(restart)?;
        life.event(Event::UserStartRequested)?;
        life.settle()?;
        Ok(life)
    }

    /// Where it is.
    pub(crate) fn state(&self) -> &State {
        &self.stepper.state().state
    }

    /// Lets one thing happen and checks the invariants.
    ///
    /// # Errors
    /// When the event is stale or an invariant is broken.
    pub(crate) fn event(&mut self, event: Event) -> Result<()> {
        let record = self
            .stepper
            .step(event.clone(), self.now_ms)
            .with_context(|| format!("{event:?} is stale"))?;
        self.take(record)
    }

    /// Lets an outcome come that nobody waits for any more.
    ///
    /// # Errors
    /// When it leaves a record.
    pub(crate) fn stale(&mut self, event: Event) -> Result<()> {
        match self.stepper.step(event, self.now_ms) {
            None => Ok(()),
            Some(record) => bail!("a stale event was taken in: {record:?}"),
        }
    }

    /// Lets the operation succeed that has been open longest.
    ///
    /// # Errors
    /// When none is open, and as [`Life::event`].
    pub(crate) fn succeed(&mut self) -> Result<()> {
        let open = self.stepper.open().first().cloned();
        let open = open.context("nothing is under way")?;
        let event = self.success(open.op, &open.effect)?;
        self.event(event)
    }

    /// Lets every operation succeed until nothing is under way.
    ///
    /// # Errors
    /// As [`Life::succeed`].
    pub(crate) fn settle(&mut self) -> Result<()> {
        while !self.state().is_settled() {
            self.succeed()?;
        }
        Ok(())
    }

    /// Lets the running container end with `code`, and what follows happen.
    ///
    /// # Errors
    /// When none runs, and as [`Life::settle`].
    pub(crate) fn crash(&mut self, code: i32) -> Result<()> {
        let (instance, container) = (self.instance()?, self.container()?);
        let exit = Exit {
            reason: ExitReason::Code(code),
            logs: vec!["the last line".to_owned()],
        };
        self.event(Event::InstanceEnded {
            instance,
            container,
            exit,
        })?;
        self.settle()
    }

    /// Lets time pass until it causes something by itself; returns how long that was, in
    /// milliseconds.
    ///
    /// # Errors
    /// When time alone causes nothing.
    pub(crate) fn wait(&mut self) -> Result<u64> {
        let (at_ms, _) = Lifecycle::wake(self.stepper.state()).context("it waits for no time")?;
        let waited_ms = at_ms.saturating_sub(self.now_ms);
        self.now_ms = self.now_ms.max(at_ms);
        let due = self.stepper.due(self.now_ms).context("nothing is due")?;
        let record = self.stepper.step_unchecked(due, self.now_ms);
        self.take(record)?;
        Ok(waited_ms)
    }

    /// The container that runs.
    ///
    /// # Errors
    /// When none does.
    pub(crate) fn container(&self) -> Result<ContainerId> {
        let found = self.state().container().cloned();
        found.with_context(|| format!("no container runs in {}", self.state().name()))
    }

    fn instance(&self) -> Result<InstanceNumber> {
        let ready = self.state().ready();
        let instance = ready.map(|ready| ready.instance);
        instance.with_context(|| format!("no instance is up in {}", self.state().name()))
    }

    /// Its cause and the delay of its retry in milliseconds, when it is in Error.
    ///
    /// # Errors
    /// When it is in any other state.
    pub(crate) fn failure(&self) -> Result<(Cause, Option<u64>)> {
        let State::Error(failed) = self.state() else {
            bail!("it is in {}", self.state().name());
        };
        let retry = failed.retry.map(|retry| retry.due_ms - self.now_ms);
        Ok(((*failed.cause).clone(), retry))
    }

    /// The operation and the effect asked for last.
    pub(crate) fn last_effect(&self) -> Option<(OpId, Effect)> {
        self.records.last()?.effects.last().cloned()
    }

    /// Every state since the last telling, with the effects asked for in it.
    pub(crate) fn tell(&mut self) -> String {
        let told = std::mem::take(&mut self.story).into_iter();
        let scene = |(state, effects): (_, Vec<_>)| match effects.as_slice() {
            [] => String::from(state),
            asked => format!("{state} [{}]", asked.join(", ")),
        };
        told.map(scene).collect::<Vec<_>>().join(" > ")
    }

    fn take(&mut self, record: ProgramRecord) -> Result<()> {
        Lifecycle::invariants(self.stepper.state())
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("after {:?}", record.event))?;
        let state = self.state().name();
        if self.story.last().is_none_or(|(last, _)| *last != state) {
            self.story.push((state, Vec::new()));
        }
        if let Some((_, effects)) = self.story.last_mut() {
            effects.extend(record.effects.iter().map(|(_, effect)| name(effect)));
        }
        self.records.push(record);
        Ok(())
    }

    fn success(&mut self, op: OpId, effect: &Effect) -> Result<Event> {
        Ok(match effect {
            Effect::EnsureProgramFolders { .. } => Event::FoldersEnsured { op, result: Ok(()) },
            Effect::BuildImage { .. } => Event::BuildFinished {
                op,
                result: Ok(ImageId::parse(&format!("sha256:{}", "b".repeat(64)))?),
            },
            Effect::StartInstance { .. } => {
                self.containers += 1;
                let container = ContainerId::parse(&format!("{:064x}", self.containers))?;
                let started = StartResult { container };
                Event::InstanceStarted { op, started }
            }
            Effect::StopInstances { .. } => Event::StopFinished { op, result: Ok(()) },
            Effect::ObserveInstance { .. } => Event::InstanceObserved {
                op,
                result: Ok(InstanceStatus::Running(self.container()?)),
            },
            Effect::RemoveProgram { .. } => Event::Removed { op, result: Ok(()) },
            Effect::ScheduleRetry { .. } | Effect::Cancel { .. } | Effect::Refuse { .. } => {
                bail!("{} has no success to report", name(effect))
            }
        })
    }
}

/// The effect's name in the program's vocabulary.
fn name(effect: &Effect) -> &'static str {
    match effect {
        Effect::EnsureProgramFolders { .. } => "EnsureProgramFolders",
        Effect::BuildImage { .. } => "BuildImage",
        Effect::StartInstance { .. } => "StartInstance",
        Effect::StopInstances { .. } => "StopInstances",
        Effect::ObserveInstance { .. } => "ObserveInstance",
        Effect::ScheduleRetry { .. } => "ScheduleRetry",
        Effect::Cancel { .. } => "Cancel",
        Effect::RemoveProgram { .. } => "RemoveProgram",
        Effect::Refuse { .. } => "Refuse",
    }
}
