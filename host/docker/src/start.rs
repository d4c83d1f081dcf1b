//! Starts an instance: creates its container, verifies it, starts it, and looks at it from inside.

use std::{
    future::Future,
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bollard::{
    models::{ContainerInspectResponse, ContainerSummary, ImageConfig},
    query_parameters::CreateContainerOptions,
};
use hersh_program::{ContainerId, ImageId, NetworkMode};
use tokio_util::sync::CancellationToken;

use super::{
    Inner, bounds,
    build::mount_points,
    confinement,
    create::{self, EngineNames},
    first_process, inspect, kernel_probe, listed,
    machine::{self, ProcessLookup},
    names::container_name,
    network::{self, SandboxNetwork, addresses, firewall},
    remove,
    start_messages::{cancelled, failed, not_created, not_removed, not_run, refused},
};
use hersh_sandbox::{
    Contract, Fact, HOME, Kernel, Permit, Receipt, RunningInstance, Spec, StartError, Violation,
    property::{FirstProcess, Property, PropertyName},
    validate, verify, verify_running,
};

/// Why an existing container is not an instance that runs under the contracts.
enum StartFailure {
    Failed(StartError),
    /// The kernel could not be asked, most likely because the program ended before.
    NotSeen(StartError),
}

impl StartFailure {
    /// Returns whether the container might run with another address.
    fn is_address_taken(&self) -> bool {
        matches!(self, Self::Failed(error) if addresses::is_taken(error))
    }
}

impl<E: Into<StartError>> From<E> for StartFailure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

pub(super) async fn start(
    inner: Arc<Inner>,
    spec: Spec,
    permit: Permit,
    cancel: CancellationToken,
) -> Result<RunningInstance, StartError> {
    validate(&spec)?;
    if spec.kernel != inner.config.kernel {
        return Err(Violation {
            contract: Contract::Gvisor,
            found: format!("a spec for the kernel {:?}", spec.kernel),
            asked: format!(
                "one for {:?}, on which this host runs programs",
                inner.config.kernel
            ),
        }
        .into());
    }
    let (mut attempts_left, mut permit) = (addresses::ATTEMPTS, Some(permit));
    loop {
        attempts_left -= 1;
        match attempt(&inner, spec.clone(), &mut permit, &cancel).await {
            Err(error) if attempts_left > 0 && addresses::is_taken(&error) => {}
            result => return result,
        }
    }
}

async fn attempt(
    inner: &Arc<Inner>,
    mut spec: Spec,
    permit: &mut Option<Permit>,
    cancel: &CancellationToken,
) -> Result<RunningInstance, StartError> {
    let client = inner.engine.client().await?;
    let fault = |error: &bollard::errors::Error| inner.engine.fault(error);
    let (removed, known, image, places, containers) = tokio::join!(
        remove::leftovers(inner, &spec.instance),
        network::ensure(&client, fault, &inner.config, spec.network),
        client.inspect_image(spec.image.as_str()),
        mount_points::check(inner, &spec),
        inner.containers(None),
    );
    removed.map_err(not_removed)?;
    let mut known = known?;
    let containers = containers?;
    remove_socket(inner, &spec, &containers).await?;
    if let Some(subnet) = &mut known.subnet {
        subnet.leave_out(&containers);
    }
    let image =
        image.map_err(|error| not_created(inner.engine.fault(&error), &inner.config, &spec))?;
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
                // Gives the permit back, unless another address is tried: waiting for the output below may
                // take long.
                if !run.as_ref().is_err_and(StartFailure::is_address_taken) {
                    drop(permit.take());
                }
                match run {
                    Ok(running) => Ok(running),
                    Err(StartFailure::Failed(error)) => Err(error),
                    Err(StartFailure::NotSeen(error)) => {
                        Err(ended_early(inner, &spec, &id, error).await)
                    }
                }
            };
            unless_cancelled(cancel, run).await
        }
        Err(open) => {
            drop(permit.take());
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

/// Sets in the spec what depends on the image: whether its program is an init, and whether it sets a home
/// folder.
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
    spec.first_process = match first_process::is_init(&program) {
        true => FirstProcess::Program,
        false => FirstProcess::Init,
    };
    let has_home = image.env.iter().flatten().any(|it| it.starts_with("HOME="));
    if !has_home && !spec.env.contains_key("HOME") {
        spec.host_env.insert("HOME".to_owned(), HOME.to_owned());
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
        name: Some(container_name(&inner.config.host_id, &spec.instance)),
        ..CreateContainerOptions::default()
    };
    let address = known.next_address(&inner.addresses)?;
    let state = inner.storage.paths(&spec.instance.program).state;
    let body = create::body(spec, &inner.names(&state, known), address);
    let created = client
        .create_container(Some(options), body)
        .await
        .map_err(|error| not_created(inner.engine.fault(&error), &inner.config, spec))?;
    ContainerId::parse(&created.id).map_err(|error| failed(error.to_string()))
}

