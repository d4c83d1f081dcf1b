//! Reads how a revision takes the place of the one that runs, and shows that again.

use hersh_program::{DeployStrategy, NetworkMode, Readiness};
use hersh_wire as wire;

use crate::bounds::{ManifestError, span};

const DRAIN_MS: u64 = 30_000;
/// While an instance leaves, the next build of its program waits.
const DRAIN_MAX_MS: u64 = 600_000;

/// Reads the strategy, and checks that the rest of the manifest allows it.
pub(crate) fn strategy(
    asked: Option<&wire::Deploy>,
    network: NetworkMode,
    readiness: &Readiness,
) -> Result<DeployStrategy, ManifestError> {
    let asked = asked.cloned().unwrap_or_default();
    match (asked.strategy, asked.drain) {
        (None | Some(wire::DeployStrategy::Replace), None) => Ok(DeployStrategy::Replace),
        (None | Some(wire::DeployStrategy::Replace), Some(drain)) => Err(ManifestError {
            key: "deploy.drain".into(),
            value: String::from(drain),
            rule: "only strategy = \"overlap\" drains; leave it out".into(),
        }),
        (Some(wire::DeployStrategy::Overlap), drain) => {
            check(network, readiness)?;
            let drain_ms = span("deploy.drain", drain, DRAIN_MS, 0, DRAIN_MAX_MS)?;
            Ok(DeployStrategy::Overlap { drain_ms })
        }
    }
}

/// Returns the strategy in force in the form that people write.
pub(crate) fn strategy_view(strategy: DeployStrategy) -> wire::Deploy {
    let (strategy, drain_ms) = match strategy {
        DeployStrategy::Replace => (wire::DeployStrategy::Replace, None),
        DeployStrategy::Overlap { drain_ms } => (wire::DeployStrategy::Overlap, Some(drain_ms)),
    };
    wire::Deploy {
        strategy: Some(strategy),
        drain: drain_ms.map(wire::Span),
    }
}

/// Checks that two instances can be told apart by requests: each is reached by an address of its own, and it is
/// seen when the new one is ready.
fn check(network: NetworkMode, readiness: &Readiness) -> Result<(), ManifestError> {
    let refuse = |rule: &str| {
        Err(ManifestError {
            key: "deploy.strategy".into(),
            value: "\"overlap\"".into(),
            rule: rule.into(),
        })
    };
    match (network, readiness) {
        (NetworkMode::None, _) => refuse(
            "a program with network = \"none\" is reached through /state, which only one instance can have; use network = \"internal\" or strategy = \"replace\"",
        ),
        (NetworkMode::Internal | NetworkMode::Egress, Readiness::None { .. }) => refuse(
            "without a readiness probe nobody knows when requests may go to the new instance; use readiness.kind = \"http\" or \"tcp\", or strategy = \"replace\"",
        ),
        (
            NetworkMode::Internal | NetworkMode::Egress,
            Readiness::Http { .. } | Readiness::Tcp { .. },
        ) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{read, shown};

    fn asked(text: &str) -> Result<DeployStrategy, String> {
        let manifest = read(&toml::from_str(text).unwrap()).map_err(|error| error.to_string())?;
        assert_eq!(read(&shown(&manifest)), Ok(manifest.clone()), "{text}");
        Ok(manifest.deploy)
    }

    #[test]
    fn every_key_is_read_and_shown() {
        let overlap = |drain_ms| DeployStrategy::Overlap { drain_ms };
        for (text, strategy) in [
            ("", DeployStrategy::Replace),
            ("[deploy]", DeployStrategy::Replace),
            ("[deploy]\nstrategy = \"replace\"", DeployStrategy::Replace),
            ("[deploy]\nstrategy = \"overlap\"", overlap(30_000)),
            (
                "[deploy]\nstrategy = \"overlap\"\ndrain = \"0s\"",
                overlap(0),
            ),
            (
                "readiness = { kind = \"tcp\" }\nnetwork = \"egress\"\n[deploy]\nstrategy = \"overlap\"\ndrain = \"5m\"",
                overlap(300_000),
            ),
        ] {
            assert_eq!(asked(text), Ok(strategy), "{text}");
        }
    }

    #[test]
    fn what_can_not_overlap_is_refused_with_a_way_out() {
        for (text, expected) in [
            ("drain = \"5s\"", "only strategy = \"overlap\" drains"),
            (
                "strategy = \"overlap\"\ndrain = \"11m\"",
                "deploy.drain = 11m can't be used: use 0ms to 10m",
            ),
            (
                "strategy = \"overlap\"\n[readiness]\nkind = \"none\"",
                "use readiness.kind = \"http\" or \"tcp\"",
            ),
        ] {
            let error = asked(&format!("[deploy]\n{text}")).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let none = "network = \"none\"\n[deploy]\nstrategy = \"overlap\"";
        let error = asked(none).unwrap_err();
        assert!(error.contains("use network = \"internal\""), "{error}");
    }
}
