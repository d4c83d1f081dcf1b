//! The manifest: `hersh.toml`, or the same keys in a JSON request.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, de::Visitor};

use crate::{ByteSize, Deploy, Liveness, Restart, Span};

/// What the owner of a program asks for. Every key may be left out; the host fills in its
/// defaults.
///
/// ```
/// let manifest: hersh_wire::Manifest = toml::from_str(
///     r#"
///     name = "counter"
///     restart = "always"
///     [resources]
///     memory = "64MiB"
///     cpus = 0.5
///     "#,
/// )?;
/// assert_eq!(manifest.name.as_deref(), Some("counter"));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The program's id: a DNS label. Without one the host makes one up.
    #[cfg_attr(
        feature = "openapi",
        schema(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Environment variables of the program's process.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "variables"
    )]
    pub env: BTreeMap<String, String>,
    /// What it may use.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: Resources,
    /// What it may reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// How its image is built.
    #[serde(default, skip_serializing_if = "is_default")]
    pub build: Build,
    /// When it is started again after it ended, and for how long that is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// TCP port inside the sandbox that requests and probes go to; 8080 if left out.
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How to tell that it is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Readiness>,
    /// How to tell that it still works once it is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Liveness>,
    /// What the host's proxy allows on the way to it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub proxy: Proxy,
    /// How a revision takes the place of the one that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy: Option<Deploy>,
    /// How long each step may take.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeouts: Timeouts,
}

/// Upper bounds on what one program uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Memory of the sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// Processor cores; a fraction is fine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Processes and threads that the program may have at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// Size of `/tmp`, and of each of `/dev/shm`, `/run` and `/var/tmp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tmp: Option<ByteSize>,
    /// Size of `/state`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ByteSize>,
    /// Log output that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<ByteSize>,
}

/// What a program can reach over the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// The host's proxy reaches it; it reaches nobody.
    Internal,
    /// No network at all.
    None,
    /// It may open connections to the internet. Nothing is published.
    Egress,
}

/// The name of the request header that carries `build.args` for one build: a JSON object of texts, in base64.
/// The values are not put into the address, because servers on the way keep addresses in their logs.
pub const BUILD_ARGS_HEADER: &str = "hersh-build-args";

/// How an image is built.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// Whether the Dockerfile's steps may open connections to the internet. Off if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<bool>,
    /// The path of the Dockerfile in the folder; `Dockerfile` at its root if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// The stage of the Dockerfile that becomes the image; the last one if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Values for the Dockerfile's `ARG`s, in the place of their defaults. They can be read in the
    /// image: no place for secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, String>,
}

/// How to tell that a started program is up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Readiness {
    /// The kind of probe; `http` if left out.
    #[serde(default)]
    pub kind: ProbeKind,
    /// Another name of the program's `port`: probes and requests go to one.
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Path of an `http` probe; `/watcher/status` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// The kinds of readiness probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ProbeKind {
    /// A GET that answers with a 2xx status.
    #[default]
    Http,
    /// A port that accepts a connection.
    Tcp,
    /// Up as soon as its process runs.
    None,
}

/// What the host's proxy allows on the way to a program and back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// Largest body of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<ByteSize>,
    /// Largest head of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<ByteSize>,
    /// For the whole of a request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<Span>,
    /// From the end of a request to the head of its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Span>,
    /// For the next piece of an answer's body, or the next byte of a WebSocket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<Span>,
    /// Headers of requests that pass beside the usual ones, with commas between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_headers: Option<String>,
    /// Headers of answers that pass beside the usual ones, with commas between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_headers: Option<String>,
}

/// How long each step of the lifecycle may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// Folders and image build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Span>,
    /// From start to Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Span>,
    /// From the stop signal to the kill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Span>,
}

/// Reads environment variables. For a value that is no text, the error says to put it in quotes.
fn variables<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    struct Value(String);

    impl<'de> Deserialize<'de> for Value {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_string(Text).map(Self)
        }
    }

    struct Text;

    impl Visitor<'_> for Text {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text in quotes, such as PORT = \"8080\"")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }

        fn visit_string<E: serde::de::Error>(self, text: String) -> Result<String, E> {
            Ok(text)
        }
    }

    let values = BTreeMap::<String, Value>::deserialize(deserializer)?;
    Ok(values
        .into_iter()
        .map(|(key, value)| (key, value.0))
        .collect())
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_key_or_unit_is_named_with_its_place() {
        for (text, expected) in [
            ("[resources]\nmemroy = \"1MiB\"", "unknown field `memroy`"),
            ("[resources]\nmemory = \"64 megs\"", "is not a size"),
            ("[timeouts]\nstart = \"soon\"", "is not a time"),
            ("network = \"open\"", "unknown variant `open`"),
            (
                "[env]\nPORT = 8080",
                "a text in quotes, such as PORT = \"8080\"",
            ),
            ("[env]\nDEBUG = true", "a text in quotes"),
        ] {
            let error = toml::from_str::<Manifest>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(error.contains("line "), "{error}");
        }
    }

    #[test]
    fn toml_and_json_carry_the_same_manifest() {
        let text = "name = \"a\"\nnetwork = \"none\"\nrestart = \"never\"\n[env]\nA = \"1\"\n\
                    [readiness]\nkind = \"tcp\"\nport = 9000\n[timeouts]\nstop = \"5s\"\n";
        let manifest: Manifest = toml::from_str(text).unwrap();
        let json = serde_json::to_string(&manifest).unwrap();
        assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), manifest);
    }
}
