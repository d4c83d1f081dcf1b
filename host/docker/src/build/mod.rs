//! Builds images with the engine's classic builder. Every engine since 20.10 has this builder, a closed
//! connection ends its build, and the containers of its steps can be told from all others.

mod accounts;
mod base;
mod connection;
mod culprit;
mod disk_space;
mod fetch;
pub(crate) mod fetched_images;
mod images;
pub(crate) mod mount_points;
mod narrator;
mod network;
mod registry;
pub(crate) mod steps;
mod trees;
pub(crate) mod user_entry;
mod user_files;
mod view_container;

use std::{sync::Arc, time::Duration};

use bollard::query_parameters::{BuildImageOptions, BuilderVersion};
use futures_util::StreamExt;
use hersh_program::ImageId;
use hersh_storage::{BUILD_DOCKERFILE, SourceTree, TreePurpose, output::BuildLog, tar_stream};
use tokio_util::sync::CancellationToken;

use self::{
    narrator::{Bounds, Narrator},
    steps::StepWatch,
    trees::TreeImages,
};
use crate::{
    Inner, dockerfile::EngineDockerfile, doctor::trial::TrialError, engine::Fault,
    names::image_tag, work::CancelledError,
};
use hersh_sandbox::{BuildError, BuildRequest, Unavailable};

/// The timeout of a build's request, too long to matter: a build ends by cancellation, never by this
/// timeout.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The period of the scheduler by which processor time is bounded, microseconds.
const CPU_PERIOD_US: i32 = 100_000;
/// The most attempts at a build that fails because another image was removed, see [`met_a_removal`].
pub(super) const ATTEMPTS_MAX: usize = 10;

pub(super) async fn build(
    inner: Arc<Inner>,
    request: BuildRequest,
    cancel: CancellationToken,
) -> Result<ImageId, BuildError> {
    // While this lock is held nothing is collected: neither the existing image nor a layer that this build uses.
    let _kept = inner.building.read().await;
    // An image that a start would refuse is built again, so that the error names the Dockerfile line.
    if let Some(image) = inner.built(&request.program, &request.build).await?
        && !mount_points::is_obstructed(&inner, &request.program, &image).await
    {
        return Ok(image);
    }
    tokio::select! {
        proved = inner.prove_steps() => proved.map_err(not_proved)?,
        () = cancel.cancelled() => return Err(BuildError::Cancelled),
        () = request.cancel.cancelled() => return Err(BuildError::Cancelled),
    }
    let mut log = BuildLog::create(&request.log_path).map_err(|error| BuildError::Files {
        message: format!("the log of {}: {error}", request.build),
    })?;
    let trees = TreeImages::default();
    let result = tokio::select! {
        result = follow(&inner, &request, &trees, &mut log) => result,
        () = cancel.cancelled() => Err(BuildError::Cancelled),
        () = request.cancel.cancelled() => Err(BuildError::Cancelled),
    };
    if matches!(
        result,
        Err(BuildError::Cancelled | BuildError::Unavailable(_))
    ) {
        // The connection is closed by now and the engine ends the build by itself, some time later.
        if let Err(error) = steps::remove_all(&inner, &request.program).await {
            tracing::warn!(%error, program = %request.program, "a container of a cancelled build may be left");
        }
    }
    trees.remove(&inner).await;
    if request.rules.network
        && let Err(error) = network::remove(&inner, &request.program).await
    {
        tracing::warn!(%error, program = %request.program, "a build's network stays until it is collected");
    }
    let result = result.map_err(|error| with_tail(error, &log));
    if let Err(error) = log.finish() {
        tracing::warn!(%error, program = %request.program, "the end of a build's log is not kept");
    }
    result
}

impl From<CancelledError> for BuildError {
    fn from(_: CancelledError) -> Self {
        Self::Cancelled
    }
}

