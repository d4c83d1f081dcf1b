//! Makes an image of a build's source tree in which every file has one mode, for `COPY --chmod`.
//!
//! The engine's builder keeps the modes that files have and can't set others. So a copy with a mode of its
//! own copies from an image in which the files have that mode. The image holds only the tree, lives as long
//! as the build, and carries the label by which it is found again after a crash.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt;
use hersh_base::locked::locked;
use hersh_storage::{SourceTree, TreePurpose, is_plain_file, tar_stream};

use super::REQUEST_TIMEOUT;
use crate::names::LAYER_LABEL;
use crate::{Inner, dockerfile::Dockerfile, engine::Fault};
use hersh_sandbox::{BuildError, BuildRequest};

/// The most modes for which one Dockerfile may ask: each mode costs a copy of the whole tree.
const MODES_MAX: usize = 4;

/// The images that a build made for itself. They have to be removed with [`remove`](TreeImages::remove).
#[derive(Default)]
pub(super) struct TreeImages(Mutex<Vec<String>>);

/// Returns the reasons against the modes for which a file asks, each with its line.
pub(super) async fn refusals(request: &BuildRequest, file: &Dockerfile) -> Vec<(usize, String)> {
    let asked: Vec<(usize, u32, Vec<String>)> = file
        .modes()
        .map(|(line, mode, files)| (line, mode, files.to_vec()))
        .collect();
    let root = request.context_dir.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let mut refusals = Vec::new();
        let mut modes = BTreeSet::new();
        for (line, mode, files) in asked {
            modes.insert(mode);
            if modes.len() > MODES_MAX {
                let reason = format!("COPY --chmod asks for more than {MODES_MAX} modes so far");
                refusals.push((line, reason));
                break;
            }
            let strange = files.iter().find(|file| !is_plain_file(&root, file));
            if let Some(file) = strange {
                let reason = format!(
                    "COPY --chmod={mode:04o} takes plain files of the folder here, and {file:?} is \
                     none; name each file, or write RUN chmod behind it"
                );
                refusals.push((line, reason));
            }
        }
        refusals
    });
    let failed = |error: tokio::task::JoinError| vec![(1, error.to_string())];
    looked.await.unwrap_or_else(failed)
}

impl TreeImages {
    /// Makes the images for which the file asks, and returns them by mode.
    pub(super) async fn make(
        &self,
        inner: &Inner,
        request: &BuildRequest,
        file: &Dockerfile,
    ) -> Result<BTreeMap<u32, String>, BuildError> {
        let modes: BTreeSet<u32> = file.modes().map(|(_, mode, _)| mode).collect();
        let mut made = BTreeMap::new();
        for mode in modes {
            let id = import(inner, request, mode).await?;
            self.known().push(id.clone());
            made.insert(mode, id);
        }
        Ok(made)
    }

    /// Removes the images. One that can't be removed now is collected later, with what failed builds left.
    pub(super) async fn remove(&self, inner: &Inner) {
        let ids = std::mem::take(&mut *self.known());
        for id in ids {
            if let Err(error) = inner.remove_unused(&id).await {
                tracing::warn!(%error, "the tree of a build stays until it is collected");
            }
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        locked(&self.0)
    }
}

async fn import(inner: &Inner, request: &BuildRequest, mode: u32) -> Result<String, BuildError> {
    let client = inner.engine.client().await?.with_timeout(REQUEST_TIMEOUT);
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        changes: vec![format!("LABEL {LAYER_LABEL}={}", inner.config.host_id)],
        ..CreateImageOptions::default()
    };
    let root = request.context_dir.clone();
    let path = request.dockerfile().to_owned();
    let modes = TreePurpose::Modes { mode, path };
    let tree = tar_stream(move || SourceTree::open(&root), modes, ());
    let tree = bollard::body_try_stream(tree);
    let mut said = std::pin::pin!(client.create_image(Some(options), Some(tree), None));
    let mut id = None;
    while let Some(said) = said.next().await {
        let said = said.map_err(|error| failed(inner.engine.fault(&error)))?;
        id = said.status.filter(|it| it.starts_with("sha256:")).or(id);
    }
    id.ok_or_else(|| BuildError::Failed {
        message: "the engine took the tree for COPY --chmod and named no image".to_owned(),
        logs: Vec::new(),
    })
}

fn failed(fault: Fault) -> BuildError {
    match fault.message() {
        Ok(message) => BuildError::Failed {
            message: format!("the tree for COPY --chmod could not be stored: {message}"),
            logs: Vec::new(),
        },
        Err(error) => error.into(),
    }
}
