//! What may come in as source, what is refused, and what its name depends on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeMap, fs, io::Write, path::Path};

use hersh_host::storage::{SourceError, SourceLimits, Storage};
use hersh_program::ProgramId;
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
    // Order, folder entries, owners and read permissions are no content.
    let other = Archive::empty()
        .entry(EntryType::Directory, "./a", "", 0o755, b"")
        .entry(EntryType::Regular, "./a//b", "", 0o600, b"text")
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
fn links_that_leave_the_tree_are_refused() {
    let world = World::new();
    for target in ["/etc", "..", "../x", "a/..", "./../..", ""] {
        let message = world.refused(Archive::new().link("link", target), "link");
        assert!(message.contains("link"), "{message}");
    }
    world.refused(Archive::new().link("a/b/link", "../../../x"), "a/b/link");
    let bell = world.refused(Archive::new().link("link", "a\u{7}b"), "link");
    assert!(bell.contains("control characters"), "{bell}");
    // A way out in two steps: the second step alone looks as if it stayed inside.
    let two = Archive::new()
        .link("p/q/s", "../..")
        .link("p/q/t", "s/../..");
    world.refused(two, "p/q/t");
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
        Archive::empty().file("x", "").link("Dockerfile", "x"),
        Archive::empty().entry(EntryType::Directory, "Dockerfile", "", 0o755, b""),
    ] {
        let error = world.stage(archive).unwrap_err();
        assert!(matches!(error, SourceError::MissingDockerfile), "{error:?}");
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
    let bomb = Archive::new().entry(EntryType::XGlobalHeader, "g", "", 0o644, &vec![0; 4 << 20]);
    let packed = zstd::encode_all(bomb.end().as_slice(), 1).unwrap();
    assert!(packed.len() < 10_000, "{}", packed.len());
    let error = world.stage_bytes(&packed, limits).unwrap_err();
    assert!(error.to_string().contains("unpacks to more"), "{error}");
}
