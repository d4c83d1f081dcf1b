//! A sandbox as the machine sees it, beside what the probe says from inside.
//!
//! Wherever its sandbox has a hole, a program can make up the answers from inside. So the host looks from
//! outside as well, in `/proc`, at the process that the engine names as the container's. This process must
//! run the file of gVisor's `runsc` that is installed here (`runsc.rs`), and its control group must be the
//! container's. A program on the machine's own kernel runs a file of its image instead.
//!
//! ```text
//! /proc/PID/cgroup, cmdline ─► name the container?  no ─► another pid namespace: not looked at
//! /proc/PID/exe ─► the same file as an installed runsc, which says that it is one?  no ─► refused
//! /proc/PID/cmdline ─► --network=… : whose network stack
//! ```

use std::{
    ffi::OsString,
    fs,
    io::{self, ErrorKind},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    Inner,
    runsc::{FileId, Runsc},
};
use hersh_sandbox::{Contract, StartError, Violation};

/// The most that is read of a command line or of a list of control groups, bytes.
const TEXT_BYTES: u64 = 64 * 1024;

/// The result of a look at a running container from the machine's side.
pub(super) enum ProcessLookup {
    /// The process of the sandbox was seen.
    Sandbox(Sandbox),
    /// The process can't be seen from here; holds the reason.
    NotLookedAt(&'static str),
}

/// The process of a sandbox, as `/proc` shows it.
pub(super) struct Sandbox {
    /// The runsc whose file the process runs.
    pub(super) runsc: Runsc,
    /// The argument that names the folder in which runsc keeps its state.
    pub(super) root: Option<OsString>,
    stack: Stack,
}

/// The kinds of network stacks that a sandbox uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stack {
    Gvisor,
    Machine,
    None,
}

impl ProcessLookup {
    /// Returns words on how the kernel is known beside what it says itself.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Sandbox(sandbox) => {
                let stack = match sandbox.stack {
                    Stack::Gvisor => "gVisor's network stack",
                    Stack::Machine => "the machine's network stack",
                    Stack::None => "loopback only",
                };
                let version = &sandbox.runsc.version;
                format!("by the process on the machine: {version}, with {stack}")
            }
            Self::NotLookedAt(why) => format!("not by the process on the machine: {why}"),
        }
    }
}

/// Looks at the process that the engine names as the container's own.
///
/// # Errors
/// A [`Violation`] when the container's process is seen and is not gVisor's;
/// [`Unavailable`](StartError::Unavailable) when neither the engine nor the file says whether it is
/// gVisor's.
pub(super) async fn look(
    inner: &Inner,
    container: &str,
    pid: Option<i64>,
) -> Result<ProcessLookup, StartError> {
    let Some(pid) = pid.filter(|pid| *pid > 0) else {
        return Ok(ProcessLookup::NotLookedAt("the engine names no process"));
    };
    let (folder, name) = (PathBuf::from(format!("/proc/{pid}")), container.to_owned());
    let read = tokio::task::spawn_blocking(move || Process::read(&folder, &name));
    let read = read
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)));
    let process = match read {
        Ok(Some(process)) => process,
        Ok(None) => {
            return Ok(ProcessLookup::NotLookedAt(
                "the engine's processes are not seen here",
            ));
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Ok(ProcessLookup::NotLookedAt("this user may not look at it"));
        }
        Err(error) => {
            tracing::warn!(%error, container, "a sandbox could not be looked at from outside");
            return Ok(ProcessLookup::NotLookedAt("it could not be read"));
        }
    };
    let runsc = inner.runsc_that_is(inner.config.runtime(), process.file);
    match runsc.await? {
        Some(runsc) => Ok(ProcessLookup::Sandbox(Sandbox {
            runsc,
            root: process.root,
            stack: process.stack,
        })),
        None => {
            let runs = process.runs.display();
            tracing::error!(container, %runs, "a container's process is not gVisor's runsc");
            Err(Violation {
                contract: Contract::Gvisor,
                found: "a process on the machine that does not run gVisor's runsc".to_owned(),
                asked: "gVisor's kernel: check what the engine's runtime 'runsc' really runs"
                    .to_owned(),
            }
            .into())
        }
    }
}

/// What `/proc` says of one process.
#[derive(Debug)]
struct Process {
    file: FileId,
    /// The path of the file, for the operator of the machine.
    runs: PathBuf,
    root: Option<OsString>,
    stack: Stack,
}

