//! Tells in words why the first process of a program can't be run.
//!
//! ```text
//! the engine's refusal ─┐
//! the init's last line ─┼─► Refusal { program, kind } ─► its file in the container ─► a sentence
//! an odd exit code ─────┘
//! ```
//! The engine's own sentence says what failed and seldom why, so the host looks at the file itself. The
//! host runs nothing of the file and reads only its first bytes.

use hersh_base::sandbox::SANDBOX_ID;

/// How many bytes at the beginning of a file show what the file is.
pub(super) const HEAD_BYTES: usize = 4_096;

/// A program that was not run, and the kernel's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The path or name of the program, as the image gives it.
    pub(super) program: String,
    pub(super) kind: Kind,
}

/// The kernel's answer to the attempt to run a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Forbidden,
    Missing,
    Unknown,
}

/// Reads an engine's refusal to start a container; `None` for a refusal that is not about its program.
pub(super) fn said_by_engine(message: &str) -> Option<Refusal> {
    let kind = kind_in(message)?;
    // Examples: "failed to load /app: permission denied", "executable "app" in PATH [...]: no such file",
    // or in runc's words "exec: "app": executable file not found in $PATH".
    let (_, rest) = ["failed to load ", "error finding executable ", "exec: "]
        .iter()
        .find_map(|words| message.split_once(words))?;
    let program = match rest.strip_prefix('"') {
        Some(rest) => rest.split_once('"')?.0,
        None => rest.split_once(": ")?.0,
    };
    Some(Refusal {
        program: program.to_owned(),
        kind,
    })
}

/// Reads the last line of an init that could not run its program, such as "[FATAL tini (2)] exec /app
/// failed: Permission denied".
pub(super) fn said_by_init(line: &str) -> Option<Refusal> {
    let (_, said) = line.strip_prefix("[FATAL tini (")?.split_once(")] exec ")?;
    let (program, error) = said.rsplit_once(" failed: ")?;
    Some(Refusal {
        program: program.to_owned(),
        kind: kind_in(error)?,
    })
}

fn kind_in(message: &str) -> Option<Kind> {
    let message = message.to_ascii_lowercase();
    [
        ("permission denied", Kind::Forbidden),
        ("exec format error", Kind::Unknown),
        ("no such file or directory", Kind::Missing),
        ("executable file not found", Kind::Missing),
    ]
    .into_iter()
    .find_map(|(words, kind)| message.contains(words).then_some(kind))
}

/// Returns whether the first word of an image's command is an init. An init has to be the first process and
/// takes care of orphans.
pub(super) fn is_init(program: &str) -> bool {
    const INITS: [&str; 13] = [
        "catatonit",
        "docker-init",
        "dumb-init",
        "init",
        "my_init",
        "pid1",
        "runit-init",
        "s6-overlay-init",
        "s6-svscan",
        "su-init",
        "systemd",
        "tini",
        "tini-static",
    ];
    let name = program.rsplit('/').next().unwrap_or(program);
    INITS.contains(&name)
}

/// What the beginning of a file shows about the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A program for another processor, with the usual name of that processor.
    Foreign(&'static str),
    /// A program for this processor, with the loader that it names if it is linked dynamically.
    Native(Option<String>),
    /// A script, with the interpreter that its first line names.
    Script(String),
    /// A file that is neither a program nor a script.
    Neither,
}

/// Reads from the beginning of a file what the file is.
pub(super) fn shape(head: &[u8]) -> Shape {
    if head.starts_with(b"\x7fELF") {
        return match u16_at(head, 18) {
            Some(machine) if machine != MACHINE => Shape::Foreign(processor(machine)),
            Some(_) | None => Shape::Native(loader(head)),
        };
    }
    match head.strip_prefix(b"#!") {
        Some(rest) => {
            let line = rest.split(|byte| *byte == b'\n').next().unwrap_or(rest);
            let line = String::from_utf8_lossy(line);
            // A carriage return is part of the interpreter's name, as the kernel sees it.
            let words = line.trim_matches([' ', '\t']);
            let name = words.split([' ', '\t']).next().unwrap_or_default();
            Shape::Script(name.to_owned())
        }
        None => Shape::Neither,
    }
}

/// The number of this machine's processor in the header of executables.
const MACHINE: u16 = if cfg!(target_arch = "aarch64") {
    183
} else {
    62
};

fn processor(machine: u16) -> &'static str {
    match machine {
        3 => "386",
        40 => "arm",
        62 => "amd64",
        183 => "arm64",
        243 => "riscv64",
        _other => "another processor",
    }
}

/// Reads the loader that a 64-bit executable asks for.
fn loader(head: &[u8]) -> Option<String> {
    const LOADER: u32 = 3;
    let number = |at: u64, length: usize| -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let bytes = head.get(at..at.checked_add(length)?)?;
        let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(bytes.iter().rev().fold(0, fold))
    };
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let entry = (0..count.min(64))
        .filter_map(|index| table.checked_add(index * size))
        .find(|entry| number(*entry, 4) == Some(u64::from(LOADER)))?;
    let (at, length) = (number(entry + 8, 8)?, number(entry + 32, 8)?);
    let at = usize::try_from(at).ok()?;
    let name = head.get(at..at.checked_add(usize::try_from(length).ok()?)?)?;
    let name = String::from_utf8_lossy(name);
    Some(name.trim_end_matches('\0').to_owned())
}

