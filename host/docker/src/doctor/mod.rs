//! The findings of `doctor` about the engine.

pub(crate) mod trial;
mod trial_network;

use std::{io::ErrorKind, path::Path};

use bollard::models::{Runtime, SystemInfo};
use tokio::process::Command;

use self::trial::TrialError;
use crate::{
    DockerConfig,
    engine::{Engine, Fault},
    kernel_probe,
    network::firewall,
};
use hersh_sandbox::Finding;

const ENGINE: &str = "container engine";
const RUNTIME: &str = "gVisor runtime";
const SOCKETS: &str = "network none";
const BUILDS: &str = "builds";
/// The advice on how to get an engine that [`version`] does not warn of.
const INSTALL: &str = "install Docker 23 or newer and start it (Debian 13: apt install docker.io; Debian 12 packages 20.10.24, which can lock up, so take docker-ce from Docker's own packages there)";
/// The first gVisor release that runs with its own network on kernels from 6.11 on (gVisor issue 10704).
const REPAIRED_RELEASE: u32 = 20_240_801;

/// The value of the host's label on what doctor's trials make, in place of a host's id.
const LABEL: &str = "doctor";

/// Looks at the engine behind `socket`, at its gVisor, and at the firewall. The findings on gVisor and
/// builds come from trials: a container ran, and an image was built. Leaves nothing behind.
pub async fn diagnose(socket: &Path) -> Vec<Finding> {
    let engine = Engine::new(socket.to_owned());
    let info = match info(&engine).await {
        Ok(info) => info,
        Err(message) => {
            let kind = std::os::unix::net::UnixStream::connect(socket)
                .err()
                .map(|error| error.kind());
            // Without an engine, doctor still checks all that needs none, so that one call shows all there
            // is to do.
            return vec![
                away(socket, kind, message),
                gvisor_alone().await,
                firewall_finding().await,
            ];
        }
    };
    let mut findings = vec![version(&info)];
    findings.push(gvisor(&engine, &info).await);
    findings.extend(sockets(&info));
    findings.push(limits(&info));
    findings.push(builds(&engine, &info).await);
    findings.push(firewall_finding().await);
    findings
}

/// Returns the finding on an engine that does not answer: this user has no right to ask it, there is none,
/// or it does not run.
fn away(socket: &Path, kind: Option<ErrorKind>, message: String) -> Finding {
    let place = socket.display();
    match kind {
        Some(ErrorKind::PermissionDenied) => Finding::broken(
            ENGINE,
            format!("this user may not use {place}; whether an engine answers there is not known"),
            "run it as root: sudo hersh doctor",
        ),
        Some(ErrorKind::NotFound) => Finding::broken(
            ENGINE,
            format!("there is no {place}"),
            format!("{INSTALL}, or name another engine's socket with --engine"),
        ),
        Some(ErrorKind::ConnectionRefused) => Finding::broken(
            ENGINE,
            format!("nobody listens at {place}"),
            "start it: systemctl start docker; 'journalctl -u docker' says why it ended",
        ),
        Some(_) | None => Finding::broken(
            ENGINE,
            message,
            "look at 'systemctl status docker' and 'journalctl -u docker'",
        ),
    }
}

/// Returns the finding on gVisor when no engine could be asked about it.
async fn gvisor_alone() -> Finding {
    match release("runsc").await {
        Some(release) => Finding::fine(
            RUNTIME,
            format!("runsc {release}; whether the engine knows it shows when it answers"),
        ),
        None => Finding::broken(
            RUNTIME,
            "there is no runsc that runs",
            "install gVisor's runsc; once the engine answers, run this again for how to register it",
        ),
    }
}

async fn firewall_finding() -> Finding {
    match firewall::usable().await {
        Ok(()) => Finding::fine("firewall", "nftables works"),
        Err(said) if !rustix::process::geteuid().is_root() => Finding::broken(
            "firewall",
            said,
            "whether nftables works shows as root only: sudo hersh doctor",
        ),
        Err(said) => Finding::broken(
            "firewall",
            said,
            "install nftables and run the host as root",
        ),
    }
}

