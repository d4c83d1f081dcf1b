//! Every setting of a host, once: its name, its default and what it means.
//!
//! The file's key, the environment variable and the flag follow from the name: `tls.cert` is
//! `cert` under `[tls]`, `HERSH_TLS_CERT` and `--tls-cert`.

use std::fmt::Write;

use hersh_docker::dockerfile::Registries;

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name in the file, with the tables that it stands in: `tls.cert`.
    pub name: &'static str,
    /// Its value if no source sets another; empty for none.
    pub default: &'static str,
    /// Its meaning, one sentence.
    pub help: &'static str,
    kind: Kind,
}

/// How a value is written in the file, and whether the flag may stand alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Switch,
}

/// Every setting. Those without a dot come first, as TOML asks.
pub const KEYS: [Key; 16] = [
    text(
        "data_dir",
        "/var/lib/hersh",
        "Folder of programs and their state, and of the journal unless that has its own.",
    ),
    text(
        "journal_dir",
        "",
        "Folder of the journal, on a disk that no program can fill; the data folder if none is named.",
    ),
    text(
        "listen",
        "127.0.0.1:7700",
        "Address and port of the API. One that others can reach needs TLS, here or in front.",
    ),
    switch(
        "behind_tls_proxy",
        "Allow a public address without TLS: something in front of this host ends TLS.",
    ),
    text(
        "engine",
        "unix:///var/run/docker.sock",
        "Socket of the container engine.",
    ),
    text(
        "subnet_pool",
        "10.214.0.0/16",
        "Private /16 whose addresses sandboxes get.",
    ),
    switch(
        "insecure_runc",
        "Run programs on the host's own kernel, without gVisor. For work on Hersh itself only.",
    ),
    text(
        "tls.cert",
        "",
        "PEM file with the certificate, the server's own first. Read again on SIGHUP and when it changes.",
    ),
    text(
        "tls.key",
        "",
        "PEM file with the certificate's private key, readable by nobody else.",
    ),
    text(
        "log.format",
        "text",
        "Form of the log on standard error: text, or json with one object a line.",
    ),
    text(
        "log.level",
        "info",
        "Least level that is logged: error, warn, info, debug, trace, or one for each part of the code.",
    ),
    text(
        "otlp.endpoint",
        "",
        "Address of a collector that takes traces as OTLP over HTTP, such as http://127.0.0.1:4318.",
    ),
    number(
        "builds.concurrent_max",
        "2",
        "Builds at once; others wait in a fair queue.",
    ),
    text(
        "builds.memory",
        "2GiB",
        "Memory that one step of a build may use: 64MiB to 1024GiB.",
    ),
    text(
        "builds.registries",
        Registries::DEFAULT,
        "Registries that base images may be fetched from. The engine follows where their answers lead.",
    ),
    text(
        "disk.free_min",
        "1GiB",
        "Free room on the disk below which new source and builds are refused, and below a quarter of it all but what frees room.",
    ),
];

const fn text(name: &'static str, default: &'static str, help: &'static str) -> Key {
    Key {
        name,
        default,
        help,
        kind: Kind::Text,
    }
}

const fn number(name: &'static str, default: &'static str, help: &'static str) -> Key {
    Key {
        name,
        default,
        help,
        kind: Kind::Number,
    }
}

const fn switch(name: &'static str, help: &'static str) -> Key {
    Key {
        name,
        default: "false",
        help,
        kind: Kind::Switch,
    }
}

impl Key {
    /// Returns the environment variable: `HERSH_TLS_CERT`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("HERSH_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }

    /// Returns the flag without its dashes: `tls-cert`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace(['.', '_'], "-")
    }

    /// Returns true if the flag alone means `true`.
    #[must_use]
    pub fn is_switch(&self) -> bool {
        self.kind == Kind::Switch
    }
}

/// Returns a settings file in which every key stands with its meaning and default, commented out.
#[must_use]
pub fn defaults_file() -> String {
    let mut file = String::from(HEAD);
    let mut table = "";
    for key in KEYS {
        let (its_table, leaf) = key.name.rsplit_once('.').unwrap_or(("", key.name));
        if its_table != table {
            table = its_table;
            let _ = write!(file, "\n[{table}]\n");
        }
        let quote = if key.kind == Kind::Text { "\"" } else { "" };
        let _ = write!(
            file,
            "\n# {}\n# {leaf} = {quote}{}{quote}\n",
            key.help, key.default
        );
    }
    file
}

/// Returns the name of a setting, or of a table, that `written` was probably meant to be.
pub(super) fn suggestion(written: &str) -> Option<&'static str> {
    let leaf = |name: &'static str| name.rsplit('.').next().unwrap_or(name);
    let likeness = |name: &'static str| {
        strsim::jaro_winkler(written, name).max(strsim::jaro_winkler(written, leaf(name)))
    };
    let tables = KEYS
        .iter()
        .filter_map(|key| Some(key.name.split_once('.')?.0));
    KEYS.iter()
        .map(|key| key.name)
        .chain(tables)
        .map(|name| (likeness(name), name))
        .filter(|(likeness, _)| *likeness >= ALIKE_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

/// The least likeness of two names, from 0 to 1, at which one is taken for a slip of the other.
const ALIKE_MIN: f64 = 0.8;

const HEAD: &str = "\
# Settings of a Hersh host, with their defaults. Take the # away to change one.
#
# Later wins: this file, environment variables (tls.cert is HERSH_TLS_CERT), flags (--tls-cert).
# `hersh host config` shows what is in force and where each value comes from.
";
