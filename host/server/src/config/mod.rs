//! The settings that a host is given at its start, parsed once.
//!
//! ```text
//! defaults ◄ file ◄ environment ◄ flags ──gather──► EffectiveSettings ──settings──► Settings ──► Config
//!   keys              sources                    value + origin    types       checked against
//!                                                                              each other
//! ```

mod error;
mod file;
mod keys;
mod origin;
mod settings;
mod sources;
mod values;

use std::net::SocketAddr;

pub use self::{
    error::ConfigError,
    keys::{KEYS, Key, defaults_file},
    origin::Origin,
    settings::Settings,
    sources::{DEFAULT_FILE, EffectiveSettings, Sources, Value},
    values::{EngineSocket, LogFormat, LogLevel, OtlpEndpoint, SubnetPool},
};

use crate::tls::Files;

/// Settings that fit together.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) settings: Settings,
    pub(crate) tls: Option<Files>,
}

impl Config {
    /// Checks the settings against each other.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting that can't be used and says what to do.
    pub fn new(settings: Settings) -> Result<Self, ConfigError> {
        let tls = match (&settings.tls_cert, &settings.tls_key) {
            (Some(cert), Some(key)) => Some(Files {
                cert: cert.clone(),
                key: key.clone(),
            }),
            (None, None) => None,
            (Some(_), None) => {
                return Err(ConfigError::HalfTls {
                    given: "tls.cert",
                    missing: "tls.key",
                });
            }
            (None, Some(_)) => {
                return Err(ConfigError::HalfTls {
                    given: "tls.key",
                    missing: "tls.cert",
                });
            }
        };
        if is_public(settings.listen) && tls.is_none() && !settings.behind_tls_proxy {
            return Err(ConfigError::PublicWithoutTls(settings.listen));
        }
        Ok(Self { settings, tls })
    }
}

/// Returns true unless only this machine reaches the address. "Any address" is public.
fn is_public(listen: SocketAddr) -> bool {
    !listen.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests;
