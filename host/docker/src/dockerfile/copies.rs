//! Checks `COPY` and `ADD`: which files they may take, and from where.

use super::{
    DockerfileRefusal, Image, Step,
    flags::{Flags, flags, unknown_flag, words, written},
    lines::{Line, as_is},
    names::{Stages, base_image, is_number},
    report::{Report, refused},
};

/// The mode with which folders are made in any case. So a whole tree may ask for this mode.
const FOLDER_MODE: u32 = 0o755;
/// The most paths and patterns that one line may take.
const SOURCES_MAX: usize = 100;

/// Reads an `ADD`. It unpacks archives, but only those of the source tree.
pub(super) fn add(
    line: &Line,
    escape: char,
    report: &mut Report,
) -> Result<Step, DockerfileRefusal> {
    let (mut flags, rest) = flags(line)?;
    let dropped = drop_link(line, &mut flags, report)?;
    if flags.iter().any(|(name, _)| *name == "chmod") {
        let reason = "ADD takes no --chmod here: give the file that mode in the folder, or use \
                      COPY --chmod for one that is not to be unpacked";
        return Err(refused(line.number, reason));
    }
    if let Some((name, _)) = flags.iter().find(|(name, _)| *name != "chown") {
        return Err(unknown_flag(line, name));
    }
    let (words, is_list) = words(line, rest)?;
    let no_sources = || refused(line.number, "ADD takes files and where to put them");
    let [sources @ .., _where_to] = words.as_slice() else {
        return Err(no_sources());
    };
    if sources.is_empty() {
        return Err(no_sources());
    }
    for source in sources {
        let strange = |it: char| matches!(it, ':' | '$' | '\'' | '"' | '\\' | '`') || it == escape;
        if source.contains(strange) {
            let reason = format!(
                "ADD takes files of the tree only, by plain paths, and {source:?} is none: the \
                 engine would fetch an URL from the machine's own network; put the file into the \
                 tree, or fetch it by RUN with [build] network = true in hersh.toml"
            );
            return Err(refused(line.number, reason));
        }
    }
    few_enough(line, rest)?;
    let unpacked = sources.to_vec();
    let before = if is_list {
        written(&flags) + &serde_json::Value::from(words).to_string()
    } else if dropped {
        written(&flags) + rest
    } else {
        line.arguments.clone()
    };
    Ok(Step {
        before,
        unpacked,
        ..as_is(line)
    })
}

pub(super) fn copy(
    line: &Line,
    stages: &Stages,
    report: &mut Report,
) -> Result<Step, DockerfileRefusal> {
    let (mut flags, rest) = flags(line)?;
    drop_link(line, &mut flags, report)?;
    let from = only(line, &flags, "from")?;
    let mode = only(line, &flags, "chmod")?;
    flags.retain(|(name, _)| !matches!(*name, "from" | "chmod"));
    if let Some((name, _)) = flags.iter().find(|(name, _)| *name != "chown") {
        return Err(match *name {
            "parents" | "exclude" => {
                let reason = format!(
                    "COPY takes no --{name} here: that needs a builder that is not used; name the \
                     files or folders in COPY lines of their own, or leave files out by \
                     .dockerignore"
                );
                refused(line.number, reason)
            }
            _other => unknown_flag(line, name),
        });
    }
    few_enough(line, rest)?;
    let others = written(&flags);
    let step = |before: String, image: Option<Image>, after: String| Step {
        before,
        image,
        after,
        ..as_is(line)
    };
    match (from, mode) {
        (None, None) => Ok(step(others + rest, None, String::new())),
        (None, Some(mode)) => {
            let image = with_mode(line, mode, rest)?;
            let before = format!("{others}--from=");
            Ok(step(before, Some(image), format!(" {rest}")))
        }
        (Some(source), Some(mode)) => {
            let reason = format!(
                "COPY takes no --chmod together with --from here: write RUN chmod {mode} in the \
                 stage {source}, where the file is made"
            );
            Err(refused(line.number, reason))
        }
        (Some(source), None) if stages.is_finished(source) => Ok(step(
            format!("{others}--from={source} {rest}"),
            None,
            String::new(),
        )),
        (Some(source), None) => {
            foreign(line, stages, source)?;
            let image = Image::Named(source.to_owned());
            let before = format!("{others}--from=");
            Ok(step(before, Some(image), format!(" {rest}")))
        }
    }
}