/// Checks the Dockerfile, and lets the engine build the tree on the network that the build may use.
async fn follow(
    inner: &Inner,
    request: &BuildRequest,
    trees: &TreeImages,
    log: &mut BuildLog,
) -> Result<ImageId, BuildError> {
    let dockerfile = base::prepare(inner, request, trees, log).await?;
    let network = if request.rules.network {
        network::make(inner, &request.program).await?
    } else {
        "none".to_owned()
    };
    let sending = TreeUpload {
        inner,
        request,
        dockerfile: &dockerfile,
        network: &network,
        watched: StepWatch::default(),
    };
    let (built, layers) = tokio::select! {
        result = send_until_taken(&sending, log) => result?,
        lost = steps::bound(inner, &request.program, &sending.watched) => {
            return Err(lost.into());
        }
    };
    culprit::refuse(inner, request, &built, &dockerfile, &layers).await?;
    let image = user_entry::complete(inner, request, built).await?;
    // `refuse` found nothing that could move a mount, and the entry in /etc adds nothing of that kind.
    inner.clean_images.add(image.clone());
    let tag = image_tag(&inner.config.host_id, &request.program, &request.build);
    write(log, request, &format!("Successfully tagged {tag}\n"))?;
    Ok(image)
}

/// A source tree that is being sent to the engine.
struct TreeUpload<'a> {
    inner: &'a Inner,
    request: &'a BuildRequest,
    dockerfile: &'a EngineDockerfile,
    network: &'a str,
    watched: StepWatch,
}

/// Lets the engine build the tree, and tries again when the engine failed because of the removal of another
/// image. Steps that were done are in the engine's cache. Returns the image, and the images after each
/// step.
async fn send_until_taken(
    sending: &TreeUpload<'_>,
    log: &mut BuildLog,
) -> Result<(ImageId, Vec<Option<String>>), BuildError> {
    let mut attempt = 1;
    loop {
        let mut narrator = Narrator::new(sending.dockerfile, sending.bounds());
        let sent = send(sending, &mut narrator, log).await;
        if attempt < ATTEMPTS_MAX && sent.as_ref().is_err_and(met_a_removal) {
            attempt += 1;
            let said = "(again: an image was removed while the engine looked at it)\n";
            write(log, sending.request, said)?;
            continue;
        }
        return match sent {
            Ok(image) => Ok((image, narrator.layers())),
            Err(BuildError::Failed { message, logs }) => Err(BuildError::Failed {
                message: narrator.failure(&message, sending.watched.ran_out_of_memory()),
                logs,
            }),
            Err(
                error @ (BuildError::Cancelled
                | BuildError::Files { .. }
                | BuildError::RegistryUnavailable { .. }
                | BuildError::Unavailable(_)),
            ) => Err(error),
        };
    }
}

/// Returns whether the engine failed because of the removal of an image that has nothing to do with the
/// build. When the engine searches for a step that it has done already, it reads every image with the same
/// parent. It fails when one of them is removed between the listing and the reading. The messages of failed
/// steps begin differently.
fn met_a_removal(error: &BuildError) -> bool {
    match error {
        BuildError::Failed { message, .. } => is_of_a_removal(message),
        BuildError::Cancelled
        | BuildError::Files { .. }
        | BuildError::RegistryUnavailable { .. }
        | BuildError::Unavailable(_) => false,
    }
}

pub(super) fn is_of_a_removal(message: &str) -> bool {
    message.starts_with("unable to find image \"sha256:")
}

