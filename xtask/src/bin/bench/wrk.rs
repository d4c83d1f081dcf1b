//! Load by wrk, and what it counted.

use std::{net::SocketAddr, process::Command};

use anyhow::{Context, Result, bail, ensure};

/// How hard to push.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Push {
    pub(crate) threads: u32,
    pub(crate) connections: u32,
    pub(crate) seconds: u32,
}

/// What wrk counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Requests per second.
    pub(crate) per_second: f64,
    /// Half of the answers came within this time, microseconds.
    pub(crate) p50_us: f64,
    /// All but one in a hundred did.
    pub(crate) p99_us: f64,
}

/// Asks for `path` again and again. `more` are further words for wrk.
///
/// # Errors
/// When wrk is missing, or any answer was not a good one.
pub(crate) fn wrk(address: SocketAddr, path: &str, push: Push, more: &[&str]) -> Result<Load> {
    let output = Command::new("wrk")
        .args(["--latency", "-t", &push.threads.to_string()])
        .args(["-c", &push.connections.to_string()])
        .args(["-d", &format!("{}s", push.seconds)])
        .args(more)
        .arg(format!("http://{address}{path}"))
        .output()
        .context("wrk did not start: `scripts/setup bench` installs it")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk failed: {text}");
    for complaint in ["Non-2xx", "Socket errors"] {
        if let Some(line) = text.lines().find(|line| line.contains(complaint)) {
            bail!("{path} under load: {}", line.trim());
        }
    }
    let after = |name: &str| {
        let lines = text.lines().map(str::trim);
        let found = lines.filter_map(|line| line.strip_prefix(name)).next();
        let missing = || format!("wrk told no {name}: {text}");
        found.map(str::trim).with_context(missing)
    };
    Ok(Load {
        per_second: after("Requests/sec:")?.parse()?,
        p50_us: microseconds(after("50%")?)?,
        p99_us: microseconds(after("99%")?)?,
    })
}

/// Reads `12.3us`, `4.56ms` or `1.20s`.
fn microseconds(text: &str) -> Result<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    let read = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (number, factor) = read.with_context(|| format!("{text} is no time"))?;
    Ok(number.parse::<f64>()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_unit() {
        assert_eq!(microseconds("12.50us").unwrap(), 12.5);
        assert_eq!(microseconds("4.25ms").unwrap(), 4250.0);
        assert_eq!(microseconds("1.5s").unwrap(), 1_500_000.0);
        assert!(microseconds("soon").is_err());
    }
}
