//! Finds cycles of modules: of two modules in one folder, at most one may use the other.
//!
//! ```text
//! files of a crate ─► modules ─► who uses whom (`use`, paths, through re-exports) ─► cycles
//! ```
//! A folder counts as one module among its neighbours, so each cycle is found in the folder that holds all of
//! it. Parent and child may use each other: together they are one module. Tests may use everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    Finding,
    imports::{Imports, ModulePath},
};

/// Checks every crate that `cargo metadata --no-deps` lists.
///
/// # Errors
/// When a source file can't be read or is not Rust.
pub(super) fn check(metadata: &Value, root: &Path, findings: &mut Vec<Finding>) -> Result<()> {
    let roots = crate_roots(metadata);
    for source in &roots {
        let modules = read(source, &roots)?;
        let relative = source.strip_prefix(root).unwrap_or(source);
        findings.extend(cycles(&modules).into_iter().map(|cycle| Finding {
            file: relative.display().to_string(),
            line: 1,
            rule: "cycle",
            advice: format!("break the cycle: {cycle}"),
        }));
    }
    Ok(())
}

/// The first file of every library and program.
fn crate_roots(metadata: &Value) -> Vec<PathBuf> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let built = targets.filter(|target| {
        let kinds = target["kind"].as_array().into_iter().flatten();
        let mut kinds = kinds.filter_map(Value::as_str);
        kinds.any(|kind| ["lib", "bin"].contains(&kind))
    });
    let sources = built.filter_map(|target| target["src_path"].as_str());
    sources.map(PathBuf::from).collect()
}

/// The modules of one crate, by path.
fn read(source: &Path, roots: &[PathBuf]) -> Result<BTreeMap<ModulePath, Imports>> {
    let mut modules = BTreeMap::new();
    let mut pending = vec![(ModulePath::new(), source.to_owned())];
    while let Some((path, file)) = pending.pop() {
        let text = fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
        let imports = Imports::read(&path, &text).with_context(|| format!("{}", file.display()))?;
        let is_root = roots.contains(&file) || file.ends_with("mod.rs");
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        let folder = match is_root {
            true => folder,
            false => folder.join(file.file_stem().unwrap_or_default()),
        };
        for child in &imports.children {
            let files = [format!("{child}.rs"), format!("{child}/mod.rs")];
            let found = files
                .iter()
                .map(|it| folder.join(it))
                .find(|it| it.exists());
            if let Some(found) = found {
                let path = path.iter().chain([child]).cloned().collect();
                pending.push((path, found));
            }
        }
        modules.insert(path, imports);
    }
    Ok(modules)
}

/// The cycles of one crate, each in words.
fn cycles(modules: &BTreeMap<ModulePath, Imports>) -> Vec<String> {
    // By folder: which neighbour in it uses which other, and one file of each that does.
    let mut folders: BTreeMap<&[String], Neighbours<'_>> = BTreeMap::new();
    for (user, imports) in modules {
        for used in imports.paths.iter().map(|path| resolve(modules, path)) {
            let shared = user.iter().zip(used).take_while(|(a, b)| a == b).count();
            if let (Some(from), Some(to)) = (user.get(shared), used.get(shared)) {
                let neighbours = folders.entry(&user[..shared]).or_default();
                let seen = neighbours.entry(from).or_default();
                seen.entry(to).or_insert((user, used));
            }
        }
    }
    folders.values().flat_map(cycles_among).collect()
}

type Neighbours<'a> = BTreeMap<&'a str, BTreeMap<&'a str, (&'a ModulePath, &'a ModulePath)>>;

/// The module that a path leads to, through re-exports.
fn resolve<'a>(modules: &'a BTreeMap<ModulePath, Imports>, path: &[String]) -> &'a ModulePath {
    let mut path = path.to_vec();
    // Chains of re-exports are short.
    for _ in 0..8 {
        let length = (0..=path.len()).rev();
        let module = length
            .map(|length| &path[..length])
            .find_map(|prefix| modules.get_key_value(prefix));
        let Some((module, imports)) = module else {
            break;
        };
        match path
            .get(module.len())
            .and_then(|it| imports.exports.get(it))
        {
            Some(target) if *target != path => path = target.clone(),
            Some(_) | None => return module,
        }
    }
    modules.keys().next().unwrap_or(const { &Vec::new() })
}

/// The cycles among neighbours: groups in which everyone reaches everyone.
fn cycles_among(neighbours: &Neighbours<'_>) -> Vec<String> {
    let reach = |from: &str| {
        let mut seen = BTreeSet::new();
        let mut pending = vec![from.to_owned()];
        while let Some(name) = pending.pop() {
            for next in neighbours
                .get(name.as_str())
                .into_iter()
                .flat_map(BTreeMap::keys)
            {
                if seen.insert((*next).to_owned()) {
                    pending.push((*next).to_owned());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<String>> =
        neighbours.keys().map(|name| (*name, reach(name))).collect();
    let mut reported = BTreeSet::new();
    let mut found = Vec::new();
    for (name, seen) in &reached {
        if !seen.contains(*name) || reported.contains(*name) {
            continue;
        }
        let is_back = |other: &&&str| seen.contains(**other) && reached[**other].contains(*name);
        let group: BTreeSet<&str> = reached.keys().filter(is_back).copied().collect();
        let uses = group.iter().flat_map(|from| {
            let used = neighbours.get(from).into_iter().flatten();
            used.filter(|(to, _)| group.contains(*to))
                .map(|(_, (user, used))| format!("{} uses {}", user.join("::"), used.join("::")))
        });
        found.push(uses.collect::<Vec<_>>().join(", "));
        reported.extend(group);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(files: &[(&str, &str)]) -> BTreeMap<ModulePath, Imports> {
        let module = |(name, text): &(&str, &str)| {
            let path: ModulePath = name
                .split("::")
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect();
            let imports = Imports::read(&path, text).unwrap();
            (path, imports)
        };
        files.iter().map(module).collect()
    }

    #[test]
    fn neighbours_that_know_each_other_are_a_cycle() {
        let found = cycles(&modules(&[
            ("", "mod a; mod b; mod c;"),
            ("a", "use crate::b::B;"),
            ("b", "fn f() { super::c::g(); }"),
            ("c", "use super::a::{self, A};"),
        ]));
        assert_eq!(found, ["a uses b, b uses c, c uses a"]);
    }

    #[test]
    fn a_cycle_is_seen_through_re_exports_and_folders() {
        let found = cycles(&modules(&[
            ("", "mod a; mod b; pub use b::inner::B;"),
            ("a", "use crate::B;"),
            ("b", "mod inner; mod other;"),
            ("b::inner", "use crate::a;"),
            ("b::other", ""),
        ]));
        assert_eq!(found, ["a uses b::inner, b::inner uses a"]);
    }

    #[test]
    fn parent_and_child_may_know_each_other_and_tests_all() {
        let found = cycles(&modules(&[
            ("", "mod a; mod b; struct Root;"),
            ("a", "mod child; use child::C; use crate::Root; struct A;"),
            ("a::child", "use super::A;"),
            ("b", "use crate::a::A;"),
            ("a", "#[cfg(test)] mod tests { use crate::b::B; }"),
        ]));
        assert!(found.is_empty(), "{found:?}");
    }
}
