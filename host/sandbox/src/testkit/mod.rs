//! One suite of tests for every runtime, also for the one whose engine is in memory. Only a runtime that
//! passes the suite keeps the promises of [`Runtime`].
//!
//! ```ignore
//! hersh_sandbox::runtime_suite!(MyWorld::new());
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

pub mod rows;

use std::{net::SocketAddr, time::Duration};

use hersh_program::{InstanceId, InstanceNumber, Manifest, NetworkMode, ProgramId, Readiness};

use crate::{BuildRequest, Builder, RunningInstance, Runtime, Spec};

/// How long a row waits for anything before its test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The exit code of a program that was told to end.
pub const END_CODE: i32 = 5;
/// The answer of a program that listens.
pub const ANSWER: &str = "served";
/// The port on which a program listens.
pub const PORT: u16 = 8080;
/// The bound on the memory of each program, bytes.
pub const MEMORY_BYTES: u64 = 64 << 20;
/// The answer of the service outside.
pub const OUTSIDE: &str = "internet";
/// The word of a program that got no answer.
pub const NOTHING: &str = "nothing";
/// The file in which a program counts.
pub const COUNT: &str = "count";
/// The file that a program writes once a stop signal ends it by itself or leaves it alone.
pub const READY: &str = "ready";
/// The file that a program writes when it gets the stop signal.
pub const ASKED: &str = "asked";
/// The last file of a program that ends by itself.
pub const ENDED: &str = "ended";

/// What a program of the suite does. What it writes to a file in its state is one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// The program waits, and ends with [`END_CODE`] once it is told to.
    Waits,
    /// The program answers every connection with [`ANSWER`]: to [`PORT`], or, without a network, to the
    /// socket that its environment names.
    Listens,
    /// The program writes the next number to [`COUNT`], again and again.
    Counts,
    /// The program connects to an address, and writes what it is answered, else [`NOTHING`], to the file
    /// with the name of the address. Then it waits.
    Dials(SocketAddr),
    /// The program writes [`READY`] and waits. At the stop signal it writes [`ASKED`], is busy for half a
    /// second, writes [`ENDED`] and ends with [`END_CODE`].
    Obeys,
    /// The program writes [`READY`] and waits. At the stop signal it writes [`ASKED`] and goes on.
    Refuses,
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

    /// Returns what the program wrote to a file in its state; nothing if the file is not there.
    fn read_state(&self, name: &str) -> String;

    /// Tells the running program to end with [`END_CODE`].
    fn tell_to_end(&self) -> impl Future<Output = ()> + Send;

    /// Returns the address of a service that is neither the host nor a program, and answers every
    /// connection with [`OUTSIDE`].
    fn outside(&self) -> SocketAddr;

    /// Returns the address at which another program would look for a running instance that has a network.
    fn address(&self, running: &RunningInstance) -> impl Future<Output = SocketAddr> + Send;
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
    spec_in(world, conduct, number, NetworkMode::default()).await
}

/// Does as [`spec`], for an instance with that network.
pub async fn spec_in<W: World>(
    world: &W,
    conduct: Conduct,
    number: u64,
    network: NetworkMode,
) -> Spec {
    let built = world.runtime().build(world.tree(conduct)).await;
    let manifest = Manifest {
        network,
        ..manifest()
    };
    let kernel = world.runtime().kernel();
    Spec::new(&instance(world, number), &built.unwrap(), &manifest, kernel)
}

/// Starts an instance that does what `conduct` says.
pub async fn start<W: World>(world: &W, conduct: Conduct, number: u64) -> RunningInstance {
    start_in(world, conduct, number, NetworkMode::default()).await
}

/// Does as [`start`], for an instance with that network.
pub async fn start_in<W: World>(
    world: &W,
    conduct: Conduct,
    number: u64,
    network: NetworkMode,
) -> RunningInstance {
    let spec = spec_in(world, conduct, number, network).await;
    world.runtime().start(spec).await.unwrap()
}

/// Waits until `holds`, or fails with what it was waiting for.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    let wait = async {
        while !holds().await {
            looks.tick().await;
        }
    };
    let held = tokio::time::timeout(PATIENCE, wait).await;
    assert!(held.is_ok(), "waited in vain until {what}");
}

fn manifest() -> Manifest {
    let mut manifest = Manifest {
        readiness: Readiness::None { port: PORT },
        env: [("SECRET".to_owned(), "canary-value".to_owned())].into(),
        ..Manifest::default()
    };
    manifest.limits.memory_bytes = MEMORY_BYTES;
    manifest
}

/// Makes a test of each row. Each test evaluates the expression and so gets a world of its own.
#[macro_export]
macro_rules! runtime_suite {
    ($world:expr) => {
        $crate::runtime_suite! { $world;
            a_check_names_what_runs_programs
            the_folders_that_fill_up_are_there
            a_build_stands_until_it_is_forgotten
            a_cancelled_build_leaves_no_image
            a_build_gives_back_what_it_holds
            an_instance_is_known_from_its_start_to_its_stop
            a_start_and_a_stop_leave_the_other_instance_alone
            a_start_gives_its_permit_back
            a_stop_ends_a_start_that_nobody_waits_for
            an_end_is_told_to_each_who_listens_and_stays
            a_death_is_told_once_and_before_the_end
            a_stop_waits_for_a_program_that_ends_by_itself
            a_stop_kills_what_outlives_its_grace
            a_kill_ends_the_wait_of_a_stop
            a_kill_of_one_instance_spares_the_other
            a_kill_ends_every_instance_and_removes_none
            an_endpoint_leads_to_what_listens
            what_has_no_network_is_reached_by_its_socket
            an_internal_instance_reaches_nobody
            an_instance_with_egress_reaches_the_outside_alone
            a_paused_instance_does_nothing_until_it_is_woken
            a_paused_instance_can_be_stopped
            use_is_told_of_what_runs
            an_image_that_is_needed_is_not_collected
            an_image_that_is_gone_is_named
            bounds_below_the_least_make_nothing
            state_is_measured_and_the_permit_given_back
            an_explanation_tells_no_value_and_no_folder
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