impl Process {
    /// Reads the folder of a process; `None` if there is no such process or it does not belong to that
    /// container.
    fn read(folder: &Path, container: &str) -> io::Result<Option<Self>> {
        let (Some(groups), Some(line)) = (
            text(&folder.join("cgroup"))?,
            text(&folder.join("cmdline"))?,
        ) else {
            return Ok(None);
        };
        // A process can call itself by any name, but it can't leave its control group. A name with the
        // container's id would gain it nothing: the host would look at the process.
        if !holds(&groups, container.as_bytes()) && !holds(&line, container.as_bytes()) {
            return Ok(None);
        }
        let exe = folder.join("exe");
        let file = match fs::metadata(&exe) {
            Ok(metadata) => FileId::of(&metadata),
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let root = words.iter().find(|word| word.starts_with(b"--root="));
        Ok(Some(Self {
            file,
            runs: fs::read_link(&exe).unwrap_or_default(),
            root: root.map(|word| std::ffi::OsStr::from_bytes(word).to_owned()),
            stack: stack(&words),
        }))
    }
}

/// Reads whose network stack a sandbox uses from its command line. runsc passes on to a sandbox only
/// settings that differ from the defaults, and runsc's default is its own stack.
fn stack(words: &[&[u8]]) -> Stack {
    let told = words.iter().rev().find_map(|word| {
        let word = word
            .strip_prefix(b"--")
            .or_else(|| word.strip_prefix(b"-"))?;
        word.strip_prefix(b"network=")
    });
    match told {
        Some(b"host") => Stack::Machine,
        Some(b"none") => Stack::None,
        Some(_) | None => Stack::Gvisor,
    }
}

/// Reads a file of a process; `None` if the process ended.
fn text(path: &Path) -> io::Result<Option<Vec<u8>>> {
    use io::Read as _;
    let mut content = Vec::new();
    let read = fs::File::open(path).and_then(|it| it.take(TEXT_BYTES).read_to_end(&mut content));
    match read {
        Ok(_length) => Ok(Some(content)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns whether an error says that the process ended meanwhile.
fn is_gone(error: &io::Error) -> bool {
    let ended = Some(rustix::io::Errno::SRCH);
    error.kind() == ErrorKind::NotFound || rustix::io::Errno::from_io_error(error) == ended
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len().max(1)).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTAINER: &str = "0123456789abcdef";

    /// Makes the folder of a process that has this list of groups and this command line, and runs
    /// `/bin/sh`.
    fn process(groups: &str, words: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("cgroup"), groups).unwrap();
        fs::write(at("cmdline"), words.join("\0")).unwrap();
        std::os::unix::fs::symlink("/bin/sh", at("exe")).unwrap();
        folder
    }

    #[test]
    fn a_process_counts_by_group_or_name_and_by_its_file() {
        let sh = FileId::of(&fs::metadata("/bin/sh").unwrap());
        let group = format!("0::/docker/{CONTAINER}\n");
        for (groups, words, is_its) in [
            (group.as_str(), &["sh"][..], true),
            ("0::/\n", &["runsc-sandbox", "boot", CONTAINER], true),
            ("0::/docker/another\n", &["runsc-sandbox"], false),
        ] {
            let folder = process(groups, words);
            let read = Process::read(folder.path(), CONTAINER).unwrap();
            assert_eq!(read.map(|it| it.file), is_its.then_some(sh), "{groups}");
        }
    }

    #[test]
    fn a_process_that_ended_is_not_there() {
        let folder = process("", &[]);
        fs::remove_file(folder.path().join("cgroup")).unwrap();
        assert!(Process::read(folder.path(), CONTAINER).unwrap().is_none());
        let folder = process(CONTAINER, &["sh"]);
        fs::remove_file(folder.path().join("exe")).unwrap();
        assert!(Process::read(folder.path(), CONTAINER).unwrap().is_none());
    }

    #[test]
    fn the_stack_is_told_by_the_last_word_about_it() {
        for (words, expected) in [
            (&["runsc-sandbox", "boot"][..], Stack::Gvisor),
            (&["--network=host", "boot"], Stack::Machine),
            (&["-network=host", "--network=sandbox"], Stack::Gvisor),
            (&["--network=none"], Stack::None),
        ] {
            let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            assert_eq!(stack(&words), expected);
        }
    }

    #[test]
    fn what_was_not_looked_at_is_told_with_its_reason() {
        let words = ProcessLookup::NotLookedAt("far away").words();
        assert_eq!(words, "not by the process on the machine: far away");
    }
}
