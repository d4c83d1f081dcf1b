//! Finds the line of a Dockerfile that put something in the way of a mount ([`places`](super::places)).
//!
//! The builder leaves an image after each step. The images are searched only when there is an obstacle to
//! report, and by halves: so only a handful of them is looked into, however many steps there are.

use hersh_program::{ImageId, ProgramId};

use super::{
    mount_points::{Obstacle, asked, find, in_the_way},
    user_entry::within,
    user_files::EntryError,
    view_container::ViewContainer,
};
use crate::{Inner, dockerfile::EngineDockerfile};
use hersh_sandbox::{BuildError, BuildRequest};

/// Refuses an image that was just built and has an obstacle, and names the line that made it. `layers` are
/// the images after each step, as far as the builder named them.
///
/// # Errors
/// [`BuildError`] that names the line.
pub(super) async fn refuse(
    inner: &Inner,
    request: &BuildRequest,
    image: &ImageId,
    dockerfile: &EngineDockerfile,
    layers: &[Option<String>],
) -> Result<(), BuildError> {
    let found = find(inner, &request.program, image.as_str()).await;
    let Some(obstacle) = found.map_err(not_seen)? else {
        return Ok(());
    };
    let steps = Steps {
        inner,
        program: &request.program,
        dockerfile,
        layers,
    };
    let made = steps.that_made(&obstacle).await.map_err(not_seen)?;
    let line = made.and_then(|step| dockerfile.steps.get(step)?.as_ref());
    let line = line.map_or_else(String::new, |shown| {
        format!("Dockerfile, line {}: after '{}' ", shown.line, shown.text)
    });
    let asked = asked(&obstacle);
    Err(BuildError::Failed {
        message: format!(
            "{line}the image has {obstacle}, where every program gets its own: asked is {asked}"
        ),
        logs: Vec::new(),
    })
}

/// The steps of a build that succeeded, with the image after each of them.
struct Steps<'a> {
    inner: &'a Inner,
    program: &'a ProgramId,
    dockerfile: &'a EngineDockerfile,
    layers: &'a [Option<String>],
}

impl Steps<'_> {
    /// Returns the step of the last stage since which its images have the obstacle. Searches by halves in
    /// the images after each step. The first step of the stage is its base image.
    async fn that_made(&self, obstacle: &Obstacle) -> Result<Option<usize>, EntryError> {
        let Some(mut last) = self.layers.len().checked_sub(1) else {
            return Ok(None);
        };
        let mut first = (0..=last)
            .rev()
            .find(|step| self.dockerfile.begins_stage(*step))
            .unwrap_or(0);
        if self.has(first, obstacle).await? {
            return Ok(Some(first));
        }
        while last - first > 1 {
            let middle = first.midpoint(last);
            if self.has(middle, obstacle).await? {
                last = middle;
            } else {
                first = middle;
            }
        }
        Ok(Some(last))
    }

    async fn has(&self, step: usize, obstacle: &Obstacle) -> Result<bool, EntryError> {
        let Some(image) = self.layers.get(step).and_then(Option::as_ref) else {
            return Ok(false);
        };
        let view = ViewContainer::of(self.inner, self.program, image).await?;
        let look = view.look();
        let seen = within(look.seen(&obstacle.place)).await;
        view.remove().await?;
        Ok(in_the_way(&obstacle.place, seen?).is_some())
    }
}

fn not_seen(error: EntryError) -> BuildError {
    match error {
        EntryError::Unavailable(error) => error.into(),
        EntryError::Failed { .. } | EntryError::Late => BuildError::Failed {
            message: format!("the image that was built could not be looked into: {error}"),
            logs: Vec::new(),
        },
    }
}