fn version(info: &SystemInfo) -> Finding {
    let version = info.server_version.as_deref().unwrap_or("unknown");
    if !locks_up(version) {
        return Finding::fine(ENGINE, format!("Docker {version}"));
    }
    Finding::weak(
        ENGINE,
        format!("Docker {version} can lock up when programs start and end (moby issue 46661)"),
        "upgrade it to 20.10.27, 23 or newer; until then watch hersh_engine_up, and when starts hang end it (systemctl kill -s KILL docker): systemd starts it again, and the host its programs",
    )
}

/// Returns whether this release can lock up: if the end of one container meets the start of another on the
/// same network, both can stop for good, and with them all that comes after. Releases 20.10.27 and 23.0
/// mended this.
fn locks_up(version: &str) -> bool {
    let mut parts = version
        .split(|letter: char| !letter.is_ascii_digit())
        .map_while(|part| part.parse::<u32>().ok());
    let mut part = || parts.next();
    match (part(), part(), part()) {
        (Some(major), Some(minor), Some(patch)) => (major, minor, patch) < (20, 10, 27),
        _unknown => false,
    }
}

async fn info(engine: &Engine) -> Result<SystemInfo, String> {
    let client = engine.client().await.map_err(|error| error.message)?;
    client
        .info()
        .await
        .map_err(|error| Fault::into_unavailable(engine.fault(&error)).message)
}

async fn gvisor(engine: &Engine, info: &SystemInfo) -> Finding {
    let kernel = info.kernel_version.as_deref().unwrap_or_default();
    let Some(runtime) = info.runtimes.as_ref().and_then(|it| it.get("runsc")) else {
        return Finding::broken(
            RUNTIME,
            "the engine knows no runtime 'runsc'",
            format!(
                "install gVisor's runsc (Debian: apt install runsc), run '{}', restart the engine",
                registration(kernel, &[])
            ),
        );
    };
    // A registration by type has no path: the engine finds the program itself.
    let path = runtime.path.as_deref().filter(|path| !path.is_empty());
    let Some(release) = release(path.unwrap_or("runsc")).await else {
        return Finding::broken(
            RUNTIME,
            format!("{} does not run", path.unwrap_or("runsc")),
            "install gVisor's runsc anew and correct its path in the engine's daemon.json",
        );
    };
    // Only the trial counts: a script may stand between the engine and runsc, and add what runsc itself
    // lacks.
    let error = match run_sandbox(engine).await {
        Ok(said) => return ran(release, &said),
        Err(error) => error,
    };
    let clashes = release < REPAIRED_RELEASE && is_from_6_11(kernel) && !shares_network(runtime);
    if clashes {
        return Finding::broken(
            RUNTIME,
            format!(
                "runsc {release} cannot give a sandbox its own network stack on Linux {kernel}"
            ),
            format!(
                "run '{}' (the sandbox then uses its container's network namespace through the host's stack) and restart the engine, or install a release from August 2024 on",
                registration(kernel, runtime.runtime_args.as_deref().unwrap_or_default())
            ),
        );
    }
    Finding::broken(
        RUNTIME,
        format!("runsc {release} runs no sandbox: {error}"),
        "look for the reason in the engine's log (journalctl -u docker) and run 'hersh doctor' again",
    )
}

/// Returns the command that registers gVisor so that the next look finds nothing wrong, for every release
/// that a distribution packages.
///
/// A new registration replaces the old one whole. So the command repeats the arguments of the old one:
/// without them, what worked before would not work any more.
fn registration(kernel: &str, has: &[String]) -> String {
    let is_about = |argument: &str, name: &str| argument.trim_start_matches('-').starts_with(name);
    let mut arguments = vec!["--host-uds=create"];
    if is_from_6_11(kernel) {
        arguments.push("--network=host");
    }
    let is_replaced = |argument: &str| {
        is_about(argument, "host-uds=") || is_from_6_11(kernel) && is_about(argument, "network=")
    };
    let kept = has.iter().map(String::as_str);
    arguments.extend(kept.filter(|argument| !is_replaced(argument)));
    format!("runsc install -- {}", arguments.join(" "))
}

/// Runs a sandbox in the same way as a program: on an internal network, within limits.
async fn run_sandbox(engine: &Engine) -> Result<String, TrialError> {
    let network = trial_network::make(engine, DockerConfig::default().subnet_pool).await?;
    let said = trial::run(engine, "runsc", &network, LABEL).await;
    trial_network::remove(engine, &network).await;
    said
}

