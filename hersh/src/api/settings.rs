//! The settings of the API, as part of a watcher's.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::StartError;

/// Connections at a time, unless configured otherwise.
const CONNECTION_LIMIT: usize = 512;
/// How long a peer may take no bytes, unless configured otherwise.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the API listens, and its bounds.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Its TCP address, if any.
    pub(crate) address: Option<Address>,
    /// Its Unix socket, if any.
    pub(crate) socket: Option<PathBuf>,
    /// Most connections at a time.
    pub(crate) connection_limit: usize,
    /// How long a peer may take no bytes.
    pub(crate) write_timeout: Duration,
}

/// A TCP address: decided, or a text from the environment that is read at the start.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Socket(SocketAddr),
    Text(String),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: None,
            socket: None,
            connection_limit: CONNECTION_LIMIT,
            write_timeout: WRITE_TIMEOUT,
        }
    }
}

impl Settings {
    /// Refuses settings that make no sense.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        let refused = |setting, value: &str, rule| StartError::Setting {
            setting,
            value: value.into(),
            rule,
        };
        if self.connection_limit == 0 {
            return Err(refused("api_connection_limit", "0", "give at least 1"));
        }
        if self.write_timeout < Duration::from_millis(1) {
            let value = format!("{:?}", self.write_timeout);
            return Err(refused("api_write_timeout", &value, "give at least 1 ms"));
        }
        if self
            .socket
            .as_ref()
            .is_some_and(|path| path.as_os_str().is_empty())
        {
            let rule = "give the path of a file, or leave it out";
            return Err(refused("api_socket (HERSH_WATCHER_SOCKET)", "\"\"", rule));
        }
        Ok(())
    }
}
