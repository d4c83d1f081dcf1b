//! Checks `VOLUME`: an engine would mount a folder of its own there, and no bound would hold for that
//! folder.

/// The folders that a program may write to. A volume in one of them changes nothing.
const WRITABLE: [&str; 2] = ["/state", "/tmp"];

/// Returns whether a volume at `path` lies in a folder that programs may write to anyway.
pub(super) fn is_writable_anyway(path: &str) -> bool {
    let Some(path) = plain(path) else {
        return false;
    };
    WRITABLE.iter().any(|folder| {
        path.strip_prefix(folder)
            .is_some_and(|below| below.is_empty() || below.starts_with('/'))
    })
}

/// Returns whether a folder is mounted in any case where a base image has the volume `path`. The engine
/// then makes no volume.
#[must_use]
pub fn is_mounted_over(path: &str) -> bool {
    plain(path).is_some_and(|path| WRITABLE.contains(&path.as_str()))
}

/// Returns an absolute path without doubled slashes, dots, and a slash at its end; `None` for any other
/// path, and for one with variables or quotes in it.
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
