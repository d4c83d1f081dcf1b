//! The settings of a container that no property is about.

use bollard::models::HostConfig;
use serde_json::Value;

use super::{NO_NEW_PRIVILEGES, processes};

/// Lists the settings of a container that no property is about and that differ from what an engine sets by
/// itself.
pub(super) fn other_settings(config: &HostConfig) -> Vec<String> {
    let Ok(Value::Object(mut settings)) = serde_json::to_value(config) else {
        return vec!["settings that can't be read".to_owned()];
    };
    for name in READ {
        settings.remove(name);
    }
    let mut others: Vec<String> = settings
        .into_iter()
        .filter(|(_, value)| !is_unset(value))
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    // The engine hides no path at all if it is given an empty list, so an empty list is no default.
    for (name, paths) in [
        ("MaskedPaths", &config.masked_paths),
        ("ReadonlyPaths", &config.readonly_paths),
    ] {
        if paths.as_ref().is_some_and(Vec::is_empty) {
            others.push(format!("{name} []"));
        }
    }
    others.extend(
        config
            .ulimits
            .iter()
            .flatten()
            .filter(|_| processes(config).is_none())
            .map(|limit| format!("Ulimits {limit:?}")),
    );
    if config.privileged == Some(true) {
        others.push("Privileged".to_owned());
    }
    let options = config.security_opt.iter().flatten();
    let further = options.filter(|option| *option != NO_NEW_PRIVILEGES);
    others.extend(further.map(|option| format!("SecurityOpt {option}")));
    others.sort();
    others
}

/// The settings that [`properties`](super::properties) reads, by the engine's names. Every other setting is reported by
/// [`other_settings`], so a name that is added here without a check hides that setting.
const READ: [&str; 31] = [
    "Runtime",
    "ReadonlyRootfs",
    "Mounts",
    "Tmpfs",
    "NetworkMode",
    "Dns",
    "PortBindings",
    "PublishAllPorts",
    "CapDrop",
    "CapAdd",
    "SecurityOpt",
    "Devices",
    "Privileged",
    "PidMode",
    "IpcMode",
    "UTSMode",
    "UsernsMode",
    "CgroupnsMode",
    "Memory",
    "MemorySwap",
    "NanoCpus",
    "PidsLimit",
    // Holds the bound on processes. Any other ulimit becomes one of the other settings.
    "Ulimits",
    "Init",
    "LogConfig",
    "RestartPolicy",
    // Settings that an engine fills in by itself: the size of a /dev/shm that is mounted over, the lists
    // of paths that the engine hides (checked below), the size of a console that is not used.
    "ShmSize",
    "MaskedPaths",
    "ReadonlyPaths",
    "ConsoleSize",
    "Isolation",
];

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}
