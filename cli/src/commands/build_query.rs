//! The options of a build that a deploy sends to the host with the source.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hersh_wire::BUILD_ARGS_HEADER;
use reqwest::{
    RequestBuilder,
    header::{HeaderMap, HeaderValue},
};

use crate::{build_options::BuildOptions, failure::Failure};

/// The part about the build in the request that brings the source.
pub(super) struct BuildQuery {
    pub(super) query: Vec<(&'static str, String)>,
    headers: HeaderMap,
}

impl BuildQuery {
    /// Adds the build's options to the request.
    pub(super) fn add_to(&self, request: RequestBuilder) -> RequestBuilder {
        request.query(&self.query).headers(self.headers.clone())
    }
}

/// Returns the build's options that the flags name.
///
/// # Errors
/// [`Failure::Input`] for flags that can't be used.
pub(super) fn of(options: &BuildOptions, folder: &Path) -> Result<BuildQuery, Failure> {
    let mut query = Vec::new();
    if let Some(file) = &options.file {
        query.push(("dockerfile", inside(folder, file)?));
    }
    if let Some(target) = &options.target {
        query.push(("target", target.clone()));
    }
    for (name, is_asked) in [("pull", options.pull), ("no_cache", options.no_cache)] {
        if is_asked {
            query.push((name, "true".to_owned()));
        }
    }
    let mut headers = HeaderMap::new();
    if !options.args.is_empty() {
        headers.insert(BUILD_ARGS_HEADER, header(&args_of(options)?)?);
    }
    Ok(BuildQuery { query, headers })
}

/// Encodes values as the host reads them. They may be secrets, so the header is marked as sensitive.
fn header(args: &BTreeMap<String, String>) -> Result<HeaderValue, Failure> {
    let refuse = |error: &dyn std::fmt::Display| Failure::Input(format!("--build-arg: {error}"));
    let text = serde_json::to_string(args).map_err(|error| refuse(&error))?;
    let value = HeaderValue::try_from(STANDARD.encode(text));
    let mut value = value.map_err(|error| refuse(&error))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Returns the values for `ARG`s that the command line gives.
///
/// # Errors
/// [`Failure::Input`] for an argument that is not a name with a value.
pub(super) fn args_of(options: &BuildOptions) -> Result<BTreeMap<String, String>, Failure> {
    args(&options.args, |name| std::env::var(name).ok())
}

/// Returns the path of the Dockerfile in the folder. `file` may be relative to the folder, as with compose,
/// or to the current folder, as with Docker.
fn inside(folder: &Path, file: &Path) -> Result<String, Failure> {
    let refuse = |why: &str| Failure::Input(format!("--file {}: {why}", file.display()));
    let is_below = |path: &Path| {
        let is_down = |it: Component<'_>| matches!(it, Component::Normal(_) | Component::CurDir);
        path.components().all(is_down)
    };
    let path = if is_below(file) && folder.join(file).is_file() {
        file.to_path_buf()
    } else {
        let whole = |path: &Path| {
            path.canonicalize()
                .map_err(|error| refuse(&error.to_string()))
        };
        let outside = |_| refuse("it is not in the folder, and the host gets nothing else");
        let path = whole(file)?;
        path.strip_prefix(whole(folder)?)
            .map(Path::to_path_buf)
            .map_err(outside)?
    };
    let names = path.components().filter_map(|it| match it {
        Component::Normal(name) => Some(name),
        Component::CurDir | Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
            None
        }
    });
    let path: PathBuf = names.collect();
    let path = path
        .to_str()
        .ok_or_else(|| refuse("its name is not UTF-8"))?;
    Ok(path.to_owned())
}

/// Returns the values by name. A name that the environment does not have is left to the Dockerfile, as with
/// Docker.
fn args(
    asked: &[String],
    environment: impl Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut args = BTreeMap::new();
    for one in asked {
        let (name, value) = match one.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (one.as_str(), environment(one)),
        };
        if name.is_empty() {
            let said = "--build-arg: write NAME=VALUE, or NAME to take it from the environment";
            return Err(Failure::Input(said.to_owned()));
        }
        if let Some(value) = value {
            args.insert(name.to_owned(), value);
        }
    }
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dockerfile_is_named_by_its_place_in_the_folder() {
        let place = std::env::temp_dir().join(format!("hersh-build-query-{}", std::process::id()));
        let folder = place.join("app");
        std::fs::create_dir_all(folder.join("docker")).unwrap();
        std::fs::write(folder.join("docker/own"), "").unwrap();
        std::fs::write(place.join("outside"), "").unwrap();
        let of = |file: &Path| inside(&folder, file);
        for file in [
            Path::new("docker/own"),
            Path::new("./docker/own"),
            &folder.join("docker/own"),
        ] {
            assert_eq!(of(file).unwrap(), "docker/own", "{}", file.display());
        }
        for (file, expected) in [
            (place.join("outside"), "not in the folder"),
            (folder.join("docker/../../outside"), "not in the folder"),
            (folder.join("none"), "No such file"),
        ] {
            let Err(Failure::Input(said)) = of(&file) else {
                panic!("{} is taken", file.display());
            };
            assert!(said.contains(expected), "{said}");
        }
        std::fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn values_travel_in_a_header_and_not_in_the_address() {
        let options = BuildOptions {
            file: None,
            target: Some("prod".to_owned()),
            args: vec!["KEY=s3cret \u{fc}".to_owned()],
            pull: false,
            no_cache: true,
        };
        let asked = of(&options, Path::new(".")).unwrap();
        let url = "http://[::1]/programs/a/source".parse().unwrap();
        let client = crate::connect::http_client(&url, None).unwrap();
        let request = asked.add_to(client.put(url)).build().unwrap();
        assert_eq!(request.url().query(), Some("target=prod&no_cache=true"));
        let value = &request.headers()["hersh-build-args"];
        assert!(value.is_sensitive());
        let text = STANDARD.decode(value).unwrap();
        assert_eq!(text, "{\"KEY\":\"s3cret \u{fc}\"}".as_bytes());
    }

    #[test]
    fn values_come_from_the_line_or_the_environment() {
        let environment = |name: &str| (name == "SET").then(|| "here".to_owned());
        let read = |asked: &[&str]| {
            let asked: Vec<String> = asked.iter().map(|it| (*it).to_owned()).collect();
            args(&asked, environment)
        };
        let found = read(&["A=1=2", "SET", "UNSET", "B=", "A=3"]).unwrap();
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(found, [("A", "3"), ("B", ""), ("SET", "here")]);
        assert!(read(&["=x"]).is_err());
    }
}
