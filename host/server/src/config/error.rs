//! Why settings can't be used.

use std::{net::SocketAddr, path::PathBuf};

use super::Origin;

/// Why a host's settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was named can't be read.
    #[error(
        "settings can't be read from {path}: {source}; name a readable file with --config or HERSH_CONFIG"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The file system's error.
        source: std::io::Error,
    },
    /// Anybody could change the file.
    #[error("settings in {path} can be changed by anybody on this machine: run chmod o-w {path}")]
    WritableByAll {
        /// The file.
        path: PathBuf,
    },
    /// The file is far larger than settings are.
    #[error(
        "{path} is larger than {bytes_max} bytes and so is no settings file: name another with --config"
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes that are read.
        bytes_max: u64,
    },
    /// The file is not TOML.
    #[error(
        "{path} line {line}: {message}; write TOML as `hersh host config --defaults` prints it"
    )]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The description of what is wrong.
        message: String,
    },
    /// The file has a key that is no setting.
    #[error("{path} line {line}: no setting {key:?}: {}", advice(suggestion.as_deref()))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key with its tables.
        key: String,
        /// The key that was probably meant.
        suggestion: Option<String>,
    },
    /// A variable or an argument holds something other than UTF-8 text.
    #[error("{0} is not UTF-8 text: write it anew")]
    NotText(Origin),
    /// A value that the setting can't have.
    #[error("{origin}: {key} = {value:?} can't be used: {advice}")]
    Value {
        /// The source of the value.
        origin: Origin,
        /// The setting.
        key: &'static str,
        /// The value as it was written.
        value: String,
        /// The advice on what to write instead.
        advice: String,
    },
    /// A certificate without key, or the other way round.
    #[error("{given} is set but {missing} is not: set both, or neither for a host without TLS")]
    HalfTls {
        /// The setting that is set.
        given: &'static str,
        /// The setting that is missing.
        missing: &'static str,
    },
    /// The host listens to other machines without TLS, so that anybody could listen in.
    #[error(
        "listen = {0} can be reached from other machines and this host has no TLS: set tls.cert and tls.key, listen on 127.0.0.1, or put a proxy that ends TLS in front and say --behind-tls-proxy"
    )]
    PublicWithoutTls(SocketAddr),
}

fn advice(suggestion: Option<&str>) -> String {
    match suggestion {
        Some(key) => format!("did you mean {key}?"),
        None => "`hersh host config --defaults` lists them".to_owned(),
    }
}
