//! The source that a deploy would send. Everything that the client can check is checked before it is sent.

use std::{fs, io, path::Path};

use hersh_host::preflight;
use hersh_wire::{Build, Manifest, check_revision_message};

use super::env_file;
use crate::{
    args::DeployOptions,
    commands::{
        archive::{self, Listing, RequiredFiles},
        build_query::{self, BuildQuery},
    },
    failure::Failure,
};

/// The length of the longest valid name, characters.
const NAME_CHARS_MAX: usize = 63;

/// A folder that can be sent.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) listing: Listing,
    /// The options of the build that the flags name, beside the manifest, and the message.
    pub(super) build: BuildQuery,
}

/// Reads and checks the source: name, manifest, Dockerfile, the entries to send and their size.
///
/// # Errors
/// [`Failure::Input`] says what is wrong, and what to type instead.
pub(super) fn source(options: &DeployOptions) -> Result<Source, Failure> {
    let folder = &options.folder;
    if !folder.is_dir() {
        let folder = folder.display();
        return Err(Failure::Input(format!("there is no folder {folder}")));
    }
    let read = read_manifest(folder)?;
    let mut manifest = read.clone();
    for file in &options.env_file {
        env_file::add(&mut manifest.env, file, |name| std::env::var(name).ok())?;
    }
    let name = name(options.name.as_ref().or(manifest.name.as_ref()), folder)?;
    preflight::check_manifest(&manifest).map_err(|error| {
        Failure::Input(format!("{}: {error}", folder.join("hersh.toml").display()))
    })?;
    let mut asked = build_query::of(&options.build, folder)?;
    asked.query.extend(message(options.message.as_deref())?);
    let named = asked.query.iter().find(|(key, _)| *key == "dockerfile");
    let named = named
        .map(|(_, path)| path)
        .or(manifest.build.dockerfile.as_ref());
    let wanted = RequiredFiles {
        dockerfile: named.map_or("Dockerfile", String::as_str).to_owned(),
        manifest: match manifest == read {
            true => None,
            false => Some(written(&manifest)?),
        },
    };
    let mut build = manifest.build;
    build.target = options.build.target.clone().or(build.target);
    build.args.extend(build_query::args_of(&options.build)?);
    check_dockerfile(folder, &wanted.dockerfile, build)?;
    let listing = archive::list(folder, &wanted)?;
    listing.check()?;
    Ok(Source {
        name,
        listing,
        build: asked,
    })
}

/// Returns the part of the request that says what is new.
fn message(message: Option<&str>) -> Result<Option<(&'static str, String)>, Failure> {
    let Some(message) = message else {
        return Ok(None);
    };
    check_revision_message(message)
        .map_err(|error| Failure::Input(format!("--message: {error}")))?;
    Ok(Some(("message", message.to_owned())))
}

fn read_manifest(folder: &Path) -> Result<Manifest, Failure> {
    let path = folder.join("hersh.toml");
    match fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text)
            .map_err(|error| Failure::Input(format!("{}: {error}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Manifest::default()),
        Err(error) => Err(Failure::Input(format!(
            "{} can't be read: {error}",
            path.display()
        ))),
    }
}

/// Writes the manifest with the changes of flags. It holds values of environment variables, so no error shows
/// it.
fn written(manifest: &Manifest) -> Result<String, Failure> {
    toml::to_string(manifest)
        .map_err(|error| Failure::Failed(format!("the manifest can't be written anew: {error}")))
}

/// Reads the Dockerfile as the host will, with the chosen stage and values.
fn check_dockerfile(folder: &Path, name: &str, build: Build) -> Result<(), Failure> {
    let path = folder.join(name);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = folder.display();
            return Err(Failure::Input(format!(
                "{folder} has no {name}; name the folder of the program"
            )));
        }
        Err(error) => {
            let path = path.display();
            return Err(Failure::Input(format!("{path} can't be read: {error}")));
        }
    };
    preflight::check_dockerfile(&bytes, build.target, build.args)
        .map_err(|error| Failure::Input(format!("{}: {error}", folder.display())))
}

