//! The folders of programs: what is made, what is removed, what an end half-way leaves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::{
    ffi::CString,
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, symlink},
        net::UnixListener,
    },
    process::Command,
};

use hersh_program::ProgramId;
use hersh_storage::{SourceError, SourceLimits, Storage};

const FILES: [(&str, &str); 1] = [("Dockerfile", "FROM scratch\n")];

fn program() -> ProgramId {
    ProgramId::parse("p").unwrap()
}

#[test]
fn folders_are_private_and_state_belongs_to_the_sandbox() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(folder.path()).unwrap();
    let paths = storage.ensure_folders(&program()).unwrap();
    assert_eq!(storage.ensure_folders(&program()).unwrap(), paths);
    for path in [
        &paths.root,
        &paths.src,
        &paths.meta,
        &paths.logs,
        &paths.runtime,
    ] {
        let metadata = fs::metadata(path).unwrap();
        assert_eq!(
            (metadata.mode() & 0o7777, metadata.uid()),
            (0o700, 0),
            "{}",
            path.display()
        );
    }
    let state = fs::metadata(&paths.state).unwrap();
    assert_eq!(
        (state.mode() & 0o7777, state.uid(), state.gid()),
        (0o750, 65_532, 65_532)
    );
    assert_eq!(storage.programs().unwrap(), [program()]);
    storage.remove(&program()).unwrap();
    storage.remove(&program()).unwrap();
    assert!(storage.programs().unwrap().is_empty());
}

#[test]
fn a_staged_tree_is_stored_once_or_gone() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(folder.path()).unwrap();
    let limits = SourceLimits::default();
    let staging = folder.path().join("staging");
    drop(storage.stage_files(FILES, limits).unwrap());
    assert_eq!(fs::read_dir(&staging).unwrap().count(), 0);

    let build = storage
        .commit(&program(), storage.stage_files(FILES, limits).unwrap())
        .unwrap();
    let again = storage
        .commit(&program(), storage.stage_files(FILES, limits).unwrap())
        .unwrap();
    assert_eq!(build, again);
    assert_eq!(fs::read_dir(&staging).unwrap().count(), 0);
    let stored = storage.source_path(&program(), &build);
    assert_eq!(
        fs::read_to_string(stored.join("Dockerfile")).unwrap(),
        "FROM scratch\n"
    );
}

#[test]
fn leftovers_of_an_ended_host_are_removed_at_open() {
    let folder = tempfile::tempdir().unwrap();
    let leftover = folder.path().join("staging/17-1");
    fs::create_dir_all(leftover.join("half")).unwrap();
    let storage = Storage::open(folder.path()).unwrap();
    assert!(!leftover.exists());

    // A second one on the same folder takes the uploads of the first for nobody's.
    let staged = storage.stage_files(FILES, SourceLimits::default()).unwrap();
    let _other = Storage::open(folder.path()).unwrap();
    assert!(staged.path().exists());
}

#[test]
fn whatever_a_program_leaves_in_its_state_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(folder.path()).unwrap();
    let paths = storage.ensure_folders(&program()).unwrap();
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "").unwrap();

    symlink(&outside, paths.state.join("link")).unwrap();
    symlink("/", paths.state.join("root")).unwrap();
    symlink("self", paths.state.join("self")).unwrap();
    fs::hard_link(outside.join("kept"), paths.state.join("hard")).unwrap();
    fs::create_dir(paths.state.join("closed")).unwrap();
    fs::write(paths.state.join("closed/file"), "").unwrap();
    fs::set_permissions(
        paths.state.join("closed"),
        fs::Permissions::from_mode(0o000),
    )
    .unwrap();
    drop(UnixListener::bind(paths.state.join("socket")).unwrap());
    let fifo = Command::new("mkfifo")
        .arg(paths.state.join("fifo"))
        .status()
        .unwrap();
    assert!(fifo.success());
    fs::create_dir(paths.state.join(".hersh-removing-1-0")).unwrap();
    fs::write(paths.state.join(".hersh-removing-1-0/taken"), "").unwrap();
    nest(&paths.state, 3_000);

    storage.remove(&program()).unwrap();
    assert!(!paths.root.exists());
    assert!(outside.join("kept").exists());
}

/// Makes folders in folders, deeper than any path can name.
fn nest(top: &std::path::Path, depth: usize) {
    use rustix::fs::{Mode, OFlags, mkdirat, openat};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut folder = rustix::fs::open(top, flags, Mode::empty()).unwrap();
    let name = CString::new("n".repeat(200)).unwrap();
    for _ in 0..depth {
        mkdirat(&folder, &name, Mode::RWXU).unwrap();
        folder = openat(&folder, &name, flags, Mode::empty()).unwrap();
    }
}

#[test]
fn a_full_disk_is_told_by_name_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m,nr_inodes=200", "tmpfs"])
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(
        mounted.success(),
        "a small disk needs root: run these tests with `make test`"
    );
    let result = fill(folder.path());
    let unmounted = Command::new("umount")
        .arg("-l")
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(unmounted.success());
    result.unwrap();
}

fn fill(disk: &std::path::Path) -> Result<(), String> {
    let storage = Storage::open(disk).map_err(|error| error.to_string())?;
    let big = "x".repeat(2 * 1024 * 1024);
    let names: Vec<String> = (0..300).map(|number| format!("f{number}")).collect();
    let many = names.iter().map(|name| (name.as_str(), ""));
    let too_much: [Vec<(&str, &str)>; 2] = [
        FILES.into_iter().chain([("big", big.as_str())]).collect(),
        FILES.into_iter().chain(many).collect(),
    ];
    for files in too_much {
        match storage.stage_files(files, SourceLimits::default()) {
            Err(error @ SourceError::DiskFull { .. }) => {
                let message = error.to_string();
                if !message.contains(disk.to_str().unwrap_or_default()) {
                    return Err(message);
                }
            }
            other => return Err(format!("{other:?}")),
        }
        let left = fs::read_dir(disk.join("staging")).map_err(|error| error.to_string())?;
        if left.count() > 0 {
            return Err("something stayed in staging".to_owned());
        }
    }
    // There is room again for what fits.
    let staged = storage.stage_files(FILES, SourceLimits::default());
    staged.map(drop).map_err(|error| error.to_string())
}
