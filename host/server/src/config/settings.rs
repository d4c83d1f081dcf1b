//! The settings as types.

use std::{net::SocketAddr, num::NonZeroUsize, ops::RangeInclusive, path::PathBuf, str::FromStr};

use hersh_journal::Home;
use hersh_wire::ByteSize;

use super::{
    ConfigError, EffectiveSettings, EngineSocket, LogFormat, LogLevel, OtlpEndpoint, SubnetPool,
};
use hersh_docker::dockerfile::Registries;

/// A host's settings, each valid by itself. [`KEYS`](super::KEYS) says what each means.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "KEYS documents every setting, in one place")]
pub struct Settings {
    pub data_dir: PathBuf,
    pub journal_dir: Option<PathBuf>,
    pub listen: SocketAddr,
    pub behind_tls_proxy: bool,
    pub engine: EngineSocket,
    pub subnet_pool: SubnetPool,
    pub insecure_runc: bool,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub log_format: LogFormat,
    pub log_level: LogLevel,
    pub otlp_endpoint: Option<OtlpEndpoint>,
    pub builds_concurrent_max: NonZeroUsize,
    pub builds_memory_bytes: u64,
    pub builds_registries: Registries,
    pub disk_free_bytes_min: u64,
}

impl Settings {
    /// Returns the folders of the data and of the journal.
    #[must_use]
    pub fn home(&self) -> Home {
        Home::new(&self.data_dir, self.journal_dir.as_deref())
    }

    /// Returns the settings of a host for which nothing is set.
    ///
    /// # Errors
    /// None, as long as the defaults in [`KEYS`](super::KEYS) are right; a test holds them to it.
    pub fn defaults() -> Result<Self, ConfigError> {
        Self::read(&EffectiveSettings::defaults())
    }

    pub(super) fn read(from: &EffectiveSettings) -> Result<Self, ConfigError> {
        Ok(Self {
            data_dir: from
                .path("data_dir")
                .ok_or_else(|| from.refuse("data_dir", "write a folder"))?,
            journal_dir: from.path("journal_dir"),
            listen: from.parse(
                "listen",
                "write an address and a port such as 127.0.0.1:7700",
            )?,
            behind_tls_proxy: from.parse("behind_tls_proxy", SWITCH)?,
            engine: from.read("engine")?,
            subnet_pool: from.read("subnet_pool")?,
            insecure_runc: from.parse("insecure_runc", SWITCH)?,
            tls_cert: from.path("tls.cert"),
            tls_key: from.path("tls.key"),
            log_format: from.read("log.format")?,
            log_level: from.read("log.level")?,
            otlp_endpoint: from.unless_empty("otlp.endpoint")?,
            builds_memory_bytes: from.within("builds.memory", STEP_MEMORY_BYTES)?,
            builds_registries: from.read("builds.registries")?,
            builds_concurrent_max: from.parse("builds.concurrent_max", NUMBER)?,
            disk_free_bytes_min: from.unit("disk.free_min", |ByteSize(bytes)| bytes)?,
        })
    }
}

/// Memory that one step of a build can be given, bytes: enough to unpack something, and less than
/// any machine has.
const STEP_MEMORY_BYTES: RangeInclusive<u64> = 64 << 20..=1 << 40;
const SWITCH: &str = "write true or false";
const NUMBER: &str = "write a whole number from 1 on";

impl EffectiveSettings {
    /// Parses every value.
    ///
    /// # Errors
    /// [`ConfigError::Value`] names the first value that can't be used, and where it was written.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        Settings::read(self)
    }

    fn parse<T: FromStr>(&self, key: &'static str, advice: &str) -> Result<T, ConfigError> {
        self.text(key).parse().map_err(|_| self.refuse(key, advice))
    }

    fn read<T: FromStr<Err = &'static str>>(&self, key: &'static str) -> Result<T, ConfigError> {
        self.text(key)
            .parse()
            .map_err(|advice| self.refuse(key, advice))
    }

    fn unless_empty<T: FromStr<Err = &'static str>>(
        &self,
        key: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        if self.text(key).is_empty() {
            return Ok(None);
        }
        self.read(key).map(Some)
    }

    fn path(&self, key: &'static str) -> Option<PathBuf> {
        Some(self.text(key))
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    }

    fn unit<T: TryFrom<String, Error: std::fmt::Display>>(
        &self,
        key: &'static str,
        number: impl FnOnce(T) -> u64,
    ) -> Result<u64, ConfigError> {
        T::try_from(self.text(key).to_owned())
            .map(number)
            .map_err(|error| self.refuse(key, &error.to_string()))
    }

    fn within(&self, key: &'static str, bounds: RangeInclusive<u64>) -> Result<u64, ConfigError> {
        let bytes = self.unit(key, |ByteSize(bytes)| bytes)?;
        if bounds.contains(&bytes) {
            return Ok(bytes);
        }
        let [least, most] = [bounds.start(), bounds.end()].map(|it| String::from(ByteSize(*it)));
        Err(self.refuse(key, &format!("write {least} to {most}")))
    }

    fn text(&self, key: &str) -> &str {
        self.value(key).map_or("", |value| value.text.as_str())
    }

    fn value(&self, key: &str) -> Option<&super::Value> {
        self.values.iter().find(|value| value.key.name == key)
    }

    fn refuse(&self, key: &'static str, advice: &str) -> ConfigError {
        ConfigError::Value {
            origin: self
                .value(key)
                .map_or(super::Origin::Default, |value| value.origin.clone()),
            key,
            value: self.text(key).to_owned(),
            advice: advice.to_owned(),
        }
    }
}
