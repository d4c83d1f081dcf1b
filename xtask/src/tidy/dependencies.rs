//! Who may depend on whom.
//!
//! ```text
//! machine ◄── program ◄── host ──► wire ◄── cli          machine ◄── hersh ◄── examples
//!                          host ◄── sim
//! ```
//! Inside `host/`: base ◄── journal, proxy, storage, sandbox ◄── host; none of those in the middle knows another.
//! Above them, and below host, manifest knows proxy and sandbox, and docker knows sandbox and storage. Below proxy,
//! answer knows nothing of ours.

use serde_json::Value;

use super::Finding;

/// The crates that can reach nothing by themselves: all that they may use, and what only behind a
/// feature.
const PURE: [(&str, &[&str], &[&str]); 3] = [
    (
        "hersh-answer",
        &["bytes", "http", "httparse", "thiserror"],
        &["hyper"],
    ),
    (
        "hersh-machine",
        &["serde", "thiserror"],
        &["futures-util", "tokio"],
    ),
    (
        "hersh-program",
        &["hersh-machine", "serde", "thiserror"],
        &["futures-util", "tokio"],
    ),
];

/// Those of them that stay free of std.
const NO_STD: [&str; 2] = ["hersh-machine", "hersh-program"];

/// Crates of ours that each crate of ours may use. Examples are users: they may use any.
const OURS: [(&str, &[&str]); 13] = [
    ("hersh", &["hersh-machine"]),
    ("hersh-wire", &[]),
    ("hersh-answer", &[]),
    ("hersh-base", &["hersh-machine", "hersh-program"]),
    (
        "hersh-journal",
        &["hersh-base", "hersh-machine", "hersh-program"],
    ),
    (
        "hersh-proxy",
        &["hersh-answer", "hersh-base", "hersh-program"],
    ),
    (
        "hersh-storage",
        &["hersh-base", "hersh-program", "hersh-wire"],
    ),
    (
        "hersh-sandbox",
        &["hersh-base", "hersh-program", "hersh-wire"],
    ),
    (
        "hersh-manifest",
        &[
            "hersh-base",
            "hersh-program",
            "hersh-proxy",
            "hersh-sandbox",
            "hersh-wire",
        ],
    ),
    (
        "hersh-docker",
        &[
            "hersh-base",
            "hersh-program",
            "hersh-sandbox",
            "hersh-storage",
            "hersh-wire",
        ],
    ),
    (
        "hersh-host",
        &[
            "hersh-base",
            "hersh-docker",
            "hersh-journal",
            "hersh-machine",
            "hersh-manifest",
            "hersh-program",
            "hersh-proxy",
            "hersh-sandbox",
            "hersh-storage",
            "hersh-wire",
        ],
    ),
    (
        "hersh-cli",
        &[
            "hersh",
            "hersh-base",
            "hersh-host",
            "hersh-journal",
            "hersh-sandbox",
            "hersh-storage",
            "hersh-wire",
        ],
    ),
    (
        "hersh-sim",
        &["hersh-host", "hersh-machine", "hersh-program", "hersh-wire"],
    ),
];

/// Libraries that belong to one crate.
const ONLY_IN: [(&str, &str); 3] = [
    ("axum", "hersh-host"),
    ("bollard", "hersh-docker"),
    ("rusqlite", "hersh-journal"),
];

/// Who else may use one of them, behind a feature: `hersh`, and the benchmarks, which compare with it.
const BEHIND_FEATURE: [(&str, &str); 3] =
    [("hersh", "axum"), ("xtask", "axum"), ("xtask", "rusqlite")];

/// Checks what `cargo metadata --no-deps` says.
pub(super) fn check(metadata: &Value, findings: &mut Vec<Finding>) {
    for package in list(metadata, "packages") {
        let root = text(metadata, "workspace_root");
        let manifest = text(package, "manifest_path");
        let mut report = |rule: &'static str, advice: String| {
            let file = manifest.trim_start_matches(root).trim_start_matches('/');
            findings.push(Finding {
                file: file.to_owned(),
                line: 1,
                rule,
                advice,
            });
        };
        check_licence(package, &mut report);
        check_pure(package, &mut report);
        check_ours(package, &mut report);
        check_only_in(package, &mut report);
    }
}

