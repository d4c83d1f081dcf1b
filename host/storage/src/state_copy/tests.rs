//! What is copied of a `/state`, and what bounds that.

use std::{collections::BTreeMap, io::Read, os::unix::fs::symlink, path::PathBuf, time::Duration};

use rustix::fs::{CWD, FileType, Mode};

use super::{meter::Meter, *};

const FREE: CopyBounds = CopyBounds {
    bytes_max: 1 << 20,
    free_bytes_min: 0,
    deadline: None,
};

struct World {
    _folder: tempfile::TempDir,
    storage: Storage,
    state: PathBuf,
}

fn id() -> ProgramId {
    ProgramId::parse("counter").unwrap()
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(&folder.path().join("data")).unwrap();
    let state = storage.paths(&id()).state;
    fs::create_dir_all(&state).unwrap();
    World {
        _folder: folder,
        storage,
        state,
    }
}

/// Each entry's path, with what it holds or where it leads.
fn entries(copy: StateCopy) -> BTreeMap<String, String> {
    let mut bytes = Vec::new();
    let mut file = copy.file;
    file.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, copy.bytes);
    let mut archive = tar::Archive::new(bytes.as_slice());
    let read = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        let link = entry.link_name().unwrap();
        let link = link.map(|target| format!("-> {}", target.display()));
        (path, link.unwrap_or(text))
    });
    read.collect()
}

#[test]
fn files_folders_and_links_are_copied_and_nothing_behind_a_link() {
    let world = world();
    fs::create_dir_all(world.state.join("a/b")).unwrap();
    fs::write(world.state.join("a/b/data.db"), "rows").unwrap();
    symlink("/etc", world.state.join("out")).unwrap();
    symlink("/etc/passwd", world.state.join("a/passwd")).unwrap();
    let pipe = world.state.join("pipe");
    rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(world.state.join("sock")).unwrap();
    let found = entries(world.storage.copy_state(&id(), FREE).unwrap());
    let expected = [
        ("a/", ""),
        ("a/b/", ""),
        ("a/b/data.db", "rows"),
        ("a/passwd", "-> /etc/passwd"),
        ("out", "-> /etc"),
    ];
    let expected = expected.map(|(path, text)| (path.to_owned(), text.to_owned()));
    assert_eq!(found, BTreeMap::from(expected));
    let staged = fs::read_dir(world.storage.staging()).unwrap().count();
    assert_eq!(staged, 0, "the copy has no name");
}

#[test]
fn a_state_folder_that_is_a_link_of_its_program_is_not_followed() {
    let world = world();
    let outside = world.state.parent().unwrap().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "s").unwrap();
    symlink(&outside, world.state.join("dir")).unwrap();
    let found = entries(world.storage.copy_state(&id(), FREE).unwrap());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found["dir"].starts_with("-> "), "{found:?}");
}

#[test]
fn what_is_too_much_or_too_late_is_refused() {
    let world = world();
    let hole = File::create(world.state.join("hole")).unwrap();
    hole.set_len(1 << 40).unwrap();
    let copy = |bounds| world.storage.copy_state(&id(), bounds).unwrap_err();
    assert!(matches!(copy(FREE), StateCopyError::TooLarge(_)));
    hole.set_len(10).unwrap();
    let late = CopyBounds {
        deadline: Some(Instant::now() - Duration::from_secs(1)),
        ..FREE
    };
    assert!(matches!(copy(late), StateCopyError::TooSlow));
    let full = CopyBounds {
        free_bytes_min: u64::MAX,
        ..FREE
    };
    assert!(matches!(copy(full), StateCopyError::DiskFull));
    assert!(world.storage.copy_state(&id(), FREE).is_ok());
}

#[test]
fn one_that_never_ran_has_an_empty_state() {
    let world = world();
    fs::remove_dir(&world.state).unwrap();
    let found = entries(world.storage.copy_state(&id(), FREE).unwrap());
    assert!(found.is_empty(), "{found:?}");
}

fn late() -> CopyBounds {
    CopyBounds {
        deadline: Some(Instant::now() - Duration::from_secs(1)),
        ..FREE
    }
}

#[test]
fn the_time_is_looked_at_where_there_are_no_files_too() {
    let world = world();
    for n in 0..1_000 {
        symlink("nowhere", world.state.join(n.to_string())).unwrap();
    }
    let copied = world.storage.copy_state(&id(), late());
    assert!(matches!(copied, Err(StateCopyError::TooSlow)), "{copied:?}");
    fs::remove_file(world.state.join("0")).unwrap();
    assert!(world.storage.copy_state(&id(), late()).is_ok());
}

#[test]
fn a_folder_with_many_names_is_copied_whole() {
    let world = world();
    for n in 0..3_000 {
        fs::create_dir_all(world.state.join(format!("d/{n}-{}", "x".repeat(120)))).unwrap();
    }
    let found = entries(world.storage.copy_state(&id(), FREE).unwrap());
    assert_eq!(found.len(), 3_001);
}

#[test]
fn folders_nested_too_deep_are_refused() {
    let world = world();
    let deepest = world.state.join("d/".repeat(128));
    fs::create_dir_all(&deepest).unwrap();
    let found = entries(world.storage.copy_state(&id(), FREE).unwrap());
    assert_eq!(found.len(), 128);
    fs::create_dir(deepest.join("d")).unwrap();
    let copied = world.storage.copy_state(&id(), FREE);
    assert!(matches!(copied, Err(StateCopyError::TooMany)), "{copied:?}");
}

#[test]
fn names_and_targets_count_beside_the_content() {
    let file = tempfile::tempfile().unwrap();
    let meter = || Meter::new(FREE, file.try_clone().unwrap());
    for (path_bytes, target_bytes, fits) in [(10, 0, 1_000_000), (4_000, 4_000, 110_376)] {
        let mut meter = meter();
        let mut count = 0_u64;
        while meter.entry(path_bytes, target_bytes).is_ok() {
            count += 1;
        }
        assert_eq!(count, fits, "{path_bytes} {target_bytes}");
    }
    let mut meter = meter();
    meter.content(FREE.bytes_max).unwrap();
    meter.entry(10, 0).unwrap();
    assert!(matches!(meter.content(1), Err(StateCopyError::TooLarge(_))));
}
