//! The spec as a compose file. It is for reading: the host creates containers from the spec.

use std::fmt::Write;

use super::{RuntimeMode, Sandbox, Spec};

/// Writes the spec as a compose file that describes the same container. Every text from outside is
/// quoted, so that none can add a key.
#[must_use]
pub fn to_compose_yaml(spec: &Spec) -> String {
    let mut text = String::from("# Written by Hersh at each start; changes here have no effect.\n");
    if spec.mode == RuntimeMode::RuncForDevelopment {
        text.push_str("# NOT SANDBOXED: this host runs in development mode.\n");
    }
    // Writing to a String can't fail.
    let _ = write_service(&mut text, spec);
    text
}

fn write_service(out: &mut String, spec: &Spec) -> std::fmt::Result {
    let sandbox = &spec.sandbox;
    writeln!(
        out,
        "services:\n  {}:",
        quoted(spec.instance.program.as_str())
    )?;
    field(out, "container_name", &spec.name)?;
    field(out, "image", spec.image.as_str())?;
    field(out, "runtime", &sandbox.runtime)?;
    field(out, "user", &sandbox.user)?;
    writeln!(out, "    read_only: {}", sandbox.read_only)?;
    writeln!(out, "    privileged: {}", sandbox.privileged)?;
    let pairs = |map: &std::collections::BTreeMap<String, String>| {
        map.iter()
            .map(|(key, value)| format!("{}: {}", quoted(key), quoted(value)))
            .collect::<Vec<_>>()
    };
    block(out, "labels", "{}", &pairs(&spec.labels))?;
    block(out, "environment", "{}", &pairs(&spec.env))?;
    write_files(out, sandbox)?;
    list(out, "networks", &sandbox.networks)?;
    list(out, "dns", &sandbox.dns)?;
    list(out, "ports", &sandbox.ports)?;
    list(out, "cap_drop", &sandbox.cap_drop)?;
    list(out, "cap_add", &sandbox.cap_add)?;
    list(out, "security_opt", &sandbox.security_opt)?;
    list(out, "devices", &sandbox.devices)?;
    field(out, "pid", &sandbox.namespaces.pid)?;
    field(out, "ipc", &sandbox.namespaces.ipc)?;
    field(out, "uts", &sandbox.namespaces.uts)?;
    field(out, "userns_mode", &sandbox.namespaces.user)?;
    field(out, "cgroup", &sandbox.namespaces.cgroup)?;
    writeln!(out, "    mem_limit: {}", sandbox.memory_bytes)?;
    writeln!(out, "    memswap_limit: {}", sandbox.memory_swap_bytes)?;
    let cpu = sandbox.cpu_millis;
    writeln!(out, "    cpus: {}.{:03}", cpu / 1_000, cpu % 1_000)?;
    writeln!(out, "    pids_limit: {}", sandbox.pids)?;
    if let Some(processes) = sandbox.processes {
        block(out, "ulimits", "{}", &[format!("nproc: {processes}")])?;
    }
    writeln!(out, "    init: {}", sandbox.init)?;
    field(out, "restart", &sandbox.engine_restart)?;
    writeln!(out, "    # the engine's own copy of the log, bytes")?;
    writeln!(out, "    x-hersh-log-bytes: {}", sandbox.log_bytes)
}

fn write_files(out: &mut String, sandbox: &Sandbox) -> std::fmt::Result {
    let volumes: Vec<String> = sandbox
        .mounts
        .iter()
        .map(|mount| {
            format!(
                "- {{type: bind, source: {}, target: {}, read_only: {}}}",
                quoted(&mount.source.to_string_lossy()),
                quoted(&mount.target),
                !mount.writable
            )
        })
        .collect();
    block(out, "volumes", "[]", &volumes)?;
    let tmpfs: Vec<String> = sandbox
        .tmpfs
        .iter()
        .map(|tmpfs| {
            let access = if tmpfs.writable { "rw" } else { "ro" };
            let inert = if tmpfs.inert {
                ",nosuid,nodev,noexec"
            } else {
                ""
            };
            format!("{}:{access},size={}{inert}", tmpfs.target, tmpfs.size_bytes)
        })
        .collect();
    list(out, "tmpfs", &tmpfs)
}

fn field(out: &mut String, name: &str, value: &str) -> std::fmt::Result {
    writeln!(out, "    {name}: {}", quoted(value))
}

fn list(out: &mut String, name: &str, items: &[String]) -> std::fmt::Result {
    let lines: Vec<String> = items
        .iter()
        .map(|item| format!("- {}", quoted(item)))
        .collect();
    block(out, name, "[]", &lines)
}

fn block(out: &mut String, name: &str, empty: &str, lines: &[String]) -> std::fmt::Result {
    if lines.is_empty() {
        return writeln!(out, "    {name}: {empty}");
    }
    writeln!(out, "    {name}:")?;
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "      {line}"))
}

/// A JSON string is a YAML string, whatever is in it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
