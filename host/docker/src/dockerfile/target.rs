//! Cuts a Dockerfile after the stage that becomes the image.

use super::{
    DockerfileRefusal, flags::flags, lines::Line, names::is_number, report::refused,
    steps::image_and_stage,
};

/// Removes the lines behind the stage `target`, which nobody asked for.
///
/// # Errors
/// [`DockerfileRefusal`] when there is no such stage.
pub(super) fn cut(lines: &mut Vec<Line>, target: &str) -> Result<(), DockerfileRefusal> {
    let begins: Vec<usize> = (0..lines.len())
        .filter(|at| lines[*at].keyword == "FROM")
        .collect();
    let names: Vec<Option<String>> = begins.iter().map(|at| name(&lines[*at])).collect();
    let lower = target.to_ascii_lowercase();
    let named = names.iter().position(|name| name.as_ref() == Some(&lower));
    let numbered = || {
        let number = target.parse::<usize>().ok().filter(|_| is_number(target));
        number.filter(|number| *number < begins.len())
    };
    let Some(stage) = named.or_else(numbered) else {
        let line = begins.last().map_or(1, |at| lines[*at].number);
        let known: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
        let known = if known.is_empty() {
            "no stage has a name".to_owned()
        } else {
            format!("there are: {}", known.join(", "))
        };
        let reason = format!("up to here no stage is named {target:?}; {known}");
        return Err(refused(line, reason));
    };
    if let Some(next) = begins.get(stage + 1) {
        lines.truncate(*next);
    }
    Ok(())
}

/// Returns the name of the stage that a line begins.
fn name(line: &Line) -> Option<String> {
    let (_flags, rest) = flags(line).ok()?;
    let (_image, name) = image_and_stage(rest)?;
    name.map(str::to_ascii_lowercase)
}
