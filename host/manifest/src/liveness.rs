//! Reads how to tell that a program that is up still works, and shows that again.

use hersh_program::{Liveness, LivenessProbe, OnNotAlive, Readiness};
use hersh_wire as wire;

use crate::{
    bounds::{ManifestError, span, within},
    reach::check_path,
};

const INTERVAL_MIN_MS: u64 = 1_000;
const INTERVAL_MAX_MS: u64 = 3_600_000;
const TIMEOUT_MIN_MS: u64 = 100;
/// A probe may not take longer, whatever the interval is: what hangs holds one of the host's few turns to probe.
const TIMEOUT_MAX_MS: u64 = 60_000;
const FAILURES_MAX: u32 = 100;

/// Reads the liveness probe; `None` if there is to be none.
pub(crate) fn liveness(
    asked: Option<&wire::Liveness>,
    readiness: &Readiness,
) -> Result<Option<Liveness>, ManifestError> {
    let Some(asked) = asked else {
        return Ok(Liveness::of(readiness));
    };
    let Some(probe) = probe(asked, readiness)? else {
        return Ok(None);
    };
    let usual = Liveness::with(probe);
    let interval_ms = span(
        "liveness.interval",
        asked.interval,
        usual.interval_ms,
        INTERVAL_MIN_MS,
        INTERVAL_MAX_MS,
    )?;
    Ok(Some(Liveness {
        interval_ms,
        timeout_ms: timeout_ms(asked.timeout, usual.timeout_ms, interval_ms)?,
        failures: within(
            "liveness.failures",
            asked.failures,
            usual.failures,
            1,
            FAILURES_MAX,
        )?,
        on_failure: asked
            .on_failure
            .map_or(OnNotAlive::default(), |asked| match asked {
                wire::OnFailure::Restart => OnNotAlive::Restart,
                wire::OnFailure::Notify => OnNotAlive::Notify,
            }),
        probe: usual.probe,
    }))
}

/// Returns the probe that is asked for, or the usual one; `None` if there is to be none.
fn probe(
    asked: &wire::Liveness,
    readiness: &Readiness,
) -> Result<Option<LivenessProbe>, ManifestError> {
    let kind = asked
        .kind
        .or(asked.path.as_ref().map(|_path| wire::LivenessKind::Http));
    if let (Some(path), Some(kind)) = (&asked.path, kind)
        && kind != wire::LivenessKind::Http
    {
        return Err(ManifestError {
            key: "liveness.path".into(),
            value: format!("{path:?}"),
            rule: "only kind = \"http\" asks for a path; leave it out".into(),
        });
    }
    Ok(match kind {
        None => Liveness::of(readiness).map(|usual| usual.probe),
        Some(wire::LivenessKind::None) => None,
        Some(wire::LivenessKind::Heartbeat) => Some(LivenessProbe::Heartbeat),
        Some(wire::LivenessKind::Tcp) => Some(LivenessProbe::Tcp),
        Some(wire::LivenessKind::Http) => {
            let path = asked.path.clone().unwrap_or_else(|| usual_path(readiness));
            check_path("liveness.path", &path)?;
            Some(LivenessProbe::Http { path })
        }
    })
}

fn usual_path(readiness: &Readiness) -> String {
    match readiness {
        Readiness::Http { path, .. } => path.clone(),
        Readiness::Tcp { .. } | Readiness::None { .. } => "/".to_owned(),
    }
}

/// Reads the time for one probe. A probe ends before the next one is due.
fn timeout_ms(
    asked: Option<wire::Span>,
    usual_ms: u64,
    interval_ms: u64,
) -> Result<u64, ManifestError> {
    let max_ms = TIMEOUT_MAX_MS.min(interval_ms);
    let usual_ms = usual_ms.min(max_ms);
    let read = span("liveness.timeout", asked, usual_ms, TIMEOUT_MIN_MS, max_ms);
    read.map_err(|error| match max_ms == interval_ms {
        true => ManifestError {
            rule: format!("{}, no longer than liveness.interval", error.rule),
            ..error
        },
        false => error,
    })
}

