//! The types of single settings. Each parses its text and says what to write instead.

use std::{
    fmt,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    str::FromStr,
};

use hyper::Uri;
use tracing_subscriber::EnvFilter;

/// The address of the container engine: a Unix socket. An engine over TCP can't be named, since anybody who
/// reaches one owns the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSocket(PathBuf);

impl EngineSocket {
    /// Returns the socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl FromStr for EngineSocket {
    type Err = &'static str;

    /// Reads `unix:///path` or `/path`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = Path::new(text.strip_prefix("unix://").unwrap_or(text));
        if path.is_absolute() {
            Ok(Self(path.to_path_buf()))
        } else {
            Err("write the engine's socket as unix:///path/to/docker.sock")
        }
    }
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("write text or json"),
        }
    }
}

/// The choice of what is logged: a level, or directives such as `info,hersh_proxy=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel(String);

impl FromStr for LogLevel {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match EnvFilter::try_new(text) {
            // A misspelt level would otherwise be taken for the name of a part of the code.
            Ok(_) if text.contains('=') || LEVELS.contains(&text) => Ok(Self(text.to_owned())),
            Ok(_) | Err(_) => Err(
                "write error, warn, info, debug or trace, or for one part of the code info,hersh_proxy=debug",
            ),
        }
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A /16 subnet for sandboxes, out of the ranges that nobody on the internet has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubnetPool(Ipv4Addr);

impl SubnetPool {
    /// Returns its first address.
    #[must_use]
    pub fn base(self) -> Ipv4Addr {
        self.0
    }
}

impl FromStr for SubnetPool {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let base = text
            .strip_suffix("/16")
            .and_then(|base| base.parse::<Ipv4Addr>().ok());
        base.filter(|base| base.is_private() && base.octets()[2..] == [0, 0])
            .map(Self)
            .ok_or("write a private /16 such as 10.214.0.0/16")
    }
}

/// The address of a collector that takes traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpEndpoint(Uri);

impl OtlpEndpoint {
    /// Returns the address that takes traces: the protocol's own path under the collector's address.
    #[must_use]
    pub fn traces(&self) -> String {
        format!("{}/v1/traces", self.0.to_string().trim_end_matches('/'))
    }
}

impl FromStr for OtlpEndpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |uri: &Uri| {
            uri.scheme_str() == Some("http")
                && uri.query().is_none()
                && uri
                    .authority()
                    .is_some_and(|authority| !authority.as_str().contains('@'))
        };
        text.parse()
            .ok()
            .filter(plain)
            .map(Self)
            .ok_or("write an address such as http://127.0.0.1:4318: no https (let a collector on this machine pass traces on), no user, no query")
    }
}
