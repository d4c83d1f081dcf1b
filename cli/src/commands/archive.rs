//! A folder as a tar stream, without what `.dockerignore` names.

use std::{
    fs::Metadata,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::failure::Failure;

/// Always sent, whatever `.dockerignore` says: without them there is nothing to build.
const NEEDED: [&str; 2] = ["Dockerfile", "hersh.toml"];

/// One entry of the archive.
pub(crate) struct Entry {
    /// Relative to the folder.
    path: PathBuf,
    metadata: Metadata,
}

/// What would be sent, in a fixed order.
pub(crate) fn entries(folder: &Path) -> Result<Vec<Entry>, Failure> {
    let ignored = read_ignore_file(folder)?;
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(relative) = folders.pop() {
        let path = folder.join(&relative);
        let read = std::fs::read_dir(&path).map_err(|error| unreadable(&path, &error))?;
        for entry in read {
            let entry = entry.map_err(|error| unreadable(&path, &error))?;
            let relative = relative.join(entry.file_name());
            let metadata = entry
                .metadata()
                .map_err(|error| unreadable(&entry.path(), &error))?;
            let needed = NEEDED.iter().any(|name| relative == Path::new(name));
            let skipped = !needed
                && ignored
                    .matched_path_or_any_parents(&relative, metadata.is_dir())
                    .is_ignore();
            if metadata.is_dir() {
                // Entered even when ignored: an exception (`!`) may name something inside.
                if !skipped || ignored.num_whitelists() > 0 {
                    folders.push(relative.clone());
                }
            }
            if !skipped {
                found.push(Entry {
                    path: relative,
                    metadata,
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Writes the archive. Owner and times are left out, so that the same tree gives the same bytes.
pub(crate) fn write(folder: &Path, entries: &[Entry], out: impl Write) -> io::Result<()> {
    let mut archive = tar::Builder::new(out);
    for Entry { path, metadata } in entries {
        let source = folder.join(path);
        let mut header = tar::Header::new_gnu();
        let executable = metadata.permissions().mode() & 0o111 != 0;
        header.set_mode(if executable || metadata.is_dir() {
            0o755
        } else {
            0o644
        });
        header.set_mtime(0);
        header.set_size(0);
        if metadata.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            archive.append_data(&mut header, path, io::empty())?;
        } else if metadata.is_symlink() {
            header.set_entry_type(tar::EntryType::Symlink);
            archive.append_link(&mut header, path, std::fs::read_link(&source)?)?;
        } else if metadata.is_file() {
            let file = std::fs::File::open(&source)?;
            // The size is that of the open file: it may have changed since it was listed.
            header.set_size(file.metadata()?.len());
            archive.append_data(&mut header, path, file)?;
        } else {
            let message = format!(
                "{} is neither a file, a folder nor a link; name it in .dockerignore",
                source.display()
            );
            return Err(io::Error::other(message));
        }
    }
    archive.into_inner()?.flush()
}

/// Bytes of all files.
pub(crate) fn total_bytes(entries: &[Entry]) -> u64 {
    entries
        .iter()
        .filter(|entry| entry.metadata.is_file())
        .map(|entry| entry.metadata.len())
        .sum()
}

/// `.dockerignore`: each pattern counts from the folder's root, the last that matches wins.
fn read_ignore_file(folder: &Path) -> Result<Gitignore, Failure> {
    let path = folder.join(".dockerignore");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Gitignore::empty()),
        Err(error) => return Err(unreadable(&path, &error)),
    };
    let mut builder = GitignoreBuilder::new("");
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (exception, pattern) = match line.strip_prefix('!') {
            Some(pattern) => ("!", pattern.trim_start()),
            None => ("", line),
        };
        let pattern = pattern
            .trim_start_matches("./")
            .trim_start_matches('/')
            .trim_end_matches('/');
        builder
            .add_line(None, &format!("{exception}/{pattern}"))
            .map_err(|error| {
                Failure::Input(format!("{}:{}: {error}", path.display(), number + 1))
            })?;
    }
    builder
        .build()
        .map_err(|error| Failure::Input(format!("{}: {error}", path.display())))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::Input(format!("{} can't be read: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        entries(folder)
            .unwrap()
            .iter()
            .map(|entry| entry.path.display().to_string())
            .collect()
    }

    #[test]
    fn dockerignore_leaves_out_what_it_names_and_keeps_exceptions() {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            "Dockerfile",
            "hersh.toml",
            "a.txt",
            "target/x",
            "target/keep/y",
            "src/a.log",
            "src/b.rs",
        ] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let ignore = "# comment\ntarget\n!target/keep\n**/*.log\n/Dockerfile\n";
        std::fs::write(folder.path().join(".dockerignore"), ignore).unwrap();
        assert_eq!(
            names(folder.path()),
            [
                ".dockerignore",
                "Dockerfile",
                "a.txt",
                "hersh.toml",
                "src",
                "src/b.rs",
                "target/keep",
                "target/keep/y"
            ]
        );
    }

    #[test]
    fn the_same_tree_gives_the_same_bytes_with_modes_and_links() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("run"), "#!").unwrap();
        std::fs::set_permissions(
            folder.path().join("run"),
            std::fs::Permissions::from_mode(0o700),
        )
        .unwrap();
        std::os::unix::fs::symlink("run", folder.path().join("link")).unwrap();
        let pack = || {
            let mut bytes = Vec::new();
            write(folder.path(), &entries(folder.path()).unwrap(), &mut bytes).unwrap();
            bytes
        };
        let bytes = pack();
        assert_eq!(bytes, pack());
        let mut archive = tar::Archive::new(bytes.as_slice());
        let seen: Vec<(String, u32)> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                (
                    entry.path().unwrap().display().to_string(),
                    entry.header().mode().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [("link".to_string(), 0o755), ("run".to_string(), 0o755)]
        );
    }

    #[test]
    fn a_pipe_among_the_files_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        let listed = entries(folder.path()).unwrap();
        let error = write(folder.path(), &listed, io::sink())
            .unwrap_err()
            .to_string();
        assert!(error.contains("socket is neither"), "{error}");
    }
}