/// Returns the finding for what a sandbox said of its kernel.
fn ran(release: u32, said: &str) -> Finding {
    match kernel_probe::gvisor_start(said) {
        Some(_gvisor) => Finding::fine(
            RUNTIME,
            format!("runsc {release}, seen to run a sandbox on a network of its own"),
        ),
        None => Finding::broken(
            RUNTIME,
            "what the engine's runtime 'runsc' runs does not name gVisor as its kernel",
            "check the path of 'runsc' in the engine's daemon.json: it has to be gVisor's",
        ),
    }
}

/// Returns the finding on sockets. Programs without a network answer on a socket, which gVisor has to make
/// on the machine for them. A host can do without such programs.
fn sockets(info: &SystemInfo) -> Option<Finding> {
    let runtime = info.runtimes.as_ref()?.get("runsc")?;
    if makes_sockets(runtime) {
        let found = "programs without a network are reached by a socket";
        return Some(Finding::fine(SOCKETS, found));
    }
    let kernel = info.kernel_version.as_deref().unwrap_or_default();
    let command = registration(kernel, runtime.runtime_args.as_deref().unwrap_or_default());
    let found = format!(
        "programs with network = \"none\" can't be reached: to have them, run '{command}' and restart the engine"
    );
    Some(Finding::fine(SOCKETS, found))
}

fn makes_sockets(runtime: &Runtime) -> bool {
    let arguments = runtime.runtime_args.iter().flatten();
    arguments
        .filter_map(|argument| argument.trim_start_matches('-').strip_prefix("host-uds="))
        .next_back()
        .is_some_and(|value| value == "create" || value == "all")
}

/// Checks builds by building an image with a step that writes. The engine runs steps by its default
/// runtime.
async fn builds(engine: &Engine, info: &SystemInfo) -> Finding {
    match trial::steps(engine, info, LABEL).await {
        Ok(said) if kernel_probe::gvisor_start(&said).is_some() => Finding::fine(
            BUILDS,
            "steps run in gVisor, and what they write is in the image",
        ),
        Ok(_own_kernel) => Finding::weak(
            BUILDS,
            format!(
                "steps run by {}, on this machine's own kernel; what they write is in the image",
                info.default_runtime
                    .as_deref()
                    .unwrap_or("an unknown runtime")
            ),
            trial::MEND,
        ),
        Err(TrialError::Lost { runtime }) => Finding::broken(
            BUILDS,
            format!(
                "what a step writes is not in the image: the runtime '{runtime}' keeps it in the sandbox"
            ),
            trial::MEND,
        ),
        Err(
            error @ (TrialError::Failed { .. }
            | TrialError::Late { .. }
            | TrialError::Unavailable(_)),
        ) => Finding::broken(
            BUILDS,
            error.to_string(),
            "look for the reason in the engine's log (journalctl -u docker) and run 'hersh doctor' again",
        ),
    }
}

fn limits(info: &SystemInfo) -> Finding {
    let missing: Vec<&str> = [
        ("memory", info.memory_limit),
        ("processor time", info.cpu_cfs_quota),
        ("processes", info.pids_limit),
    ]
    .into_iter()
    .filter(|(_, has)| *has == Some(false))
    .map(|(name, _)| name)
    .collect();
    if missing.is_empty() {
        return Finding::fine("limits", "memory, processor time and processes");
    }
    Finding::broken(
        "limits",
        format!("this kernel does not limit {}", missing.join(", ")),
        "switch the control groups for it on at the kernel's command line",
    )
}

/// Reads the day of the release, such as `20221219`, from the output of `runsc --version`.
async fn release(path: &str) -> Option<u32> {
    let output = Command::new(path)
        .arg("--version")
        .kill_on_drop(true)
        .output()
        .await
        .ok()?;
    release_in(&String::from_utf8_lossy(&output.stdout))
}

fn release_in(version: &str) -> Option<u32> {
    let day = |text: &&str| text.len() == 8 && text.starts_with("20");
    version
        .split(|letter: char| !letter.is_ascii_digit())
        .find(day)?
        .parse()
        .ok()
}

fn is_from_6_11(kernel: &str) -> bool {
    let mut parts = kernel
        .split(|letter: char| !letter.is_ascii_digit())
        .map_while(|part| part.parse::<u32>().ok());
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    version >= (6, 11)
}

