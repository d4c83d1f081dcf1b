//! Reads `RUN --mount`, which the engine's builder does not know. A mount is passed over or done in another
//! way if the step still finds what it needs, and refused otherwise.

use super::{
    DockerfileRefusal, Step,
    copies::copy,
    flags::flags,
    lines::{Line, as_is},
    names::Stages,
    report::{Report, refused},
};

/// What a mount adds to a step.
enum Mount<'a> {
    /// A folder that is empty at first, and is not part of the image.
    Folder { kind: &'a str, target: &'a str },
    /// Files of the tree, of a stage or an image.
    Files {
        from: Option<&'a str>,
        source: &'a str,
        target: &'a str,
    },
}

/// Returns the steps that stand for a `RUN`: those that do the work of its mounts, and the command.
pub(super) fn run(
    line: &Line,
    stages: &Stages,
    report: &mut Report,
) -> Result<Vec<Step>, DockerfileRefusal> {
    if !line.arguments.starts_with("--") {
        return Ok(vec![as_is(line)]);
    }
    let (flags, command) = flags(line)?;
    let mut steps = Vec::new();
    for (name, value) in flags {
        let mount = match name {
            "mount" => mount(value).map_err(|reason| refused(line.number, reason))?,
            "network" => {
                let reason = "RUN takes no --network here: [build] network in hersh.toml says what steps reach";
                return Err(refused(line.number, reason));
            }
            _other => {
                let reason = format!("RUN takes no option --{name} here; leave it out");
                return Err(refused(line.number, reason));
            }
        };
        match mount {
            Mount::Folder { kind, target } => {
                let text = format!(
                    "--mount=type={kind} is passed over: nothing is mounted at {target}, nothing is kept \
                     for the next build, and what the step leaves there is part of the image"
                );
                report.note(line.number, text);
            }
            Mount::Files {
                from,
                source,
                target,
            } => {
                let text = format!(
                    "--mount=type=bind is done by COPY: {source} stays in the image as {target}"
                );
                report.note(line.number, text);
                let from = from.map_or_else(String::new, |from| format!("--from={from} "));
                let copied = Line {
                    number: line.number,
                    keyword: "COPY".to_owned(),
                    arguments: format!("{from}{source} {target}"),
                };
                steps.push(copy(&copied, stages, report)?);
            }
        }
    }
    steps.push(Step {
        before: command.to_owned(),
        ..as_is(line)
    });
    Ok(steps)
}

/// Reads the options of a mount. Fails with the reason of a refusal if the step needs the mount and can't
/// have it.
fn mount(text: &str) -> Result<Mount<'_>, String> {
    let value = |names: &[&str]| {
        let options = text.split(',').filter_map(|it| it.split_once('='));
        let mut found = options.filter(|(name, _)| names.contains(name));
        found.next().map(|(_, value)| value)
    };
    let kind = value(&["type"]).unwrap_or("bind");
    let target = value(&["target", "dst", "destination"]).filter(|it| !it.is_empty());
    let from = value(&["from"]);
    let source = value(&["source", "src"]);
    if matches!(kind, "secret" | "ssh") {
        return Err(format!(
            "a step gets no {kind} here: what is to stay out of the image can't be had while building; \
             fetch what needs it before 'hersh deploy' and send it along, or give the value to the program \
             by [env] in hersh.toml and use it there"
        ));
    }
    if !matches!(kind, "bind" | "cache" | "tmpfs") {
        return Err(format!("--mount=type={kind} is not known; leave it out"));
    }
    let Some(target) = target else {
        return Err(format!("--mount=type={kind} needs a target"));
    };
    let strange = |it: char| matches!(it, '$' | '{' | '}' | '*' | ':');
    if [Some(target), from, source]
        .into_iter()
        .flatten()
        .any(|it| it.contains(strange))
    {
        return Err(format!(
            "--mount={text} can't be read; write plain paths in it"
        ));
    }
    match kind {
        "bind" => Ok(Mount::Files {
            from,
            source: source.unwrap_or(if from.is_some() { "/" } else { "." }),
            target,
        }),
        _empty if from.is_some() => Err(format!(
            "--mount=type={kind} with from={} begins with files, which only a builder that is not used \
             here can do; COPY --from= them in a line of its own",
            from.unwrap_or_default()
        )),
        _empty => Ok(Mount::Folder { kind, target }),
    }
}
