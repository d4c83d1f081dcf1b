//! Turns the manifest that a user wrote into the one in force: fills in defaults and checks bounds.

use std::sync::Arc;

use hersh_program::{BuildRules, Limits, Manifest, NetworkMode, RestartPolicy, Timeouts};
use hersh_wire as wire;

use hersh_sandbox::MIN_PIDS;

use crate::{
    bounds::{GIB, KIB, MIB, ManifestError, TIB, size, span, within},
    deploy::strategy,
    liveness::liveness,
    reach,
    recipe::recipe,
};

/// The most environment variables of one program, and the most bytes of all their names and values.
const ENV_LENGTH_MAX: usize = 256;
const ENV_BYTES_MAX: usize = 64 * 1024;

/// Fills in the defaults and checks every bound.
///
/// # Errors
/// [`ManifestError`] names the first key that can't be used.
pub fn read(asked: &wire::Manifest) -> Result<Manifest, ManifestError> {
    let network = asked.network.map_or(NetworkMode::default(), network_mode);
    let readiness = reach::readiness(asked)?;
    check_env(asked)?;
    let restart = asked.restart.unwrap_or_default();
    Ok(Manifest {
        env: asked.env.clone(),
        limits: limits(&asked.resources)?,
        network,
        build: BuildRules {
            network: asked.build.network.unwrap_or(false),
            recipe: Arc::new(recipe(&asked.build)?),
        },
        restart: restart
            .policy
            .map_or(RestartPolicy::default(), restart_policy),
        give_up_after: give_up_after(restart.give_up_after)?,
        liveness: liveness(asked.liveness.as_ref(), &readiness)?,
        proxy: reach::proxy_rules(&asked.proxy)?,
        deploy: strategy(asked.deploy.as_ref(), network, &readiness)?,
        readiness,
        timeouts: timeouts(&asked.timeouts)?,
    })
}

fn limits(asked: &wire::Resources) -> Result<Limits, ManifestError> {
    let usual = Limits::default();
    Ok(Limits {
        memory_bytes: size(
            "resources.memory",
            asked.memory,
            usual.memory_bytes,
            32 * MIB,
            TIB,
        )?,
        cpu_millis: cpu_millis(asked.cpus, usual.cpu_millis)?,
        pids: within("resources.pids", asked.pids, usual.pids, MIN_PIDS, 32_768)?,
        tmp_bytes: size(
            "resources.tmp",
            asked.tmp,
            usual.tmp_bytes,
            64 * KIB,
            16 * GIB,
        )?,
        state_bytes: size("resources.state", asked.state, usual.state_bytes, MIB, TIB)?,
        log_bytes: size(
            "resources.logs",
            asked.logs,
            usual.log_bytes,
            64 * KIB,
            256 * MIB,
        )?,
    })
}

fn timeouts(asked: &wire::Timeouts) -> Result<Timeouts, ManifestError> {
    let usual = Timeouts::default();
    Ok(Timeouts {
        build_ms: span(
            "timeouts.build",
            asked.build,
            usual.build_ms,
            1_000,
            4 * 3_600_000,
        )?,
        start_ms: span(
            "timeouts.start",
            asked.start,
            usual.start_ms,
            1_000,
            3_600_000,
        )?,
        stop_grace_ms: span("timeouts.stop", asked.stop, usual.stop_grace_ms, 0, 600_000)?,
    })
}

fn cpu_millis(asked: Option<f64>, usual: u32) -> Result<u32, ManifestError> {
    let Some(cores) = asked else { return Ok(usual) };
    let millis = (cores * 1_000.0).round();
    if (10.0..=512_000.0).contains(&millis) {
        // The line above has checked the range, so nothing is cut off.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        return Ok(millis as u32);
    }
    Err(ManifestError {
        key: "resources.cpus".into(),
        value: cores.to_string(),
        rule: "use 0.01 to 512 cores".into(),
    })
}

fn check_env(asked: &wire::Manifest) -> Result<(), ManifestError> {
    let refuse = |key: String, value: String, rule: String| Err(ManifestError { key, value, rule });
    let bytes: usize = asked
        .env
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if asked.env.len() > ENV_LENGTH_MAX || bytes > ENV_BYTES_MAX {
        let found = format!("{} variables, {bytes} bytes", asked.env.len());
        let rule = format!("use at most {ENV_LENGTH_MAX} variables and {ENV_BYTES_MAX} bytes");
        return refuse("env".into(), found, rule);
    }
    for (name, value) in &asked.env {
        let starts = name
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        // Dots and dashes are common in names that no shell reads, such as `spring.datasource.url`.
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if !starts || !name.bytes().all(fits) {
            let rule =
                "a name has letters, digits, '_', '.' and '-', and starts with a letter or '_'";
            return refuse("env".into(), format!("{name:?}"), rule.into());
        }
        if value.contains('\0') {
            // The value may be a secret, so it is not repeated.
            return refuse(
                format!("env.{name}"),
                "(hidden)".into(),
                "a value has no NUL".into(),
            );
        }
    }
    Ok(())
}

