//! Trials: they show what this engine really does, before anything relies on it.
//!
//! ```text
//! steps: build an image with one step that leaves a file ─► is the file in the image? whose kernel ran it?
//! run:   a container by a runtime, on a network of its own ─► whose kernel ran it?
//! ```
//!
//! Settings don't tell this. gVisor releases from 2023 on keep what is written to a container's root in an
//! overlay of the sandbox unless they are told otherwise. The engine, which commits each step of a build,
//! then makes an image without the step's files and reports nothing. A trial leaves nothing behind but after
//! a crash; its image carries the label by which builds are collected.

use std::{sync::Arc, time::Duration};

use bollard::{
    models::{ContainerCreateBody, HostConfig, Runtime, SystemInfo},
    query_parameters::{
        BuildImageOptions, BuilderVersion, ContainerArchiveInfoOptions, CreateContainerOptions,
        RemoveContainerOptions, RemoveImageOptions,
    },
};
use futures_util::StreamExt;
use hersh_sandbox::Unavailable;
use tokio::sync::Mutex;

use crate::{
    Inner,
    engine::{Engine, Fault},
    kernel_probe,
    names::LAYER_LABEL,
    probe, runsc,
};

/// How long a trial may take: even a busy machine starts a sandbox within seconds.
const LIMIT: Duration = Duration::from_secs(60);
/// How long the removal of what a trial made may take.
const REMOVAL: Duration = Duration::from_secs(20);
/// The memory of a trial, bytes: the memory that it takes is that of the sandbox itself.
pub(super) const MEMORY_BYTES: i64 = 256 * 1024 * 1024;
/// The file that the step of a trial build leaves.
const LEFT: &str = "/left-by-a-step";
/// The most that is kept of the output of a trial, bytes.
const SAID_BYTES: usize = 32 * 1024;

/// The advice on how to get an engine whose builds keep what their steps write.
pub(super) const MEND: &str = "give builds a registration of their own that keeps what is written to the root: \
     run 'runsc install --runtime=runsc-build -- --overlay2=none' (with the other arguments of 'runsc', if it has any), \
     set \"default-runtime\": \"runsc-build\" in the engine's daemon.json, and restart the engine";

/// Why a trial did not show what it was to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TrialError {
    /// A step ended well, but its file is not in the image.
    #[error(
        "what a step of a build writes is not in the image (steps run by the engine's runtime '{runtime}'): {MEND}"
    )]
    Lost {
        /// The engine's default runtime.
        runtime: String,
    },
    /// The engine could not do the trial.
    #[error("a trial {what} failed: {message}")]
    Failed {
        /// The kind of trial: `build` or `run`.
        what: &'static str,
        /// What the engine said.
        message: String,
    },
    /// The trial did not end in time.
    #[error("a trial {what} did not end within {} s", LIMIT.as_secs())]
    Late {
        /// The kind of trial: `build` or `run`.
        what: &'static str,
    },
    /// The engine does not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The last engine on which a trial build succeeded, as the [`key`] of that engine.
#[derive(Default)]
pub(crate) struct TrialRecord(Mutex<Option<String>>);

impl Inner {
    /// Makes sure that the image holds what steps of builds write, by a trial build on each engine that was
    /// not tried yet. Builds that ask meanwhile wait for the one trial.
    ///
    /// # Errors
    /// [`TrialError`]; the next call tries again.
    pub(crate) async fn prove_steps(self: &Arc<Self>) -> Result<(), TrialError> {
        // The trial runs in a task of its own. If the build that asks is cancelled, a trial inside its
        // future would be dropped: nobody would remove the trial's container, and the next build would have
        // to begin the trial again.
        let inner = Arc::clone(self);
        let trial = tokio::spawn(async move { inner.prove().await });
        trial.await.unwrap_or_else(|error| {
            Err(TrialError::Failed {
                what: "build",
                message: error.to_string(),
            })
        })
    }

    async fn prove(&self) -> Result<(), TrialError> {
        let mut proved = self.proved.0.lock().await;
        let client = self.engine.client().await?;
        let info = client
            .info()
            .await
            .map_err(|error| self.engine.fault(&error).into_unavailable())?;
        let key = key(&info);
        if proved.as_ref() == Some(&key) {
            return Ok(());
        }
        let said = steps(&self.engine, &info, &self.config.host_id).await?;
        if kernel_probe::gvisor_start(&said).is_none() {
            tracing::warn!(
                "steps of builds run on this machine's own kernel, not in gVisor: {MEND}"
            );
        }
        *proved = Some(key);
        Ok(())
    }
}

