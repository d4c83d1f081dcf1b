//! Turns the manifest in force into the form that people write.

use std::collections::BTreeMap;

use hersh_program::{Manifest, NetworkMode, RestartPolicy};
use hersh_wire as wire;

use crate::{deploy::strategy_view, liveness::liveness_view, reach};

/// The text that is shown instead of a hidden value.
pub const HIDDEN: &str = "(hidden)";

/// Returns the names, each with [`HIDDEN`] as its value.
fn hidden(values: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let names = values.keys();
    names
        .map(|name| (name.clone(), HIDDEN.to_string()))
        .collect()
}

/// Returns the manifest in force in the form that people write, with every key set. The values of
/// environment variables and of build arguments may be secrets, so they are hidden.
#[must_use]
pub fn shown(manifest: &Manifest) -> wire::Manifest {
    let limits = &manifest.limits;
    let timeouts = &manifest.timeouts;
    wire::Manifest {
        name: None,
        env: hidden(&manifest.env),
        resources: wire::Resources {
            memory: Some(wire::ByteSize(limits.memory_bytes)),
            cpus: Some(f64::from(limits.cpu_millis) / 1_000.0),
            pids: Some(limits.pids),
            tmp: Some(wire::ByteSize(limits.tmp_bytes)),
            state: Some(wire::ByteSize(limits.state_bytes)),
            logs: Some(wire::ByteSize(limits.log_bytes)),
        },
        network: Some(match manifest.network {
            NetworkMode::Internal => wire::Network::Internal,
            NetworkMode::None => wire::Network::None,
            NetworkMode::Egress => wire::Network::Egress,
        }),
        build: wire::Build {
            network: Some(manifest.build.network),
            dockerfile: manifest.build.recipe.dockerfile.clone(),
            target: manifest.build.recipe.target.clone(),
            args: hidden(&manifest.build.recipe.args),
        },
        restart: Some(wire::Restart {
            policy: Some(match manifest.restart {
                RestartPolicy::Never => wire::RestartPolicy::Never,
                RestartPolicy::OnFailure => wire::RestartPolicy::OnFailure,
                RestartPolicy::Always => wire::RestartPolicy::Always,
            }),
            give_up_after: manifest.give_up_after,
        }),
        port: Some(manifest.readiness.port()),
        readiness: Some(reach::readiness_view(&manifest.readiness)),
        liveness: Some(liveness_view(manifest.liveness.as_ref())),
        proxy: reach::proxy_view(&manifest.proxy),
        deploy: Some(strategy_view(manifest.deploy)),
        timeouts: wire::Timeouts {
            build: Some(wire::Span(timeouts.build_ms)),
            start: Some(wire::Span(timeouts.start_ms)),
            stop: Some(wire::Span(timeouts.stop_grace_ms)),
        },
    }
}
