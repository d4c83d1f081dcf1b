//! `VOLUME`: an engine would put a place of its own there, outside of every bound.

/// The folders that a program may write to. A volume in one of them changes nothing.
const WRITABLE: [&str; 2] = ["/state", "/tmp"];

/// Whether a volume at `path` lies in a folder that programs may write to anyway.
pub(super) fn is_writable_anyway(path: &str) -> bool {
    let Some(path) = plain(path) else {
        return false;
    };
    WRITABLE.iter().any(|folder| {
        path.strip_prefix(folder)
            .is_some_and(|below| below.is_empty() || below.starts_with('/'))
    })
}

/// Whether a volume of a base image at `path` stands where a folder is mounted in any case, so that
/// the engine makes none.
#[must_use]
pub fn is_mounted_over(path: &str) -> bool {
    plain(path).is_some_and(|path| WRITABLE.contains(&path.as_str()))
}

/// An absolute path without doubled slashes, dots and a slash at its end; `None` for any other, and
/// for one with variables or quotes in it.
fn plain(path: &str) -> Option<String> {
    let strange = |it: char| matches!(it, '$' | '\'' | '"' | '\\' | '`');
    if !path.starts_with('/') || path.contains(strange) {
        return None;
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    Some(format!("/{}", parts.join("/")))
}
