//! The rows of the suite. Each row checks one statement that holds for every runtime.

mod builds;
mod ends;
mod pauses;
mod reach;
mod starts;

pub use self::{
    builds::{
        a_build_gives_back_what_it_holds, a_build_stands_until_it_is_forgotten,
        a_cancelled_build_leaves_no_image, an_image_that_is_needed_is_not_collected,
    },
    ends::{
        a_death_is_told_once_and_before_the_end, a_kill_ends_every_instance_and_removes_none,
        a_kill_ends_the_wait_of_a_stop, a_kill_of_one_instance_spares_the_other,
        a_stop_ends_a_start_that_nobody_waits_for, a_stop_kills_what_outlives_its_grace,
        a_stop_waits_for_a_program_that_ends_by_itself,
        an_end_is_told_to_each_who_listens_and_stays,
    },
    pauses::{a_paused_instance_can_be_stopped, a_paused_instance_does_nothing_until_it_is_woken},
    reach::{
        an_endpoint_leads_to_what_listens, an_instance_with_egress_reaches_the_outside_alone,
        an_internal_instance_reaches_nobody, what_has_no_network_is_reached_by_its_socket,
    },
    starts::{
        a_check_names_what_runs_programs, a_start_and_a_stop_leave_the_other_instance_alone,
        a_start_gives_its_permit_back, an_explanation_tells_no_value_and_no_folder,
        an_image_that_is_gone_is_named, an_instance_is_known_from_its_start_to_its_stop,
        bounds_below_the_least_make_nothing, state_is_measured_and_the_permit_given_back,
        the_folders_that_fill_up_are_there, use_is_told_of_what_runs,
    },
};

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hersh_base::endpoint::Endpoint;
use hersh_program::{InstanceStatus, Instances};
use tokio::{io::AsyncReadExt, sync::mpsc};

use super::{ANSWER, ENDED, PATIENCE, PORT, World, instance, until};
use crate::{InstanceEnd, ListedInstance, Runtime};

/// A permit that tells when it is given back.
pub(super) struct Given(Arc<AtomicBool>);

impl Given {
    /// Returns a permit, and whether it was given back.
    pub(super) fn new() -> (Self, Arc<AtomicBool>) {
        let given_back = Arc::default();
        (Self(Arc::clone(&given_back)), given_back)
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(super) async fn stop(world: &impl World, instances: Instances) {
    let program = world.program();
    let stopped = world.runtime().stop(program, instances, Duration::ZERO);
    stopped.await.unwrap();
}

/// Stops a program that obeys the stop signal, and checks that it ended by itself and is removed.
pub(super) async fn stop_obedient(world: &impl World) {
    let program = world.program();
    let stopped = world.runtime().stop(program, Instances::All, PATIENCE * 10);
    tokio::time::timeout(PATIENCE, stopped)
        .await
        .expect("the stop waits no longer than the program runs")
        .unwrap();
    assert!(!world.read_state(ENDED).is_empty(), "it was killed");
    assert_eq!(list(world).await, []);
}

pub(super) async fn observe(world: &impl World, number: u64) -> InstanceStatus {
    let instance = instance(world, number);
    world.runtime().observe(&instance).await.unwrap()
}

pub(super) async fn list(world: &impl World) -> Vec<ListedInstance> {
    let mut listed = world.runtime().list().await.unwrap();
    listed.sort_by_key(|it| it.instance.number);
    listed
}

/// Returns the next end that is told.
pub(super) async fn next_end(events: &mut mpsc::Receiver<InstanceEnd>) -> InstanceEnd {
    let told = tokio::time::timeout(PATIENCE, events.recv()).await;
    told.expect("an end is told in time").unwrap()
}

/// Waits until the program has written a whole line to a file in its state, and returns the line.
pub(super) async fn written(world: &impl World, name: &str) -> String {
    let is_whole = || async { world.read_state(name).ends_with('\n') };
    until(&format!("it writes {name:?}"), is_whole).await;
    world.read_state(name).trim_end().to_owned()
}

/// Waits until what listens behind an endpoint answers as a program does.
pub(super) async fn answers(endpoint: &Endpoint) {
    until("the program answers", || async {
        // The program may not listen yet.
        let Ok(mut stream) = endpoint.dial(PORT).await else {
            return false;
        };
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer.trim_end() == ANSWER
    })
    .await;
}
