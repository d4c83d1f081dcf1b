//! Which paths of a program may be asked for.

use std::borrow::Cow;

use hyper::Uri;

/// A path that is not forwarded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    /// It leads somewhere else.
    #[error(
        "only paths under /watcher/ are forwarded, written without '.', '..', '\\' or an encoded '/'"
    )]
    NotForwarded,
}

/// The path to ask the program for, given the request's own: what stands after
/// `/programs/{id}` or `/programs/{id}/proxy`. It is passed on as it came, never decoded, and
/// refused if any server could read it as leading out of `/watcher/`.
///
/// # Errors
/// [`PathError::NotForwarded`].
pub(crate) fn watcher_path(uri: &Uri, program: &str) -> Result<String, PathError> {
    let rest = uri
        .path()
        .strip_prefix("/programs/")
        .and_then(|rest| rest.strip_prefix(program))
        .ok_or(PathError::NotForwarded)?;
    let path = rest.strip_prefix("/proxy").unwrap_or(rest);
    let under = path
        .strip_prefix("/watcher")
        .ok_or(PathError::NotForwarded)?;
    let stays = under.is_empty() || (under.starts_with('/') && under[1..].split('/').all(is_plain));
    if stays {
        Ok(path.to_string())
    } else {
        Err(PathError::NotForwarded)
    }
}

/// True unless the segment, decoded as often as anybody might, is a dot segment or holds a
/// separator or a control character.
fn is_plain(segment: &str) -> bool {
    let mut bytes = Cow::Borrowed(segment.as_bytes());
    loop {
        if matches!(&*bytes, b"." | b"..") {
            return false;
        }
        // `..;x` is a dot segment to servers that know path parameters.
        if bytes.starts_with(b"..;") || bytes.starts_with(b".;") {
            return false;
        }
        if bytes
            .iter()
            .any(|b| matches!(b, b'/' | b'\\') || b.is_ascii_control())
        {
            return false;
        }
        if !bytes.contains(&b'%') {
            return true;
        }
        let Some(decoded) = decode(&bytes) else {
            return false;
        };
        bytes = Cow::Owned(decoded);
    }
}

/// One round of percent-decoding; `None` if an escape is broken. Each escape shortens the text, so
/// that the caller's loop ends.
fn decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            decoded.push(first);
            rest = after;
        }
    }
    Some(decoded)
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
        ] {
            assert_eq!(path(asked).as_deref(), Ok(forwarded), "{asked}");
        }
    }

    #[test]
    fn nothing_leads_out_of_the_watcher() {
        for asked in [
            "/programs/p/admin",
            "/programs/p/watcherx",
            "/programs/q/watcher/status",
            "/programs/p/watcher/../admin",
            "/programs/p/watcher/./status",
            "/programs/p/watcher/%2e%2e/admin",
            "/programs/p/watcher/.%2E/admin",
            "/programs/p/watcher/%252e%252e/admin",
            "/programs/p/watcher/%25252e%25252e/admin",
            "/programs/p/watcher/..%2fadmin",
            "/programs/p/watcher/x%2f..%2f..%2fadmin",
            "/programs/p/watcher/..;/admin",
            "/programs/p/watcher/x%5c..%5cadmin",
            "/programs/p/watcher/%00",
            "/programs/p/watcher/a%0d%0aHost:x",
            "/programs/p/watcher/%zz",
            "/programs/p/watcher/%2",
        ] {
            assert_eq!(path(asked), Err(PathError::NotForwarded), "{asked}");
        }
    }
}
