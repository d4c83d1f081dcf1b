//! Starts: create, verify, start, look from inside.

use std::{
    future::Future,
    net::IpAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bollard::{
    models::{ContainerInspectResponse, ImageConfig},
    query_parameters::CreateContainerOptions,
};
use hersh_program::{ContainerId, ImageId, NetworkMode};
use tokio_util::sync::CancellationToken;

use super::{
    Inner,
    build::places,
    create, first_process, inspect, look,
    machine::{self, Sight},
    network::{self, SandboxNetwork, addresses, firewall},
    not_started::{failed, not_created, not_removed, not_run, refused},
    remove,
};
use hersh_sandbox::{
    HOME, Inspected, Receipt, Running, RuntimeMode, Spec, StartError, StartTurn, Verified,
    validate, verify,
};

/// Why a container that is there is not one that runs under the contracts.
enum NotRun {
    Failed(StartError),
    /// Its kernel did not show itself, most likely because the program ended before.
    NotSeen(StartError),
}

impl NotRun {
    /// Whether it would run at another address.
    fn is_address_taken(&self) -> bool {
        matches!(self, Self::Failed(error) if addresses::is_taken(error))
    }
}

impl<E: Into<StartError>> From<E> for NotRun {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

pub(super) async fn start(
    inner: Arc<Inner>,
    spec: Spec,
    turn: StartTurn,
    cancel: CancellationToken,
) -> Result<Running, StartError> {
    validate(&spec)?;
    let (mut attempts_left, mut turn) = (addresses::ATTEMPTS, Some(turn));
    loop {
        attempts_left -= 1;
        match attempt(&inner, spec.clone(), &mut turn, &cancel).await {
            Err(error) if attempts_left > 0 && addresses::is_taken(&error) => {}
            result => return result,
        }
    }
}

async fn attempt(
    inner: &Arc<Inner>,
    mut spec: Spec,
    turn: &mut Option<StartTurn>,
    cancel: &CancellationToken,
) -> Result<Running, StartError> {
    let client = inner.engine.client().await?;
    let mode = spec.sandbox.network().unwrap_or(NetworkMode::None);
    let fault = |error: &bollard::errors::Error| inner.engine.fault(error);
    let (removed, known, image, places, containers) = tokio::join!(
        remove::leftovers(inner, &spec.instance),
        network::ensure(&client, fault, &inner.config, mode),
        client.inspect_image(spec.image.as_str()),
        places::check(inner, &spec),
        inner.containers(None),
    );
    removed.map_err(not_removed)?;
    let mut known = known?;
    if let Some(subnet) = &mut known.subnet {
        subnet.leave_out(&containers?);
    }
    let image = image.map_err(|error| not_created(inner.engine.fault(&error), &spec))?;
    places?;
    fit(&mut spec, image.config.unwrap_or_default())?;
    let (created, closed) = tokio::join!(create(inner, &spec, &known), known.close());
    let container = created?;
    let id = container.to_string();
    // From here on a container exists. Every failure has to remove it, or it would be left in the engine.
    let result = match closed {
        Ok(()) => {
            let run = async {
                let run = run(inner, &spec, &known, container).await;
                // Ends the turn, unless another address is tried: waiting for the output below may take long.
                if !run.as_ref().is_err_and(NotRun::is_address_taken) {
                    drop(turn.take());
                }
                match run {
                    Ok(running) => Ok(running),
                    Err(NotRun::Failed(error)) => Err(error),
                    Err(NotRun::NotSeen(error)) => Err(ended_early(inner, &spec, &id, error).await),
                }
            };
            unless_cancelled(cancel, run).await
        }
        Err(open) => {
            drop(turn.take());
            Err(open)
        }
    };
    if result.is_err() {
        inner.captures.finish(&id).await;
        if let Err(error) = remove::force(inner, &id).await {
            tracing::warn!(%error, instance = %spec.instance, "a container that failed to start may be left");
        }
    }
    result
}

/// What depends on the image: whether its program is an init, and whether it says where home is.
fn fit(spec: &mut Spec, image: ImageConfig) -> Result<(), StartError> {
    let entry = image.entrypoint.unwrap_or_default();
    let Some(program) = entry
        .into_iter()
        .chain(image.cmd.unwrap_or_default())
        .next()
    else {
        return Err(StartError::NotRunnable {
            message: "the image names no program: give its Dockerfile a CMD or an ENTRYPOINT"
                .into(),
        });
    };
    spec.sandbox.init = !first_process::is_init(&program);
    let has_home = image.env.iter().flatten().any(|it| it.starts_with("HOME="));
    if !has_home {
        let home = || HOME.to_owned();
        spec.env.entry("HOME".to_owned()).or_insert_with(home);
    }
    Ok(())
}

async fn create(
    inner: &Inner,
    spec: &Spec,
    known: &SandboxNetwork,
) -> Result<ContainerId, StartError> {
    let client = inner.engine.client().await?;
    let options = CreateContainerOptions {
        name: Some(spec.name.clone()),
        ..CreateContainerOptions::default()
    };
    let address = known.next_address(&inner.addresses)?;
    let body = create::body(spec, &known.name, address);
    let created = client
        .create_container(Some(options), body)
        .await
        .map_err(|error| not_created(inner.engine.fault(&error), spec))?;
    ContainerId::parse(&created.id).map_err(|error| failed(error.to_string()))
}

async fn run(
    inner: &Arc<Inner>,
    spec: &Spec,
    known: &SandboxNetwork,
    container: ContainerId,
) -> Result<Running, NotRun> {
    let client = inner.engine.client().await?;
    let id = container.as_str();
    let (made, _verified) = check(inner, spec, known, &container).await?;
    let instance = &spec.instance;
    inner.started().insert(container.clone(), instance.clone());
    if let Err(error) = client.start_container(id, None).await {
        let fault = inner.engine.fault(&error);
        return Err(not_run(&client, fault, spec, &made).await.into());
    }
    inner
        .captures
        .ensure(inner, &instance.program, id, spec.sandbox.log_bytes);
    if let Some(bridge) = &known.bridge {
        firewall::isolate(bridge).await?;
    }
    let (inspected, mut contracts) = check(inner, spec, known, &container).await?;
    places::add_to(&mut contracts);
    let kernel = kernel(inner, spec, id, &inspected, &mut contracts).await;
    let kernel = kernel.map_err(NotRun::NotSeen)?;
    let settings = inspected.network_settings;
    inner.flows.note(&container, settings.as_ref());
    let attached = settings.and_then(|it| it.networks);
    let endpoint = attached.and_then(|mut it| it.remove(&known.name));
    let address = endpoint.and_then(|it| it.ip_address);
    Ok(Running {
        address: address.and_then(|it| it.parse::<IpAddr>().ok()),
        receipt: Receipt {
            program: instance.program.clone(),
            instance: instance.number,
            container: container.clone(),
            image: spec.image.clone(),
            mode: spec.mode,
            kernel,
            contracts,
            state: None,
            made_at_ms: now_ms(),
        },
        container,
    })
}

/// Looks at the sandbox from the machine's side and from inside; what its kernel says of itself. What
/// the machine showed is added to the contracts.
async fn kernel(
    inner: &Inner,
    spec: &Spec,
    id: &str,
    inspected: &ContainerInspectResponse,
    contracts: &mut [Verified],
) -> Result<String, StartError> {
    let client = inner.engine.client().await?;
    let pid = inspected.state.as_ref().and_then(|state| state.pid);
    let sight = match spec.mode {
        RuntimeMode::Runsc => machine::look(inner, spec, id, pid).await,
        RuntimeMode::RuncForDevelopment => Ok(Sight::NotLookedAt("a development host")),
    };
    let sight = sight?;
    sight.add_to(contracts);
    match look::kernel(&client, id, &sight).await {
        Ok(said) => Ok(look::judge(spec.mode, &said)?),
        Err(look::NotSeen(said)) => Err(failed(format!(
            "its kernel could not be looked at from inside: {said}"
        ))),
    }
}

/// Holds the real container against the spec.
async fn check(
    inner: &Inner,
    spec: &Spec,
    known: &SandboxNetwork,
    container: &ContainerId,
) -> Result<(ContainerInspectResponse, Vec<Verified>), StartError> {
    let client = inner.engine.client().await?;
    let response = client
        .inspect_container(container.as_str(), None)
        .await
        .map_err(|error| refused(inner.engine.fault(&error)))?;
    let image = ImageId::parse(response.image.as_deref().unwrap_or_default());
    let image = image.map_err(|error| failed(error.to_string()))?;
    if image != spec.image {
        return Err(failed(format!(
            "the container that the engine made runs image {image}, not {}",
            spec.image
        )));
    }
    let inspected = Inspected {
        container: container.clone(),
        image,
        sandbox: inspect::sandbox(&response, known),
    };
    let contracts = verify(spec, &inspected)?;
    Ok((response, contracts))
}

/// Replaces the error of a failed kernel probe by the program's exit, if it ended: that breaks no contract.
async fn ended_early(inner: &Arc<Inner>, spec: &Spec, id: &str, error: StartError) -> StartError {
    match inner.exit(&spec.instance.program, id).await {
        Ok(Some(exit)) => StartError::Ended(exit),
        Ok(None) => error,
        Err(unavailable) => match error {
            StartError::Violated(_) => error,
            StartError::Failed { .. }
            | StartError::NotRunnable { .. }
            | StartError::ImageGone(_)
            | StartError::Ended(_)
            | StartError::Unavailable(_) => unavailable.into(),
        },
    }
}

async fn unless_cancelled<T>(
    cancel: &CancellationToken,
    job: impl Future<Output = Result<T, StartError>>,
) -> Result<T, StartError> {
    tokio::select! {
        result = job => result,
        () = cancel.cancelled() => Err(failed("the start was cancelled".to_owned())),
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
