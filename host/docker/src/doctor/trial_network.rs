//! The network of a trial: internal, like that of a program, and removed with the trial.

use std::{collections::HashMap, net::Ipv4Addr};

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};

use super::trial::TrialError;
use crate::{
    engine::{Engine, Fault},
    network::{BRIDGE, ICC, NETWORK_LABEL, subnets},
};
use hersh_sandbox::StartError;

/// Makes an internal network on a free subnet of `pool` and returns its name.
pub(super) async fn make(engine: &Engine, pool: Ipv4Addr) -> Result<String, TrialError> {
    // Two trials at the same time must not use the same name, and a bridge's name has at most 15
    // characters.
    let id = std::process::id();
    let name = format!("hersh-doctor-{id}");
    let client = engine.client().await?;
    let fault = |error: &bollard::errors::Error| engine.fault(error);
    let asked = |_number, base| request(&name, id, base);
    subnets::create(&client, &fault, pool, &name, asked)
        .await
        .map_err(not_made)?;
    Ok(name)
}

/// Removes the network. A failure is logged, and does not change the result of the trial.
pub(super) async fn remove(engine: &Engine, name: &str) {
    let Ok(client) = engine.client().await else {
        return;
    };
    if let Err(error) = client.remove_network(name).await {
        match engine.fault(&error) {
            Fault::NotFound(_) => {}
            Fault::Unavailable(_) | Fault::Conflict(_) | Fault::Refused(_) => {
                tracing::warn!(%error, name, "the network of a trial may be left");
            }
        }
    }
}

fn request(name: &str, id: u32, base: Ipv4Addr) -> NetworkCreateRequest {
    let options = [(BRIDGE, format!("hershd{id}")), (ICC, "false".to_owned())];
    NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".to_owned()),
        internal: Some(true),
        enable_ipv6: Some(false),
        ipam: Some(Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some(format!("{base}/{}", subnets::SUBNET_BITS)),
                ..IpamConfig::default()
            }]),
            ..Ipam::default()
        }),
        options: Some(HashMap::from(
            options.map(|(key, value)| (key.to_owned(), value)),
        )),
        labels: Some([(NETWORK_LABEL.to_owned(), "trial".to_owned())].into()),
        ..NetworkCreateRequest::default()
    }
}

fn not_made(error: StartError) -> TrialError {
    match error {
        StartError::Unavailable(error) => error.into(),
        StartError::Violated(_)
        | StartError::Failed { .. }
        | StartError::NotRunnable { .. }
        | StartError::ImageGone(_)
        | StartError::Ended(_) => TrialError::Failed {
            what: "run",
            message: error.to_string(),
        },
    }
}