/// Returns the program's name: `asked`, which is `--name` or the manifest's; otherwise the folder's, if that
/// is valid.
fn name(asked: Option<&String>, folder: &Path) -> Result<String, Failure> {
    let whole = folder
        .canonicalize()
        .unwrap_or_else(|_| folder.to_path_buf());
    let of_folder = || {
        whole
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    let name = asked.cloned().or_else(of_folder).unwrap_or_default();
    preflight::check_name(&name).map_err(|error| {
        let next = match suggestion(&name) {
            Some(valid) => format!("type --name {valid}, or set name in hersh.toml"),
            None => "name the program by --name, or set name in hersh.toml".to_owned(),
        };
        Failure::Input(format!("{error}: {next}"))
    })?;
    Ok(name)
}

/// Returns the nearest valid name.
fn suggestion(name: &str) -> Option<String> {
    let plain = name.chars().map(|it| match it.to_ascii_lowercase() {
        it if it.is_ascii_lowercase() || it.is_ascii_digit() => it,
        _other => '-',
    });
    let plain: String = plain.collect();
    let words: Vec<&str> = plain.split('-').filter(|word| !word.is_empty()).collect();
    let joined = words.join("-");
    let cut = joined.get(..NAME_CHARS_MAX).unwrap_or(&joined);
    let valid = cut.trim_end_matches('-');
    preflight::check_name(valid).ok()?;
    Some(valid.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Task};

    fn check(folder: &Path, flags: &[&str]) -> Result<Source, String> {
        let folder = folder.to_str().unwrap();
        let line = [&["hersh", "deploy", folder], flags].concat();
        let Task::Deploy(options) = Arguments::parse_from(line).task else {
            unreachable!()
        };
        source(&options).map_err(|failure| failure.to_string())
    }

    #[test]
    fn what_a_host_would_refuse_is_told_before_anything_is_sent() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("My_App");
        let refused = |flags: &[&str]| match check(&folder, flags) {
            Ok(_) => panic!("{flags:?} is taken"),
            Err(error) => error,
        };
        assert!(refused(&[]).contains("there is no folder"));
        fs::create_dir(&folder).unwrap();
        assert!(refused(&["--name", "a"]).contains("has no Dockerfile"));
        fs::write(folder.join("hersh.toml"), "").unwrap();
        assert!(refused(&["--name", "a"]).contains("has no Dockerfile"));
        fs::write(folder.join("Dockerfile"), "FROM scratch\nCOPIE a b\n").unwrap();
        let dockerfile = refused(&["--name", "a"]);
        assert!(dockerfile.contains("Dockerfile, line 2"), "{dockerfile}");
        fs::write(folder.join("Dockerfile"), "FROM scratch\n").unwrap();
        let name = refused(&[]);
        assert!(name.contains("type --name my-app"), "{name}");
        fs::write(
            folder.join("hersh.toml"),
            "[resources]\nmemory = \"1KiB\"\n",
        )
        .unwrap();
        let manifest = refused(&["--name", "a"]);
        assert!(manifest.contains("resources.memory = 1KiB"), "{manifest}");
        fs::write(folder.join("hersh.toml"), "name = \"a\"\n").unwrap();
        assert_eq!(
            check(&folder, &[]).unwrap_or_else(|it| panic!("{it}")).name,
            "a"
        );
    }

    #[test]
    fn a_name_that_is_none_is_mended() {
        for (name, valid) in [
            ("My_App", Some("my-app")),
            ("web.example.com", Some("web-example-com")),
            ("--x--", Some("x")),
            ("grün", Some("gr-n")),
            ("___", None),
        ] {
            assert_eq!(suggestion(name).as_deref(), valid, "{name}");
        }
        let long = suggestion(&"ab-".repeat(40)).unwrap();
        assert!(preflight::check_name(&long).is_ok(), "{long}");
    }

    #[test]
    fn variables_of_a_file_go_with_the_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| fs::write(folder.path().join(path), text).unwrap();
        write("Dockerfile", "FROM scratch\n");
        write("hersh.toml", "name = \"a\"\n[env]\nA = \"1\"\nB = \"1\"\n");
        write("vars", "B=2\nC=3\n");
        let mut manifest = read_manifest(folder.path()).unwrap();
        env_file::add(&mut manifest.env, &folder.path().join("vars"), |_| None).unwrap();
        let again: Manifest = toml::from_str(&written(&manifest).unwrap()).unwrap();
        assert_eq!(again, manifest);
        assert_eq!(again.env.values().collect::<Vec<_>>(), ["1", "2", "3"]);
        assert!(check(folder.path(), &["--env-file", "/nowhere"]).is_err());
    }
}