/// Returns a text of all that decides how an engine runs a step. The state of the runtime's file is part of
/// it: an upgrade of gVisor changes what a step leaves, and the engine says nothing of the upgrade.
fn key(info: &SystemInfo) -> String {
    let name = info.default_runtime.as_deref().unwrap_or_default();
    let runtime = info.runtimes.as_ref().and_then(|all| all.get(name));
    let file = runtime
        .and_then(|it: &Runtime| it.path.as_deref())
        .and_then(runsc::resolve)
        .and_then(|path| std::fs::metadata(path).ok());
    let made = file.and_then(|file| Some((file.len(), file.modified().ok()?)));
    format!(
        "{:?} {:?} {:?} {name} {runtime:?} {made:?}",
        info.id, info.server_version, info.driver_status
    )
}

/// Does a trial build; once its file is in the image, returns what the probe said of the step's kernel.
pub(crate) async fn steps(
    engine: &Engine,
    info: &SystemInfo,
    label: &str,
) -> Result<String, TrialError> {
    let runtime = info.default_runtime.clone().unwrap_or_default();
    let mut made = TrialRemains::default();
    let trial = async {
        let (image, said) = build(engine, label).await?;
        let image = made.image.insert(image);
        let container = create(engine, "build", body(image, label)).await?;
        if is_left(engine, made.container.insert(container)).await? {
            Ok(said)
        } else {
            Err(TrialError::Lost { runtime })
        }
    };
    let said = within("build", trial).await;
    made.remove(engine).await;
    said
}

/// Runs a container by `runtime` on the network `network`, and returns what the probe said of the kernel.
pub(super) async fn run(
    engine: &Engine,
    runtime: &str,
    network: &str,
    label: &str,
) -> Result<String, TrialError> {
    let mut made = TrialRemains::default();
    let trial = async {
        let image = made.image.insert(import(engine, label).await?);
        let mut body = body(image, label);
        body.host_config = Some(HostConfig {
            runtime: Some(runtime.to_owned()),
            network_mode: Some(network.to_owned()),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            memory: Some(MEMORY_BYTES),
            memory_swap: Some(MEMORY_BYTES),
            nano_cpus: Some(1_000_000_000),
            pids_limit: Some(256),
            ..HostConfig::default()
        });
        let container = create(engine, "run", body).await?;
        print(engine, made.container.insert(container)).await
    };
    let said = within("run", trial).await;
    made.remove(engine).await;
    said
}

/// What a trial has made so far. This record stands outside of the trial's own future: the future of a late
/// trial is dropped, and without the record nobody would remove its container and image.
#[derive(Default)]
struct TrialRemains {
    image: Option<String>,
    container: Option<String>,
}

impl TrialRemains {
    /// Removes the image and the container. A failure does not change the result of the trial.
    async fn remove(self, engine: &Engine) {
        let removal = remove(engine, self.container.as_deref(), self.image.as_deref());
        if tokio::time::timeout(REMOVAL, removal).await.is_err() {
            tracing::warn!(
                container = self.container,
                image = self.image,
                "what a trial made may be left"
            );
        }
    }
}

async fn within(
    what: &'static str,
    trial: impl Future<Output = Result<String, TrialError>>,
) -> Result<String, TrialError> {
    tokio::time::timeout(LIMIT, trial)
        .await
        .unwrap_or(Err(TrialError::Late { what }))
}

/// Builds the image and returns its id and the output of its step.
async fn build(engine: &Engine, label: &str) -> Result<(String, String), TrialError> {
    let dockerfile = format!(
        "FROM scratch\nLABEL {LAYER_LABEL}={label}\nCOPY probe /probe\nRUN [\"/probe\", \"{LEFT}\"]\n"
    );
    let options = BuildImageOptions {
        dockerfile: "Dockerfile".to_owned(),
        // A step from the engine's cache would prove nothing: the engine would not run it now.
        nocache: true,
        rm: true,
        forcerm: true,
        memory: i32::try_from(MEMORY_BYTES).ok(),
        networkmode: Some("none".to_owned()),
        version: BuilderVersion::BuilderV1,
        ..BuildImageOptions::default()
    };
    let tree = tree(&[
        ("Dockerfile", 0o644, dockerfile.as_bytes()),
        ("probe", 0o755, &probe::image()),
    ])?;
    let client = engine.client().await?;
    let mut answers =
        std::pin::pin!(client.build_image(options, None, Some(bollard::body_full(tree))));
    let (mut image, mut said) = (None, String::new());
    while let Some(answer) = answers.next().await {
        let answer = answer.map_err(|error| failed("build", engine.fault(&error)))?;
        if said.len() < SAID_BYTES {
            said.push_str(answer.stream.as_deref().unwrap_or_default());
        }
        image = answer.aux.and_then(|aux| aux.id).or(image);
    }
    let image = image.ok_or_else(|| TrialError::Failed {
        what: "build",
        message: "the engine named no image".to_owned(),
    })?;
    Ok((image, said))
}

