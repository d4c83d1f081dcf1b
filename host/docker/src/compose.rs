//! Writes a spec as a compose file, to read how a program is confined or to run the program by hand in the
//! same way.

use std::{collections::BTreeMap, fmt::Write};

use hersh_program::NetworkMode;
use hersh_sandbox::{
    Kernel, Spec, StatePlace,
    property::{Access, FirstProcess},
    user,
};

use super::create::dns;

/// Returns a compose file that confines a program as `spec` does, with the engine's runtime `runtime`.
///
/// The file has no paths of the machine: `/state` is a volume of the compose project. It also lacks the
/// values that the manifest gives to environment variables, which may be secrets: docker compose takes them
/// from its own environment. Every text from outside is quoted: otherwise a hostile text could add a key.
pub(super) fn to_compose_yaml(spec: &Spec, runtime: &str) -> String {
    let mut text = format!(
        "# How {} runs. The values of its own variables are taken from your environment.\n",
        spec.instance.program,
    );
    match spec.state {
        StatePlace::Kept => text.push_str(&format!(
            "# The volume of /state has to belong to {}, or the program can't write to it.\n",
            user()
        )),
        StatePlace::InMemory => text.push_str("# Its /state is in memory: nothing is kept.\n"),
    }
    if spec.kernel == Kernel::Machine {
        text.push_str("# NOT SANDBOXED: this host runs in development mode.\n");
    }
    // Writing to a String can't fail.
    let _ = write_service(&mut text, spec, runtime);
    text
}

fn write_service(out: &mut String, spec: &Spec, runtime: &str) -> std::fmt::Result {
    let bounds = &spec.bounds;
    writeln!(
        out,
        "services:\n  {}:",
        quoted(spec.instance.program.as_str())
    )?;
    field(out, "image", spec.image.as_str())?;
    // The image was built on this machine, and no registry has it.
    field(out, "pull_policy", "never")?;
    field(out, "runtime", runtime)?;
    field(out, "user", &user())?;
    writeln!(out, "    read_only: true")?;
    writeln!(out, "    privileged: false")?;
    let init = spec.first_process == FirstProcess::Init;
    writeln!(out, "    init: {init}")?;
    field(out, "restart", "no")?;
    block(
        out,
        "environment",
        "{}",
        &variables(&spec.env, &spec.host_env),
    )?;
    write_files(out, spec)?;
    list(out, "dns", &dns(&spec.name_servers()))?;
    list(out, "cap_drop", &["ALL".to_owned()])?;
    list(out, "security_opt", &["no-new-privileges".to_owned()])?;
    field(out, "ipc", "none")?;
    field(out, "cgroup", "private")?;
    writeln!(out, "    mem_limit: {}", bounds.memory_bytes)?;
    writeln!(out, "    memswap_limit: {}", bounds.memory_bytes)?;
    let cpu = bounds.cpu_millis;
    writeln!(out, "    cpus: {}.{:03}", cpu / 1_000, cpu % 1_000)?;
    writeln!(out, "    pids_limit: {}", bounds.threads)?;
    if let Some(processes) = bounds.processes {
        block(out, "ulimits", "{}", &[format!("nproc: {processes}")])?;
    }
    write_network(out, spec.network)?;
    match spec.state {
        StatePlace::Kept => writeln!(out, "volumes:\n  state: {{}}"),
        StatePlace::InMemory => Ok(()),
    }
}

/// Returns the program's variables: those of the manifest without their values, those of the host with
/// them.
fn variables(own: &BTreeMap<String, String>, host: &BTreeMap<String, String>) -> Vec<String> {
    let own = own.keys().map(|name| format!("{}: null", quoted(name)));
    // A dollar sign is written twice in a compose file.
    let host = host
        .iter()
        .map(|(name, value)| format!("{}: {}", quoted(name), quoted(&value.replace('$', "$$"))));
    own.chain(host).collect()
}

fn write_files(out: &mut String, spec: &Spec) -> std::fmt::Result {
    let volume = match spec.state {
        StatePlace::Kept => Some("- {type: volume, source: state, target: /state}".to_owned()),
        StatePlace::InMemory => None,
    };
    let volumes: Vec<String> = volume.into_iter().collect();
    block(out, "volumes", "[]", &volumes)?;
    let folders = spec.memory_folders();
    let tmpfs = folders.iter().map(|folder| {
        let access = match folder.access {
            Access::Writable => "rw",
            Access::ReadOnly => "ro",
        };
        let inert = if folder.inert {
            ",nosuid,nodev,noexec"
        } else {
            ""
        };
        format!(
            "{}:{access},size={}{inert}",
            folder.target, folder.size_bytes
        )
    });
    list(out, "tmpfs", &tmpfs.collect::<Vec<_>>())
}

