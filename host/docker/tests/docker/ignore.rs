//! What a Docker client leaves out by a `.dockerignore`, against the table that ours is tested with.

use std::{collections::BTreeSet, path::Path, process::Command};

use crate::world::socket;

const VERDICTS: &str = include_str!("../../../../wire/src/ignore/verdicts.txt");

/// How many folders are sent at once.
const AT_ONCE: usize = 4;

/// One in so many blocks is sent: each is a build, and some hundred pairs tell of a change in clients.
const EVERY: usize = 3;

/// Lines of a `.dockerignore`, and paths with whether they came to the engine.
struct Block {
    patterns: Vec<&'static str>,
    paths: Vec<(&'static str, bool)>,
    is_newer: bool,
}

fn blocks() -> Vec<Block> {
    let block = |text: &'static str| {
        let mut block = Block {
            patterns: Vec::new(),
            paths: Vec::new(),
            is_newer: text.starts_with("// Clients before 23.0"),
        };
        for line in text.lines().filter(|line| !line.starts_with("//")) {
            match line.split_once(' ').unwrap() {
                ("|", pattern) => block.patterns.push(pattern),
                (verdict, path) => block.paths.push((path, verdict == "in")),
            }
        }
        block
    };
    let blocks = VERDICTS.split("\n\n").map(block);
    blocks.filter(|block| !block.paths.is_empty()).collect()
}

fn docker(arguments: &[&str]) -> std::process::Output {
    let output = Command::new("docker")
        .env("DOCKER_HOST", format!("unix://{}", socket().display()))
        .env("DOCKER_BUILDKIT", "0")
        .args(arguments)
        .output();
    output.expect("no docker client: run these tests with `make test`")
}

fn told(arguments: &[&str]) -> String {
    let output = docker(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The paths that the engine got from the client.
fn arrived(folder: &Path) -> BTreeSet<String> {
    let built = docker(&["build", "-q", "--no-cache", folder.to_str().unwrap()]);
    if !built.status.success() {
        let error = String::from_utf8_lossy(&built.stderr).into_owned();
        // What a COPY says that finds nothing.
        assert!(error.contains("no source files"), "{error}");
        return BTreeSet::new();
    }
    let said = String::from_utf8(built.stdout).unwrap();
    let image = said.lines().last().unwrap();
    let container = told(&["create", image]);
    let exported = docker(&["export", &container]).stdout;
    told(&["rm", &container]);
    told(&["rmi", image]);
    let mut archive = tar::Archive::new(exported.as_slice());
    let entries = archive.entries().unwrap().map(Result::unwrap);
    let paths = entries.map(|entry| entry.path().unwrap().display().to_string());
    paths
        .filter_map(|path| path.strip_prefix("ctx/").map(str::to_owned))
        .collect()
}

/// What differs from the table.
fn wrong(block: &Block) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    block.paths.iter().for_each(|(path, _)| write(path, path));
    write("Dockerfile", "FROM scratch\nCOPY . /ctx/\nCMD [\"x\"]\n");
    write(".dockerignore", &block.patterns.join("\n"));
    let arrived = arrived(folder.path());
    let differs = |(path, is_in): &&(&str, bool)| arrived.contains(*path) != *is_in;
    let wrong = block.paths.iter().filter(differs);
    wrong
        .map(|(path, is_in)| format!("{:?}: {path} should be in: {is_in}", block.patterns))
        .collect()
}

#[test]
fn a_docker_client_leaves_out_what_the_table_says() {
    let version = told(&["version", "--format", "{{.Client.Version}}"]);
    let major: u32 = version.split('.').next().unwrap().parse().unwrap();
    let mut blocks: Vec<Block> = blocks().into_iter().step_by(EVERY).collect();
    blocks.retain(|block| !block.is_newer || major >= 23);
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let parts = blocks.chunks(blocks.len().div_ceil(AT_ONCE));
        let asked: Vec<_> = parts
            .map(|part| scope.spawn(|| part.iter().flat_map(wrong).collect::<Vec<_>>()))
            .collect();
        asked
            .into_iter()
            .flat_map(|part| part.join().unwrap())
            .collect()
    });
    assert!(wrong.is_empty(), "client {version}: {wrong:#?}");
}
