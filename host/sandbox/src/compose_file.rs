//! A spec as a compose file: to read how a program is confined, or to run it by hand in the same way.

use std::{collections::BTreeMap, fmt::Write};

use hersh_program::{Manifest, NetworkMode};

use super::{RuntimeMode, Sandbox, Spec};

/// Describes the sandbox of `spec`, which was made from `manifest`, as a compose file.
///
/// Paths of the machine are left out: `/state` is a volume of the project's own. So are the values that
/// the manifest gives to environment variables, which may be secrets: docker compose takes them from its
/// own environment. Every text from outside is quoted, so that none can add a key.
#[must_use]
pub fn to_compose_yaml(spec: &Spec, manifest: &Manifest) -> String {
    let mut text = format!(
        "# How {} runs. The values of its own variables are taken from your environment.\n\
         # The volume of /state has to belong to {}, or the program can't write to it.\n",
        spec.instance.program, spec.sandbox.user
    );
    if spec.mode == RuntimeMode::RuncForDevelopment {
        text.push_str("# NOT SANDBOXED: this host runs in development mode.\n");
    }
    // Writing to a String can't fail.
    let _ = write_service(&mut text, spec, manifest);
    text
}

fn write_service(out: &mut String, spec: &Spec, manifest: &Manifest) -> std::fmt::Result {
    let sandbox = &spec.sandbox;
    writeln!(
        out,
        "services:\n  {}:",
        quoted(spec.instance.program.as_str())
    )?;
    field(out, "image", spec.image.as_str())?;
    // It was built on this machine, and no registry has it.
    field(out, "pull_policy", "never")?;
    field(out, "runtime", &sandbox.runtime)?;
    field(out, "user", &sandbox.user)?;
    writeln!(out, "    read_only: {}", sandbox.read_only)?;
    writeln!(out, "    privileged: {}", sandbox.privileged)?;
    writeln!(out, "    init: {}", sandbox.init)?;
    field(out, "restart", &sandbox.engine_restart)?;
    block(out, "environment", "{}", &variables(&spec.env, manifest))?;
    write_files(out, sandbox)?;
    list(out, "dns", &sandbox.dns)?;
    list(out, "cap_drop", &sandbox.cap_drop)?;
    list(out, "security_opt", &sandbox.security_opt)?;
    field(out, "ipc", &sandbox.namespaces.ipc)?;
    field(out, "cgroup", &sandbox.namespaces.cgroup)?;
    writeln!(out, "    mem_limit: {}", sandbox.memory_bytes)?;
    writeln!(out, "    memswap_limit: {}", sandbox.memory_swap_bytes)?;
    let cpu = sandbox.cpu_millis;
    writeln!(out, "    cpus: {}.{:03}", cpu / 1_000, cpu % 1_000)?;
    writeln!(out, "    pids_limit: {}", sandbox.pids)?;
    if let Some(processes) = sandbox.processes {
        block(out, "ulimits", "{}", &[format!("nproc: {processes}")])?;
    }
    write_network(out, manifest.network)?;
    writeln!(out, "volumes:\n  state: {{}}")
}

/// The program's variables: with the values that the host gives, without those of the manifest.
fn variables(env: &BTreeMap<String, String>, manifest: &Manifest) -> Vec<String> {
    let line = |(name, value): (&String, &String)| match manifest.env.contains_key(name) {
        true => format!("{}: null", quoted(name)),
        // Compose files write a dollar sign twice.
        false => format!("{}: {}", quoted(name), quoted(&value.replace('$', "$$"))),
    };
    env.iter().map(line).collect()
}

fn write_files(out: &mut String, sandbox: &Sandbox) -> std::fmt::Result {
    block(
        out,
        "volumes",
        "[]",
        &["- {type: volume, source: state, target: /state}".to_owned()],
    )?;
    let tmpfs = sandbox.tmpfs.iter().map(|tmpfs| {
        let access = if tmpfs.writable { "rw" } else { "ro" };
        let inert = if tmpfs.inert {
            ",nosuid,nodev,noexec"
        } else {
            ""
        };
        format!("{}:{access},size={}{inert}", tmpfs.target, tmpfs.size_bytes)
    });
    list(out, "tmpfs", &tmpfs.collect::<Vec<_>>())
}

/// The way to the network; a network of the project's own stands for the host's.
fn write_network(out: &mut String, mode: NetworkMode) -> std::fmt::Result {
    match mode {
        NetworkMode::None => field(out, "network_mode", "none"),
        NetworkMode::Internal => writeln!(
            out,
            "    networks: [internal]\nnetworks:\n  internal: {{internal: true}}"
        ),
        NetworkMode::Egress => writeln!(out, "    networks: [egress]\nnetworks:\n  egress: {{}}"),
    }
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
