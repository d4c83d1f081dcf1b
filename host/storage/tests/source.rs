//! What may come in as source, what is refused, and what its name depends on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use hersh_program::{BuildRules, ProgramId};
use hersh_storage::{SourceError, SourceLimits, Storage};
use hersh_wire::{ARCHIVE_COUNTED, ARCHIVE_ENTRIES, ARCHIVE_SHA256};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

const DOCKERFILE: (&str, &str) = ("Dockerfile", "FROM scratch\n");

/// An archive under construction, which may hold what no honest tool writes.
struct Archive(Vec<u8>);

impl Archive {
    fn new() -> Self {
        Self(Vec::new()).file("Dockerfile", "FROM scratch\n")
    }

    fn empty() -> Self {
        Self(Vec::new())
    }

    fn file(self, path: &str, text: &str) -> Self {
        self.entry(EntryType::Regular, path, "", 0o644, text.as_bytes())
    }

    fn link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, target, 0o777, b"")
    }

    /// Announces its own end.
    fn counted() -> Self {
        Self(Vec::new())
            .global(&[(ARCHIVE_COUNTED, "1")])
            .file("Dockerfile", "FROM scratch\n")
    }

    fn global(self, records: &[(&str, &str)]) -> Self {
        let mut content = String::new();
        for (key, value) in records {
            // The length counts itself.
            let rest = format!(" {key}={value}\n");
            let length = (rest.len()..)
                .find(|length| length.to_string().len() + rest.len() == *length)
                .unwrap();
            content.push_str(&format!("{length}{rest}"));
        }
        self.entry(EntryType::XGlobalHeader, "g", "", 0o644, content.as_bytes())
    }

    /// The end that it announced.
    fn count(self, entries: &str) -> Self {
        let digest = Sha256::digest(&self.0);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        self.global(&[(ARCHIVE_ENTRIES, entries), (ARCHIVE_SHA256, &digest)])
    }

    /// Gives the entry before this time.
    fn at(mut self, modified_s: u64, header_at: usize) -> Self {
        let block: &mut [u8] = &mut self.0[header_at..header_at + 512];
        let mut header = Header::from_byte_slice(block).clone();
        header.set_mtime(modified_s);
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
        self
    }

    /// Writes header and content as they are, without the checks of the tar crate.
    fn entry(mut self, kind: EntryType, path: &str, link: &str, mode: u32, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..path.len()].copy_from_slice(path.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

struct World {
    storage: Storage,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(folder.path()).unwrap();
        Self { storage, folder }
    }

    fn stage(&self, archive: Archive) -> Result<String, SourceError> {
        self.stage_bytes(&archive.end(), SourceLimits::default())
    }

    fn stage_bytes(&self, bytes: &[u8], limits: SourceLimits) -> Result<String, SourceError> {
        let staged = self.storage.stage_archive(bytes, limits);
        let staged = staged.and_then(|staged| staged.built_by(&BuildRules::default()));
        let build = staged.map(|staged| staged.build_id().to_string());
        assert_eq!(
            count(&self.folder.path().join("staging")),
            0,
            "something stayed in staging"
        );
        build
    }

    /// The message with which an archive is refused, which names `entry`.
    fn refused(&self, archive: Archive, entry: &str) -> String {
        match self.stage(archive) {
            Err(error @ SourceError::Refused { .. }) => {
                let message = error.to_string();
                assert!(message.contains(&format!("{entry:?}")), "{message}");
                message
            }
            other => panic!("{entry}: {other:?}"),
        }
    }
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn an_honest_tree_is_stored_whole() {
    let world = World::new();
    let program = ProgramId::parse("p").unwrap();
    let archive = Archive::new()
        .entry(EntryType::Directory, "src/", "", 0o700, b"")
        .entry(
            EntryType::Regular,
            "./src/run.sh",
            "",
            0o700,
            b"#!/bin/sh\n",
        )
        .link("src/again", "../Dockerfile")
        .link("bin", "src")
        .entry(EntryType::Link, "copy", "src/run.sh", 0o644, b"")
        .file("deep/er/file", "x");
    let staged = world
        .storage
        .stage_archive(archive.end().as_slice(), SourceLimits::default())
        .unwrap();
    let build = world.storage.commit(&program, staged).unwrap();
    let tree = world.storage.source_path(&program, &build);
    assert_eq!(
        fs::read_to_string(tree.join("bin/run.sh")).unwrap(),
        "#!/bin/sh\n"
    );
    assert_eq!(
        fs::read_to_string(tree.join("src/again")).unwrap(),
        "FROM scratch\n"
    );
    assert_eq!(
        fs::read_to_string(tree.join("copy")).unwrap(),
        "#!/bin/sh\n"
    );
    assert_eq!(fs::read_to_string(tree.join("deep/er/file")).unwrap(), "x");
}

#[test]
fn all_packings_of_a_tree_give_the_same_name() {
    let world = World::new();
    let tar = Archive::new().file("a/b", "text").end();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let limits = SourceLimits::default();
    let name = world.stage_bytes(&tar, limits).unwrap();
    assert_eq!(
        world.stage_bytes(&gzip.finish().unwrap(), limits).unwrap(),
        name
    );
    let zstd = zstd::encode_all(tar.as_slice(), 1).unwrap();
    assert_eq!(world.stage_bytes(&zstd, limits).unwrap(), name);

    let files = [DOCKERFILE, ("a/b", "text")];
    let staged = world.storage.stage_files(files, limits).unwrap();
    assert_eq!(staged.build_id().as_str(), name);
    drop(staged);
    // Order, folder entries, owners and times are no content.
    let other = Archive::empty()
        .entry(EntryType::Directory, "./a", "", 0o755, b"")
        .file("./a//b", "text")
        .at(1_700_000_000, 512)
        .file("Dockerfile", "FROM scratch\n");
    assert_eq!(world.stage(other).unwrap(), name);
}

#[test]
fn every_difference_of_content_gives_another_name() {
    let world = World::new();
    let executable = Archive::new().entry(EntryType::Regular, "ab", "", 0o755, b"c");
    let trees = [
        ("as it is", Archive::new().file("ab", "c")),
        ("executable", executable),
        (
            "for its owner only",
            Archive::new().entry(EntryType::Regular, "ab", "", 0o600, b"c"),
        ),
        ("text moved into the path", Archive::new().file("abc", "")),
        ("path moved into the text", Archive::new().file("a", "bc")),
        ("a folder more", Archive::new().file("a/b", "c")),
        ("a link of that name", Archive::new().link("ab", "c")),
        ("two files", Archive::new().file("a", "").file("b", "c")),
        ("an empty folder", {
            Archive::new()
                .file("ab", "c")
                .entry(EntryType::Directory, "d", "", 0o755, b"")
        }),
    ];
    let mut names = BTreeMap::new();
    for (what, tree) in trees {
        let name = world.stage(tree).unwrap();
        if let Some(same) = names.insert(name, what) {
            panic!("{what} has the name of {same}");
        }
    }
}

#[test]
fn paths_that_leave_the_tree_are_refused() {
    let world = World::new();
    for path in [
        "../out",
        "a/../../out",
        "..",
        "a/..",
        "/etc/cron.d/x",
        "//x",
    ] {
        world.refused(Archive::new().file(path, "x"), path);
    }
    assert!(!world.folder.path().join("out").exists());
}

#[test]
fn control_characters_come_into_no_path() {
    let world = World::new();
    for path in ["a\nb", "\u{1b}[2J", "a\u{9b}b"] {
        let message = world.refused(Archive::new().file(path, ""), path);
        assert!(message.contains("a control character"), "{message}");
        assert!(!message.contains(char::is_control), "{message:?}");
    }
}

#[test]
fn links_are_data_wherever_they_lead() {
    let world = World::new();
    let program = ProgramId::parse("p").unwrap();
    let targets = ["/etc/shadow", "..", "../../../x", "a/..", "/", "nowhere"];
    let archive = (0..).zip(targets).fold(Archive::new(), |archive, (n, to)| {
        archive.link(&format!("d/{n}"), to)
    });
    let archive = archive.entry(EntryType::Link, "again", "d/0", 0o777, b"");
    let staged = world
        .storage
        .stage_archive(archive.end().as_slice(), SourceLimits::default())
        .unwrap();
    let build = world.storage.commit(&program, staged).unwrap();
    let tree = world.storage.source_path(&program, &build);
    for (n, target) in (0..).zip(targets) {
        let link = fs::read_link(tree.join(format!("d/{n}"))).unwrap();
        assert_eq!(link.to_str(), Some(target));
    }
    assert_eq!(
        fs::read_link(tree.join("again")).unwrap().to_str(),
        Some("/etc/shadow")
    );
    let bell = world.refused(Archive::new().link("link", "a\u{7}b"), "link");
    assert!(bell.contains("control characters"), "{bell}");
    world.refused(Archive::new().link("link", ""), "link");
}

#[test]
fn a_linked_file_is_read_only_inside_the_tree() {
    let world = World::new();
    let secret = world.folder.path().join("secret");
    fs::write(&secret, "root:x").unwrap();
    let staged = |archive: Archive| {
        let bytes = archive.end();
        world
            .storage
            .stage_archive(bytes.as_slice(), SourceLimits::default())
    };
    let inside = Archive::empty()
        .file("docker/file", "FROM scratch\n")
        .link("Dockerfile", "docker/../docker/file")
        .link("hersh.toml", "docker");
    let inside = staged(inside).unwrap();
    assert_eq!(inside.read("Dockerfile", 4).unwrap(), b"FROM");
    assert!(inside.read("hersh.toml", 4).is_err());
    for target in [
        secret.to_str().unwrap(),
        "../../secret",
        "/proc/self/environ",
    ] {
        let archive = Archive::new().link("hersh.toml", target);
        let error = staged(archive).unwrap().read("hersh.toml", 9).unwrap_err();
        assert!(error.to_string().contains("leads out"), "{target}: {error}");
        let staged = staged(Archive::empty().link("Dockerfile", target)).unwrap();
        let error = staged.built_by(&BuildRules::default()).unwrap_err();
        assert!(
            matches!(error, SourceError::MissingDockerfile { .. }),
            "{error:?}"
        );
    }
}

#[test]
fn modes_and_times_are_kept() {
    let world = World::new();
    let program = ProgramId::parse("p").unwrap();
    let key = Archive::new().entry(EntryType::Regular, "d/key", "", 0o600, b"k");
    let at = key.0.len();
    let archive = key
        .at(1_709_208_000, 1_024)
        .entry(EntryType::Directory, "d", "", 0o2750, b"")
        .at(1_600_000_000, at)
        .entry(EntryType::Regular, "run", "", 0o4755, b"");
    let staged = world
        .storage
        .stage_archive(archive.end().as_slice(), SourceLimits::default())
        .unwrap();
    let build = world.storage.commit(&program, staged).unwrap();
    let tree = world.storage.source_path(&program, &build);
    let seen = |path: &str| {
        let metadata = fs::metadata(tree.join(path)).unwrap();
        (metadata.permissions().mode() & 0o7777, metadata.mtime())
    };
    assert_eq!(seen("d/key"), (0o600, 1_709_208_000));
    assert_eq!(seen("d"), (0o750, 1_600_000_000));
    assert_eq!(seen("run").0, 0o755, "nothing stored runs as its owner");
}

#[test]
fn an_archive_without_its_end_is_refused() {
    let world = World::new();
    let tar = Archive::new().file("zeros", &"\0".repeat(2_048)).end();
    let limits = SourceLimits::default();
    world.stage_bytes(&tar, limits).unwrap();
    for left in [0, 511, 512, 513, 1_023] {
        let cut = &tar[..tar.len() - 1_024 + left];
        let error = world.stage_bytes(cut, limits).unwrap_err();
        assert!(matches!(error, SourceError::Unreadable { .. }), "{error:?}");
    }
    // What tools pad with is no more than an end.
    let padded = [tar.as_slice(), &[0; 9_216]].concat();
    world.stage_bytes(&padded, limits).unwrap();
    let two = [tar.as_slice(), &tar].concat();
    let error = world.stage_bytes(&two, limits).unwrap_err().to_string();
    assert!(error.contains("something follows its end"), "{error}");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let gzip = gzip.finish().unwrap();
    world.stage_bytes(&gzip, limits).unwrap();
    // Even when only the checksum is missing.
    let cut = &gzip[..gzip.len() - 4];
    assert!(world.stage_bytes(cut, limits).is_err());
}

#[test]
fn an_announced_end_must_be_there_and_true() {
    let world = World::new();
    let refused = |archive: Archive| world.stage(archive).unwrap_err().to_string();
    let whole = || Archive::counted().file("a", "1");
    let name = world.stage(whole().count("2")).unwrap();
    assert_eq!(world.stage(Archive::new().file("a", "1")).unwrap(), name);
    assert!(refused(whole()).contains("cut short"));
    assert!(refused(whole().count("3")).contains("not what was sent"));
    assert!(refused(whole().count("2").file("b", "")).contains("follows the end"));
    let mut changed = whole().count("2");
    // A byte of the file `a`.
    changed.0[1_024 + 1_024 + 512] = b'2';
    assert!(refused(changed).contains("not what was sent"));
}

#[test]
fn the_manifest_is_no_part_of_what_is_built() {
    let world = World::new();
    let program = ProgramId::parse("p").unwrap();
    let store = |manifest: Option<&str>| {
        let archive = Archive::new().file("a", "1");
        let archive = match manifest {
            Some(text) => archive.file("hersh.toml", text),
            None => archive,
        };
        let staged = world
            .storage
            .stage_archive(archive.end().as_slice(), SourceLimits::default())
            .unwrap();
        let build = world.storage.commit(&program, staged).unwrap();
        let tree = world.storage.source_path(&program, &build);
        (build, fs::read_to_string(tree.join("hersh.toml")).ok())
    };
    let (build, _) = store(None);
    for text in [Some("# one"), Some("# two"), None] {
        assert_eq!(store(text), (build.clone(), text.map(str::to_owned)));
    }
    let below = Archive::new().file("a", "1").file("d/hersh.toml", "");
    assert_ne!(world.stage(below).unwrap(), build.as_str());
    let staged = world
        .storage
        .stage_archive(
            Archive::new().file("a", "1").end().as_slice(),
            SourceLimits::default(),
        )
        .unwrap();
    let rules = BuildRules {
        network: true,
        ..BuildRules::default()
    };
    assert_ne!(*staged.built_by(&rules).unwrap().build_id(), build);
}

#[test]
fn nothing_is_written_through_a_link_or_a_file_or_twice() {
    let world = World::new();
    let through = Archive::new()
        .file("d/x", "")
        .link("link", "d")
        .file("link/y", "z");
    world.refused(through, "link/y");
    world.refused(Archive::new().file("f", "").file("f/y", "z"), "f/y");
    world.refused(Archive::new().file("f", "").file("./f", "z"), "./f");
    let replaced = Archive::new().link("l", "Dockerfile").file("l", "z");
    world.refused(replaced, "l");
    let folder = Archive::new().file("d/x", "").link("d", "Dockerfile");
    world.refused(folder, "d");
    world.refused(
        Archive::new().file(".hersh.dockerfile", ""),
        ".hersh.dockerfile",
    );
    let over =
        Archive::new()
            .link("d", "Dockerfile")
            .entry(EntryType::Directory, "d", "", 0o755, b"");
    world.refused(over, "d");
}

#[test]
fn what_is_neither_file_nor_folder_nor_link_is_refused() {
    let world = World::new();
    for (kind, what) in [
        (EntryType::Char, "device"),
        (EntryType::Block, "device"),
        (EntryType::Fifo, "named pipe"),
        (EntryType::GNUSparse, "sparse"),
        (EntryType::new(b'V'), "neither"),
    ] {
        let message = world.refused(Archive::new().entry(kind, "odd", "", 0o644, b""), "odd");
        assert!(message.contains(what), "{message}");
    }
    for target in ["/etc/shadow", "../x", "nothing", "d"] {
        let archive = Archive::new()
            .entry(EntryType::Directory, "d", "", 0o755, b"")
            .entry(EntryType::Link, "hard", target, 0o644, b"");
        assert!(
            matches!(world.stage(archive), Err(SourceError::Refused { .. })),
            "{target}"
        );
    }
}

#[test]
fn limits_are_kept_and_named() {
    let world = World::new();
    let limits = SourceLimits {
        total_bytes: 100,
        entries: 5,
        path_bytes: 40,
        depth: 3,
        ..SourceLimits::default()
    };
    let stage = |archive: Archive| {
        let error = world.stage_bytes(&archive.end(), limits).unwrap_err();
        error.to_string()
    };
    let big = "x".repeat(90);
    assert!(stage(Archive::new().file("big", &big)).contains("larger than 100 bytes"));
    let hard = Archive::new()
        .file("a", &big[..50])
        .entry(EntryType::Link, "b", "a", 0o644, b"");
    assert!(stage(hard).contains("larger than 100 bytes"));
    let many = (0..5).fold(Archive::new(), |archive, n| {
        archive.file(&n.to_string(), "")
    });
    assert!(stage(many).contains("more than 5 entries"));
    assert!(stage(Archive::new().file("a/b/c/d", "")).contains("too many folders"));
    assert!(stage(Archive::new().file(&"n".repeat(41), "")).contains("too long"));
    let folders = Archive::new().file("a/b/c", "").file("d/e/f", "");
    assert!(stage(folders).contains("more than 5 entries"));
}

#[test]
fn twenty_thousand_entries_are_refused() {
    let world = World::new();
    let many = (0..20_000).fold(Archive::new(), |archive, n| {
        archive.file(&n.to_string(), "")
    });
    match world.stage(many) {
        Err(SourceError::TooManyEntries {
            limit: 10_000,
            entry,
        }) => assert_eq!(entry, "9999"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bomb_of_zeros_stops_at_the_limit() {
    let world = World::new();
    let mut header = Header::new_gnu();
    header.set_path("bomb").unwrap();
    header.set_mode(0o644);
    header.set_size(1 << 40);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend([0; 4096]);
    let error = world
        .stage_bytes(&bytes, SourceLimits::default())
        .unwrap_err();
    assert!(matches!(error, SourceError::TooLarge { .. }), "{error:?}");
}

#[test]
fn a_name_of_any_length_is_not_read_into_memory() {
    let world = World::new();
    for kind in [EntryType::GNULongName, EntryType::XHeader] {
        let name = vec![b'n'; 100_000];
        let archive = Archive::new().entry(kind, "././@LongLink", "", 0o644, &name);
        let error = world.stage(archive.file("x", "")).unwrap_err();
        assert!(error.to_string().contains("longer than 64 KiB"), "{error}");
    }
}

#[test]
fn long_names_are_read() {
    let world = World::new();
    let path = format!("{}/{}", "d".repeat(120), "f".repeat(120));
    let mut tar = tar::Builder::new(Vec::new());
    for (name, text) in [DOCKERFILE, (&path, "x")] {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    let name = world
        .stage_bytes(&tar.into_inner().unwrap(), SourceLimits::default())
        .unwrap();
    let files = [DOCKERFILE, (&path, "x")];
    let staged = world
        .storage
        .stage_files(files, SourceLimits::default())
        .unwrap();
    assert_eq!(staged.build_id().as_str(), name);
}

#[test]
fn what_is_no_archive_is_told() {
    let world = World::new();
    let cut = &Archive::new().file("big", &"x".repeat(5_000)).end()[..3_000];
    for bytes in [
        b"this is no archive".repeat(100).as_slice(),
        cut,
        &[0x1f, 0x8b, 1, 2, 3],
    ] {
        let error = world
            .stage_bytes(bytes, SourceLimits::default())
            .unwrap_err();
        assert!(matches!(error, SourceError::Unreadable { .. }), "{error:?}");
    }
}

#[test]
fn a_dockerfile_must_be_there_and_be_a_file() {
    let world = World::new();
    for archive in [
        Archive::empty(),
        Archive::empty().file("src/Dockerfile", ""),
        Archive::empty().file("x", "").link("Dockerfile", "y"),
        Archive::empty().entry(EntryType::Directory, "Dockerfile", "", 0o755, b""),
    ] {
        let error = world.stage(archive).unwrap_err();
        assert!(
            matches!(error, SourceError::MissingDockerfile { .. }),
            "{error:?}"
        );
    }
}

#[test]
fn a_disk_keeps_the_room_that_it_is_to_keep() {
    let world = World::new();
    let limits = SourceLimits {
        free_bytes_min: u64::MAX,
        ..SourceLimits::default()
    };
    let archive = Archive::new().file("Dockerfile", "FROM scratch").end();
    let error = world.stage_bytes(&archive, limits).unwrap_err();
    assert!(matches!(error, SourceError::DiskFull { .. }), "{error:?}");
}

#[test]
fn what_is_only_skipped_is_bounded_too() {
    let world = World::new();
    let limits = SourceLimits {
        total_bytes: 1 << 20,
        entries: 10,
        ..SourceLimits::default()
    };
    let bomb = Archive::new().entry(EntryType::Directory, "d", "", 0o755, &vec![0; 4 << 20]);
    let packed = zstd::encode_all(bomb.end().as_slice(), 1).unwrap();
    assert!(packed.len() < 10_000, "{}", packed.len());
    let error = world.stage_bytes(&packed, limits).unwrap_err();
    assert!(error.to_string().contains("unpacks to more"), "{error}");
}
