//! Who reaches whom.

use std::net::SocketAddr;

use hersh_program::{Instances, NetworkMode};

use super::{answers, stop, written};
use crate::{
    Runtime,
    testkit::{Conduct, NOTHING, OUTSIDE, PORT, World, instance, start, start_in},
};

/// The endpoint that a start returns and the one that is asked for later both lead to the program. Where
/// it listens is told as far as that can be seen.
pub async fn an_endpoint_leads_to_what_listens(world: &impl World) {
    let (runtime, first) = (world.runtime(), instance(world, 1));
    let running = start(world, Conduct::Listens, 1).await;
    let found = runtime.endpoint(&first).await.unwrap();
    for endpoint in [running.endpoint, found.unwrap()] {
        answers(&endpoint).await;
    }
    for listener in runtime.listeners(&first).await {
        assert_eq!(listener.port(), PORT, "{listener}");
    }
    stop(world, Instances::All).await;
}

/// An instance without a network is reached by its socket, and reaches nobody.
pub async fn what_has_no_network_is_reached_by_its_socket(world: &impl World) {
    let running = start_in(world, Conduct::Listens, 1, NetworkMode::None).await;
    let found = world.runtime().endpoint(&instance(world, 1)).await;
    for endpoint in [running.endpoint, found.unwrap().unwrap()] {
        answers(&endpoint).await;
    }
    let neighbour = start(world, Conduct::Listens, 2).await;
    answers(&neighbour.endpoint).await;
    let neighbour = world.address(&neighbour).await;
    for (number, address) in [(3, world.outside()), (4, neighbour)] {
        let said = answered(world, number, NetworkMode::None, address).await;
        assert_eq!(said, NOTHING, "{address}");
    }
    stop(world, Instances::All).await;
}

/// An internal instance is reached by the host, and reaches neither the outside nor another instance.
pub async fn an_internal_instance_reaches_nobody(world: &impl World) {
    reaches(world, NetworkMode::Internal, NOTHING).await;
}

/// An instance with egress is reached by the host and reaches the outside, but no other instance.
pub async fn an_instance_with_egress_reaches_the_outside_alone(world: &impl World) {
    reaches(world, NetworkMode::Egress, OUTSIDE).await;
}

/// Checks that instances with that network are answered `outside` by the service outside, and nothing by
/// another such instance, which answers the host.
async fn reaches(world: &impl World, network: NetworkMode, outside: &str) {
    let neighbour = start_in(world, Conduct::Listens, 1, network).await;
    answers(&neighbour.endpoint).await;
    let said = answered(world, 2, network, world.outside()).await;
    assert_eq!(said, outside);
    let neighbour = world.address(&neighbour).await;
    let said = answered(world, 3, network, neighbour).await;
    assert_eq!(said, NOTHING);
    stop(world, Instances::All).await;
}

/// Returns what a new instance with that network is answered at an address.
async fn answered(
    world: &impl World,
    number: u64,
    network: NetworkMode,
    address: SocketAddr,
) -> String {
    start_in(world, Conduct::Dials(address), number, network).await;
    written(world, &address.to_string()).await
}
