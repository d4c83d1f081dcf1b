//! The network of one build that may reach the internet: a bridge of its own, removed with the build.
//!
//! Steps of a build are root on the machine's own kernel and can send any packets. So they share no bridge
//! with programs or with other builds. As for programs, the firewall keeps them from the host, and the
//! engine's own rules keep them from other bridges.

use std::{collections::HashMap, net::Ipv4Addr};

use bollard::{
    Docker,
    models::{Ipam, IpamConfig, NetworkCreateRequest},
    query_parameters::ListNetworksOptions,
};
use hersh_program::ProgramId;

use crate::names::HOST_LABEL;
use crate::{
    Inner,
    engine::Fault,
    network::{BRIDGE, ICC, NETWORK_LABEL, firewall, subnets},
};
use hersh_sandbox::{BuildError, StartError, Unavailable};

/// The value of [`NETWORK_LABEL`] on these networks.
const BUILD: &str = "build";

/// Makes the network for a build of the program and returns its name.
///
/// # Errors
/// [`BuildError`] when it can't be made or closed toward the host.
pub(super) async fn make(inner: &Inner, program: &ProgramId) -> Result<String, BuildError> {
    let client = inner.engine.client().await?;
    let name = name(inner, program);
    // A host that ended in the middle of a build may have left the network.
    remove(inner, program).await?;
    let fault = |error: &bollard::errors::Error| inner.engine.fault(error);
    let asked = |subnet, base| request(&inner.config.host_id, &name, subnet, base);
    subnets::create(&client, &fault, inner.config.subnet_pool, &name, asked)
        .await
        .map_err(not_made)?;
    let closed = close(inner, &name).await;
    if closed.is_err() {
        remove(inner, program).await?;
    }
    closed.map(|()| name)
}

/// Removes the network of the program's build. A network that is not there is a success.
pub(super) async fn remove(inner: &Inner, program: &ProgramId) -> Result<(), Unavailable> {
    remove_named(inner, &name(inner, program)).await
}

async fn remove_named(inner: &Inner, name: &str) -> Result<(), Unavailable> {
    let client = inner.engine.client().await?;
    match client.remove_network(name).await {
        Ok(()) => Ok(()),
        Err(error) => match inner.engine.fault(&error) {
            Fault::NotFound(_) => Ok(()),
            fault @ (Fault::Unavailable(_) | Fault::Conflict(_) | Fault::Refused(_)) => {
                Err(fault.into_unavailable())
            }
        },
    }
}

/// Removes the networks that this host's builds left. No build may be under way, because its network would
/// be removed, too.
pub(super) async fn remove_all(inner: &Inner) -> Result<(), Unavailable> {
    let labels = vec![
        format!("{NETWORK_LABEL}={BUILD}"),
        format!("{HOST_LABEL}={}", inner.config.host_id),
    ];
    let options = ListNetworksOptions {
        filters: Some(HashMap::from([("label".to_owned(), labels)])),
    };
    let ask = |client: Docker| {
        let options = options.clone();
        async move { client.list_networks(Some(options)).await }
    };
    let networks = inner.engine.list(ask).await?;
    for name in networks.into_iter().filter_map(|network| network.name) {
        remove_named(inner, &name).await?;
    }
    Ok(())
}

fn name(inner: &Inner, program: &ProgramId) -> String {
    format!("hersh-build-{}-{program}", inner.config.host_id)
}

async fn close(inner: &Inner, name: &str) -> Result<(), BuildError> {
    let client = inner.engine.client().await?;
    let network = client
        .inspect_network(name, None)
        .await
        .map_err(|error| inner.engine.fault(&error).into_unavailable())?;
    let options = network.options.unwrap_or_default();
    let bridge = options.get(BRIDGE).map_or("", String::as_str);
    firewall::close(bridge).await.map_err(not_made)
}

fn request(host_id: &str, name: &str, subnet: u8, base: Ipv4Addr) -> NetworkCreateRequest {
    let owned = |pairs: [(&str, &str); 2]| {
        HashMap::from(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())))
    };
    NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".to_owned()),
        internal: Some(false),
        enable_ipv6: Some(false),
        ipam: Some(Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some(format!("{base}/22")),
                ..IpamConfig::default()
            }]),
            ..Ipam::default()
        }),
        // No two networks have the same subnet, so no two bridges have the same name.
        options: Some(owned([
            (BRIDGE, &format!("hershb{subnet}")),
            (ICC, "false"),
        ])),
        labels: Some(owned([(NETWORK_LABEL, BUILD), (HOST_LABEL, host_id)])),
        ..NetworkCreateRequest::default()
    }
}

fn not_made(error: StartError) -> BuildError {
    let message = match error {
        StartError::Unavailable(error) => return error.into(),
        StartError::Violated(violation) => violation.to_string(),
        StartError::Failed { message, .. } | StartError::NotRunnable { message } => message,
        StartError::ImageGone(image) => format!("the image {image} is gone"),
        StartError::Ended(_) => "the network ended".to_owned(),
    };
    BuildError::Failed {
        message: format!("the build has no network: {message}"),
        logs: Vec::new(),
    }
}
