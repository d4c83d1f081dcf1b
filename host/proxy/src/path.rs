//! Decides which paths of a program may be asked for.

use hyper::Uri;

/// Why a path is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The path is not below the program's `/watcher`.
    #[error("only paths under /watcher/ are forwarded")]
    Elsewhere,
    /// The path holds a '.' or '..' segment, which could lead out of `/watcher/`.
    #[error("a path below /watcher/ is forwarded without '.' and '..' in it, encoded or not")]
    Dots,
    /// The path holds a character that only some servers take for a separator.
    #[error(
        "a path below /watcher/ is forwarded without {0} in it: servers disagree about whether that separates"
    )]
    Separator(&'static str),
    /// The path holds a control character.
    #[error("a path below /watcher/ is forwarded without control characters in it, encoded or not")]
    Control,
    /// The path holds a percent sign that begins no escape.
    #[error(
        "a '%' in a path begins an escape of two hexadecimal digits; write %25 for the sign itself"
    )]
    Escape,
}

/// Returns the path to ask the program for: the part of the request's own path after `/programs/{id}` or
/// `/programs/{id}/proxy`. It is passed on as it came, never decoded, and refused if any server could read
/// it as leading out of `/watcher/`.
///
/// # Errors
/// [`PathError`] says what is in the way.
pub fn watcher_path(uri: &Uri, program: &str) -> Result<String, PathError> {
    let rest = uri
        .path()
        .strip_prefix("/programs/")
        .and_then(|rest| rest.strip_prefix(program))
        .ok_or(PathError::Elsewhere)?;
    let path = rest.strip_prefix("/proxy").unwrap_or(rest);
    check(path)?;
    Ok(path.to_string())
}

/// Returns whether [`watcher_path`] could give this path.
pub(super) fn stays(path: &str) -> bool {
    check(path).is_ok()
}

fn check(path: &str) -> Result<(), PathError> {
    let below = path.strip_prefix("/watcher").ok_or(PathError::Elsewhere)?;
    if below.is_empty() {
        return Ok(());
    }
    let below = below.strip_prefix('/').ok_or(PathError::Elsewhere)?;
    below.split('/').try_for_each(check_segment)
}

/// Accepts a segment if its escapes are whole and if it does not lead up, however often somebody decodes
/// it. After the first decoding, a `%` may be followed by any text.
fn check_segment(segment: &str) -> Result<(), PathError> {
    let bytes = segment.as_bytes();
    check_bytes(bytes)?;
    if bytes.contains(&b'\\') {
        return Err(PathError::Separator("'\\'"));
    }
    if !bytes.contains(&b'%') {
        return Ok(());
    }
    let (mut decoded, is_whole) = decode(bytes);
    if !is_whole {
        return Err(PathError::Escape);
    }
    for (byte, escape) in [(b'/', "%2F"), (b'\\', "%5C")] {
        if decoded.contains(&byte) {
            return Err(PathError::Separator(escape));
        }
    }
    // Each round shortens the text or is the last one.
    loop {
        let mut parts = decoded.split(|&byte| matches!(byte, b'/' | b'\\'));
        parts.try_for_each(check_bytes)?;
        let (again, _) = decode(&decoded);
        if again == decoded {
            return Ok(());
        }
        decoded = again;
    }
}

/// Refuses a text between two slashes if it is a dot segment, or if servers that know path parameters take
/// it for one (`..;x`), or if it holds a control character.
fn check_bytes(bytes: &[u8]) -> Result<(), PathError> {
    if bytes.iter().any(u8::is_ascii_control) {
        return Err(PathError::Control);
    }
    let name = bytes.split(|&byte| byte == b';').next();
    if matches!(name, Some(b"." | b"..")) {
        return Err(PathError::Dots);
    }
    Ok(())
}

/// Decodes one layer of percent escapes, and leaves a `%` alone that begins no escape. Also returns
/// whether every `%` began an escape.
fn decode(bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut is_whole = true;
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'%').then(|| after.get(..2).and_then(byte));
        is_whole &= escaped != Some(None);
        if let Some(Some(byte)) = escaped {
            decoded.push(byte);
            rest = &after[2..];
        } else {
            decoded.push(first);
            rest = after;
        }
    }
    (decoded, is_whole)
}

/// Returns the byte that two hexadecimal digits stand for.
fn byte(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Result<String, PathError> {
        watcher_path(&text.parse().unwrap(), "p")
    }

    #[test]
    fn watcher_paths_pass_as_they_came() {
        for (asked, forwarded) in [
            ("/programs/p/watcher", "/watcher"),
            ("/programs/p/watcher/", "/watcher/"),
            ("/programs/p/watcher/status?x=1", "/watcher/status"),
            ("/programs/p/proxy/watcher/status", "/watcher/status"),
            ("/programs/p/watcher/a%20b/c", "/watcher/a%20b/c"),
            ("/programs/p/watcher/...", "/watcher/..."),
            ("/programs/p/watcher/50%25", "/watcher/50%25"),
            ("/programs/p/watcher/100%25off", "/watcher/100%25off"),
            ("/programs/p/watcher/a%2520b", "/watcher/a%2520b"),
            ("/programs/p/watcher/%2525", "/watcher/%2525"),
            ("/programs/p/watcher/a%252Fb", "/watcher/a%252Fb"),
            ("/programs/p/watcher//a;v=1", "/watcher//a;v=1"),
        ] {
            assert_eq!(path(asked).as_deref(), Ok(forwarded), "{asked}");
        }
    }

    #[test]
    fn nothing_leads_out_of_the_watcher() {
        use PathError::{Control, Dots, Elsewhere, Escape, Separator};
        for (asked, error) in [
            ("/programs/p/admin", Elsewhere),
            ("/programs/p/watcherx", Elsewhere),
            ("/programs/q/watcher/status", Elsewhere),
            ("/programs/p/watcher/../admin", Dots),
            ("/programs/p/watcher/./status", Dots),
            ("/programs/p/watcher/%2e%2e/admin", Dots),
            ("/programs/p/watcher/.%2E/admin", Dots),
            ("/programs/p/watcher/%252e%252e/admin", Dots),
            ("/programs/p/watcher/%25252e%25252e/admin", Dots),
            ("/programs/p/watcher/%25%32%65%252e/admin", Dots),
            ("/programs/p/watcher/..%252fadmin", Dots),
            ("/programs/p/watcher/x%252f..%255cadmin", Dots),
            ("/programs/p/watcher/..;/admin", Dots),
            ("/programs/p/watcher/..%3b/admin", Dots),
            ("/programs/p/watcher/..%2fadmin", Separator("%2F")),
            ("/programs/p/watcher/@scope%2Fname", Separator("%2F")),
            ("/programs/p/watcher/x%5c..%5cadmin", Separator("%5C")),
            ("/programs/p/watcher/%00", Control),
            ("/programs/p/watcher/%2500", Control),
            ("/programs/p/watcher/a%0d%0aHost:x", Control),
            ("/programs/p/watcher/%zz", Escape),
            ("/programs/p/watcher/%+1", Escape),
            ("/programs/p/watcher/%2", Escape),
        ] {
            assert_eq!(path(asked), Err(error), "{asked}");
        }
    }
}
