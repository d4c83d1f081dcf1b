//! Checks what an image has at the paths where something is mounted into its sandbox.
//!
//! A mount follows the links of the image. A link at `/tmp`, or above it, puts a folder in memory
//! elsewhere. A link at `/.hersh` that leads to `/state` lets a program replace the probe by a file of its
//! own. So each of these paths, and each folder above one, must be what the host takes it for, or not be
//! there. An image never changes, so it is checked once.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    sync::Mutex,
};

use futures_util::future::join_all;
use hersh_base::locked::locked;
use hersh_program::{ImageId, ProgramId};

use super::{
    user_entry::within,
    user_files::{EntryError, FileKind, FilesView},
    view_container::ViewContainer,
};
use crate::Inner;
use hersh_sandbox::{
    Contract, Evidence, Fact, MEMORY_FOLDERS, PROBE_TARGET, Proof, Receipt, STATE_TARGET, Spec,
    StartError, Violation,
    property::{MountPoints, Property},
};

/// Folders into which an engine mounts files by itself.
const OF_ENGINES: [&str; 4] = ["/dev", "/etc", "/proc", "/sys"];
/// The most images that are remembered. When there are more, all are forgotten and checked again.
const CLEAN_IMAGES_MAX: usize = 4_096;

/// How the host knows that an image leads no mount elsewhere, in the words of a receipt.
const HOW: &str = "by a look into the image";

/// A file or link in an image that would move a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub(super) place: String,
    what: String,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.what, self.place)
    }
}

/// The images that were checked and have no obstacle.
#[derive(Default)]
pub(crate) struct CleanImages(Mutex<HashSet<ImageId>>);

impl CleanImages {
    /// Remembers an image.
    pub(super) fn add(&self, image: ImageId) {
        let mut clean_images = locked(&self.0);
        if clean_images.len() >= CLEAN_IMAGES_MAX {
            clean_images.clear();
        }
        clean_images.insert(image);
    }

    fn has(&self, image: &ImageId) -> bool {
        let clean_images = locked(&self.0);
        clean_images.contains(image)
    }
}

/// Checks before a start that nothing in the image moves a mount. After a restart of the host, the last
/// receipt makes the check unnecessary, so that a machine full of programs starts as fast as before.
///
/// # Errors
/// A [`Violation`] that names what is in the way.
pub(crate) async fn check(inner: &Inner, spec: &Spec) -> Result<(), StartError> {
    if inner.clean_images.has(&spec.image) || was_seen(inner, spec).await {
        return Ok(());
    }
    let _kept = inner.building.read().await;
    let found = find(inner, &spec.instance.program, spec.image.as_str()).await;
    match found.map_err(not_looked)? {
        None => {
            inner.clean_images.add(spec.image.clone());
            Ok(())
        }
        Some(obstacle) => Err(Violation {
            contract: Contract::OneWritableVolume,
            found: format!("{obstacle} in the image"),
            asked: format!(
                "{}; a new build ('hersh deploy --no-cache') names the line of the Dockerfile that made it",
                asked(&obstacle)
            ),
        }
        .into()),
    }
}

/// Returns the fact that holds for an image that [`check`] let pass.
pub(crate) fn fact() -> Fact {
    Fact::Observed {
        property: Property::MountPoints(MountPoints::Free),
        how: HOW.to_owned(),
    }
}

async fn was_seen(inner: &Inner, spec: &Spec) -> bool {
    let (storage, program) = (inner.storage.clone(), spec.instance.program.clone());
    let read = tokio::task::spawn_blocking(move || storage.read_receipt::<Receipt>(&program)).await;
    let receipt = read.ok().and_then(Result::ok).flatten();
    receipt.is_some_and(|receipt| tells_of(&receipt, &spec.image))
}

fn tells_of(receipt: &Receipt, image: &ImageId) -> bool {
    let seen = Property::MountPoints(MountPoints::Free).to_string();
    let mut proofs = receipt.contracts.iter().flat_map(|it| &it.properties);
    let is_seen =
        |proof: &Proof| proof.property == seen && matches!(proof.evidence, Evidence::Observed(_));
    receipt.image == *image && proofs.any(is_seen)
}

/// Returns whether an existing image has an obstacle, as far as it can be told.
pub(super) async fn is_obstructed(inner: &Inner, program: &ProgramId, image: &ImageId) -> bool {
    if inner.clean_images.has(image) {
        return false;
    }
    match find(inner, program, image.as_str()).await {
        Ok(Some(_obstacle)) => true,
        Ok(None) => {
            inner.clean_images.add(image.clone());
            false
        }
        // The next start checks the image again.
        Err(_) => false,
    }
}

/// Returns each path at which something is mounted, with the folders above it. A folder comes before its
/// content.
fn places() -> BTreeSet<String> {
    let own = [PROBE_TARGET, STATE_TARGET]
        .into_iter()
        .chain(MEMORY_FOLDERS);
    let mut places = BTreeSet::new();
    for place in own.chain(OF_ENGINES) {
        let above = place.match_indices('/').map(|(at, _)| &place[..at]);
        places.extend(above.filter(|it| !it.is_empty()).map(str::to_owned));
        places.insert(place.to_owned());
    }
    places
}

