//! Tells in words why an engine did not start a container, for the author of its program.

use bollard::{Docker, models::ContainerInspectResponse};
use hersh_sandbox::{Kernel, Spec, StartError, StopError};

use super::{
    DockerConfig, engine::Fault, files, first_process, names::container_name, work::CancelledError,
};

/// The words with which an engine says that a working folder is a file.
const NO_FOLDER: &str = "is not a directory";
/// The words with which an engine begins to say that it can't read an image's files of users and groups.
const NO_USERS: [&str; 2] = ["unable to find user ", "unable to find groups for spec "];
/// The name of the engine's own init. The engine's message contains it when the engine has no init.
const NO_INIT: &str = "docker-init";

/// Returns the error for a container that the engine refused to make.
pub(super) fn not_created(fault: Fault, config: &DockerConfig, spec: &Spec) -> StartError {
    match fault {
        Fault::Unavailable(error) => error.into(),
        Fault::Conflict(message) => failed(format!(
            "the name {} is taken by a container that this host did not make ({message}): remove that container",
            container_name(&config.host_id, &spec.instance)
        )),
        Fault::NotFound(_) => StartError::ImageGone(spec.image.clone()),
        Fault::Refused(message) => not_started(Fault::Refused(message), config),
    }
}

/// Returns the error for a container that exists and was not started. In most cases the program is the
/// cause.
pub(super) async fn not_run(
    client: &Docker,
    fault: Fault,
    config: &DockerConfig,
    made: &ContainerInspectResponse,
) -> StartError {
    match fault.message() {
        Ok(message) => match first_process::said_by_engine(&message) {
            Some(refusal) => StartError::NotRunnable {
                message: files::explain(client, made, &refusal).await,
            },
            None => not_started(Fault::Refused(message), config),
        },
        Err(error) => error.into(),
    }
}

fn not_started(fault: Fault, config: &DockerConfig) -> StartError {
    match fault.message() {
        Ok(message) if is_unknown_runtime(&message) => {
            failed(missing_runtime(config.runtime(), config.kernel))
        }
        Ok(message) if message.contains(NO_FOLDER) => StartError::NotRunnable {
            message: format!("WORKDIR of the image can't be used ({message}): name a folder"),
        },
        Ok(message) if NO_USERS.iter().any(|words| message.contains(words)) => {
            StartError::NotRunnable {
                message: no_users(&message),
            }
        }
        Ok(message) if message.contains(NO_INIT) => failed(format!(
            "the container engine has no init for its programs ({message}): install the package tini, or docker-init beside dockerd"
        )),
        Ok(message) => failed(format!(
            "the engine could not start the container: {message}"
        )),
        Err(error) => error.into(),
    }
}

/// Returns the message for files in the image that the engine could not read. Leaves out where these files
/// lie on the machine.
fn no_users(message: &str) -> String {
    let file = ["/etc/group", "/etc/passwd"]
        .into_iter()
        .find(|file| message.contains(file))
        .unwrap_or("/etc/passwd");
    let reason = message.rsplit(": ").next().unwrap_or_default();
    format!("{file} of the image can't be read ({reason}): make it a plain file, or leave it out")
}

fn is_unknown_runtime(message: &str) -> bool {
    let message = message.to_lowercase();
    message.contains("unknown runtime") || message.contains("unknown or invalid runtime")
}

/// Returns the message for a runtime that the engine does not know.
pub(super) fn missing_runtime(name: &str, kernel: Kernel) -> String {
    let remedy = match kernel {
        Kernel::Gvisor => {
            "install gVisor's runsc, run 'runsc install' and restart the engine; 'hersh doctor' checks it"
        }
        Kernel::Machine => "install runc and restart the engine",
    };
    format!("the container engine knows no runtime {name:?}: {remedy}")
}

pub(super) fn refused(fault: Fault) -> StartError {
    match fault.message() {
        Ok(message) => failed(message),
        Err(error) => error.into(),
    }
}

pub(super) fn not_removed(error: StopError) -> StartError {
    match error {
        StopError::Failed { message } => failed(message),
        StopError::Unavailable(error) => error.into(),
    }
}

impl From<CancelledError> for StartError {
    fn from(_: CancelledError) -> Self {
        cancelled()
    }
}

/// The error of a start that was cancelled, by a stop or because nobody waits for it any more.
pub(super) fn cancelled() -> StartError {
    failed("the start was cancelled".to_owned())
}

pub(super) fn failed(message: String) -> StartError {
    StartError::Failed {
        message,
        logs: Vec::new(),
    }
}
