//! Requests and replies about programs. Times are milliseconds since the Unix epoch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{CauseView, Manifest, RolloutEndView, RolloutView};

/// `POST /programs` as JSON: these fields, and the manifest's keys beside them.
///
/// A key that is none of these is an error. The error names the key, as for `hersh.toml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "serde_json::Map<String, serde_json::Value>")]
pub struct CreateProgram {
    /// The program's owner. Clients may send it, but the token decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The text of the Dockerfile.
    pub dockerfile: String,
    /// Path and text of every other file.
    pub src_files: BTreeMap<String, String>,
    /// The manifest, whose keys stand beside these fields.
    #[serde(flatten)]
    pub manifest: Manifest,
}

impl TryFrom<serde_json::Map<String, serde_json::Value>> for CreateProgram {
    type Error = serde_json::Error;

    fn try_from(mut map: serde_json::Map<String, serde_json::Value>) -> Result<Self, Self::Error> {
        fn take<T: serde::de::DeserializeOwned + Default>(
            map: &mut serde_json::Map<String, serde_json::Value>,
            key: &str,
        ) -> Result<T, serde_json::Error> {
            map.remove(key).map_or_else(
                || Ok(T::default()),
                |value| {
                    serde_json::from_value(value)
                        .map_err(|error| serde::de::Error::custom(format!("{key}: {error}")))
                },
            )
        }
        Ok(Self {
            user_id: take(&mut map, "user_id")?,
            dockerfile: take(&mut map, "dockerfile")?,
            src_files: take(&mut map, "src_files")?,
            manifest: serde_json::from_value(map.into())?,
        })
    }
}

/// The schema is one object with the keys of both parts. Two combined schemas that each allow no other key
/// would allow nothing.
#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for CreateProgram {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::{RefOr, Schema};
        let mut schema = Manifest::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            object.description = Some("Source as text, and the manifest's keys beside it.".into());
            let keys = [
                ("user_id", Option::<String>::schema()),
                ("dockerfile", String::schema()),
                ("src_files", BTreeMap::<String, String>::schema()),
            ];
            let keys = keys.map(|(key, schema)| (key.to_owned(), schema));
            object.properties.extend(keys);
        }
        schema
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for CreateProgram {
    fn schemas(schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>) {
        Manifest::schemas(schemas);
    }
}

/// The reply to `POST /programs` and `PUT /programs/{id}/source`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ProgramCreated))]
pub struct SourceAccepted {
    /// The program's id.
    pub program_id: String,
    /// The id of the source tree that was sent.
    pub build_id: String,
    /// The number of the revision that the source is stored as; left out by older hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The user who owns the program.
    #[serde(default)]
    pub owner: String,
    /// The program's state, as in [`ProgramView`].
    pub state: String,
    /// Path of its WatcherAPI on this host.
    pub proxy_url: String,
    /// When it was created.
    pub created_at_ms: u64,
}

/// One program, as `GET /programs/{id}` and the lists show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProgramView {
    /// The program's id.
    pub program_id: String,
    /// The user who owns the program.
    #[serde(default)]
    pub owner: String,
    /// `Created`, `Building`, `Starting`, `Ready`, `Stopping`, `Stopped` or `Error`.
    pub state: String,
    /// The id of its newest source tree, which the next start runs.
    pub build_id: String,
    /// The id of the source tree that is being built, being started, or runs; left out when nothing is.
    #[serde(
        rename = "run_build_id",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub instance_build_id: Option<String>,
    /// Whether newer source, or a newer manifest, is stored than the one that runs or is being started. A
    /// restart takes the newer one.
    #[serde(default)]
    pub has_newer_source: bool,
    /// The number of the revision that runs or is being started, or was started last; left out by older hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The number of the revision that the next command starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted_revision: Option<u64>,
    /// The revision that is about to take the place of another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutView>,
    /// How the last rollout ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rollout: Option<RolloutEndView>,
    /// The image that runs or ran last, by content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// The number of the instance that is up. The instances of a program are counted from 1. Left out
    /// when none is up; 0 for one that an older host started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<u64>,
    /// The container of that instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// Why it is in `Error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<CauseView>,
    /// The exit code of a program that is `Stopped` because it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit_code: Option<i32>,
    /// What the last readiness probe saw, while the program is `Starting`; only in `GET /programs/{id}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_probe: Option<String>,
    /// The instance before, while its last requests end and it is stopped; only with `deploy.strategy` `overlap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving_instance: Option<u64>,
    /// Set while it is `Ready` and does not answer its liveness probe, and is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_alive: Option<NotAliveView>,
    /// The next automatic start. Left out if none is planned: a program in `Error` then waits for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryView>,
    /// Automatic starts since it last ran well, for failures of its own. A bound on them is
    /// `restart.give_up_after`.
    pub attempts: u32,
    /// Automatic starts in the last hour, for whatever reason: many of them are a crash loop.
    #[serde(default)]
    pub restarts_last_hour: u32,
    /// Path of its WatcherAPI on this host.
    pub proxy_url: String,
    /// When it was created.
    pub created_at_ms: u64,
    /// Since when it is Ready; in any other state, when its last event was taken in.
    pub changed_at_ms: u64,
    /// The manifest of the instance that runs or is being started, else that of the next one, with every
    /// default filled in.
    pub manifest: Manifest,
}

