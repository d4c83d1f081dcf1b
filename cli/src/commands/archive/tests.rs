use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    time::{Duration, SystemTime},
};

use hersh_storage::{SourceLimits, Storage};
use tokio::sync::mpsc;

use super::*;

fn wanted() -> RequiredFiles {
    RequiredFiles {
        dockerfile: "Dockerfile".to_owned(),
        manifest: None,
    }
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let listing = list(folder, &wanted()).unwrap();
    listing.entries.into_keys().collect()
}

/// The whole body, or the error that ends it.
fn body(folder: &Path, listing: &Listing) -> Result<Vec<u8>, String> {
    let (sender, mut pieces) = mpsc::channel(4);
    std::thread::scope(|scope| {
        let packing = scope.spawn(|| write(folder, listing, Sink::new(sender)));
        let mut body = Vec::new();
        while let Some(piece) = pieces.blocking_recv() {
            body.extend(piece.map_err(|error| error.to_string())?);
        }
        packing.join().unwrap().unwrap();
        Ok(body)
    })
}

/// What a host makes of a body.
fn taken(body: &[u8]) -> Result<String, String> {
    let data = tempfile::tempdir().unwrap();
    let storage = Storage::open(data.path()).unwrap();
    let staged = storage.stage_archive(body, SourceLimits::default());
    let taken = staged.map(|staged| staged.build_id().to_string());
    taken.map_err(|error| error.to_string())
}

#[test]
fn dockerignore_leaves_out_what_it_names_and_keeps_exceptions() {
    let ignore = "# comment\ntarget\n!target/keep\n**/*.log\n/Dockerfile\n.dockerignore\n";
    let folder = folder(&[
        ("Dockerfile", ""),
        ("hersh.toml", ""),
        ("a.txt", ""),
        ("target/x", ""),
        ("target/keep/y", ""),
        ("src/a.log", ""),
        ("src/b.rs", ""),
        (".dockerignore", ignore),
    ]);
    assert_eq!(
        names(folder.path()),
        [
            ".dockerignore",
            "Dockerfile",
            "a.txt",
            "hersh.toml",
            "src",
            "src/b.rs",
            "target",
            "target/keep",
            "target/keep/y"
        ]
    );
    fs::write(folder.path().join(".dockerignore"), "a\n!\n").unwrap();
    let error = list(folder.path(), &wanted()).unwrap_err().to_string();
    assert!(error.contains(".dockerignore, line 2"), "{error}");
}

#[test]
fn secrets_in_an_allowed_folder_stay_at_home() {
    let folder = folder(&[
        ("Dockerfile", ""),
        ("app/main", ""),
        ("app/secrets/prod.pem", ""),
        (".dockerignore", "*\n!app/**\napp/secrets\n"),
    ]);
    assert_eq!(
        names(folder.path()),
        [".dockerignore", "Dockerfile", "app", "app/main"]
    );
}

#[test]
fn a_packed_folder_is_taken_with_modes_and_times() {
    let folder = folder(&[("Dockerfile", "FROM scratch"), ("data/key", "k")]);
    let key = folder.path().join("data/key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_709_208_000);
    File::options()
        .write(true)
        .open(&key)
        .unwrap()
        .set_modified(time)
        .unwrap();
    symlink("/usr/bin/python3", folder.path().join("python")).unwrap();
    let listing = list(folder.path(), &wanted()).unwrap();
    let body = body(folder.path(), &listing).unwrap();
    let first = taken(&body).unwrap();
    let mut archive = tar::Archive::new(body.as_slice());
    let mut seen = Vec::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        seen.push((
            entry.path().unwrap().display().to_string(),
            header.mode().unwrap() & 0o777,
            header.mtime().unwrap(),
        ));
    }
    assert!(
        seen.contains(&("data/key".into(), 0o600, 1_709_208_000)),
        "{seen:?}"
    );
    // The time is no content: the same source has the same name.
    File::options()
        .write(true)
        .open(&key)
        .unwrap()
        .set_modified(SystemTime::now())
        .unwrap();
    let listing = list(folder.path(), &wanted()).unwrap();
    let later = super::tests::body(folder.path(), &listing).unwrap();
    assert_ne!(later, body);
    assert_eq!(taken(&later).unwrap(), first);
    // Cut anywhere it is not taken, not even with an end put behind, as packing that failed once did.
    for left in [
        1_024,
        1_536,
        body.len() - 2_048,
        body.len() - 1_536,
        body.len() - 1_024,
    ] {
        assert!(taken(&body[..left]).is_err(), "{left}");
    }
    let ended = [&body[..body.len() - 2_048], &[0; 1_024]].concat();
    let error = taken(&ended).unwrap_err();
    assert!(error.contains("cut short"), "{error}");
}

#[test]
fn a_file_that_grows_is_cut_and_one_that_shrinks_is_named() {
    let folder = folder(&[("Dockerfile", "FROM scratch"), ("z", "end")]);
    let log = folder.path().join("app.log");
    fs::write(&log, vec![b'x'; 1 << 20]).unwrap();
    let listing = list(folder.path(), &wanted()).unwrap();
    // More than fits on the way, so that packing waits in the middle of the file.
    let packed = |change: &dyn Fn()| {
        let (sender, mut pieces) = mpsc::channel(1);
        std::thread::scope(|scope| {
            let packing = scope.spawn(|| write(folder.path(), &listing, Sink::new(sender)));
            let mut body = pieces.blocking_recv().unwrap().unwrap();
            change();
            let mut ended = Ok(());
            while let Some(piece) = pieces.blocking_recv() {
                match piece {
                    Ok(piece) => body.extend(piece),
                    Err(error) => ended = Err(error.to_string()),
                }
            }
            assert_eq!(packing.join().unwrap().is_ok(), ended.is_ok());
            ended.map(|()| body)
        })
    };
    let grown = packed(&|| {
        let mut file = File::options().append(true).open(&log).unwrap();
        file.write_all(&[b'y'; 4_096]).unwrap();
    });
    assert!(taken(&grown.unwrap()).is_ok());
    let shrunk = packed(&|| drop(File::create(&log).unwrap())).unwrap_err();
    assert!(shrunk.contains("app.log: it was changed"), "{shrunk}");
}

