//! What a build sees of the tree that was sent.

use std::{io::Write, path::Path};

use hersh_sandbox::Builder as _;
use hersh_storage::SourceLimits;
use tar::{Builder, EntryType, Header};

use crate::world::{World, add_file, busybox_archive};

/// Lists everything below `/ctx`: name, mode, time and what a link leads to.
const DOCKERFILE: &str = "FROM scratch\nCOPY bin /bin\nENV PATH=/bin\nCOPY . /ctx/\n\
    RUN find /ctx -path /ctx/bin -prune -o -exec stat -c 'saw %n %a %Y %N' {} ';'\n";

fn add_link(archive: &mut Builder<Vec<u8>>, path: &str, target: &str) {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Symlink);
    header.set_size(0);
    archive.append_link(&mut header, path, target).unwrap();
}

fn add_dated(archive: &mut Builder<Vec<u8>>, path: &str, mode: u32, modified_s: u64) {
    let mut header = Header::new_gnu();
    header.set_mode(mode);
    header.set_mtime(modified_s);
    header.set_size(4);
    archive
        .append_data(&mut header, path, &b"text"[..])
        .unwrap();
}

/// Builds the tree; what its steps saw, one line each.
async fn seen(world: &World, archive: Builder<Vec<u8>>) -> Vec<String> {
    let archive = archive.into_inner().unwrap();
    let limits = SourceLimits::default();
    let staged = world
        .storage
        .stage_archive(archive.as_slice(), limits)
        .unwrap();
    let build = world.storage.commit(&world.program, staged).unwrap();
    let request = world.build_request(&build);
    let log = request.log_path.clone();
    world.runtime.build(request).await.unwrap();
    saw(&log)
}

fn saw(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("saw "));
    lines.map(str::to_owned).collect()
}

fn has(seen: &[String], begins: &str) -> bool {
    seen.iter().any(|line| line.starts_with(begins))
}

#[tokio::test]
async fn a_build_sees_modes_times_and_links_as_they_were_sent() {
    let world = World::new();
    let mut archive = busybox_archive();
    add_file(&mut archive, "Dockerfile", 0o644, DOCKERFILE.as_bytes());
    add_dated(&mut archive, "data/a.txt", 0o644, 1_709_208_000);
    add_dated(&mut archive, "data/id_rsa", 0o600, 1_600_000_000);
    add_link(&mut archive, "venv/python", "/usr/bin/python3");
    add_link(&mut archive, "venv/out", "../../../../etc/shadow");
    let seen = seen(&world, archive).await;
    assert!(has(&seen, "/ctx/data/a.txt 644 1709208000 "), "{seen:#?}");
    assert!(has(&seen, "/ctx/data/id_rsa 600 1600000000 "), "{seen:#?}");
    for target in ["/usr/bin/python3", "../../../../etc/shadow"] {
        let leads = |line: &String| line.contains(target);
        assert!(seen.iter().any(leads), "{seen:#?}");
    }
}

#[tokio::test]
async fn what_is_ignored_of_the_hosts_own_files_is_in_no_image() {
    let world = World::new();
    let mut archive = busybox_archive();
    add_file(&mut archive, "Dockerfile", 0o644, DOCKERFILE.as_bytes());
    add_file(
        &mut archive,
        "hersh.toml",
        0o644,
        b"[env]\nKEY = \"secret\"\n",
    );
    let first = seen(&world, archive).await;
    assert!(has(&first, "/ctx/Dockerfile "), "{first:#?}");
    for hidden in ["/ctx/hersh.toml", "/ctx/.dockerignore", "/ctx/.hersh"] {
        assert!(!has(&first, hidden), "{first:#?}");
    }
    let mut archive = busybox_archive();
    add_file(&mut archive, "docker/file", 0o644, DOCKERFILE.as_bytes());
    add_link(&mut archive, "Dockerfile", "docker/file");
    let patterns = b"Dockerfile\nhersh.toml\n.dockerignore\n";
    add_file(&mut archive, ".dockerignore", 0o644, patterns);
    let second = seen(&world, archive).await;
    assert!(has(&second, "/ctx/docker/file "), "{second:#?}");
    for hidden in ["/ctx/Dockerfile", "/ctx/.dockerignore", "/ctx/.hersh"] {
        assert!(!has(&second, hidden), "{second:#?}");
    }
}

/// A gzip of a tar with a file `inside` of 3 MiB.
fn packed() -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    add_file(&mut tar, "inside", 0o644, &vec![0; 3 << 20]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar.into_inner().unwrap()).unwrap();
    gzip.finish().unwrap()
}

/// What the engine takes for an archive that `ADD` unpacks, and what it costs.
#[tokio::test]
async fn what_add_unpacks_is_counted_before() {
    let world = World::new();
    let mut archive = busybox_archive();
    let text = "FROM scratch\nCOPY bin /bin\nENV PATH=/bin\nADD a.tgz /a/\nADD *.tgz /b/\n\
                ADD folder /c/\nADD link /d/\nRUN cd /; echo saw $(ls a b c d)\n";
    add_file(&mut archive, "Dockerfile", 0o644, text.as_bytes());
    add_file(&mut archive, "a.tgz", 0o644, &packed());
    add_file(&mut archive, "folder/c.tgz", 0o644, &packed());
    add_link(&mut archive, "link", "/folder/c.tgz");
    let bytes = archive.into_inner().unwrap();
    let staged = world
        .storage
        .stage_archive(bytes.as_slice(), SourceLimits::default());
    let build = world
        .storage
        .commit(&world.program, staged.unwrap())
        .unwrap();
    let mut request = world.build_request(&build);
    request.free_bytes = Some((2 * 9) << 20);
    let refused = world.runtime.build(request.clone()).await.unwrap_err();
    let message = refused.to_string();
    assert!(message.contains("line 4: source and archives"), "{message}");
    request.free_bytes = Some((2 * 15) << 20);
    world.runtime.build(request.clone()).await.unwrap();
    let seen = saw(&request.log_path);
    assert_eq!(seen, ["a: inside b: inside c: c.tgz d: inside"]);
    world.runtime.forget(&world.program).await.unwrap();
}