fn shares_network(runtime: &Runtime) -> bool {
    let arguments = runtime.runtime_args.iter().flatten();
    arguments
        .map(|argument| argument.trim_start_matches('-'))
        .any(|argument| argument == "network=host")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hersh_sandbox::Severity;

    #[test]
    fn releases_and_kernels_are_read() {
        assert_eq!(
            release_in("runsc version 0.0~20221219.0\nspec: 1.0.2-dev\n"),
            Some(20_221_219)
        );
        assert_eq!(
            release_in("runsc version release-20240807.0\n"),
            Some(20_240_807)
        );
        assert_eq!(release_in("no version"), None);
        assert!(is_from_6_11("6.18.44-fc-v445"));
        assert!(is_from_6_11("7.0"));
        assert!(!is_from_6_11("6.1.0-37-amd64"));
        assert!(!is_from_6_11(""));
    }

    #[test]
    fn missing_rights_are_told_from_a_missing_engine() {
        let socket = Path::new("/run/docker.sock");
        let told = |kind| {
            let finding = away(socket, kind, "no answer".to_owned());
            let Severity::Broken { mend } = finding.severity else {
                panic!("an engine that is away is no fine one");
            };
            (finding.found, mend)
        };
        let (found, mend) = told(Some(ErrorKind::PermissionDenied));
        assert!(
            found.contains("may not use") && mend.contains("sudo"),
            "{found} {mend}"
        );
        assert!(!mend.contains("install"), "{mend}");
        let (found, mend) = told(Some(ErrorKind::NotFound));
        assert!(found.contains("there is no"), "{found}");
        assert!(mend.contains("install"), "{mend}");
        let (_, mend) = told(Some(ErrorKind::ConnectionRefused));
        assert!(
            mend.contains("start it") && !mend.contains("install"),
            "{mend}"
        );
        assert_eq!(told(None).0, "no answer");
    }

    #[tokio::test]
    async fn all_is_looked_at_when_the_engine_is_away() {
        let folder = tempfile::tempdir().unwrap();
        let findings = diagnose(&folder.path().join("no.sock")).await;
        let what: Vec<&str> = findings.iter().map(|it| it.what.as_str()).collect();
        assert_eq!(what, [ENGINE, RUNTIME, "firewall"]);
    }

    #[test]
    fn nothing_is_recommended_that_is_warned_of() {
        // 20.10.24 is the one release that the advice warns of.
        assert!(locks_up("20.10.24"));
        assert!(INSTALL.contains("20.10.24, which can lock up"));
        assert!(!locks_up("23.0.0"));
    }

    #[test]
    fn a_registration_that_is_advised_suits_the_kernel() {
        let has = ["--debug".to_owned(), "-host-uds=none".to_owned()];
        for (kernel, has, command) in [
            (
                "6.1.0-37-amd64",
                &[][..],
                "runsc install -- --host-uds=create",
            ),
            (
                "6.18.4",
                &[],
                "runsc install -- --host-uds=create --network=host",
            ),
            (
                "6.18.4",
                &has,
                "runsc install -- --host-uds=create --network=host --debug",
            ),
        ] {
            assert_eq!(registration(kernel, has), command);
        }
    }

    #[test]
    fn engines_that_can_lock_up_are_known() {
        for version in ["20.10.24+dfsg1", "20.10.26", "20.10.5", "19.3.13"] {
            assert!(locks_up(version), "{version}");
        }
        for version in [
            "20.10.27",
            "23.0.1",
            "26.1.5+dfsg1",
            "28.2.2",
            "unknown",
            "dev",
        ] {
            assert!(!locks_up(version), "{version}");
        }
    }

    #[test]
    fn the_last_word_about_sockets_counts() {
        let makes = |arguments: &[&str]| {
            makes_sockets(&Runtime {
                runtime_args: Some(arguments.iter().map(ToString::to_string).collect()),
                ..Runtime::default()
            })
        };
        assert!(makes(&["--network=host", "--host-uds=create"]));
        assert!(makes(&["-host-uds=all"]));
        for without in [
            &[][..],
            &["--host-uds=open"],
            &["--host-uds=create", "--host-uds=none"],
        ] {
            assert!(!makes(without), "{without:?}");
        }
    }
}