/// Writes the network. A network of the compose project stands for the host's network.
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

/// Quotes a text as a JSON string, which is also a YAML string, whatever the text holds.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    use hersh_program::{DeployStrategy, ImageId, InstanceId, InstanceNumber, Manifest, ProgramId};

    use super::*;

    fn spec_on(kernel: Kernel, manifest: &Manifest) -> Spec {
        let instance = InstanceId {
            program: ProgramId::parse("counter").unwrap(),
            number: InstanceNumber(3),
        };
        let image = ImageId::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
        Spec::new(&instance, &image, manifest, kernel)
    }

    #[test]
    fn a_compose_file_of_development_mode_says_so() {
        let spec = spec_on(Kernel::Machine, &Manifest::default());
        assert!(to_compose_yaml(&spec, "runc").contains("NOT SANDBOXED"));
    }

    #[test]
    fn a_program_that_keeps_nothing_has_no_volume() {
        let manifest = Manifest {
            deploy: DeployStrategy::Overlap { drain_ms: 1 },
            ..Manifest::default()
        };
        let yaml = to_compose_yaml(&spec_on(Kernel::Gvisor, &manifest), "runsc");
        assert!(yaml.contains("nothing is kept"), "{yaml}");
        assert!(yaml.contains("    volumes: []\n"), "{yaml}");
        assert!(
            yaml.contains("- \"/state:rw,size=67108864,nosuid,nodev,noexec\""),
            "{yaml}"
        );
        assert!(!yaml.contains("\nvolumes:"), "{yaml}");
    }

    #[test]
    fn the_compose_file_is_whole_and_nothing_can_add_a_line_to_it() {
        let mut manifest = Manifest::default();
        let hostile = "x\"\n    privileged: true\n#\u{2028}";
        manifest.env.insert("EVIL".to_owned(), hostile.to_owned());
        manifest.env.insert(hostile.to_owned(), "y".to_owned());
        let spec = spec_on(Kernel::Gvisor, &manifest);
        let yaml = to_compose_yaml(&spec, "runsc");
        assert!(
            !yaml.lines().any(|line| line.trim() == "privileged: true"),
            "{yaml}"
        );
        for line in [
            "runtime: \"runsc\"",
            "user: \"65532:65532\"",
            "read_only: true",
            "privileged: false",
            "- \"ALL\"",
            "- \"no-new-privileges\"",
            "networks: [internal]",
            "\"EVIL\": null",
            "mem_limit: 268435456",
            "cpus: 1.000",
            "pids_limit: 9216",
            "nproc: 257",
            "init: true",
        ] {
            assert!(
                yaml.lines().any(|found| found.trim() == line),
                "{line} is not in\n{yaml}"
            );
        }
        assert!(!yaml.contains("/data"), "no path of the machine: {yaml}");
        assert!(
            !yaml.contains("\"EVIL\": \"x"),
            "no value of a variable: {yaml}"
        );
    }

    /// The command is docker compose itself, in a root of Debian 13 that the set-up makes.
    #[test]
    fn docker_compose_accepts_the_compose_file() {
        let compose = std::env::var("HERSH_TEST_COMPOSE")
            .expect("HERSH_TEST_COMPOSE names no docker compose: run these tests with `make test`");
        let words: Vec<&str> = compose.split_whitespace().collect();
        for network in [
            NetworkMode::Internal,
            NetworkMode::Egress,
            NetworkMode::None,
        ] {
            let mut manifest = Manifest {
                network,
                ..Manifest::default()
            };
            let own = ("spring.datasource.url", "jdbc:secret$1");
            manifest.env.insert(own.0.to_owned(), own.1.to_owned());
            let spec = spec_on(Kernel::Gvisor, &manifest);
            let mut child = Command::new(words[0])
                .args(&words[1..])
                .args([
                    "--project-name",
                    "hersh",
                    "-f",
                    "-",
                    "config",
                    "--format",
                    "json",
                ])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut input = child.stdin.take().unwrap();
            input
                .write_all(to_compose_yaml(&spec, "runsc").as_bytes())
                .unwrap();
            drop(input);
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{network:?}: {said}");
            let read: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let service = &read["services"]["counter"];
            assert_eq!(service["runtime"], "runsc");
            assert_eq!(service["read_only"], true);
            assert_eq!(service["cap_drop"][0], "ALL");
            assert_eq!(service["pids_limit"], 9_216);
            assert!(
                !said.contains("WARN") && !said.contains("level=warning"),
                "{said}"
            );
        }
    }
}