/// A program that is up and does not answer its liveness probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NotAliveView {
    /// When that was noticed.
    pub since_ms: u64,
    /// What the last probe saw then.
    pub last_probe: String,
}

/// The next automatic start of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RetryView {
    /// The time of that start.
    pub due_at_ms: u64,
}

/// `GET /programs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProgramList {
    /// The programs, sorted by id.
    pub programs: Vec<ProgramView>,
    /// The value of `?cursor=` for the next page; left out on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// One build of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BuildView {
    /// The id of its source tree.
    pub build_id: String,
    /// Whether the next start runs it.
    pub current: bool,
    /// When the build's log was last written; left out if it was never built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logged_at_ms: Option<u64>,
}

/// `GET /programs/{id}/builds`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BuildList {
    /// The builds, newest first.
    pub builds: Vec<BuildView>,
}

/// The receipt of a start: `GET /programs/{id}/receipt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReceiptView {
    /// The program that was started.
    pub program_id: String,
    /// The number of the instance that was started; 0 where an older host started it.
    #[serde(default)]
    pub instance: u64,
    /// The container that was started.
    pub container_id: String,
    /// The image that runs, by content.
    pub image_id: String,
    /// When the receipt was made.
    pub made_at_ms: u64,
    /// The runtime that was asked for and found.
    pub runtime: String,
    /// What the sandbox's kernel says of itself.
    pub kernel: String,
    /// How the size of `/state` is bounded (by its file system, or only by the host's measurements), and the
    /// file system that it is on; left out by older hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Every contract with what was verified.
    pub contracts: Vec<VerifiedContract>,
}

/// One contract of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VerifiedContract {
    /// Its name.
    pub name: String,
    /// The properties that hold, observed or declared.
    pub verified: Vec<String>,
    /// Every property, with how it is known; left out by older hosts.
    #[serde(default)]
    pub properties: Vec<PropertyView>,
}

/// One property of a contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PropertyView {
    /// The property with its value, such as `memory 256MiB`.
    pub property: String,
    /// How it is known.
    pub evidence: Evidence,
    /// How it was observed, who declares it, or why it can't be known.
    pub source: String,
}

/// How a property is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Evidence {
    /// The host looked at the instance.
    Observed,
    /// The runtime states it, and the host did not look.
    Declared,
    /// It can't be known.
    Absent,
}

/// One journalled event: `GET /programs/{id}/events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventView {
    /// 1 for the program's first.
    pub seq: u64,
    /// When it was taken in.
    pub at_ms: u64,
    /// What happened and what the host does about it, as text; the wording may change.
    #[serde(default)]
    pub text: String,
    /// The event, tagged by `event`.
    pub event: serde_json::Value,
    /// The effects it caused, each with its operation id, tagged by `effect`.
    pub effects: serde_json::Value,
}

/// `GET /programs/{id}/events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventList {
    /// The events, oldest first.
    pub events: Vec<EventView>,
    /// The value of `?after=` for the next page; left out on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_after: Option<u64>,
}

/// One line of output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogLine {
    /// When the engine received the line, RFC 3339, UTC; left out in build logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// `stdout`, `stderr`, `host` for what the host says itself, or `instance` for where an instance
    /// began and how it ended; left out in build logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The line without its end.
    pub line: String,
}

/// `GET /healthz` and `GET /readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// `ok`, or what is wrong.
    pub status: String,
    /// The host's version.
    pub version: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_create_request_names_a_wrong_key_of_its_manifest() {
        let request: CreateProgram = serde_json::from_str(
            r#"{"name": "a", "dockerfile": "FROM scratch", "src_files": {"x": "y"}, "network": "none"}"#,
        )
        .unwrap();
        assert_eq!(request.manifest.name.as_deref(), Some("a"));
        assert_eq!(request.src_files["x"], "y");
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(
            serde_json::from_str::<CreateProgram>(&text).unwrap(),
            request
        );
        for (text, expected) in [
            (
                r#"{"dockerfil": "FROM scratch"}"#,
                "unknown field `dockerfil`",
            ),
            (r#"{"dockerfile": 7}"#, "dockerfile: invalid type"),
        ] {
            let error = serde_json::from_str::<CreateProgram>(text)
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
