//! Turns `[build]`, as people write it, into the recipe that a build follows.

use hersh_program::Recipe;
use hersh_wire as wire;

use crate::ManifestError;

/// The longest path of a Dockerfile, and the longest name of a stage, bytes.
const PATH_BYTES_MAX: usize = 1_024;
const TARGET_BYTES_MAX: usize = 128;
/// The most values for a build, and the most bytes of all their names and values: an engine gets all of
/// them in one line of a request.
const ARGS_LENGTH_MAX: usize = 64;
const ARGS_BYTES_MAX: usize = 16 * 1024;

/// Checks every bound, and returns the recipe.
///
/// # Errors
/// [`ManifestError`] names the first key that can't be used.
pub(crate) fn recipe(asked: &wire::Build) -> Result<Recipe, ManifestError> {
    if let Some(path) = &asked.dockerfile {
        check_path(path)?;
    }
    if let Some(target) = &asked.target {
        check_target(target)?;
    }
    check_args(asked)?;
    Ok(Recipe {
        // The default name makes the same recipe, whether it is written out or not.
        dockerfile: asked.dockerfile.clone().filter(|it| it != "Dockerfile"),
        target: asked.target.clone(),
        args: asked.args.clone(),
        pull: false,
        no_cache: false,
    })
}

fn check_path(path: &str) -> Result<(), ManifestError> {
    let is_name = |part: &str| !matches!(part, "" | "." | "..");
    let is_plain = path.len() <= PATH_BYTES_MAX
        && !path.contains(char::is_control)
        && path.split('/').all(is_name);
    let rule = "use the path of a file in the folder, such as docker/prod.Dockerfile";
    keep(is_plain, "build.dockerfile", format!("{path:?}"), rule)
}

fn check_target(target: &str) -> Result<(), ManifestError> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let is_name = !target.is_empty()
        && target.len() <= TARGET_BYTES_MAX
        && target.starts_with(|it: char| it.is_ascii_alphanumeric())
        && target.bytes().all(is_plain);
    let rule = "use the name of a stage of the Dockerfile, such as prod";
    keep(is_name, "build.target", format!("{target:?}"), rule)
}

fn check_args(asked: &wire::Build) -> Result<(), ManifestError> {
    let args = &asked.args;
    let bytes: usize = args
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    let fits = args.len() <= ARGS_LENGTH_MAX && bytes <= ARGS_BYTES_MAX;
    let found = format!("{} values, {bytes} bytes", args.len());
    let rule = format!("use at most {ARGS_LENGTH_MAX} values and {ARGS_BYTES_MAX} bytes");
    keep(fits, "build.args", found, &rule)?;
    for (name, value) in args {
        let starts = name.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_');
        let is_name = starts && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let rule = "a name has letters, digits and '_' and starts with no digit";
        keep(is_name, "build.args", format!("{name:?}"), rule)?;
        // The value may be a secret, so it is not repeated.
        let key = format!("build.args.{name}");
        keep(
            !value.contains('\0'),
            &key,
            "(hidden)".into(),
            "a value has no NUL",
        )?;
    }
    Ok(())
}

fn keep(holds: bool, key: &str, value: String, rule: &str) -> Result<(), ManifestError> {
    if holds {
        return Ok(());
    }
    Err(ManifestError {
        key: key.into(),
        value,
        rule: rule.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Recipe, ManifestError> {
        recipe(&toml::from_str(text).unwrap())
    }

    #[test]
    fn what_a_build_is_asked_for_is_bounded() {
        for path in [
            "",
            "/etc/shadow",
            "../x",
            "a/../../x",
            "a//b",
            "a/",
            ".",
            "a\u{1b}b",
        ] {
            let error = read(&format!("dockerfile = {path:?}").replace("\\u{1b}", "\\u001b"));
            assert_eq!(error.unwrap_err().key, "build.dockerfile", "{path:?}");
        }
        for target in ["", "-x", "a b", "a$b", "a/b"] {
            let error = read(&format!("target = {target:?}")).unwrap_err();
            assert_eq!(error.key, "build.target", "{target:?}");
        }
        for (args, expected) in [
            ("\"1A\" = \"x\"".to_owned(), "a name has letters"),
            ("\"A B\" = \"x\"".to_owned(), "a name has letters"),
            ("\"\" = \"x\"".to_owned(), "a name has letters"),
            (
                "A = \"\\u0000\"".to_owned(),
                "(hidden) can't be used: a value has no NUL",
            ),
            (
                format!("A = {:?}", "x".repeat(ARGS_BYTES_MAX)),
                "16384 bytes",
            ),
            (
                (0..65).map(|at| format!("A{at} = \"\"\n")).collect(),
                "at most 64 values",
            ),
        ] {
            let error = read(&format!("[args]\n{args}")).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let usual = read("dockerfile = \"Dockerfile\"").unwrap();
        assert_eq!(usual, Recipe::default());
        let full = "dockerfile = \"a/b.Dockerfile\"\ntarget = \"prod\"\n[args]\nV = \"1 $x\"";
        let full = read(full).unwrap();
        assert_eq!(full.dockerfile.as_deref(), Some("a/b.Dockerfile"));
        assert_eq!(
            (full.target.as_deref(), full.args["V"].as_str()),
            (Some("prod"), "1 $x")
        );
    }
}
