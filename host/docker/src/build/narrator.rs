//! Turns what the engine's builder says into messages about the file as its author wrote it. The host's own
//! steps are left out, the other steps are numbered as in the file, and a failure comes with its line and a
//! remedy.

use hersh_wire::ByteSize;

use crate::dockerfile::EngineDockerfile;

/// The most of an engine's message that is shown, characters: the engine repeats whole instructions.
const MESSAGE_CHARS: usize = 600;
/// Parts of lines that tools print when they reach no network.
const NO_NETWORK: [&str; 16] = [
    "bad address",
    "could not resolve",
    "couldn't resolve",
    "dns error",
    "eai_again",
    "enotfound",
    "failed to lookup address",
    "failure in name resolution",
    "getaddrinfo failed",
    "name or service not known",
    "network is unreachable",
    "network unreachable",
    "no such host",
    "nodename nor servname",
    "temporary failure resolving",
    "unable to resolve",
];
/// Parts of lines that tools print when they get no memory.
const NO_MEMORY: [&str; 7] = [
    "cannot allocate memory",
    "heap out of memory",
    "memory allocation of",
    "memory exhausted",
    "memoryerror",
    "out of memory",
    "std::bad_alloc",
];

/// The network and the memory that a step may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Whether the step reaches the internet.
    pub(super) network: bool,
    /// The memory of the step, bytes.
    pub(super) memory_bytes: u64,
}

/// Follows the output of the builder during one build.
pub(super) struct Narrator<'a> {
    built: &'a EngineDockerfile,
    bounds: Bounds,
    /// How many steps have begun.
    begun: usize,
    /// Whether the present step is one of the host's own.
    is_own: bool,
    lacks_network: bool,
    lacks_memory: bool,
    /// The image after each step that has begun, as far as the builder named it.
    layers: Vec<Option<String>>,
}

impl<'a> Narrator<'a> {
    pub(super) fn new(built: &'a EngineDockerfile, bounds: Bounds) -> Self {
        Self {
            built,
            bounds,
            begun: 0,
            is_own: false,
            lacks_network: false,
            lacks_memory: false,
            layers: Vec::new(),
        }
    }

    /// Returns the image after each step that has begun, as far as the builder named it.
    pub(super) fn layers(self) -> Vec<Option<String>> {
        self.layers
    }

    /// Turns a line of the builder into a line for the log; `None` for a line about the host's own steps.
    pub(super) fn line(&mut self, line: String) -> Option<String> {
        if self.begins_step(&line) {
            self.begun += 1;
            self.layers.push(None);
            (self.lacks_network, self.lacks_memory) = (false, false);
            let shown = self.built.steps.get(self.begun - 1)?.as_ref();
            self.is_own = shown.is_none();
            let of_file = |steps: &[Option<_>]| steps.iter().flatten().count();
            let at = of_file(&self.built.steps[..self.begun]);
            let all = of_file(&self.built.steps);
            return shown.map(|shown| format!("Step {at}/{all} : {}", shown.text));
        }
        // A step may print a line of the same form. The builder's own line comes after all that a step
        // prints.
        if let (Some(layer), Some(image)) = (self.layers.last_mut(), image_in(&line)) {
            *layer = Some(image.to_owned());
        }
        if self.is_own {
            return None;
        }
        let lower = line.to_lowercase();
        self.lacks_network |= NO_NETWORK.iter().any(|part| lower.contains(part));
        self.lacks_memory |= NO_MEMORY.iter().any(|part| lower.contains(part));
        Some(line)
    }

    /// Returns why the build failed: the builder's own `message`, with the line of the file and a remedy.
    /// `ran_out` tells whether the kernel ended a process because memory ran out.
    pub(super) fn failure(&self, message: &str, ran_out: bool) -> String {
        let steps = &self.built.steps[..self.begun.min(self.built.steps.len())];
        let step = steps.iter().flatten().next_back();
        // A tool may fail without printing anything, so an address in the instruction counts too.
        let names_address = step.is_some_and(|shown| shown.text.contains("://"));
        let lacks_network = self.lacks_network || names_address;
        let line = step.map(|shown| shown.line);
        let (line, message) = match line {
            Some(line) => (Some(line), message.to_owned()),
            None => self.not_begun(message),
        };
        let told = cut(&message);
        let told = match line {
            Some(line) => format!("Dockerfile, line {line}: {told}"),
            None => told,
        };
        let is_run = message.contains("returned a non-zero code: ");
        let killed = message.ends_with("non-zero code: 137");
        let memory = String::from(ByteSize(self.bounds.memory_bytes));
        let more = "whoever runs the host can allow more by builds.memory";
        if ran_out {
            format!("{told}; the step ran out of memory: it may use {memory}, and {more}")
        } else if killed || self.lacks_memory {
            format!(
                "{told}; most likely the step needs more memory than the {memory} that it may \
                 use, and {more}"
            )
        } else if lacks_network && is_run && !self.bounds.network {
            format!(
                "{told}; steps reach no network: set [build] network = true in hersh.toml if they \
                 are to fetch something"
            )
        } else {
            told
        }
    }