/// Sends the tree and reads the builder's output until the build is done. Returns the image, which has no
/// name yet.
async fn send(
    sending: &TreeUpload<'_>,
    narrator: &mut Narrator<'_>,
    log: &mut BuildLog,
) -> Result<ImageId, BuildError> {
    let (inner, request) = (sending.inner, sending.request);
    let known = inner.engine.client().await?;
    let (socket, permit) = (inner.config.socket.clone(), request.permit.clone());
    let client = connection::client(&known, socket, permit, REQUEST_TIMEOUT)
        .map_err(|error| refused(inner.engine.fault(&error)))?;
    let packed = TreePurpose::Build {
        text: sending.dockerfile.text.clone(),
        path: request.dockerfile().to_owned(),
    };
    let root = request.context_dir.clone();
    let context = tar_stream(move || SourceTree::open(&root), packed, ());
    let context = bollard::body_try_stream(context);
    let options = sending.options();
    let mut said = std::pin::pin!(client.build_image(options, None, Some(context)));
    let mut image = None;
    while let Some(said) = said.next().await {
        let said = said.map_err(|error| refused(inner.engine.fault(&error)))?;
        // The builder names an image for each stage. The last one is the image of the whole build.
        image = said.aux.and_then(|aux| aux.id).or(image);
        let Some(text) = said.stream else { continue };
        for line in log.complete(&text) {
            if let Some(line) = narrator.line(line) {
                write(log, request, &format!("{line}\n"))?;
            }
        }
    }
    image
        .and_then(|id| ImageId::parse(&id).ok())
        .ok_or_else(|| BuildError::Failed {
            message: "the builder ended without an image and without a reason".to_owned(),
            logs: Vec::new(),
        })
}

fn write(log: &mut BuildLog, request: &BuildRequest, text: &str) -> Result<(), BuildError> {
    log.write(text).map_err(|error| BuildError::Files {
        message: format!("the log of {}: {error}", request.build),
    })
}

impl TreeUpload<'_> {
    fn bounds(&self) -> Bounds {
        Bounds {
            network: self.request.rules.network,
            memory_bytes: self.inner.config.build_memory_bytes,
        }
    }

    fn options(&self) -> BuildImageOptions {
        let (config, request) = (&self.inner.config, self.request);
        let recipe = &request.rules.recipe;
        let args = recipe.args.clone().into_iter().collect();
        // The request's `i32` holds less than 2 GiB; `steps::bound` raises the limit once a step has begun.
        let memory_bytes = i32::try_from(config.build_memory_bytes).unwrap_or(i32::MAX);
        BuildImageOptions {
            dockerfile: BUILD_DOCKERFILE.to_owned(),
            rm: true,
            forcerm: true,
            nocache: recipe.no_cache,
            buildargs: Some(args),
            memory: Some(memory_bytes),
            memswap: Some(memory_bytes),
            cpuperiod: Some(CPU_PERIOD_US),
            cpuquota: Some(
                config
                    .build_cpu_millis
                    .saturating_mul(CPU_PERIOD_US / 1_000),
            ),
            networkmode: Some(self.network.to_owned()),
            extrahosts: Some(steps::marker(self.inner, &request.program)),
            version: BuilderVersion::BuilderV1,
            ..BuildImageOptions::default()
        }
    }
}

fn refused(fault: Fault) -> BuildError {
    match fault.message() {
        Ok(message) => BuildError::Failed {
            message,
            logs: Vec::new(),
        },
        Err(error) => error.into(),
    }
}

/// Returns the error for an engine that did not pass the trial. An engine that loses what steps write must
/// not build: the image would lack files, and nothing would report that.
fn not_proved(error: TrialError) -> BuildError {
    match error {
        TrialError::Unavailable(error) => error.into(),
        // A machine that is too busy for a trial may be able to build later.
        TrialError::Late { .. } => BuildError::Unavailable(Unavailable {
            message: error.to_string(),
        }),
        TrialError::Lost { .. } | TrialError::Failed { .. } => BuildError::Failed {
            message: format!("this machine can't build: {error}"),
            logs: Vec::new(),
        },
    }
}

fn with_tail(error: BuildError, log: &BuildLog) -> BuildError {
    match error {
        BuildError::Failed { message, .. } => BuildError::Failed {
            message,
            logs: log.tail(),
        },
        BuildError::RegistryUnavailable { message, .. } => BuildError::RegistryUnavailable {
            message,
            logs: log.tail(),
        },
        BuildError::Cancelled | BuildError::Files { .. } | BuildError::Unavailable(_) => error,
    }
}
