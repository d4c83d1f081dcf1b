//! Looks, through the engine, at the file that a container was to run.

use std::{io::Read, time::Duration};

use bollard::{
    Docker,
    models::ContainerInspectResponse,
    query_parameters::{ContainerArchiveInfoOptions, DownloadFromContainerOptions},
};
use futures_util::StreamExt;

use super::first_process::{
    HEAD_BYTES, Refusal, Shape, closed, foreign, in_general, not_executable, shape,
};

/// How long the look may take. Without an answer, only a general cause is told.
const LOOK: Duration = Duration::from_secs(10);
/// The most bytes that are read of the engine's archive of one file: a header, a header for its attributes,
/// and the beginning of its content.
const ARCHIVE_BYTES: usize = 32 * 1024;
/// The most folders that are looked at, of `PATH` or above a file.
const FOLDERS_MAX: usize = 32;
/// The folders that are searched for a program without a path when the image has no `PATH`.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Bits of the mode in the engine's answers. These bits are those of the language Go.
const IS_FOLDER: u32 = 1 << 31;
const IS_LINK: u32 = 1 << 27;
/// The permission bits that a user needs who is neither the owner nor in the group.
const READ_AND_EXECUTE: u32 = 0o5;
const ENTER: u32 = 0o1;

/// Returns why `refusal` happened, from the files of the container that was to run its program.
pub(super) async fn explain(
    client: &Docker,
    container: &ContainerInspectResponse,
    refusal: &Refusal,
) -> String {
    let files = Files { client, container };
    let seen = tokio::time::timeout(LOOK, files.explain(refusal)).await;
    seen.ok().flatten().unwrap_or_else(|| in_general(refusal))
}

/// Returns a message if the container's program is for another processor. A shell takes such a file for a
/// script and fails in its own words.
pub(super) async fn foreign_program(
    client: &Docker,
    container: &ContainerInspectResponse,
) -> Option<String> {
    let program = container.path.as_deref()?;
    let files = Files { client, container };
    let look = async {
        let path = files.find(program).await?;
        match shape(&files.head(&path).await?) {
            Shape::Foreign(processor) => Some(foreign(&path, processor)),
            Shape::Native(_) | Shape::Script(_) | Shape::Neither => None,
        }
    };
    tokio::time::timeout(LOOK, look).await.ok().flatten()
}

struct Files<'a> {
    client: &'a Docker,
    container: &'a ContainerInspectResponse,
}

impl Files<'_> {
    async fn explain(&self, refusal: &Refusal) -> Option<String> {
        let program = &refusal.program;
        let Some(path) = self.find(program).await else {
            return Some(format!(
                "there is no {program} in the image: look at CMD and ENTRYPOINT of the Dockerfile, and at what it copies"
            ));
        };
        for folder in folders(&path) {
            let mode = self.mode(folder).await?;
            if mode & IS_FOLDER != 0 && mode & ENTER == 0 {
                return Some(closed(&path, folder));
            }
        }
        let mode = self.mode(&path).await?;
        if mode & IS_FOLDER != 0 {
            return Some(format!("{path} is a folder: name the program in it"));
        }
        if mode & READ_AND_EXECUTE != READ_AND_EXECUTE {
            return Some(not_executable(&path, mode & 0o777));
        }
        match shape(&self.head(&path).await?) {
            Shape::Foreign(processor) => Some(foreign(&path, processor)),
            Shape::Script(interpreter) if interpreter.ends_with('\r') => Some(format!(
                "the first line of {path} ends with a carriage return, which counts as part of the interpreter's name: store the script with line ends of Unix"
            )),
            Shape::Script(interpreter) => self.absent(&path, "interpreter", &interpreter).await,
            Shape::Native(Some(loader)) => self.absent(&path, "loader", &loader).await,
            Shape::Neither => Some(format!(
                "{path} is neither a program nor a script that begins with #! and its interpreter"
            )),
            Shape::Native(None) => None,
        }
    }

    /// Returns the message for a file that another file needs and the image lacks.
    async fn absent(&self, path: &str, what: &str, name: &str) -> Option<String> {
        let is_there = self.stat(name).await.is_some();
        (!is_there).then(|| {
            format!(
                "{path} needs the {what} {name}, which is not in the image: add it, or take a base image that has it{}",
                if what == "loader" { ", or link the program statically" } else { "" }
            )
        })
    }

    /// Returns the path at which the container finds a program of that name.
    async fn find(&self, program: &str) -> Option<String> {
        let config = self.container.config.as_ref();
        if program.contains('/') {
            let folder = config.and_then(|it| it.working_dir.as_deref());
            let path = joined(folder.unwrap_or("/"), program);
            return self.stat(&path).await.map(|_found| path);
        }
        let env = config.and_then(|it| it.env.as_deref()).unwrap_or_default();
        let path = env.iter().find_map(|line| line.strip_prefix("PATH="));
        for folder in path.unwrap_or(USUAL_PATH).split(':').take(FOLDERS_MAX) {
            let path = joined(folder, program);
            if self.stat(&path).await.is_some() {
                return Some(path);
            }
        }
        None
    }

    /// Returns the mode of the file at `path`; for a link, the mode of its target.
    async fn mode(&self, path: &str) -> Option<u32> {
        let (mode, target) = self.stat(path).await?;
        if mode & IS_LINK == 0 {
            return Some(mode);
        }
        Some(self.stat(&target).await?.0)
    }

    /// Returns the mode of a file, and for a link its final target.
    async fn stat(&self, path: &str) -> Option<(u32, String)> {
        let options = ContainerArchiveInfoOptions { path: path.into() };
        let id = self.container.id.as_deref()?;
        let answer = self.client.get_container_archive_info(id, Some(options));
        let stat = answer.await.ok()?;
        Some((stat.file_mode, stat.link_target))
    }

    /// Returns the first bytes of a file.
    async fn head(&self, path: &str) -> Option<Vec<u8>> {
        let (mode, target) = self.stat(path).await?;
        let path = if mode & IS_LINK == 0 { path } else { &target };
        let options = DownloadFromContainerOptions { path: path.into() };
        let id = self.container.id.as_deref()?;
        let mut pieces = std::pin::pin!(self.client.download_from_container(id, Some(options)));
        let mut bytes = Vec::new();
        while bytes.len() < ARCHIVE_BYTES {
            match pieces.next().await {
                Some(piece) => bytes.extend_from_slice(&piece.ok()?),
                None => break,
            }
        }
        let mut archive = tar::Archive::new(bytes.as_slice());
        let file = archive.entries().ok()?.next()?.ok()?;
        let mut head = Vec::new();
        let limit = u64::try_from(HEAD_BYTES).ok()?;
        file.take(limit).read_to_end(&mut head).ok()?;
        Some(head)
    }
}

/// Returns the folders above a path, beginning at the root.
fn folders(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').map(|(at, _)| at);
    ends.filter(|at| *at > 0)
        .take(FOLDERS_MAX)
        .map(|at| &path[..at])
}

/// Returns `path`, taken relative to `folder`, as an absolute path.
fn joined(folder: &str, path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{}/{path}", folder.trim_matches('/')).replace("//", "/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_seen_from_the_working_folder() {
        for (folder, path, expected) in [
            ("/srv", "./app", "/srv/app"),
            ("/", "app", "/app"),
            ("", "bin/app", "/bin/app"),
            ("/a/", "/b", "/b"),
        ] {
            assert_eq!(joined(folder, path), expected);
        }
        let above: Vec<&str> = folders("/a/b/c").collect();
        assert_eq!(above, ["/a", "/a/b"]);
        assert_eq!(folders("/c").count(), 0);
    }
}
