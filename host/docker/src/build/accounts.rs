//! Reads and extends the text of the files of an image that name users and groups.
//!
//! The makers of the image wrote these files: a file that does not look as expected is left alone.

use hersh_base::sandbox::SANDBOX_ID;

/// The most of one file that is read, bytes.
pub(super) const FILE_BYTES_MAX: usize = 1024 * 1024;
/// The names for the user. The first free one is used.
const NAMES: [&str; 4] = ["hersh", "hersh-program", "hersh-sandbox", "hersh-65532"];

/// The kinds of files with names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accounts {
    /// `/etc/passwd`.
    Users,
    /// `/etc/group`.
    Groups,
}

impl Accounts {
    /// Returns the name of the file in `/etc`.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Users => "passwd",
            Self::Groups => "group",
        }
    }

    /// Returns `content` with an entry for the user, or group, that every program runs as. `None` when the
    /// file has such an entry, is no such file, would grow too large, or has all of these names already.
    pub(super) fn with_entry(self, content: &[u8]) -> Option<Vec<u8>> {
        if content.contains(&0) {
            return None;
        }
        let id = SANDBOX_ID.to_string();
        let is_known = entries(content).any(|(_name, number)| number == Some(id.as_bytes()));
        if is_known {
            return None;
        }
        let is_taken = |name: &str| entries(content).any(|(taken, _)| taken == name.as_bytes());
        let name = NAMES.into_iter().find(|name| !is_taken(name))?;
        let mut merged = content.to_vec();
        if !merged.is_empty() && !merged.ends_with(b"\n") {
            merged.push(b'\n');
        }
        let entry = match self {
            Self::Users => format!("{name}:x:{id}:{id}::/state:/bin/sh\n"),
            Self::Groups => format!("{name}:x:{id}:\n"),
        };
        merged.extend_from_slice(entry.as_bytes());
        (merged.len() <= FILE_BYTES_MAX).then_some(merged)
    }
}

/// Returns the name and the number in each line. Both kinds of files have them as the first and third
/// field.
fn entries(content: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    content.split(|byte| *byte == b'\n').map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().unwrap_or_default();
        (name, fields.nth(1).map(<[u8]>::trim_ascii))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(accounts: Accounts, content: &str) -> Option<String> {
        let merged = accounts.with_entry(content.as_bytes())?;
        Some(String::from_utf8(merged).unwrap())
    }

    #[test]
    fn an_entry_is_added_behind_those_that_are_there() {
        let user = "hersh:x:65532:65532::/state:/bin/sh\n";
        for (content, expected) in [
            ("", user.to_owned()),
            (
                "root:x:0:0:root:/root:/bin/sh\n",
                format!("root:x:0:0:root:/root:/bin/sh\n{user}"),
            ),
            ("a:x:1:1::/:/a", format!("a:x:1:1::/:/a\n{user}")),
            // Only the third field counts as the number, and only as a whole.
            (
                "b:x:1:65532::/:\nc:x:655321:1::/:\n",
                format!("b:x:1:65532::/:\nc:x:655321:1::/:\n{user}"),
            ),
        ] {
            assert_eq!(merged(Accounts::Users, content), Some(expected));
        }
        assert_eq!(
            merged(Accounts::Groups, "root:x:0:\n"),
            Some("root:x:0:\nhersh:x:65532:\n".to_owned())
        );
    }

    #[test]
    fn a_name_that_is_taken_is_not_given_twice() {
        let content = "hersh:x:7:7::/:/bin/sh\n";
        let merged = merged(Accounts::Users, content).unwrap();
        let added = merged.strip_prefix(content).unwrap();
        assert_eq!(added, "hersh-program:x:65532:65532::/state:/bin/sh\n");
        let all: String = NAMES.map(|name| format!("{name}:x:7:\n")).concat();
        assert_eq!(Accounts::Groups.with_entry(all.as_bytes()), None);
    }

    #[test]
    fn what_needs_no_entry_or_is_no_such_file_is_left_alone() {
        let full = "x".repeat(FILE_BYTES_MAX);
        for content in [
            "nonroot:x:65532:65532:nonroot:/:/sbin/nologin\n",
            "nonroot:x:65532",
            "a:x:1:1:\0::\n",
            &full,
        ] {
            assert_eq!(merged(Accounts::Users, content), None);
        }
    }

    #[test]
    fn bytes_that_are_no_text_stay_as_they_are() {
        let content = b"old:x:5:5:M\xfcller:/:/bin/sh\n:::\n\n";
        let merged = Accounts::Users.with_entry(content).unwrap();
        assert!(merged.starts_with(content));
    }
}