/// Makes an image of the probe alone, without a build, and returns its id.
async fn import(engine: &Engine, label: &str) -> Result<String, TrialError> {
    let options = bollard::query_parameters::CreateImageOptions {
        from_src: Some("-".to_owned()),
        changes: vec![format!("LABEL {LAYER_LABEL}={label}")],
        ..Default::default()
    };
    let tree = tree(&[("probe", 0o755, &probe::image())])?;
    let client = engine.client().await?;
    let mut answers =
        std::pin::pin!(client.create_image(Some(options), Some(bollard::body_full(tree)), None));
    let mut image = None;
    while let Some(answer) = answers.next().await {
        let answer = answer.map_err(|error| failed("run", engine.fault(&error)))?;
        image = answer.status.or(image);
    }
    image.ok_or_else(|| TrialError::Failed {
        what: "run",
        message: "the engine named no image".to_owned(),
    })
}

/// Makes a tar archive of files, each given as name, mode and content.
pub(crate) fn tree(files: &[(&str, u32, &[u8])]) -> Result<bytes::Bytes, TrialError> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, mode, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_size(content.len() as u64);
        archive
            .append_data(&mut header, name, *content)
            .map_err(not_packed)?;
    }
    Ok(archive.into_inner().map_err(not_packed)?.into())
}

fn not_packed(error: std::io::Error) -> TrialError {
    TrialError::Failed {
        what: "build",
        message: error.to_string(),
    }
}

fn body(image: &str, label: &str) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(vec!["/probe".to_owned()]),
        labels: Some([(LAYER_LABEL.to_owned(), label.to_owned())].into()),
        ..ContainerCreateBody::default()
    }
}

async fn create(
    engine: &Engine,
    what: &'static str,
    body: ContainerCreateBody,
) -> Result<String, TrialError> {
    let client = engine.client().await?;
    let created = client
        .create_container(None::<CreateContainerOptions>, body)
        .await
        .map_err(|error| failed(what, engine.fault(&error)))?;
    Ok(created.id)
}

/// Returns whether the step's file is in the image from which `container` was made.
async fn is_left(engine: &Engine, container: &str) -> Result<bool, TrialError> {
    let options = ContainerArchiveInfoOptions {
        path: LEFT.to_owned(),
    };
    let client = engine.client().await?;
    match client
        .get_container_archive_info(container, Some(options))
        .await
    {
        Ok(_found) => Ok(true),
        Err(error) => match engine.fault(&error) {
            Fault::NotFound(_) => Ok(false),
            fault @ (Fault::Unavailable(_) | Fault::Conflict(_) | Fault::Refused(_)) => {
                Err(failed("build", fault))
            }
        },
    }
}

/// Starts a container, waits for its end, and returns its output.
async fn print(engine: &Engine, container: &str) -> Result<String, TrialError> {
    let failed = |error| failed("run", engine.fault(&error));
    let client = engine.client().await?;
    client
        .start_container(container, None)
        .await
        .map_err(failed)?;
    let options = bollard::query_parameters::LogsOptions {
        follow: true,
        stdout: true,
        stderr: true,
        ..Default::default()
    };
    let mut said = String::new();
    let mut lines = std::pin::pin!(client.logs(container, Some(options)));
    while let Some(line) = lines.next().await {
        if said.len() < SAID_BYTES {
            said.push_str(&line.map_err(failed)?.to_string());
        }
    }
    Ok(said)
}

async fn remove(engine: &Engine, container: Option<&str>, image: Option<&str>) {
    let Ok(client) = engine.client().await else {
        return;
    };
    if let Some(container) = container {
        let options = RemoveContainerOptions {
            force: true,
            v: true,
            ..RemoveContainerOptions::default()
        };
        if let Err(error) = client.remove_container(container, Some(options)).await {
            tracing::warn!(%error, container, "the container of a trial may be left");
        }
    }
    let options = None::<RemoveImageOptions>;
    if let Some(image) = image
        && let Err(error) = client.remove_image(image, options, None).await
    {
        tracing::warn!(%error, image, "the image of a trial may be left");
    }
}

fn failed(what: &'static str, fault: Fault) -> TrialError {
    match fault.message() {
        Ok(message) => TrialError::Failed { what, message },
        Err(error) => error.into(),
    }
}