#[test]
fn a_file_that_vanishes_ends_the_body_by_an_error() {
    let folder = folder(&[("Dockerfile", "FROM scratch"), ("b", ""), ("c", "")]);
    let listing = list(folder.path(), &wanted()).unwrap();
    fs::remove_file(folder.path().join("b")).unwrap();
    let (sender, mut pieces) = mpsc::channel(8);
    let error = write(folder.path(), &listing, Sink::new(sender)).unwrap_err();
    assert!(error.to_string().contains("/b: "), "{error}");
    let mut last = None;
    while let Some(piece) = pieces.blocking_recv() {
        last = Some(piece);
    }
    assert!(matches!(last, Some(Err(_))), "the body has no end");
}

#[test]
fn sockets_and_pipes_are_left_out_with_a_note() {
    let folder = folder(&[("Dockerfile", "")]);
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(folder.path().join("pipe"))
        .status();
    assert!(made.unwrap().success());
    let listing = list(folder.path(), &wanted()).unwrap();
    assert_eq!(listing.len(), 1);
    let notes = listing.notes.join("\n");
    assert!(notes.contains("pipe, which is a named pipe"), "{notes}");
    assert!(notes.contains("socket, which is a socket"), "{notes}");
}

#[test]
fn linked_files_for_the_host_are_sent_as_what_they_lead_to() {
    let folder = folder(&[
        ("docker/file", "FROM scratch"),
        (".dockerignore", "docker\n"),
    ]);
    let link = folder.path().join("Dockerfile");
    symlink("docker/file", &link).unwrap();
    let listing = list(folder.path(), &wanted()).unwrap();
    assert_eq!(listing.total_bytes(), 12 + 7);
    assert!(taken(&body(folder.path(), &listing).unwrap()).is_ok());
    fs::remove_file(&link).unwrap();
    symlink("/etc/hostname", &link).unwrap();
    let error = list(folder.path(), &wanted()).unwrap_err().to_string();
    assert!(error.contains("out of the folder"), "{error}");
}

#[test]
fn too_much_is_told_before_it_is_sent_with_where_it_is() {
    let folder = folder(&[("Dockerfile", "")]);
    let modules = folder.path().join("node_modules");
    fs::create_dir(&modules).unwrap();
    for number in 0..SOURCE_ENTRIES_MAX {
        File::create(modules.join(number.to_string())).unwrap();
    }
    let listing = list(folder.path(), &wanted()).unwrap();
    let error = listing.check().unwrap_err().to_string();
    let expected =
        "there are 10002 files and folders, 10001 of them in node_modules; at most 10000";
    assert!(error.contains(expected), "{error}");
    fs::write(folder.path().join(".dockerignore"), "node_modules").unwrap();
    list(folder.path(), &wanted()).unwrap().check().unwrap();
    let blob = File::create(folder.path().join("blob")).unwrap();
    blob.set_len(SOURCE_BYTES_MAX).unwrap();
    fs::write(folder.path().join("more"), "x").unwrap();
    let listing = list(folder.path(), &wanted()).unwrap();
    let error = listing.check().unwrap_err().to_string();
    assert!(error.contains("1024 of them in blob"), "{error}");
}

#[test]
fn a_manifest_with_flags_stands_in_for_the_folders_own() {
    let folder = folder(&[
        ("Dockerfile", "FROM scratch"),
        ("hersh.toml", "name = \"a\""),
    ]);
    let wanted = RequiredFiles {
        manifest: Some("name = \"b\"".to_owned()),
        ..wanted()
    };
    let listing = list(folder.path(), &wanted).unwrap();
    let body = body(folder.path(), &listing).unwrap();
    let mut archive = tar::Archive::new(body.as_slice());
    let mut text = String::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().as_ref() == Path::new("hersh.toml") {
            entry.read_to_string(&mut text).unwrap();
        }
    }
    assert_eq!(text, "name = \"b\"");
}

/// As Docker does: a host keeps it from the build then.
#[test]
fn another_dockerfile_is_sent_though_it_is_ignored() {
    let folder = folder(&[
        ("Dockerfile", "FROM scratch"),
        ("docker/own", "FROM scratch"),
        ("docker/other", "x"),
    ]);
    for ignored in ["docker", "docker/", "*", "**/own\nDockerfile"] {
        fs::write(folder.path().join(".dockerignore"), ignored).unwrap();
        let wanted = RequiredFiles {
            dockerfile: "docker/own".to_owned(),
            ..wanted()
        };
        let listing = list(folder.path(), &wanted).unwrap();
        let body = body(folder.path(), &listing).unwrap();
        let mut archive = tar::Archive::new(body.as_slice());
        let entries = archive.entries().unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path().unwrap().into_owned());
        assert!(paths.any(|it| it == Path::new("docker/own")), "{ignored}");
    }
}
