//! Finds what keeps a machine from running Hersh, and says how to mend it.

use crate::{EngineSocket, runtime::docker};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, such as `container engine`.
    pub what: String,
    /// What was found.
    pub found: String,
    /// Whether Hersh can run like that.
    pub verdict: Verdict,
}

/// Whether Hersh can run with what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It can.
    Fine,
    /// It can, and could be safer.
    Weak {
        /// What to do about it.
        mend: String,
    },
    /// It can't.
    Broken {
        /// What to do about it.
        mend: String,
    },
}

impl Finding {
    pub(crate) fn fine(what: &str, found: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            found: found.into(),
            verdict: Verdict::Fine,
        }
    }

    pub(crate) fn weak(what: &str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        let verdict = Verdict::Weak { mend: mend.into() };
        Self {
            what: what.into(),
            found: found.into(),
            verdict,
        }
    }

    pub(crate) fn broken(what: &str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        let verdict = Verdict::Broken { mend: mend.into() };
        Self {
            what: what.into(),
            found: found.into(),
            verdict,
        }
    }
}

/// Looks at this machine and at the engine behind `engine`. Changes nothing.
pub async fn examine(engine: &EngineSocket) -> Vec<Finding> {
    let mut findings = vec![processor(), kernel(), rights()];
    findings.extend(docker::diagnose(engine.path()).await);
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

/// Without them everything else looks broken, so this comes first.
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