fn network_mode(asked: wire::Network) -> NetworkMode {
    match asked {
        wire::Network::Internal => NetworkMode::Internal,
        wire::Network::None => NetworkMode::None,
        wire::Network::Egress => NetworkMode::Egress,
    }
}

fn restart_policy(asked: wire::RestartPolicy) -> RestartPolicy {
    match asked {
        wire::RestartPolicy::Never => RestartPolicy::Never,
        wire::RestartPolicy::OnFailure => RestartPolicy::OnFailure,
        wire::RestartPolicy::Always => RestartPolicy::Always,
    }
}

fn give_up_after(asked: Option<u32>) -> Result<Option<u32>, ManifestError> {
    let Some(most) = asked else { return Ok(None) };
    if most > 0 {
        return Ok(Some(most));
    }
    Err(ManifestError {
        key: "restart.give_up_after".into(),
        value: most.to_string(),
        rule: "use 1 or more, leave it out to try for ever, or say policy = \"never\"".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shown;

    fn asked(text: &str) -> Result<Manifest, ManifestError> {
        read(&toml::from_str(text).unwrap())
    }

    #[test]
    fn nothing_asked_means_the_defaults() {
        assert_eq!(asked("").unwrap(), Manifest::default());
    }

    #[test]
    fn what_is_shown_is_what_was_understood() {
        let text = "restart = { policy = \"always\", give_up_after = 4 }\nnetwork = \"egress\"\n[build]\nnetwork = true\ndockerfile = \"d/prod.Dockerfile\"\ntarget = \"prod\"\n[resources]\nmemory = \"64MiB\"\ncpus = 0.5\n\
                    [readiness]\nkind = \"tcp\"\nport = 9000\n[timeouts]\nstart = \"5s\"";
        let understood = asked(text).unwrap();
        assert_eq!(understood.limits.cpu_millis, 500);
        assert_eq!(read(&shown(&understood)).unwrap(), understood);
    }

    #[test]
    fn a_value_out_of_bounds_is_named_with_its_bounds() {
        for (text, expected) in [
            (
                "[resources]\nmemory = \"1MiB\"",
                "resources.memory = 1MiB can't be used: use 32MiB to 1024GiB",
            ),
            (
                "[resources]\ncpus = 0.001",
                "resources.cpus = 0.001 can't be used: use 0.01 to 512 cores",
            ),
            ("[resources]\ncpus = nan", "resources.cpus = NaN"),
            (
                "[resources]\npids = 1",
                "resources.pids = 1 can't be used: use 16 to 32768",
            ),
            (
                "[timeouts]\nstart = \"0s\"",
                "timeouts.start = 0ms can't be used: use 1s to 1h",
            ),
            (
                "[readiness]\nkind = \"http\"\nport = 0",
                "readiness.port = 0",
            ),
            (
                "[readiness]\nkind = \"http\"\npath = \"status\"",
                "readiness.path",
            ),
            (
                "[restart]\ngive_up_after = 0",
                "restart.give_up_after = 0 can't be used: use 1 or more",
            ),
            ("[env]\n\"1A\" = \"x\"", "a name has letters"),
        ] {
            let error = asked(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn names_of_variables_may_have_dots_and_dashes() {
        let text = "[env]\n\"spring.datasource.url\" = \"x\"\n\"a-b\" = \"y\"\n_A = \"z\"";
        assert_eq!(asked(text).unwrap().env["spring.datasource.url"], "x");
        for name in ["a=b", "a b", ".a", "-a", "1a", "a\\u0000", "\u{e4}"] {
            assert!(
                asked(&format!("[env]\n\"{name}\" = \"x\"")).is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn values_for_a_build_are_never_shown() {
        let understood = asked("[build.args]\nKEY = \"s3cret\"").unwrap();
        assert_eq!(understood.build.recipe.args["KEY"], "s3cret");
        let view = shown(&understood);
        assert_eq!(view.build.args["KEY"], "(hidden)");
        let error = asked("[build.args]\n\"1A\" = \"s3cret\"").unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn values_of_the_environment_are_never_shown() {
        let error = asked("[env]\nKEY = \"s3cret\\u0000\"")
            .unwrap_err()
            .to_string();
        assert!(!error.contains("s3cret"), "{error}");
        let view = shown(&asked("[env]\nKEY = \"s3cret\"").unwrap());
        assert_eq!(view.env["KEY"], "(hidden)");
    }
}