fn u16_at(head: &[u8], at: usize) -> Option<u16> {
    let bytes = head.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

/// Returns the message for a refusal whose cause nothing shows more closely.
pub(super) fn in_general(refusal: &Refusal) -> String {
    let program = &refusal.program;
    match refusal.kind {
        Kind::Forbidden => format!(
            "{program} may not be executed by uid {SANDBOX_ID}, as which every program runs: give it the execute bit (RUN chmod a+rx), and everybody the right to enter the folders above it"
        ),
        Kind::Missing => format!(
            "{program} is not in the image, or what it needs to run is not: the interpreter that its first line names, or the loader of a program that is linked dynamically"
        ),
        Kind::Unknown => format!(
            "{program} is no program for this machine ({}): build it for that, or begin a script with #! and its interpreter",
            processor(MACHINE)
        ),
    }
}

/// Returns the message for a program for another processor.
pub(super) fn foreign(path: &str, processor_name: &str) -> String {
    format!(
        "{path} is a program for {processor_name}, and this machine is {}: build it for linux/{}",
        processor(MACHINE),
        processor(MACHINE)
    )
}

/// Returns the message for a folder above the program that only its owner may enter.
pub(super) fn closed(path: &str, folder: &str) -> String {
    format!(
        "{path} lies in {folder}, which uid {SANDBOX_ID}, as which every program runs, may not enter: put the program elsewhere, or let everybody in (RUN chmod a+x {folder})"
    )
}

/// Returns the message for a file without the mode bits that it needs.
pub(super) fn not_executable(path: &str, mode: u32) -> String {
    format!(
        "{path} has mode {mode:04o}, and uid {SANDBOX_ID}, as which every program runs, may not execute it: RUN chmod a+rx {path}, or give the file its execute bit before it is copied"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_engines_and_inits_name_program_and_kind() {
        let before = "OCI runtime start failed: starting container: starting root container: starting sandbox: ";
        for (message, program, kind) in [
            (
                "creating process: failed to load /noexec: permission denied: unknown",
                "/noexec",
                Kind::Forbidden,
            ),
            (
                "creating process: failed to load ./app: no such file or directory: unknown",
                "./app",
                Kind::Missing,
            ),
            (
                "creating process: failed to load /arm: exec format error: unknown",
                "/arm",
                Kind::Unknown,
            ),
            (
                "error finding executable \"nosuch\" in PATH [/usr/bin /bin]: no such file or directory: unknown",
                "nosuch",
                Kind::Missing,
            ),
            (
                "exec: \"app\": executable file not found in $PATH: unknown",
                "app",
                Kind::Missing,
            ),
            (
                "exec: \"/app\": permission denied: unknown",
                "/app",
                Kind::Forbidden,
            ),
        ] {
            let program = program.to_owned();
            let said = said_by_engine(&format!("{before}{message}"));
            assert_eq!(said, Some(Refusal { program, kind }), "{message}");
        }
        for other in [
            "Cannot connect to the Docker daemon",
            "network x: permission denied",
            "failed to load /app",
        ] {
            assert_eq!(said_by_engine(other), None, "{other}");
        }
        let line = "[FATAL tini (2)] exec /a failed: b failed: Permission denied";
        let refusal = said_by_init(line).unwrap();
        assert_eq!(refusal.program, "/a failed: b");
        assert_eq!(refusal.kind, Kind::Forbidden);
        assert_eq!(said_by_init("exec /a failed: Permission denied"), None);
    }

    #[test]
    fn inits_are_known_by_their_name() {
        for init in ["/init", "tini", "/usr/bin/tini", "/usr/bin/dumb-init"] {
            assert!(is_init(init), "{init}");
        }
        for other in ["/app", "/init/app", "sh", "", "tinier"] {
            assert!(!is_init(other), "{other}");
        }
    }

    #[test]
    fn the_beginning_of_a_file_tells_what_it_is() {
        assert_eq!(shape(b""), Shape::Neither);
        assert_eq!(shape(b"echo hi\n"), Shape::Neither);
        let script = |name: &str| Shape::Script(name.to_owned());
        assert_eq!(shape(b"#! /bin/sh -e\nx"), script("/bin/sh"));
        assert_eq!(shape(b"#!/bin/sh\r\nx"), script("/bin/sh\r"));
        assert_eq!(shape(b"#!"), script(""));
        let mut arm = b"\x7fELF\x02\x01\x01".to_vec();
        arm.resize(64, 0);
        arm[18] = 40;
        assert_eq!(shape(&arm), Shape::Foreign("arm"));
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let Shape::Native(found) = shape(&own[..HEAD_BYTES]) else {
            panic!("{:?}", shape(&own[..HEAD_BYTES]));
        };
        assert!(found.is_none_or(|name| name.starts_with("/lib")));
    }

    #[test]
    fn hostile_headers_are_read_without_harm() {
        for length in 0..80 {
            let mut head = b"\x7fELF".to_vec();
            head.resize(length.max(4), 0xff);
            let _ = shape(&head);
            if head.len() > 20 {
                head[18..20].copy_from_slice(&MACHINE.to_le_bytes());
                assert_eq!(shape(&head), Shape::Native(None));
            }
        }
    }
}
