//! One look at whether an instance works, by the proxy's own way.

use std::{sync::Arc, time::Duration};

use hersh_program::{
    InstanceStatus, LivenessProbe, Manifest, Readiness, RoundedSpan, WATCHER_HEALTH_PATH,
    WATCHER_STATUS_PATH,
};
use hersh_proxy::{ProbeFailure, Upstream};

use super::{Target, count::Sight};
use crate::{host::Host, programs::ProgramEntry};

/// How long the engine may take to say whether the instance runs. If it takes longer, the probe does not count.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(5);

/// Looks once whether the instance works. A failure counts only if nothing but the instance can be its cause.
pub(super) async fn look(host: &Host, entry: &Arc<ProgramEntry>, target: &Target) -> Sight {
    let pauses = entry.pauses().count();
    if pauses.is_none() {
        return Sight::Nothing;
    }
    let upstream = tokio::time::timeout(ENGINE_TIMEOUT, host.upstream(entry)).await;
    let Ok(Ok(Some(upstream))) = upstream else {
        return Sight::Nothing;
    };
    if *upstream.container() != target.container {
        return Sight::Nothing;
    }
    let Some(liveness) = &target.manifest.liveness else {
        return Sight::Nothing;
    };
    let limit = Duration::from_millis(liveness.timeout_ms);
    let probe = async {
        match host.runtime().liveness_answer(&target.container) {
            Some(answer) => {
                answer.await;
                Ok(())
            }
            None => ask(&upstream, &liveness.probe, &target.manifest).await,
        }
    };
    let words = match tokio::time::timeout(limit, probe).await {
        Ok(Ok(())) => return Sight::Answer,
        Ok(Err(failure)) => failure.words().to_owned(),
        Err(_late) => format!("no answer within {}", RoundedSpan(liveness.timeout_ms)),
    };
    if entry.pauses().count() != pauses || !runs(host, target).await {
        return Sight::Nothing;
    }
    Sight::Failure(words)
}

async fn ask(
    upstream: &Upstream,
    probe: &LivenessProbe,
    manifest: &Manifest,
) -> Result<(), ProbeFailure> {
    match probe {
        LivenessProbe::Tcp => upstream.probe_port().await,
        LivenessProbe::Http { path } => upstream.probe(path).await,
        LivenessProbe::Heartbeat => match upstream.probe(WATCHER_HEALTH_PATH).await {
            // An older version of the library, which has no heartbeat.
            Err(ProbeFailure::UnknownPath(_)) => upstream.probe(readiness_path(manifest)).await,
            seen @ (Ok(())
            | Err(
                ProbeFailure::NoListener(_) | ProbeFailure::Unreached(_) | ProbeFailure::Unready(_),
            )) => seen,
        },
    }
}

fn readiness_path(manifest: &Manifest) -> &str {
    match &manifest.readiness {
        Readiness::Http { path, .. } => path,
        Readiness::Tcp { .. } | Readiness::None { .. } => WATCHER_STATUS_PATH,
    }
}

/// Returns whether the engine says that the instance runs. An engine that is away may have taken the instance
/// with it, and nothing could be started again meanwhile.
async fn runs(host: &Host, target: &Target) -> bool {
    let observed = host.runtime().observe(&target.instance);
    match tokio::time::timeout(ENGINE_TIMEOUT, observed).await {
        Ok(Ok(InstanceStatus::Running(container))) => container == target.container,
        // Its end is told by the engine.
        Ok(Ok(InstanceStatus::Exited(..) | InstanceStatus::Absent)) => false,
        Ok(Err(_unavailable)) => false,
        Err(_late) => false,
    }
}
