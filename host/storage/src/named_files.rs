//! Finds the files of a source tree that a line of a Dockerfile names: at least all that the engine finds.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::tree_files::open_as_root;

/// Returns the files at `source`, a path or a pattern, that the engine may add one by one. Leaves out
/// folders. A path that is not there is no error here, because the engine reports it.
///
/// # Errors
/// The error of the file system.
pub fn added_files(root: &Path, source: &str) -> io::Result<Vec<File>> {
    let path = clean(source);
    let paths = match path.find(['*', '?', '[']) {
        None => vec![path],
        Some(at) => {
            // Only the engine decides what a pattern matches, so every file that could match is taken.
            let has_set = path.contains('[');
            let depth = path.matches('/').count();
            let mut paths = Vec::new();
            walk(root, |found, _| {
                let is_as_deep = has_set || found.matches('/').count() == depth;
                if found.starts_with(&path[..at]) && is_as_deep {
                    paths.push(found.to_owned());
                }
            })?;
            paths
        }
    };
    let opened = paths.iter().map(|path| open_as_root(root, path));
    Ok(opened.filter_map(Result::ok).collect())
}

/// Returns the bytes of all files of the tree.
///
/// # Errors
/// The error of the file system.
pub fn tree_bytes(root: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    walk(root, |_, metadata| {
        bytes += if metadata.is_file() {
            metadata.len()
        } else {
            0
        };
    })?;
    Ok(bytes)
}

/// Calls `tell` with the path of every entry except folders. The list of waiting folders is bounded,
/// because stored trees have a bounded number of entries.
fn walk(root: &Path, mut tell: impl FnMut(&str, &fs::Metadata)) -> io::Result<()> {
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let (path, metadata) = (folder.join(entry.file_name()), entry.metadata()?);
            if metadata.is_dir() {
                folders.push(path);
            } else if let Some(path) = path.to_str() {
                tell(path, &metadata);
            }
        }
    }
    Ok(())
}

/// Cleans a path as engines do before they look it up: from the root of the tree, without dots.
fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn what_a_source_names_is_found_as_the_engine_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("d/e")).unwrap();
        for path in ["a.tar", "b.txt", "d/c.tar", "d/e/f.tar"] {
            fs::write(root.join(path), path).unwrap();
        }
        for (name, target) in [
            ("link", "/d/c.tar"),
            ("up", "../../d/c.tar"),
            ("folder", "d/e"),
            ("loop", "loop"),
        ] {
            symlink(target, root.join(name)).unwrap();
        }
        let found = |source: &str| {
            let mut found: Vec<String> = added_files(root, source)
                .unwrap()
                .into_iter()
                .map(|mut file| {
                    let mut text = String::new();
                    file.read_to_string(&mut text).unwrap();
                    text
                })
                .collect();
            found.sort();
            found
        };
        for (source, expected) in [
            ("a.tar", &["a.tar"][..]),
            ("/./a.tar/", &["a.tar"]),
            ("folder/../a.tar", &["a.tar"]),
            ("../../a.tar", &["a.tar"]),
            ("link", &["d/c.tar"]),
            ("up", &["d/c.tar"]),
            ("folder/f.tar", &["d/e/f.tar"]),
            ("d", &[]),
            (".", &[]),
            ("loop", &[]),
            ("nothing", &[]),
            ("*.tar", &["a.tar", "b.txt", "d/c.tar", "d/c.tar"]),
            ("l?nk", &["d/c.tar"]),
            ("d/*", &["d/c.tar"]),
            ("d[/]c.tar", &["d/c.tar", "d/e/f.tar"]),
        ] {
            assert_eq!(found(source), expected, "{source}");
        }
        assert_eq!(tree_bytes(root).unwrap(), 5 + 5 + 7 + 9);
    }
}
