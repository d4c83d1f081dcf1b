//! Collects what builds left on the engine, by reference: an image stays as long as a program
//! starts from it or runs it.
//!
//! Builds and removals clean up after themselves. This worker finds what they could not remove, what an
//! earlier process left, the layers of builds that failed, and base images that nobody builds from any more.

use std::time::Duration;

use crate::host::Host;
use hersh_sandbox::{Retention, Unavailable, UsedImages};

/// How often images are collected.
const INTERVAL: Duration = Duration::from_secs(600);
/// How often the disks are looked at. If there is no space, images are collected at once.
const LOOK: Duration = Duration::from_secs(30);
/// The leftovers that stay while there is space, each for this long.
const KEPT: Retention = Retention {
    failed_builds: Duration::from_secs(60 * 60),
    fetched_images: Duration::from_secs(7 * 24 * 60 * 60),
};

/// Collects images at once and from then on regularly, until the host ends.
pub(crate) async fn watch(host: Host) {
    finish_removals(&host).await;
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut due = tokio::time::Instant::now();
    loop {
        let now = looks.tick().await;
        let has_space = host.disks().check().is_ok();
        if has_space && now < due {
            continue;
        }
        due = now + INTERVAL;
        let kept = if has_space { KEPT } else { Retention::NOTHING };
        if let Err(error) = collect(&host, kept).await {
            tracing::warn!(%error, "images that nobody needs stay");
        }
    }
}

/// Removes files of programs whose removal an earlier process did not bring to its end.
async fn finish_removals(host: &Host) {
    let finished = host.blocking(|host| host.storage().finish_removals());
    if let Ok(Err(error)) = finished.await {
        tracing::warn!(%error, "files of removed programs stay until the next start");
    }
}

/// Collects images once.
pub(crate) async fn collect(host: &Host, kept: Retention) -> Result<(), Unavailable> {
    let in_use = || in_use(host);
    let collected = host.builder().collect(&in_use, kept).await?;
    if !collected.is_empty() {
        tracing::info!(collected = ?collected.0, "collected");
    }
    Ok(())
}

/// Returns what the programs refer to now.
pub(crate) fn in_use(host: &Host) -> UsedImages {
    let mut in_use = UsedImages::default();
    for entry in host.list() {
        entry.supervisor().with_state(|program| {
            let builds = program.kept_builds().into_iter();
            in_use
                .builds
                .extend(builds.map(|build| (program.id.clone(), build.clone())));
            in_use
                .images
                .extend(program.kept_images().into_iter().cloned());
        });
    }
    in_use
}
