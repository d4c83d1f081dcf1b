//! The rules for paths in a source tree. Nothing here touches the disk.

use super::{SourceLimits, error::SourceError};

/// Returns the path without `.` components and double slashes; empty for the root itself. Refuses a path
/// that breaks a rule.
pub(super) fn clean(entry: &str, limits: SourceLimits) -> Result<String, SourceError> {
    if entry.starts_with('/') {
        return Err(refused(entry, "its path is absolute; make it relative"));
    }
    if entry.len() > limits.path_bytes {
        return Err(refused(entry, "its path is too long"));
    }
    let parts: Vec<&str> = entry
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.contains(&"..") {
        return Err(refused(entry, "its path contains '..'"));
    }
    if parts.len() > limits.depth {
        return Err(refused(entry, "its path has too many folders"));
    }
    if parts.iter().any(|part| part.len() > 255) {
        return Err(refused(
            entry,
            "a name in its path is longer than 255 bytes",
        ));
    }
    // Control characters could also write anything into logs and onto terminals.
    if entry.contains(char::is_control) {
        return Err(refused(entry, "its path contains a control character"));
    }
    Ok(parts.join("/"))
}

/// Makes the error for an entry that is refused for `reason`.
pub(super) fn refused(entry: &str, reason: &'static str) -> SourceError {
    SourceError::Refused {
        entry: shown(entry),
        reason,
    }
}

/// Returns an entry's path as messages show it, cut to 200 characters.
pub(super) fn shown(entry: &str) -> String {
    entry.chars().take(200).collect()
}
