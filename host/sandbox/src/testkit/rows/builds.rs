//! What holds of every builder.

use std::sync::atomic::Ordering;

use hersh_program::Instances;

use super::{Given, stop};
use crate::{
    BuildError, BuildPermit, Builder, Retention, UsedImages,
    testkit::{Conduct, World, start, until},
};

/// An image is built once for a tree, is found again, and is gone once it was forgotten.
pub async fn a_build_stands_until_it_is_forgotten(world: &impl World) {
    let (runtime, program) = (world.runtime(), world.program());
    let request = world.tree(Conduct::Waits);
    let build = request.build.clone();
    assert_eq!(runtime.find(program, &build).await.unwrap(), None);
    let image = runtime.build(request).await.unwrap();
    let again = runtime.build(world.tree(Conduct::Waits)).await.unwrap();
    assert_eq!(again, image);
    let found = runtime.find(program, &build).await.unwrap();
    assert_eq!(found, Some(image));
    for _twice in 0..2 {
        runtime.forget(program).await.unwrap();
        assert_eq!(runtime.find(program, &build).await.unwrap(), None);
    }
}

/// A cancelled build leaves no image.
pub async fn a_cancelled_build_leaves_no_image(world: &impl World) {
    let request = world.tree(Conduct::Waits);
    let build = request.build.clone();
    request.cancel.cancel();
    let built = world.runtime().build(request).await;
    assert!(matches!(built, Err(BuildError::Cancelled)), "{built:?}");
    let found = world.runtime().find(world.program(), &build).await;
    assert_eq!(found.unwrap(), None);
}

/// A build holds what it was given until nothing of it goes on, whatever comes of it.
pub async fn a_build_gives_back_what_it_holds(world: &impl World) {
    for (conduct, is_cancelled) in [(Conduct::Waits, false), (Conduct::Counts, true)] {
        let (permit, given_back) = Given::new();
        let mut request = world.tree(conduct);
        request.permit = BuildPermit::new(permit);
        if is_cancelled {
            request.cancel.cancel();
        }
        let built = world.runtime().build(request).await;
        assert_eq!(built.is_err(), is_cancelled, "{built:?}");
        let is_given_back = || async { given_back.load(Ordering::SeqCst) };
        until("the build lets go of it", is_given_back).await;
    }
}

/// An image stays while [`UsedImages`] names the image or its build, and while an instance is made of it.
pub async fn an_image_that_is_needed_is_not_collected(world: &impl World) {
    let (runtime, program) = (world.runtime(), world.program());
    let request = world.tree(Conduct::Waits);
    let build = request.build.clone();
    let image = runtime.build(request).await.unwrap();
    let by_build = UsedImages {
        builds: [(program.clone(), build.clone())].into(),
        ..UsedImages::default()
    };
    let by_image = UsedImages {
        images: [image.clone()].into(),
        ..UsedImages::default()
    };
    for in_use in [by_build, by_image] {
        let in_use = || in_use.clone();
        let collected = runtime.collect(&in_use, Retention::NOTHING).await.unwrap();
        assert!(collected.is_empty(), "{collected:?}");
    }
    let nothing = UsedImages::default;
    start(world, Conduct::Waits, 1).await;
    let collected = runtime.collect(&nothing, Retention::NOTHING).await.unwrap();
    assert!(collected.is_empty(), "{collected:?}");
    stop(world, Instances::All).await;
    let collected = runtime.collect(&nothing, Retention::NOTHING).await.unwrap();
    assert_eq!(collected.of("images"), 1);
    assert_eq!(runtime.find(program, &build).await.unwrap(), None);
}
