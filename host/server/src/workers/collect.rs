//! Collects what builds left on the engine, by reference: an image stays as long as a program
//! starts from it or runs it.
//!
//! Builds and removals clean up after themselves. This worker finds what they could not remove, what an
//! earlier process left, the layers of builds that failed, and base images that nobody builds from any more.

use std::time::Duration;

use hersh_program::BuildId;

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
        let space = if has_space {
            Space::Enough
        } else {
            Space::Short
        };
        if let Err(error) = collect(&host, space).await {
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

/// Whether the disks have space for images that may be needed some day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Enough,
    Short,
}

/// Collects images once.
pub(crate) async fn collect(host: &Host, space: Space) -> Result<(), Unavailable> {
    let in_use = || in_use(host, space);
    let kept = match space {
        Space::Enough => KEPT,
        Space::Short => Retention::NOTHING,
    };
    let collected = host.builder().collect(&in_use, kept).await?;
    if !collected.is_empty() {
        tracing::info!(collected = ?collected.0, "collected");
    }
    Ok(())
}

/// Returns what the programs refer to now. While space is short, the images of older revisions go, which would
/// otherwise keep everybody from building: a roll-back to one of these builds it again.
pub(crate) fn in_use(host: &Host, space: Space) -> UsedImages {
    let mut in_use = UsedImages::default();
    for entry in host.list() {
        entry.supervisor().with_state(|program| {
            let (builds, images) = match space {
                Space::Enough => (program.kept_builds(), program.kept_images()),
                Space::Short => (program.needed_builds(), program.needed_images()),
            };
            let of = |build: &BuildId| (program.id.clone(), build.clone());
            in_use.builds.extend(builds.into_iter().map(of));
            in_use.images.extend(images.into_iter().cloned());
        });
    }
    in_use
}