/// Returns the liveness probe in force in the form that people write.
pub(crate) fn liveness_view(liveness: Option<&Liveness>) -> wire::Liveness {
    let Some(liveness) = liveness else {
        return wire::Liveness {
            kind: Some(wire::LivenessKind::None),
            ..wire::Liveness::default()
        };
    };
    let (kind, path) = match &liveness.probe {
        LivenessProbe::Heartbeat => (wire::LivenessKind::Heartbeat, None),
        LivenessProbe::Http { path } => (wire::LivenessKind::Http, Some(path.clone())),
        LivenessProbe::Tcp => (wire::LivenessKind::Tcp, None),
    };
    wire::Liveness {
        kind: Some(kind),
        path,
        interval: Some(wire::Span(liveness.interval_ms)),
        timeout: Some(wire::Span(liveness.timeout_ms)),
        failures: Some(liveness.failures),
        on_failure: Some(match liveness.on_failure {
            OnNotAlive::Restart => wire::OnFailure::Restart,
            OnNotAlive::Notify => wire::OnFailure::Notify,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{read, shown};

    fn asked(text: &str) -> Result<Option<Liveness>, String> {
        let manifest = read(&toml::from_str(text).unwrap()).map_err(|error| error.to_string())?;
        assert_eq!(read(&shown(&manifest)), Ok(manifest.clone()), "{text}");
        Ok(manifest.liveness)
    }

    fn http(path: &str) -> LivenessProbe {
        let path = path.to_owned();
        LivenessProbe::Http { path }
    }

    #[test]
    fn what_is_left_out_follows_the_readiness_probe() {
        for (text, probe) in [
            ("", Some(LivenessProbe::Heartbeat)),
            ("[liveness]", Some(LivenessProbe::Heartbeat)),
            ("[readiness]\npath = \"/up\"", Some(http("/up"))),
            (
                "[readiness]\npath = \"/up\"\n[liveness]\nkind = \"http\"",
                Some(http("/up")),
            ),
            ("[readiness]\nkind = \"tcp\"", Some(LivenessProbe::Tcp)),
            (
                "[readiness]\nkind = \"tcp\"\n[liveness]\nkind = \"http\"",
                Some(http("/")),
            ),
            ("[readiness]\nkind = \"none\"", None),
            ("[readiness]\nkind = \"none\"\n[liveness]", None),
            (
                "[readiness]\nkind = \"none\"\n[liveness]\nkind = \"tcp\"",
                Some(LivenessProbe::Tcp),
            ),
            ("[liveness]\npath = \"/healthz\"", Some(http("/healthz"))),
            ("[liveness]\nkind = \"none\"", None),
        ] {
            let read = asked(text).unwrap();
            assert_eq!(read, probe.map(Liveness::with), "{text}");
        }
    }

    #[test]
    fn every_key_is_read_and_shown() {
        let text = "[liveness]\nkind = \"tcp\"\ninterval = \"30s\"\ntimeout = \"20s\"\nfailures = 1\n\
                    on_failure = \"notify\"";
        let expected = Liveness {
            probe: LivenessProbe::Tcp,
            interval_ms: 30_000,
            timeout_ms: 20_000,
            failures: 1,
            on_failure: OnNotAlive::Notify,
        };
        assert_eq!(asked(text), Ok(Some(expected)));
        let short = asked("[liveness]\ninterval = \"2s\"").unwrap().unwrap();
        assert_eq!((short.interval_ms, short.timeout_ms), (2_000, 2_000));
    }

    #[test]
    fn a_value_out_of_bounds_is_named_with_its_bounds() {
        for (text, expected) in [
            (
                "interval = \"500ms\"",
                "liveness.interval = 500ms can't be used: use 1s to 1h",
            ),
            (
                "timeout = \"11s\"",
                "liveness.timeout = 11s can't be used: use 100ms to 10s, no longer than liveness.interval",
            ),
            (
                "interval = \"1h\"\ntimeout = \"2m\"",
                "liveness.timeout = 2m can't be used: use 100ms to 1m",
            ),
            (
                "failures = 0",
                "liveness.failures = 0 can't be used: use 1 to 100",
            ),
            ("path = \"healthz\"", "liveness.path = \"healthz\" can't"),
            (
                "kind = \"tcp\"\npath = \"/\"",
                "only kind = \"http\" asks for a path",
            ),
        ] {
            let error = asked(&format!("[liveness]\n{text}")).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