fn check_licence(package: &Value, report: &mut impl FnMut(&'static str, String)) {
    if text(package, "license") != "MIT" {
        report("licence", "write `license.workspace = true`".to_owned());
    }
}

fn check_pure(package: &Value, report: &mut impl FnMut(&'static str, String)) {
    let name = text(package, "name");
    let Some((_, always, optional)) = PURE.iter().find(|(pure, _, _)| *pure == name) else {
        return;
    };
    for dependency in list(package, "dependencies").filter(|d| text(d, "kind") != "dev") {
        let used = text(dependency, "name");
        let behind_feature = flag(dependency, "optional");
        if !(always.contains(&used) || optional.contains(&used) && behind_feature) {
            report(
                "pure-crate",
                format!("{name} is pure: drop {used}, or put it behind a feature that is off"),
            );
        }
        let brings_std = !behind_feature && flag(dependency, "uses_default_features");
        if NO_STD.contains(&name) && brings_std && used != "hersh-machine" {
            report(
                "pure-crate",
                format!("{name} has no std: take {used} with `default-features = false`"),
            );
        }
    }
    if package["features"]["default"]
        .as_array()
        .is_some_and(|on| !on.is_empty())
    {
        report(
            "pure-crate",
            format!("{name} is pure unless asked: empty its default features"),
        );
    }
}

fn check_ours(package: &Value, report: &mut impl FnMut(&'static str, String)) {
    let name = text(package, "name");
    let Some((_, allowed)) = OURS.iter().find(|(ours, _)| *ours == name) else {
        return;
    };
    for dependency in list(package, "dependencies") {
        let used = text(dependency, "name");
        if (used == "hersh" || used.starts_with("hersh-"))
            && used != name
            && !allowed.contains(&used)
        {
            report(
                "direction",
                format!("{name} must not know {used}: see the diagram in ARCHITECTURE.md"),
            );
        }
    }
}

fn check_only_in(package: &Value, report: &mut impl FnMut(&'static str, String)) {
    let name = text(package, "name");
    for dependency in list(package, "dependencies").filter(|d| text(d, "kind") != "dev") {
        let used = text(dependency, "name");
        let behind_feature = BEHIND_FEATURE.contains(&(name, used)) && flag(dependency, "optional");
        let owner = ONLY_IN.iter().find(|(library, _)| *library == used);
        if let Some((_, owner)) = owner
            && name != *owner
            && !behind_feature
        {
            report("direction", format!("only {owner} may use {used}"));
        }
    }
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn flag(value: &Value, key: &str) -> bool {
    value[key].as_bool().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The rules that a package of this name breaks by this dependency.
    fn broken(name: &str, dependency: &Value) -> Vec<&'static str> {
        let metadata = json!({
            "workspace_root": "/repository",
            "packages": [{
                "name": name,
                "license": "MIT",
                "manifest_path": "/repository/x/Cargo.toml",
                "features": {},
                "dependencies": [dependency],
            }],
        });
        let mut findings = Vec::new();
        check(&metadata, &mut findings);
        assert!(findings.iter().all(|f| f.file == "x/Cargo.toml"));
        findings.into_iter().map(|f| f.rule).collect()
    }

    #[test]
    fn pure_crates_take_tokio_only_behind_a_feature() {
        let always = json!({"name": "tokio", "optional": false});
        let optional = json!({"name": "tokio", "optional": true, "uses_default_features": true});
        assert_eq!(broken("hersh-machine", &always), ["pure-crate"]);
        assert!(broken("hersh-program", &optional).is_empty());
    }

    #[test]
    fn the_reader_of_answers_can_reach_nothing() {
        let parser = json!({"name": "httparse", "uses_default_features": true});
        assert!(broken("hersh-answer", &parser).is_empty());
        let base = json!({"name": "hersh-base"});
        assert_eq!(broken("hersh-answer", &base), ["pure-crate", "direction"]);
        let tokio = json!({"name": "tokio", "optional": true});
        assert_eq!(broken("hersh-answer", &tokio), ["pure-crate"]);
        let hyper = json!({"name": "hyper", "optional": true});
        assert!(broken("hersh-answer", &hyper).is_empty());
    }

    #[test]
    fn pure_crates_take_no_std_by_the_back_door() {
        let serde = json!({"name": "serde", "uses_default_features": true});
        assert_eq!(broken("hersh-machine", &serde), ["pure-crate"]);
    }

    #[test]
    fn direction_is_kept() {
        assert_eq!(
            broken("hersh-host", &json!({"name": "hersh"})),
            ["direction"]
        );
        assert_eq!(
            broken("hersh-cli", &json!({"name": "hersh-program"})),
            ["direction"]
        );
        assert_eq!(
            broken(
                "hersh-wire",
                &json!({"name": "hersh-machine", "kind": "dev"})
            ),
            ["direction"]
        );
        assert!(broken("hersh-host", &json!({"name": "hersh-program"})).is_empty());
        assert!(broken("hersh-host", &json!({"name": "hersh-base"})).is_empty());
        assert_eq!(
            broken("hersh-base", &json!({"name": "hersh-host"})),
            ["direction"]
        );
        assert!(broken("counter", &json!({"name": "hersh"})).is_empty());
        assert!(broken("hersh-sim", &json!({"name": "hersh-host"})).is_empty());
        assert_eq!(
            broken("hersh-sim", &json!({"name": "hersh"})),
            ["direction"]
        );
        assert_eq!(
            broken("hersh-host", &json!({"name": "hersh-sim", "kind": "dev"})),
            ["direction"]
        );
    }

    #[test]
    fn servers_engines_and_sql_stay_in_their_crates() {
        assert_eq!(broken("hersh-cli", &json!({"name": "axum"})), ["direction"]);
        assert_eq!(broken("hersh", &json!({"name": "axum"})), ["direction"]);
        let optional = json!({"name": "axum", "optional": true});
        assert!(broken("hersh", &optional).is_empty());
        assert!(broken("xtask", &optional).is_empty());
        assert_eq!(broken("hersh-cli", &optional), ["direction"]);
        assert!(broken("hersh-docker", &json!({"name": "bollard"})).is_empty());
        assert!(broken("hersh-journal", &json!({"name": "rusqlite"})).is_empty());
        assert_eq!(
            broken("hersh-host", &json!({"name": "rusqlite"})),
            ["direction"]
        );
        let optional = json!({"name": "rusqlite", "optional": true});
        assert!(broken("xtask", &optional).is_empty());
        assert_eq!(broken("hersh", &optional), ["direction"]);
    }
}