/// Refuses a line with too many sources. The engine takes one source after the other, even if the same one
/// is named many times, and does not notice meanwhile that its client is gone.
fn few_enough(line: &Line, rest: &str) -> Result<(), DockerfileRefusal> {
    // An engine takes arguments that begin like a list and are none for words.
    let count = match words(line, rest) {
        Ok((words, _is_list)) => words.len(),
        Err(_) => rest.split([' ', '\t', ',']).count(),
    };
    if count <= SOURCES_MAX {
        return Ok(());
    }
    let reason = format!(
        "{} takes at most {SOURCES_MAX} sources here: name a folder, or write more lines",
        line.keyword
    );
    Err(refused(line.number, reason))
}

/// Checks that `source`, which is not the name of a finished stage, may be copied from as an image.
fn foreign(line: &Line, stages: &Stages, source: &str) -> Result<(), DockerfileRefusal> {
    let at = |reason: String| refused(line.number, reason);
    if is_number(source) {
        return Err(at(format!(
            "no stage {source} is finished before this line"
        )));
    }
    if stages.has_name(source) {
        return Err(at(format!("the stage {source} can't copy from itself")));
    }
    base_image(source).map_err(at)
}

/// Returns the tree with another mode, from which a `COPY --chmod` copies: the engine's builder sets no
/// modes.
fn with_mode(line: &Line, mode: &str, rest: &str) -> Result<Image, DockerfileRefusal> {
    let at = |reason: String| refused(line.number, reason);
    let is_octal = |it: &&str| it.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let octal = Some(mode).filter(|it| (3..=4).contains(&it.len()));
    let octal = octal.filter(is_octal);
    let Some(mode) = octal.and_then(|it| u32::from_str_radix(it, 8).ok()) else {
        return Err(at(format!(
            "--chmod={mode} can't be read here; write the mode in octal digits, as in --chmod=0755"
        )));
    };
    let (words, _is_list) = words(line, rest)?;
    let [sources @ .., _where_to] = words.as_slice() else {
        return Err(at("COPY takes files and where to put them".to_owned()));
    };
    let strange = |it: char| matches!(it, '$' | '\'' | '"' | '\\' | '`' | '*' | '?' | '[');
    let files: Vec<String> = match mode {
        FOLDER_MODE => Vec::new(),
        _other => sources.to_vec(),
    };
    if let Some(source) = files.iter().find(|source| source.contains(strange)) {
        return Err(at(format!(
            "COPY --chmod={mode:04o} takes files by plain paths here, and {source:?} is none; name \
             each file, or write RUN chmod behind it"
        )));
    }
    Ok(Image::Tree { mode, files })
}

/// Returns the value of an option that may stand there at most once.
fn only<'a>(
    line: &Line,
    flags: &Flags<'a>,
    name: &str,
) -> Result<Option<&'a str>, DockerfileRefusal> {
    let mut found = flags.iter().filter(|(known, _)| *known == name);
    match (found.next(), found.next()) {
        (None, _) => Ok(None),
        (Some((_, value)), None) => Ok(Some(value)),
        (Some(_), Some(_)) => {
            let reason = format!("{} takes one --{name}", line.keyword);
            Err(refused(line.number, reason))
        }
    }
}

/// Takes `--link` out and returns whether it was there. The option changes what a builder keeps, and not
/// what it builds.
fn drop_link(
    line: &Line,
    flags: &mut Flags<'_>,
    report: &mut Report,
) -> Result<bool, DockerfileRefusal> {
    let count = flags.len();
    let links = flags.iter().filter(|(name, _)| *name == "link");
    for (_, value) in links {
        if !matches!(*value, "" | "true" | "false") {
            let reason = format!("--link={value} can't be read; leave it out");
            return Err(refused(line.number, reason));
        }
    }
    flags.retain(|(name, _)| *name != "link");
    let dropped = flags.len() < count;
    if dropped {
        let text = "--link is passed over: it changes what is kept between builds, not the image";
        report.note(line.number, text);
    }
    Ok(dropped)
}
