//! Finds the files of gVisor's `runsc` on this machine, and asks them for their version.
//!
//! A file counts only if the operator of the machine put it there: the engine has it registered, or it lies
//! in a folder for programs of the machine. The host never runs any other file to ask for its version.
//! Under another runtime, the file of a container's process is the program's own, and the host would run
//! that file outside of any sandbox.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Mutex,
    time::Duration,
};

use hersh_base::locked::locked;
use tokio::process::Command;

use super::Inner;
use hersh_sandbox::Unavailable;

/// How long a runsc may take to print its version.
const LIMIT: Duration = Duration::from_secs(10);
/// The most files that are remembered. More than one is known only after upgrades of the machine's runsc.
const KNOWN_MAX: usize = 16;
/// The longest version that is shown, characters.
const VERSION_CHARS: usize = 100;
/// The folders for programs of a machine. They are searched even if the `PATH` of the service lacks them.
const FOLDERS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The name of a machine's own runsc.
const NAME: &str = "runsc";

/// The file of gVisor's `runsc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Runsc {
    /// The path of the file.
    pub(super) path: PathBuf,
    /// The version that the file prints, such as `runsc version release-20240729.0`.
    pub(super) version: String,
}

/// The identity and the state of a file: a file that was replaced counts as another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
    length: u64,
    changed_ns: i128,
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            changed_ns: i128::from(metadata.ctime()) * 1_000_000_000
                + i128::from(metadata.ctime_nsec()),
        }
    }
}

/// The files that were asked, and said that they are gVisor's.
#[derive(Default)]
pub(super) struct RunscCache(Mutex<Vec<(FileId, Runsc)>>);

impl Inner {
    /// Returns the runsc of this machine that is the file `id`; `None` when none of them is. `runtime` is
    /// the name under which the engine has it.
    ///
    /// # Errors
    /// [`Unavailable`] when the engine or the file does not answer. Such a failure does not mean that the
    /// file is not gVisor's.
    pub(super) async fn runsc_that_is(
        &self,
        runtime: &str,
        id: FileId,
    ) -> Result<Option<Runsc>, Unavailable> {
        if let Some(known) = self.runscs.find(id) {
            return Ok(Some(known));
        }
        let mut files = candidates(self.registered(runtime).await?).into_iter();
        let is_it = |path: &PathBuf| fs::metadata(path).is_ok_and(|it| FileId::of(&it) == id);
        let Some(path) = files.find(is_it) else {
            return Ok(None);
        };
        let runsc = version(&path).await?;
        let runsc = runsc.map(|version| Runsc { path, version });
        if let Some(runsc) = &runsc {
            self.runscs.add(id, runsc.clone());
        }
        Ok(runsc)
    }

    /// Returns the path under which the engine has a runtime, if the engine names one.
    async fn registered(&self, runtime: &str) -> Result<Option<String>, Unavailable> {
        let client = self.engine.client().await?;
        let info = client.info().await;
        let info = info.map_err(|error| self.engine.fault(&error).into_unavailable())?;
        let runtime = info.runtimes.and_then(|mut all| all.remove(runtime));
        Ok(runtime.and_then(|it| it.path))
    }
}

impl RunscCache {
    fn find(&self, id: FileId) -> Option<Runsc> {
        let known = locked(&self.0);
        let found = known.iter().find(|(known, _)| *known == id);
        found.map(|(_, runsc)| runsc.clone())
    }

    fn add(&self, id: FileId, runsc: Runsc) {
        let mut known = locked(&self.0);
        if known.len() == KNOWN_MAX {
            known.remove(0);
        }
        known.push((id, runsc));
    }
}

/// Returns the real path of a program that is registered with a path or a name.
pub(super) fn resolve(registered: &str) -> Option<PathBuf> {
    places(registered)
        .into_iter()
        .find_map(|path| fs::canonicalize(path).ok())
}

/// Returns the paths of files that may be gVisor's: the registered file, which may be a script that calls
/// another one, and the files in the machine's folders.
fn candidates(registered: Option<String>) -> Vec<PathBuf> {
    let registered = registered.iter().flat_map(|it| places(it));
    registered.chain(places(NAME)).collect()
}

fn places(name: &str) -> Vec<PathBuf> {
    if Path::new(name).is_absolute() {
        return vec![name.into()];
    }
    let own = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&own).chain(std::env::split_paths(FOLDERS));
    folders.map(|folder| folder.join(name)).collect()
}

/// Asks the file for its version; `None` if it does not say that it is runsc.
async fn version(path: &Path) -> Result<Option<String>, Unavailable> {
    let asked = Command::new(path)
        .arg("--version")
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let slow = |_late| Unavailable {
        message: format!(
            "gVisor's runsc did not tell its version within {} s",
            LIMIT.as_secs()
        ),
    };
    let output = tokio::time::timeout(LIMIT, asked).await.map_err(slow)?;
    let said = output.map(|output| output.stdout).unwrap_or_default();
    Ok(version_in(&String::from_utf8_lossy(&said)))
}

fn version_in(said: &str) -> Option<String> {
    let first = said.lines().next()?.trim();
    let version = first.strip_prefix("runsc version ")?;
    let plain = version.chars().all(|it| it.is_ascii_graphic());
    plain.then(|| first.chars().take(VERSION_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_gvisors_own_words_are_a_version() {
        let said = "runsc version release-20221219.0\nspec: 1.0.2\n";
        let version = version_in(said).unwrap();
        assert_eq!(version, "runsc version release-20221219.0");
        for other in [
            "runc version 1.1.12\ncommit: v1\n",
            "",
            "\nrunsc version 1\n",
            "runsc version \u{202e}evil\n",
        ] {
            assert_eq!(version_in(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_registered_path_stands_before_the_machines_own() {
        let files = candidates(Some("/opt/gvisor/runsc".to_owned()));
        assert_eq!(files[0], Path::new("/opt/gvisor/runsc"));
        assert!(files.contains(&PathBuf::from("/usr/bin/runsc")));
        let named = candidates(Some("runsc-own".to_owned()));
        assert!(named.contains(&PathBuf::from("/usr/local/sbin/runsc-own")));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_replaced_files_are_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        fs::write(&path, "one").unwrap();
        let first = FileId::of(&fs::metadata(&path).unwrap());
        let known = RunscCache::default();
        let runsc = Runsc {
            path: path.clone(),
            version: "runsc version 1".to_owned(),
        };
        known.add(first, runsc.clone());
        assert_eq!(known.find(first), Some(runsc.clone()));
        fs::write(&path, "another").unwrap();
        let second = FileId::of(&fs::metadata(&path).unwrap());
        assert_eq!(known.find(second), None);
        for number in 0..KNOWN_MAX {
            let inode = u64::MAX - number as u64;
            known.add(FileId { inode, ..first }, runsc.clone());
        }
        assert_eq!(known.find(first), None);
    }
}
