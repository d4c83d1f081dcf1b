//! Tells from the mounts of the machine what bounds the size of a program's `/state`.

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use hersh_base::sandbox::StateBound;
use hersh_program::ProgramId;

use super::Storage;

/// The file in which the kernel lists every mount that this process sees.
const MOUNTS: &str = "/proc/self/mountinfo";

impl Storage {
    /// Returns what bounds the program's `/state` besides the host's own measurements.
    pub fn state_bound(&self, program: &ProgramId) -> StateBound {
        let mounts = fs::read_to_string(MOUNTS).unwrap_or_default();
        bound(&mounts, &self.paths(program).state)
    }
}

fn bound(mounts: &str, state: &Path) -> StateBound {
    // Of two mounts on one path, the later one is in use.
    let holding = mounts.lines().filter_map(Mount::parse);
    let holding = holding.filter(|mount| state.starts_with(&mount.point));
    let Some(mount) = holding.max_by_key(|mount| mount.point.components().count()) else {
        return StateBound::Watched {
            found: "what it lies on could not be seen".to_owned(),
        };
    };
    if mount.point == state {
        let found = format!("{} of its own", mount.kind);
        return StateBound::Confined { found };
    }
    let quotas = match mount.has_project_quotas() {
        true => "with project quotas, which this host does not use",
        false => "without project quotas",
    };
    let found = format!("{} {quotas}", mount.kind);
    StateBound::Watched { found }
}

/// One line of [`MOUNTS`], as far as it matters here.
struct Mount<'a> {
    point: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// Reads `36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/sda rw,prjquota`.
    fn parse(line: &'a str) -> Option<Self> {
        let (place, how) = line.split_once(" - ")?;
        let mut how = how.split(' ');
        Some(Self {
            point: unescaped(place.split(' ').nth(4)?),
            kind: how.next()?,
            options: how.nth(1)?,
        })
    }

    fn has_project_quotas(&self) -> bool {
        let mut options = self.options.split(',');
        options.any(|option| matches!(option, "prjquota" | "pquota"))
    }
}

/// Decodes a path of the kernel, which writes blanks and backslashes as `\` and three octal digits.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let code = (*first == b'\\').then(|| more.get(..3)).flatten();
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[3..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /var rw - xfs /dev/vdb rw,attr2,prjquota
31 22 0:27 / /data rw - ext4 /dev/vdc rw
32 31 0:28 / /data/a\\040b/state rw master:2 - ext4 /dev/loop0 rw
";

    #[test]
    fn a_file_system_of_its_own_confines_and_others_do_not() {
        let found = |path: &str| bound(MOUNTS, Path::new(path));
        let watched = |found: &str| StateBound::Watched {
            found: found.to_owned(),
        };
        assert_eq!(
            found("/srv/a/state"),
            watched("ext4 without project quotas")
        );
        assert_eq!(
            found("/data/a/state"),
            watched("ext4 without project quotas")
        );
        assert_eq!(
            found("/var/a/state"),
            watched("xfs with project quotas, which this host does not use")
        );
        let confined = StateBound::Confined {
            found: "ext4 of its own".to_owned(),
        };
        assert_eq!(found("/data/a b/state"), confined);
        let unseen = bound("", Path::new("/data/a/state"));
        assert_eq!(unseen, watched("what it lies on could not be seen"));
    }
}
