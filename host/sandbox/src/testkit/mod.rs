//! One suite of tests for every runtime, also for the one whose engine is in memory. Only a runtime that
//! passes the suite keeps the promises of [`Runtime`].
//!
//! ```ignore
//! hersh_sandbox::runtime_suite!(MyWorld::new());
//! ```

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod rows;

use std::time::Duration;

use hersh_program::{InstanceId, InstanceNumber, Manifest, ProgramId, Readiness};

use crate::{BuildRequest, Builder, Running, Runtime, Spec};

/// How long a row waits for anything before its test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The exit code of a program that was told to end.
pub const END_CODE: i32 = 5;
/// The answer of a program that listens.
pub const ANSWER: &str = "served";
/// The port on which a program listens.
pub const PORT: u16 = 8080;

/// What a program of the suite does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// The program waits, and ends with [`END_CODE`] once it is told to.
    Waits,
    /// The program answers every connection to [`PORT`] with [`ANSWER`].
    Listens,
}

/// A runtime under test, with one program. Nothing else of its host is there.
pub trait World: Sync {
    /// The runtime, which builds its own images.
    type Runtime: Runtime + Builder;

    /// Returns the runtime.
    fn runtime(&self) -> &Self::Runtime;

    /// Returns the program.
    fn program(&self) -> &ProgramId;

    /// Returns a request to build a source tree of the program. The image does what `conduct` says.
    fn tree(&self, conduct: Conduct) -> BuildRequest;

    /// Writes `bytes` bytes into the program's state, as the program would.
    fn write_state(&self, bytes: usize);

    /// Tells the running program to end with [`END_CODE`].
    fn tell_to_end(&self) -> impl Future<Output = ()> + Send;

    /// Listens in place of the running program, in a world where programs are no processes.
    fn listen(&self) {}
}

/// Returns the id of an instance of the world's program.
pub fn instance(world: &impl World, number: u64) -> InstanceId {
    InstanceId {
        program: world.program().clone(),
        number: InstanceNumber(number),
    }
}

/// Builds an image that does what `conduct` says, and returns the spec of an instance of it.
pub async fn spec<W: World>(world: &W, conduct: Conduct, number: u64) -> Spec {
    let built = world.runtime().build(world.tree(conduct)).await;
    let manifest = manifest();
    let kernel = world.runtime().kernel();
    Spec::new(&instance(world, number), &built.unwrap(), &manifest, kernel)
}

/// Starts an instance that does what `conduct` says.
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

/// Makes a test of each row. Each test evaluates the expression and so gets a world of its own.
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