    /// Returns whether the line begins the next step. A step can print such lines itself, so a line counts
    /// only with the next number, the right total, and the next instruction.
    fn begins_step(&self, line: &str) -> bool {
        let (next, all) = (self.begun + 1, self.built.steps.len());
        let Some(said) = line
            .strip_prefix("Step ")
            .and_then(|it| it.strip_prefix(&format!("{next}/{all} : ")))
        else {
            return false;
        };
        let instruction = self.built.text.lines().nth(self.built.head + self.begun);
        let keyword = instruction.and_then(|it| it.split(' ').next());
        keyword.is_some_and(|keyword| said.starts_with(keyword))
    }

    /// Finds the line of the file for a complaint about the text as a whole. Such a complaint names a line
    /// of the text that the engine was given.
    fn not_begun(&self, message: &str) -> (Option<usize>, String) {
        let lower = message.to_ascii_lowercase();
        let complaints = ["parse error on line ", "parse error line "];
        let found = complaints
            .iter()
            .find_map(|it| Some(lower.find(it)? + it.len()));
        let Some(at) = found else {
            return (None, message.to_owned());
        };
        let behind = &message[at..];
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        let (number, reason) = behind.split_at(digits);
        let line = number.parse().ok().and_then(|it| self.built.line(it));
        let reason = reason.trim_start_matches([':', ' ']);
        match line {
            Some(line) => (Some(line), reason.to_owned()),
            None => (None, message.to_owned()),
        }
    }
}

/// Reads the image that the builder names after a step: " ---> 0123456789ab".
fn image_in(line: &str) -> Option<&str> {
    let id = line.strip_prefix(" ---> ")?.trim_end();
    let is_id = id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then_some(id)
}

