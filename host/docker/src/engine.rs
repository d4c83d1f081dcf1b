//! Connects to the Docker engine and sorts its errors.

use std::{error::Error as _, path::PathBuf, time::Duration};

use bollard::{API_DEFAULT_VERSION, Docker, errors::Error};
use tokio::sync::Mutex;

use hersh_sandbox::Unavailable;

/// How long the engine may take to answer one request. A request that waits for something (stop, build)
/// adds its own time.
pub(super) const REQUEST: Duration = Duration::from_secs(60);

/// How often a list is asked for when parts of it vanish meanwhile.
const LISTS_MAX: usize = 10;

/// A connection to the engine. It is made when it is first needed, and made anew after the engine went
/// away.
pub(super) struct Engine {
    socket: PathBuf,
    client: Mutex<Option<Docker>>,
}

/// The kinds of errors with which a request to the engine fails.
#[derive(Debug)]
pub(super) enum Fault {
    /// The engine does not answer.
    Unavailable(Unavailable),
    /// The engine does not have what the request names.
    NotFound(String),
    /// The name is taken, or the object is busy.
    Conflict(String),
    /// The engine refused for any other reason.
    Refused(String),
}

impl Engine {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            client: Mutex::new(None),
        }
    }

    /// Returns a client that speaks a version of the API that the engine knows.
    pub(super) async fn client(&self) -> Result<Docker, Unavailable> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let made = self.connect().await?;
        *client = Some(made.clone());
        Ok(made)
    }

    /// Makes a client that shares no connection with any other.
    pub(super) async fn connect(&self) -> Result<Docker, Unavailable> {
        let path = self.socket.to_string_lossy();
        Docker::connect_with_unix(&path, REQUEST.as_secs(), API_DEFAULT_VERSION)
            .map_err(|error| self.unavailable(&error))?
            .negotiate_version()
            .await
            .map_err(|error| self.unavailable(&error))
    }

    /// Forgets the client, so that the next use negotiates the API's version again: another version of the
    /// engine may run by then.
    pub(super) async fn forget(&self) {
        *self.client.lock().await = None;
    }

    /// Asks for a list. While the engine makes a list, somebody may remove a part of it, and the engine
    /// then fails with "not found". The list without that part is as good, so the engine is asked again.
    ///
    /// # Errors
    /// [`Unavailable`] when the engine refuses for any other reason, or fails as often as it may be asked.
    pub(super) async fn list<T, Answer>(
        &self,
        ask: impl Fn(Docker) -> Answer,
    ) -> Result<T, Unavailable>
    where
        Answer: Future<Output = Result<T, Error>>,
    {
        let client = self.client().await?;
        for _ in 1..LISTS_MAX {
            match ask(client.clone()).await {
                Ok(list) => return Ok(list),
                Err(error) => match self.fault(&error) {
                    Fault::NotFound(_) | Fault::Conflict(_) => {}
                    fault @ (Fault::Unavailable(_) | Fault::Refused(_)) => {
                        return Err(fault.into_unavailable());
                    }
                },
            }
        }
        let last = ask(client).await;
        last.map_err(|error| self.fault(&error).into_unavailable())
    }

    pub(super) fn fault(&self, error: &Error) -> Fault {
        if let Error::DockerResponseServerError {
            status_code,
            message,
        } = error
        {
            let message = message.trim().to_owned();
            match status_code {
                404 => Fault::NotFound(message),
                409 => Fault::Conflict(message),
                _other => Fault::Refused(message),
            }
        } else if let Error::DockerStreamError { error } = error {
            Fault::Refused(error.trim().to_owned())
        } else if let Error::JsonDataError { message, .. } = error {
            Fault::Refused(format!("its answer could not be read: {message}"))
        } else {
            Fault::Unavailable(self.unavailable(error))
        }
    }

    fn unavailable(&self, error: &Error) -> Unavailable {
        // The client's errors name their cause only through their sources.
        let mut said = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            said = cause.to_string();
            source = cause.source();
        }
        Unavailable {
            message: format!(
                "the container engine at {} does not answer ({said}): check that it runs and that this user may use its socket",
                self.socket.display()
            ),
        }
    }
}

impl Fault {
    /// Returns the text of a refusal, or `Unavailable`.
    pub(super) fn message(self) -> Result<String, Unavailable> {
        match self {
            Self::Unavailable(error) => Err(error),
            Self::NotFound(message) | Self::Conflict(message) | Self::Refused(message) => {
                Ok(message)
            }
        }
    }

    /// Returns `Ok` if the object is not there, and the fault otherwise.
    pub(super) fn unless_absent(self) -> Result<(), Self> {
        match self {
            Self::NotFound(_) => Ok(()),
            Self::Unavailable(_) | Self::Conflict(_) | Self::Refused(_) => Err(self),
        }
    }

    /// Makes [`Unavailable`] of a fault, for requests that fail only when something is wrong with the
    /// engine.
    pub(super) fn into_unavailable(self) -> Unavailable {
        match self {
            Self::Unavailable(error) => error,
            Self::NotFound(message) | Self::Conflict(message) | Self::Refused(message) => {
                Unavailable {
                    message: format!("the container engine refused a plain request: {message}"),
                }
            }
        }
    }
}
