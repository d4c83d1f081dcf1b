//! Finds what keeps a machine from running Hersh, and says how to mend it.

use hersh_sandbox::Finding;

use crate::EngineSocket;

/// Looks at this machine and at the engine behind `engine`. Changes nothing.
pub async fn examine(engine: &EngineSocket) -> Vec<Finding> {
    let mut findings = vec![processor(), kernel(), rights()];
    findings.extend(hersh_docker::diagnose(engine.path()).await);
    findings
}

fn processor() -> Finding {
    match std::env::consts::ARCH {
        "x86_64" => Finding::fine("processor", "x86_64"),
        arch => Finding::broken(
            "processor",
            arch,
            "this host knows how to look at a sandbox's kernel on x86_64 only; use such a machine",
        ),
    }
}

/// Checks the rights of this process. Without them everything else looks broken, so this comes first.
fn rights() -> Finding {
    if rustix::process::geteuid().is_root() {
        return Finding::fine("rights", "root");
    }
    Finding::broken(
        "rights",
        "not root: a host sets firewall rules, and gives each /state to the sandbox's user",
        "use 'sudo hersh doctor' and 'sudo hersh host'",
    )
}

fn kernel() -> Finding {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Finding::fine("kernel", format!("Linux {}", release.trim()))
}