/// Finds the first obstacle of an image.
pub(super) async fn find(
    inner: &Inner,
    program: &ProgramId,
    image: &str,
) -> Result<Option<Obstacle>, EntryError> {
    let view = ViewContainer::of(inner, program, image).await?;
    let found = within(first_in(&view.look())).await;
    view.remove().await.and(found)
}

async fn first_in(look: &FilesView<'_>) -> Result<Option<Obstacle>, EntryError> {
    let places = places();
    let seen = join_all(places.iter().map(|place| look.seen(place))).await;
    // An engine says "not there" also of a container that is gone, so the root folder is looked at last.
    match look.seen("/").await? {
        FileKind::Folder => {}
        FileKind::Nothing | FileKind::Plain { .. } | FileKind::Link(_) | FileKind::Other => {
            return Err(EntryError::Failed {
                message: "the container to look into the image was removed meanwhile".to_owned(),
            });
        }
    }
    for (place, seen) in places.into_iter().zip(seen) {
        if let Some(what) = in_the_way(&place, seen?) {
            return Ok(Some(Obstacle { place, what }));
        }
    }
    Ok(None)
}

/// Returns what is wrong with the file, folder or link at a path.
pub(super) fn in_the_way(place: &str, seen: FileKind) -> Option<String> {
    match seen {
        FileKind::Nothing => None,
        FileKind::Folder if place == PROBE_TARGET => Some("a folder".to_owned()),
        FileKind::Folder => None,
        FileKind::Plain { .. } if place == PROBE_TARGET => None,
        FileKind::Plain { .. } => Some("a file".to_owned()),
        FileKind::Link(target) => Some(format!("a link to {target:?}")),
        FileKind::Other => Some("a device, pipe or socket".to_owned()),
    }
}

pub(super) fn asked(obstacle: &Obstacle) -> String {
    let place = &obstacle.place;
    if place == PROBE_TARGET || PROBE_TARGET.starts_with(&format!("{place}/")) {
        format!("nothing there (RUN rm -rf {place})")
    } else {
        format!("a folder there (RUN rm -rf {place} && mkdir {place})")
    }
}

fn not_looked(error: EntryError) -> StartError {
    match error {
        EntryError::Unavailable(error) => error.into(),
        EntryError::Failed { .. } | EntryError::Late => StartError::Failed {
            message: format!("the image could not be looked into: {error}"),
            logs: Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_and_what_is_above_it_is_looked_at() {
        let places: Vec<String> = places().into_iter().collect();
        assert_eq!(
            places,
            [
                "/.hersh",
                "/.hersh/probe",
                "/dev",
                "/dev/shm",
                "/etc",
                "/proc",
                "/run",
                "/state",
                "/sys",
                "/tmp",
                "/var",
                "/var/tmp"
            ]
        );
    }

    #[test]
    fn only_what_a_place_is_taken_for_is_not_in_the_way() {
        let plain = || FileKind::Plain { mode: 0o644 };
        let link = || FileKind::Link("/state".to_owned());
        for (place, seen, is_in_the_way) in [
            ("/tmp", FileKind::Nothing, false),
            ("/tmp", FileKind::Folder, false),
            ("/tmp", plain(), true),
            ("/tmp", link(), true),
            ("/tmp", FileKind::Other, true),
            (PROBE_TARGET, plain(), false),
            (PROBE_TARGET, FileKind::Folder, true),
            (PROBE_TARGET, link(), true),
        ] {
            assert_eq!(in_the_way(place, seen).is_some(), is_in_the_way, "{place}");
        }
    }

    fn image(number: usize) -> ImageId {
        ImageId::parse(&format!("sha256:{number:064x}")).unwrap()
    }

    #[test]
    fn a_receipt_tells_of_its_own_image_once_it_was_seen() {
        let mut receipt = Receipt {
            program: ProgramId::parse("p").unwrap(),
            instance: hersh_program::InstanceNumber(1),
            container: hersh_program::ContainerId::parse(&format!("{:064x}", 1)).unwrap(),
            image: image(1),
            asked_kernel: hersh_sandbox::Kernel::Gvisor,
            kernel: String::new(),
            contracts: vec![hersh_sandbox::ContractProofs {
                contract: Contract::OneWritableVolume,
                properties: Vec::new(),
            }],
            state: None,
            made_at_ms: 0,
        };
        assert!(!tells_of(&receipt, &image(1)), "an older host's");
        let Fact::Observed { property, how } = fact() else {
            panic!("somebody looked");
        };
        receipt.contracts[0].properties.push(Proof {
            property: property.to_string(),
            evidence: Evidence::Observed(how),
        });
        assert!(tells_of(&receipt, &image(1)));
        assert!(!tells_of(&receipt, &image(2)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let clean_images = CleanImages::default();
        for number in 0..=CLEAN_IMAGES_MAX {
            clean_images.add(image(number));
        }
        assert!(!clean_images.has(&image(0)));
        assert!(clean_images.has(&image(CLEAN_IMAGES_MAX)));
    }
}