async fn run(
    inner: &Arc<Inner>,
    spec: &Spec,
    known: &SandboxNetwork,
    container: ContainerId,
) -> Result<RunningInstance, StartFailure> {
    let client = inner.engine.client().await?;
    let id = container.as_str();
    let (made, _verified) = check(inner, spec, known, &container).await?;
    let instance = &spec.instance;
    inner.started().insert(container.clone(), instance.clone());
    if let Err(error) = client.start_container(id, None).await {
        let fault = inner.engine.fault(&error);
        return Err(not_run(&client, fault, &inner.config, &made).await.into());
    }
    inner
        .captures
        .ensure(inner, &instance.program, id, spec.bounds.log_bytes);
    if let Some(bridge) = &known.bridge {
        firewall::isolate(bridge).await?;
    }
    let (inspected, mut facts) = check(inner, spec, known, &container).await?;
    let kernel = look_from_inside(inner, spec, id, &inspected, &mut facts).await;
    let kernel = kernel.map_err(StartFailure::NotSeen)?;
    facts.extend(bounds::seen(spec, id, &inspected).await);
    inner
        .flows
        .note(&container, inspected.network_settings.as_ref());
    Ok(RunningInstance {
        endpoint: inner
            .way_to(&instance.program, &inspected)
            .ok_or_else(|| failed("the engine gave the container no address".to_owned()))?,
        receipt: Receipt {
            program: instance.program.clone(),
            instance: instance.number,
            container: container.clone(),
            image: spec.image.clone(),
            asked_kernel: spec.kernel,
            kernel,
            contracts: verify_running(spec, &facts).map_err(StartError::from)?,
            state: None,
            made_at_ms: now_ms(),
        },
        container,
    })
}

/// Looks at the sandbox from the machine's side and from inside, and adds what the kernel says of itself to
/// the facts.
async fn look_from_inside(
    inner: &Inner,
    spec: &Spec,
    id: &str,
    inspected: &ContainerInspectResponse,
    facts: &mut Vec<Fact>,
) -> Result<String, StartError> {
    let client = inner.engine.client().await?;
    let pid = inspected.state.as_ref().and_then(|state| state.pid);
    let lookup = match spec.kernel {
        Kernel::Gvisor => machine::look(inner, id, pid).await,
        Kernel::Machine => Ok(ProcessLookup::NotLookedAt("a development host")),
    };
    let lookup = lookup?;
    let (said, way) = match kernel_probe::kernel(&client, id, &lookup).await {
        Ok(said) => said,
        Err(kernel_probe::ProbeError(said)) => {
            return Err(failed(format!(
                "its kernel could not be looked at from inside: {said}"
            )));
        }
    };
    let kernel = kernel_probe::judge(spec.kernel, &said)?;
    facts.push(Fact::Observed {
        property: Property::Kernel(Some(spec.kernel)),
        how: format!("{way}, and {}", lookup.words()),
    });
    facts.extend(confinement::facts(&said, way));
    Ok(kernel)
}

/// Checks the real container against the spec.
async fn check(
    inner: &Inner,
    spec: &Spec,
    known: &SandboxNetwork,
    container: &ContainerId,
) -> Result<(ContainerInspectResponse, Vec<Fact>), StartError> {
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
    let state = inner.storage.paths(&spec.instance.program).state;
    let facts = facts(spec, &response, &inner.names(&state, known), known.mode);
    verify(spec, &facts)?;
    Ok((response, facts))
}

/// Returns what the engine says of a container, with the fact about its image. For a program on the
/// machine's own kernel, nobody can say how many processes it has.
fn facts(
    spec: &Spec,
    container: &ContainerInspectResponse,
    names: &EngineNames<'_>,
    mode: NetworkMode,
) -> Vec<Fact> {
    let declared = |property| Fact::Declared {
        property,
        by: "the Docker engine".to_owned(),
    };
    let properties = inspect::properties(container, spec, names, mode);
    let mut facts: Vec<Fact> = properties.into_iter().map(declared).collect();
    facts.push(mount_points::fact());
    if spec.bounds.processes.is_none() {
        facts.push(Fact::Absent {
            name: PropertyName::Processes,
            why: "the machine's kernel counts those of all programs together".to_owned(),
        });
    }
    facts
}

/// Removes the socket of an earlier instance, because gVisor does not let the program remove it. While
/// another instance of the program runs, the socket may belong to that one, so it stays. Of a program
/// without a network, only one instance at a time can be reached.
async fn remove_socket(
    inner: &Inner,
    spec: &Spec,
    containers: &[ContainerSummary],
) -> Result<(), StartError> {
    let listed = containers.iter().filter_map(listed);
    let mut others = listed.filter(|it| it.running && it.instance != spec.instance);
    if others.any(|it| it.instance.program == spec.instance.program) {
        return Ok(());
    }
    let (storage, program) = (inner.storage.clone(), spec.instance.program.clone());
    let removed = tokio::task::spawn_blocking(move || storage.remove_state_socket(&program)).await;
    match removed {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(error) => Err(failed(error.to_string())),
    }
}

impl Inner {
    /// Returns the names that the engine uses for an instance on `network` whose state folder is `state`.
    fn names<'a>(&'a self, state: &'a Path, network: &'a SandboxNetwork) -> EngineNames<'a> {
        EngineNames {
            host_id: &self.config.host_id,
            runtime: self.config.runtime(),
            network: &network.name,
            state,
            probe: &self.probe,
        }
    }
}

/// Replaces the error of a failed kernel probe by the program's exit, if the program ended: an early end
/// breaks no contract.
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
        () = cancel.cancelled() => Err(cancelled()),
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
