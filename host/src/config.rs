//! What a host is told at its start, parsed once.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::compose::RuntimeMode;

/// Why a host's settings can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The engine's address is not a socket's.
    #[error(
        "engine = {0:?} can't be used: write the engine's socket as unix:///path/to/docker.sock"
    )]
    Engine(String),
    /// Anybody could listen in.
    #[error(
        "listen = {0} is not a loopback address and this host has no TLS: listen on 127.0.0.1, or put a proxy that ends TLS in front and say --behind-tls-proxy"
    )]
    PublicWithoutTls(SocketAddr),
}

/// Where the container engine listens: a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSocket(PathBuf);

impl EngineSocket {
    /// Reads `unix:///path` or `/path`.
    ///
    /// # Errors
    /// [`ConfigError::Engine`] for anything else; engines over TCP have no place here, since
    /// whoever reaches one owns the machine.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let path = Path::new(text.strip_prefix("unix://").unwrap_or(text));
        if path.is_absolute() {
            Ok(Self(path.to_path_buf()))
        } else {
            Err(ConfigError::Engine(text.into()))
        }
    }

    /// The socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// A host's settings.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) engine: EngineSocket,
    pub(crate) mode: RuntimeMode,
    pub(crate) behind_tls_proxy: bool,
}

impl Config {
    /// Checks the settings against each other.
    ///
    /// # Errors
    /// [`ConfigError`] says which can't be used and what to do.
    pub fn new(
        data_dir: PathBuf,
        listen: SocketAddr,
        engine: &str,
        insecure_runc: bool,
        behind_tls_proxy: bool,
    ) -> Result<Self, ConfigError> {
        if !listen.ip().is_loopback() && !behind_tls_proxy {
            return Err(ConfigError::PublicWithoutTls(listen));
        }
        let mode = if insecure_runc {
            RuntimeMode::RuncForDevelopment
        } else {
            RuntimeMode::Runsc
        };
        Ok(Self {
            data_dir,
            listen,
            engine: EngineSocket::parse(engine)?,
            mode,
            behind_tls_proxy,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_address_needs_tls_in_front() {
        let config = |listen: &str, behind| {
            Config::new(
                "/data".into(),
                listen.parse().unwrap(),
                "/run/x.sock",
                false,
                behind,
            )
        };
        for loopback in ["127.0.0.1:7700", "[::1]:7700"] {
            assert!(config(loopback, false).is_ok());
        }
        for public in ["0.0.0.0:7700", "192.0.2.1:7700", "[::]:7700"] {
            let error = config(public, false).unwrap_err();
            assert!(error.to_string().contains("--behind-tls-proxy"), "{error}");
            assert!(config(public, true).is_ok());
        }
    }

    #[test]
    fn an_engine_is_a_socket() {
        for good in ["unix:///var/run/docker.sock", "/var/run/docker.sock"] {
            assert_eq!(
                EngineSocket::parse(good).unwrap().path(),
                Path::new("/var/run/docker.sock")
            );
        }
        for bad in ["tcp://127.0.0.1:2375", "docker.sock", ""] {
            assert_eq!(
                EngineSocket::parse(bad),
                Err(ConfigError::Engine(bad.into()))
            );
        }
    }
}