/// Shortens a message that is too long to its beginning and its end.
fn cut(message: &str) -> String {
    let count = message.chars().count();
    if count <= MESSAGE_CHARS {
        return message.to_owned();
    }
    let half = MESSAGE_CHARS / 2;
    let beginning: String = message.chars().take(half).collect();
    let end: String = message.chars().skip(count - half).collect();
    format!("{beginning} […] {end}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::InstructionText;

    const BOUNDS: Bounds = Bounds {
        network: false,
        memory_bytes: 2 << 30,
    };

    fn built() -> EngineDockerfile {
        let shown = |line, text: &str| {
            let text = text.to_owned();
            Some(InstructionText { line, text })
        };
        EngineDockerfile {
            text: "# escape=`\nFROM sha256:aa\nLABEL l=h\nRUN a   b\nCMD x\nRUN wget http://example.com\n".to_owned(),
            steps: vec![
                shown(1, "FROM rust:1"),
                None,
                shown(4, "RUN a   b"),
                shown(7, "CMD x"),
                shown(8, "RUN wget http://example.com"),
            ],
            head: 1,
        }
    }

    fn told(narrator: &mut Narrator<'_>, lines: &[&str]) -> Vec<String> {
        let lines = lines.iter().map(|line| (*line).to_owned());
        lines.filter_map(|line| narrator.line(line)).collect()
    }

    #[test]
    fn steps_are_numbered_as_in_the_file() {
        let built = built();
        let mut narrator = Narrator::new(&built, BOUNDS);
        let said = [
            "Step 1/5 : FROM sha256:aa",
            " ---> aa",
            "Step 2/5 : LABEL l=h",
            " ---> Using cache",
            "Step 3/5 : RUN a   b",
            "Step 9/9 : CMD of something else",
            "Step 4/5 : this is no instruction",
            "Step 4/5 : CMD x",
            "Successfully built bb",
        ];
        let expected = [
            "Step 1/4 : FROM rust:1",
            " ---> aa",
            "Step 2/4 : RUN a   b",
            "Step 9/9 : CMD of something else",
            "Step 4/5 : this is no instruction",
            "Step 3/4 : CMD x",
            "Successfully built bb",
        ];
        assert_eq!(told(&mut narrator, &said), expected);
    }

    #[test]
    fn the_last_image_named_after_a_step_is_its_own() {
        let built = built();
        let mut narrator = Narrator::new(&built, BOUNDS);
        let said = [
            "Step 1/5 : FROM sha256:aa",
            " ---> 00112233aabb",
            "Step 2/5 : LABEL l=h",
            " ---> Using cache",
            " ---> 11112233aabb",
            "Step 3/5 : RUN a   b",
            " ---> Running in 99112233aabb",
            " ---> ffffffffffff",
            " ---> 22112233aabb",
            "Step 4/5 : CMD x",
        ];
        told(&mut narrator, &said);
        let layers = narrator.layers();
        let layers: Vec<Option<&str>> = layers.iter().map(Option::as_deref).collect();
        let expected = ["00112233aabb", "11112233aabb", "22112233aabb"].map(Some);
        assert_eq!(layers, [&expected[..], &[None]].concat());
    }

    #[test]
    #[allow(clippy::too_many_lines, reason = "a table")]
    fn a_failure_names_its_line_and_a_way_out() {
        let built = built();
        let failed = |lines: &[&str], message: &str, bounds, ran_out| {
            let mut narrator = Narrator::new(&built, bounds);
            let before = ["Step 1/5 : FROM sha256:aa", "Step 2/5 : LABEL l=h"];
            told(&mut narrator, &before);
            told(&mut narrator, lines);
            narrator.failure(message, ran_out)
        };
        let code = |code: u8| format!("The command 'a' returned a non-zero code: {code}");
        let run = "Step 3/5 : RUN a   b";
        let open = Bounds {
            network: true,
            ..BOUNDS
        };
        let lacking = "wget: bad address 'example.com'";
        let hint = "set [build] network = true in hersh.toml";
        let killed = code(137);
        for (lines, message, bounds, ran_out, expected, hinted) in [
            (
                &[run][..],
                &code(3),
                BOUNDS,
                false,
                "Dockerfile, line 4: The command",
                "",
            ),
            (&[run, lacking], &code(1), BOUNDS, false, "line 4: ", hint),
            (&[run, lacking], &code(1), open, false, "line 4: ", ""),
            (
                &[run, "Step 4/5 : CMD x", "Step 5/5 : RUN wget"],
                &code(139),
                BOUNDS,
                false,
                "line 8: ",
                hint,
            ),
            // An earlier step may find no network and go on.
            (
                &[run, lacking, "Step 4/5 : CMD x"],
                &code(1),
                BOUNDS,
                false,
                "line 7: ",
                "",
            ),
            (&[run], &killed, BOUNDS, false, "line 4: ", "most likely"),
            (
                &[run],
                &killed,
                BOUNDS,
                true,
                "line 4: ",
                "ran out of memory: it may use 2GiB",
            ),
            (
                &[run, "dd: Out of memory"],
                &code(1),
                BOUNDS,
                false,
                "line 4: ",
                "allow more by builds.memory",
            ),
        ] {
            let told = failed(lines, message, bounds, ran_out);
            assert!(told.contains(expected), "{told}");
            assert_eq!(told.contains("; "), !hinted.is_empty(), "{told}");
            assert!(told.contains(hinted), "{told}");
        }
        let long = format!(
            "The command '{}' returned a non-zero code: 1",
            "€".repeat(9_000)
        );
        let told = failed(&[run], &long, BOUNDS, false);
        assert!(
            told.chars().count() < 700 && told.ends_with("code: 1"),
            "{told}"
        );
    }

    #[test]
    fn what_the_engine_can_not_read_is_told_with_the_files_line() {
        let built = built();
        let narrator = Narrator::new(&built, BOUNDS);
        for (message, expected) in [
            (
                "dockerfile parse error on line 4: unknown flag: --x",
                "Dockerfile, line 4: unknown flag: --x",
            ),
            (
                "Dockerfile parse error line 5: CMD is bad",
                "Dockerfile, line 7: CMD is bad",
            ),
            // A complaint about the host's own step, and messages that name no step.
            (
                "dockerfile parse error on line 3: x",
                "dockerfile parse error on line 3: x",
            ),
            ("parse error on line 99: x", "parse error on line 99: x"),
            ("parse error on line x", "parse error on line x"),
            ("no such image", "no such image"),
        ] {
            assert_eq!(narrator.failure(message, false), expected);
        }
    }
}
