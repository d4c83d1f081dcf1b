//! One suite of tests for every runtime, that of an engine in memory too: whoever passes it is one.
//!
//! ```ignore
//! hersh_sandbox::runtime_suite!(MyWorld::new());
//! ```

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod rows;

use std::time::Duration;

use hersh_program::{InstanceId, InstanceNumber, Manifest, ProgramId, Readiness};

use crate::{BuildRequest, Builder, Running, Runtime, Spec};

/// How long anything that a row waits for may take.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The code with which a program ends that is told to.
pub const END_CODE: i32 = 5;
/// What a program answers that listens.
pub const ANSWER: &str = "served";
/// The port on which it does.
pub const PORT: u16 = 8080;

/// What a program of the suite does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// It waits, and ends with [`END_CODE`] once it is told to.
    Waits,
    /// It answers every connection to [`PORT`] with [`ANSWER`].
    Listens,
}

/// A runtime with one program and nothing else of its host.
pub trait World: Sync {
    /// The runtime, which builds its own images.
    type Runtime: Runtime + Builder;

    /// The runtime.
    fn runtime(&self) -> &Self::Runtime;

    /// The program.
    fn program(&self) -> &ProgramId;

    /// A build of the program's, of a source tree whose image does that.
    fn tree(&self, conduct: Conduct) -> BuildRequest;

    /// Writes so many bytes into the program's state, as the program would.
    fn write_state(&self, bytes: usize);

    /// Tells what runs to end. Where the program does not listen by itself, this world does it from here on.
    fn tell_to_end(&self) -> impl Future<Output = ()> + Send;

    /// Has what runs listen, in a world where programs are no processes.
    fn listen(&self) {}
}

/// An instance of the world's program.
pub fn instance(world: &impl World, number: u64) -> InstanceId {
    InstanceId {
        program: world.program().clone(),
        number: InstanceNumber(number),
    }
}

/// Builds what does that, and says what would run of it.
pub async fn spec<W: World>(world: &W, conduct: Conduct, number: u64) -> Spec {
    let built = world.runtime().build(world.tree(conduct)).await;
    let manifest = manifest();
    let kernel = world.runtime().kernel();
    Spec::new(&instance(world, number), &built.unwrap(), &manifest, kernel)
}

/// Starts what does that.
pub async fn start<W: World>(world: &W, conduct: Conduct, number: u64) -> Running {
    let spec = spec(world, conduct, number).await;
    world.runtime().start(spec).await.unwrap()
}

fn manifest() -> Manifest {
    let mut manifest = Manifest {
        readiness: Readiness::None { port: PORT },
        env: [("SECRET".to_owned(), "canary-value".to_owned())].into(),
        ..Manifest::default()
    };
    manifest.limits.memory_bytes = 64 << 20;
    manifest
}

/// Makes a test of each row, over the world that the expression gives.
#[macro_export]
macro_rules! runtime_suite {
    ($world:expr) => {
        $crate::runtime_suite! { $world;
            a_check_names_what_runs_programs
            a_build_stands_until_it_is_forgotten
            a_cancelled_build_leaves_no_image
            an_instance_is_known_from_its_start_to_its_stop
            a_start_and_a_stop_leave_the_other_instance_alone
            an_end_is_told_to_each_who_listens_and_stays
            a_kill_ends_every_instance_and_removes_none
            an_endpoint_leads_to_what_listens
            a_paused_instance_goes_on_however_often_it_is_told
            an_image_that_is_needed_is_not_collected
            an_image_that_is_gone_is_named
            bounds_below_the_least_make_nothing
            state_is_measured_and_the_permit_given_back
            an_explanation_tells_no_value_of_the_manifest
        }
    };
    ($world:expr; $($row:ident)*) => {
        $(
            #[tokio::test]
            async fn $row() {
                $crate::testkit::rows::$row(&$world).await;
            }
        )*
    };
}
