//! Checks what each instruction may do.

use super::{
    BuildInput, DockerfileRefusal, Image, Step,
    copies::{add, copy},
    flags::{flags, unknown_flag, words},
    healthcheck,
    lines::{Line, as_is},
    mounts,
    names::{Arguments, Stages, base_image},
    report::{Report, refused},
    volumes,
};

/// Every instruction that engines know.
const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// What is known when a line is read.
struct ReaderState<'a> {
    escape: char,
    asked: &'a BuildInput,
    arguments: Arguments,
    stages: Stages,
}

/// Checks the instructions one after the other. Returns a step for each one that is to be built.
pub(super) fn read(
    escape: char,
    lines: &[Line],
    asked: &BuildInput,
    report: &mut Report,
) -> Vec<Step> {
    let mut known = ReaderState {
        escape,
        asked,
        arguments: Arguments::new(asked),
        stages: Stages::default(),
    };
    let mut steps = Vec::with_capacity(lines.len());
    let mut is_early = false;
    for line in lines {
        if known.stages.is_empty() && !matches!(line.keyword.as_str(), "FROM" | "ARG") {
            // This is told only once: the lines that follow stand before FROM for the same reason.
            if !is_early && KEYWORDS.contains(&line.keyword.as_str()) {
                report.refuse(refused(line.number, "the first instruction must be FROM"));
                is_early = true;
                continue;
            }
        }
        match step(line, &mut known, report) {
            Ok(made) => steps.extend(made),
            Err(refused) => report.refuse(refused),
        }
    }
    if known.stages.is_empty() && report.is_empty() {
        report.refuse(refused(1, "there is no FROM"));
    }
    steps
}

/// Returns the steps that a line stands for; no step for a line that is passed over.
fn step(
    line: &Line,
    known: &mut ReaderState<'_>,
    report: &mut Report,
) -> Result<Vec<Step>, DockerfileRefusal> {
    let step = match line.keyword.as_str() {
        "FROM" => from(line, known)?,
        "ARG" => arg(line, known),
        "RUN" => return mounts::run(line, &known.stages, report),
        "ADD" => add(line, known.escape, report)?,
        "COPY" => copy(line, &known.stages, report)?,
        "VOLUME" => return volume(line, report).map(|()| Vec::new()),
        "EXPOSE" if line.arguments.contains(['-', '$']) => {
            let text = "EXPOSE of a range or a variable is passed over: nothing is published, and \
                        hersh.toml says at which port a program answers";
            report.note(line.number, text);
            return Ok(Vec::new());
        }
        "ONBUILD" => {
            let reason = "ONBUILD is not taken: write its instruction where it is to run";
            return Err(refused(line.number, reason));
        }
        "HEALTHCHECK" => {
            healthcheck::note(line, report);
            as_is(line)
        }
        keyword if KEYWORDS.contains(&keyword) => as_is(line),
        unknown => {
            let reason = format!("unknown instruction: {unknown}");
            return Err(refused(line.number, reason));
        }
    };
    Ok(vec![step])
}

/// Reads the words of a `FROM` behind its options: the image and the name of the stage.
pub(super) fn image_and_stage(rest: &str) -> Option<(&str, Option<&str>)> {
    let words: Vec<&str> = rest.split_whitespace().collect();
    match words.as_slice() {
        [image] => Some((*image, None)),
        [image, word, stage] if word.eq_ignore_ascii_case("as") => Some((*image, Some(*stage))),
        _other => None,
    }
}

fn from(line: &Line, known: &mut ReaderState<'_>) -> Result<Step, DockerfileRefusal> {
    let at = |reason: String| refused(line.number, reason);
    let read = flags(line).and_then(|(flags, rest)| {
        let named = image_and_stage(rest);
        let named = named.ok_or_else(|| at("write FROM image, or FROM image AS name".to_owned()));
        Ok((flags, named?))
    });
    let (flags, (image, stage)) = match read {
        Ok(read) => read,
        Err(refused) => {
            // The refused line still begins a stage. Otherwise the lines that follow would be refused for
            // the lack of one.
            let _unnamed = known.stages.begin(None);
            return Err(refused);
        }
    };
    let image = known.arguments.expand(image);
    let is_external = |image: &str| image != "scratch" && !known.stages.has_name(image);
    let is_external = image.as_deref().is_ok_and(is_external);
    let begun = known.stages.begin(stage);
    if begun.is_err() {
        let _unnamed = known.stages.begin(None);
    }
    begun.map_err(at)?;
    let image = image.map_err(at)?;
    if is_external {
        base_image(&image).map_err(at)?;
    }
    for (name, value) in flags {
        if name != "platform" {
            return Err(unknown_flag(line, name));
        }
        platform(value, known).map_err(at)?;
    }
    let (image, before) = if is_external {
        (Some(Image::Named(image)), String::new())
    } else {
        (None, image)
    };
    let after = stage.map(|stage| format!(" AS {stage}"));
    Ok(Step {
        before,
        image,
        after: after.unwrap_or_default(),
        ..as_is(line)
    })
}

/// Checks that a named platform is the only one there is. It need not be written for the engine then.
fn platform(value: &str, known: &ReaderState<'_>) -> Result<(), String> {
    let own = known.asked.platform;
    let named = known.arguments.expand(value)?;
    if own.is(&named) {
        return Ok(());
    }
    Err(format!(
        "--platform={named}: this machine builds and runs {} only; leave --platform out",
        own.name()
    ))
}

/// Reads an `ARG`. A variable of the platform that it declares without a value gets its value here.
fn arg(line: &Line, known: &mut ReaderState<'_>) -> Step {
    if known.stages.is_empty() {
        known.arguments.declare(&line.arguments);
    }
    let is_plain = !line.arguments.contains(['"', '\'', '\\', known.escape]);
    let is_known = |name: &&str| known.arguments.predefined(name).is_some();
    if !is_plain || !line.arguments.split_whitespace().any(|it| is_known(&it)) {
        return as_is(line);
    }
    let words = line.arguments.split_whitespace();
    let words = words.map(|word| match known.arguments.predefined(word) {
        Some(value) => format!("{word}={value}"),
        None => word.to_owned(),
    });
    Step {
        before: words.collect::<Vec<_>>().join(" "),
        ..as_is(line)
    }
}

fn volume(line: &Line, report: &mut Report) -> Result<(), DockerfileRefusal> {
    let (paths, _is_list) = words(line, &line.arguments)?;
    if let Some(path) = paths.iter().find(|it| !volumes::is_writable_anyway(it)) {
        let reason = format!(
            "VOLUME {path}: what a program keeps belongs in /state; leave the line out and have \
             the program keep its files in /state"
        );
        return Err(refused(line.number, reason));
    }
    let text = "VOLUME is passed over: programs may write to /state and /tmp in any case";
    report.note(line.number, text);
    Ok(())
}
