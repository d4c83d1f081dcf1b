//! Style rules that no other tool checks.
//!
//! ```text
//! git ls-files ──► text rules (each line of each file)   ─┐
//! cargo metadata ► dependency rules (who may use whom)    ─┼─► file:line: rule: what to do
//!                └► cycles (modules that know each other) ─┘
//! ```
//!
//! A line that has a reason to break a rule says so, on itself or on the line above:
//! `tidy: allow(rule) reason`.

mod cycles;
mod dependencies;
mod imports;
mod text;

use std::{fmt, fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Path inside the repository.
    pub file: String,
    /// Line number from 1.
    pub line: usize,
    /// Name of the rule.
    pub rule: &'static str,
    /// What to do.
    pub advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            rule,
            advice,
        } = self;
        write!(f, "{file}:{line}: {rule}: {advice}")
    }
}

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// Files that were read.
    pub files: usize,
    /// What must be mended.
    pub findings: Vec<Finding>,
    /// What should be mended soon.
    pub warnings: Vec<Finding>,
}

/// Checks the repository whose working tree holds `folder`.
///
/// # Errors
/// When git or cargo can't list what there is.
pub fn check(folder: &Path) -> Result<Report> {
    let root = run(folder, "git", &["rev-parse", "--show-toplevel"])?;
    let root = Path::new(root.trim());
    let listed = run(
        root,
        "git",
        &["ls-files", "--cached", "--others", "--exclude-standard"],
    )?;
    let mut report = Report::default();
    for name in listed.lines() {
        // Binary files, and files deleted but not yet committed, have no lines to check.
        let Ok(content) = fs::read_to_string(root.join(name)) else {
            continue;
        };
        // Seeds of the fuzzer are what strangers send, byte by byte.
        if name.starts_with("fuzz/seeds/") {
            continue;
        }
        report.files += 1;
        text::check(name, &content, &mut report);
    }
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| String::from("cargo"));
    let metadata = run(
        root,
        &cargo,
        &["metadata", "--format-version=1", "--no-deps", "--offline"],
    )?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
    dependencies::check(&metadata, &mut report.findings);
    cycles::check(&metadata, root, &mut report.findings)?;
    Ok(report)
}

fn run(folder: &Path, program: &str, words: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(words)
        .current_dir(folder)
        .output()
        .with_context(|| format!("{program} did not start"))?;
    if !output.status.success() {
        bail!(
            "{program} {} failed: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{program} printed no UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let report = check(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let listing: Vec<String> = report.findings.iter().map(Finding::to_string).collect();
        assert!(listing.is_empty(), "\n{}\n", listing.join("\n"));
        assert!(report.files > 20);
    }
}
