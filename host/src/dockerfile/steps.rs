//! What each instruction may do.

use super::{
    Refused, Step,
    lines::{Line, refused},
    names::{Arguments, Stages, base_image, is_number},
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

/// Options by name and value.
type Flags<'a> = Vec<(&'a str, &'a str)>;

/// Checks the instructions one after the other.
pub(super) fn read(escape: char, lines: Vec<Line>) -> Result<Vec<Step>, Refused> {
    let mut arguments = Arguments::default();
    let mut stages = Stages::default();
    let mut steps = Vec::with_capacity(lines.len());
    for line in lines {
        let keyword = line.keyword.as_str();
        if !KEYWORDS.contains(&keyword) {
            return Err(refused(
                line.number,
                &format!("unknown instruction: {keyword}"),
            ));
        }
        let step = match keyword {
            "FROM" => from(&line, &arguments, &mut stages)?,
            "ARG" => {
                if stages.is_empty() {
                    arguments.declare(&line.arguments);
                }
                as_is(&line)
            }
            _other if stages.is_empty() => {
                return Err(refused(line.number, "the first instruction must be FROM"));
            }
            "RUN" => run(&line)?,
            "ADD" => add(&line, escape)?,
            "COPY" => copy(&line, &stages)?,
            "ONBUILD" => {
                let reason = "ONBUILD is not taken: write its instruction where it is to run";
                return Err(refused(line.number, reason));
            }
            _harmless => as_is(&line),
        };
        steps.push(step);
    }
    if stages.is_empty() {
        return Err(refused(1, "there is no FROM"));
    }
    Ok(steps)
}

fn as_is(line: &Line) -> Step {
    Step {
        line: line.number,
        keyword: line.keyword.clone(),
        before: line.arguments.clone(),
        image: None,
        after: String::new(),
    }
}

fn from(line: &Line, arguments: &Arguments, stages: &mut Stages) -> Result<Step, Refused> {
    let (flags, rest) = flags(line)?;
    if let Some((name, _)) = flags.iter().find(|(name, _)| *name != "platform") {
        return Err(unknown_flag(line, name));
    }
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (image, stage) = match words.as_slice() {
        [image] => (*image, None),
        [image, word, stage] if word.eq_ignore_ascii_case("as") => (*image, Some(*stage)),
        _other => {
            return Err(refused(
                line.number,
                "write FROM image, or FROM image AS name",
            ));
        }
    };
    let at = |reason: String| refused(line.number, &reason);
    let image = arguments.expand(image).map_err(at)?;
    let is_external = image != "scratch" && !stages.has_name(&image);
    if is_external {
        base_image(&image).map_err(at)?;
    }
    stages.begin(stage).map_err(at)?;
    let text = |flags: &[(&str, &str)]| -> String {
        let text = flags
            .iter()
            .map(|(name, value)| format!("--{name}={value} "));
        text.collect()
    };
    let (image, inside) = if is_external {
        (Some(image), String::new())
    } else {
        (None, image)
    };
    Ok(Step {
        line: line.number,
        keyword: line.keyword.clone(),
        before: text(&flags) + &inside,
        image,
        after: stage
            .map(|stage| format!(" AS {stage}"))
            .unwrap_or_default(),
    })
}

fn run(line: &Line) -> Result<Step, Refused> {
    if line.arguments.starts_with("--") {
        let reason = "options of RUN need a builder that is not used here; leave them out";
        return Err(refused(line.number, reason));
    }
    no_here_document(line)?;
    Ok(as_is(line))
}

/// `ADD` unpacks archives, of the tree only.
fn add(line: &Line, escape: char) -> Result<Step, Refused> {
    no_here_document(line)?;
    let (flags, rest) = flags(line)?;
    if let Some((name, _)) = flags
        .iter()
        .find(|(name, _)| !matches!(*name, "chown" | "chmod"))
    {
        return Err(unknown_flag(line, name));
    }
    let (words, is_list) = words(line, rest)?;
    let [sources @ .., _where_to] = words.as_slice() else {
        return Err(refused(
            line.number,
            "ADD takes files and where to put them",
        ));
    };
    if sources.is_empty() {
        return Err(refused(
            line.number,
            "ADD takes files and where to put them",
        ));
    }
    for source in sources {
        let strange = |it: char| matches!(it, ':' | '$' | '\'' | '"' | '\\' | '`') || it == escape;
        if source.contains(strange) {
            let reason = format!(
                "ADD takes files of the tree only, by plain paths, and {source:?} is none: the \
                 engine would fetch an URL from the machine's own network; put the file into the \
                 tree, or fetch it by RUN with [build] network = true in hersh.toml"
            );
            return Err(refused(line.number, &reason));
        }
    }
    if !is_list {
        return Ok(as_is(line));
    }
    let options = flags.iter();
    let options: String = options
        .map(|(name, value)| format!("--{name}={value} "))
        .collect();
    Ok(Step {
        before: options + &serde_json::Value::from(words).to_string(),
        ..as_is(line)
    })
}

/// The words of a line, and whether they are a list in JSON. An engine takes a list that it can't
/// read for plain words, and what it can read differs, so a list is a good one or none.
fn words(line: &Line, rest: &str) -> Result<(Vec<String>, bool), Refused> {
    if !rest.starts_with('[') {
        let words = rest.split_whitespace().map(str::to_owned).collect();
        return Ok((words, false));
    }
    let list: Vec<String> = serde_json::from_str(rest).map_err(|error| {
        let reason = format!("the list of words is no JSON ({error}); write [\"from\", \"to\"]");
        refused(line.number, &reason)
    })?;
    if list.iter().any(|word| word.contains(char::is_control)) {
        return Err(refused(line.number, "the list holds a control character"));
    }
    Ok((list, true))
}

fn copy(line: &Line, stages: &Stages) -> Result<Step, Refused> {
    no_here_document(line)?;
    let (flags, rest) = flags(line)?;
    let mut from = flags.iter().filter(|(name, _)| *name == "from");
    let (Some((_, source)), None) = (from.next(), from.next()) else {
        return match flags.iter().any(|(name, _)| *name == "from") {
            true => Err(refused(line.number, "COPY takes one --from")),
            false => Ok(as_is(line)),
        };
    };
    if stages.is_finished(source) {
        return Ok(as_is(line));
    }
    let at = |reason: String| refused(line.number, &reason);
    if is_number(source) {
        return Err(at(format!(
            "no stage {source} is finished before this line"
        )));
    }
    if stages.has_name(source) {
        return Err(at(format!("the stage {source} can't copy from itself")));
    }
    base_image(source).map_err(at)?;
    let others = flags.iter().filter(|(name, _)| *name != "from");
    let others: String = others
        .map(|(name, value)| format!("--{name}={value} "))
        .collect();
    Ok(Step {
        line: line.number,
        keyword: line.keyword.clone(),
        before: format!("{others}--from="),
        image: Some((*source).to_owned()),
        after: format!(" {rest}"),
    })
}

/// The options in front, by name and value, and what follows them. Engines take quotes and escape
/// characters out of options, so nothing of that kind may be in there.
fn flags(line: &Line) -> Result<(Flags<'_>, &str), Refused> {
    let mut found = Vec::new();
    let mut rest = line.arguments.trim();
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, behind) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        let may_expand = |b: u8| name != "from" && name != "platform" && b"${}".contains(&b);
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/:@+,=*".contains(&b);
        if !is_name || !value.bytes().all(|b| is_plain(b) || may_expand(b)) {
            let reason = format!("the option --{flag} can't be read; write it without quotes");
            return Err(refused(line.number, &reason));
        }
        found.push((name, value));
        rest = behind.trim_start();
    }
    Ok((found, rest))
}

/// Some engines read what follows as a file, others as instructions.
fn no_here_document(line: &Line) -> Result<(), Refused> {
    let begins = |word: &str| {
        let word = word.trim_start_matches(|it: char| it.is_ascii_digit());
        let name = word.strip_prefix("<<");
        name.is_some_and(|name| !name.starts_with('<'))
    };
    if line.arguments.split_whitespace().any(begins) {
        let reason =
            "here-documents need a builder that is not used here; put the text into a file";
        return Err(refused(line.number, reason));
    }
    Ok(())
}

fn unknown_flag(line: &Line, name: &str) -> Refused {
    let reason = format!("{} takes no option --{name} here", line.keyword);
    refused(line.number, &reason)
}
