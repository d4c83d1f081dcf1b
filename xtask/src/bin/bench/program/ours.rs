//! Our side: a supervisor with the journal of a host, whose effects end at once.

use std::{
    path::Path,
    sync::{Arc, LazyLock},
};

use anyhow::{Result, ensure};
use hersh_journal::{JOURNAL_FILE, Journal, ProgramRecords};
use hersh_machine::driver::{Config, SystemClock};
use hersh_program::{
    BuildId, BuildRules, Cause, ContainerId, EffectHandler, Event, ImageId, InstanceNumber,
    InstanceStatus, Instances, Manifest, OperationContext, ProgramId, ProgramStepper, Source,
    StartResult, State, Supervisor,
};

use super::Subject;

/// A supervised program.
pub(crate) struct Program(Supervisor);

struct Instantly {
    image: ImageId,
    container: ContainerId,
}

/// What all programs of a run share, as those of a host share its effect handler.
struct Shared {
    handler: Arc<Instantly>,
    source: Source,
}

#[allow(clippy::expect_used, reason = "constants of this file")]
static SHARED: LazyLock<Shared> = LazyLock::new(|| Shared {
    handler: Arc::new(Instantly {
        image: ImageId::parse(&format!("sha256:{}", "0".repeat(64))).expect("an image id"),
        container: ContainerId::parse(&"0".repeat(64)).expect("a container id"),
    }),
    source: Source {
        build: BuildId::parse("build-000000000000").expect("a build id"),
        manifest: Arc::new(Manifest::default()),
    },
});

impl Subject for Program {
    type Journal = Journal;

    fn open(folder: &Path) -> Result<Journal> {
        Ok(Journal::open_with_reserve(&folder.join(JOURNAL_FILE))?)
    }

    async fn create(journal: &Journal, number: usize) -> Result<Self> {
        let id = ProgramId::parse(&format!("program-{number}"))?;
        let program = hersh_program::Program::new(id, SHARED.source.clone(), number as u64);
        let row = journal.create("admin", 0, &program).await?;
        Ok(Self(Supervisor::run(
            ProgramStepper::new(program),
            Arc::clone(&SHARED.handler),
            ProgramRecords::new(journal.clone(), row, 0),
            SystemClock,
            Config::default(),
        )))
    }

    async fn start(&self) -> Result<()> {
        self.0.call(Event::UserStartRequested).await?;
        let program = self.0.settled().await;
        let is_ready = matches!(program.state, State::Ready(_));
        ensure!(is_ready, "the program is {}", program.state.name());
        Ok(())
    }

    async fn stop(&self) -> Result<()> {
        self.0.call(Event::UserStopRequested).await?;
        let program = self.0.settled().await;
        let is_stopped = matches!(program.state, State::Stopped(_));
        ensure!(is_stopped, "the program is {}", program.state.name());
        Ok(())
    }
}

impl EffectHandler for Instantly {
    async fn ensure_program_folders(&self, _: &OperationContext) -> Result<(), Cause> {
        Ok(())
    }

    async fn build_image(
        &self,
        _: &OperationContext,
        _: &BuildId,
        _: &BuildRules,
        _: u64,
    ) -> Result<ImageId, Cause> {
        Ok(self.image.clone())
    }

    async fn start_instance(
        &self,
        _: &OperationContext,
        _: InstanceNumber,
        _: &ImageId,
        _: &Arc<Manifest>,
    ) -> Result<StartResult, Cause> {
        Ok(StartResult {
            container: self.container.clone(),
        })
    }

    async fn stop_instances(
        &self,
        _: &OperationContext,
        _: Instances,
        _: u64,
        _: u64,
    ) -> Result<(), Cause> {
        Ok(())
    }

    async fn observe_instance(
        &self,
        _: &OperationContext,
        _: InstanceNumber,
    ) -> Result<InstanceStatus, Cause> {
        Ok(InstanceStatus::Running(self.container.clone()))
    }

    async fn remove_program(&self, _: &OperationContext) -> Result<(), Cause> {
        Ok(())
    }
}
