//! Our side: a supervisor whose effects end at once.

use std::sync::{Arc, LazyLock};

use hersh_machine::driver::NoJournal;
use hersh_program::{
    BuildId, BuildRules, Cause, ContainerId, EffectHandler, Event, ImageId, InstanceNumber,
    Instances, Manifest, Observed, ProgramId, Source, Started, State, Supervisor, Task,
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
    #[allow(clippy::expect_used, reason = "a number makes a valid id")]
    fn create(number: usize) -> Self {
        let id = ProgramId::parse(&format!("program-{number}")).expect("a program id");
        let program = hersh_program::Program::new(id, SHARED.source.clone(), number as u64);
        Self(Supervisor::spawn(
            program,
            Arc::clone(&SHARED.handler),
            NoJournal,
        ))
    }

    #[allow(clippy::expect_used, reason = "a lost command would measure nothing")]
    fn ask_start(&self) {
        self.0
            .send(Event::UserStartRequested)
            .expect("room for a command");
    }

    #[allow(clippy::expect_used, reason = "a lost command would measure nothing")]
    fn ask_stop(&self) {
        self.0
            .send(Event::UserStopRequested)
            .expect("room for a command");
    }

    async fn reach(&self, ready: bool) {
        let reached = |program: &hersh_program::Program| match program.state {
            State::Ready { .. } => ready,
            State::Stopped { .. } => !ready,
            State::Created
            | State::Building { .. }
            | State::Starting { .. }
            | State::Stopping { .. }
            | State::Error { .. }
            | State::Removed => false,
        };
        if !self.0.with_state(reached) {
            self.0.until(reached).await;
        }
    }
}

impl EffectHandler for Instantly {
    async fn ensure_program_folders(&self, _: &Task) -> Result<(), Cause> {
        Ok(())
    }

    async fn build_runtime(
        &self,
        _: &Task,
        _: &BuildId,
        _: &BuildRules,
        _: u64,
    ) -> Result<ImageId, Cause> {
        Ok(self.image.clone())
    }

    async fn start_runtime(
        &self,
        _: &Task,
        _: InstanceNumber,
        _: &ImageId,
        _: &Arc<Manifest>,
    ) -> Result<Started, Cause> {
        Ok(Started {
            container: self.container.clone(),
        })
    }

    async fn stop_runtime(&self, _: &Task, _: Instances, _: u64) -> Result<(), Cause> {
        Ok(())
    }

    async fn fetch_runtime_status(&self, _: &Task, _: InstanceNumber) -> Result<Observed, Cause> {
        Ok(Observed::Running(self.container.clone()))
    }

    async fn remove_program(&self, _: &Task) -> Result<(), Cause> {
        Ok(())
    }
}
