//! `examples/counter` as a source archive, and archives that nobody should take.

use std::{fs, path::Path};

use anyhow::{Context, Result};

/// One file of a source tree.
pub(crate) struct File {
    /// Path inside the tree, as the archive will say it; at most 99 bytes.
    pub(crate) path: &'static str,
    /// Content.
    pub(crate) content: Vec<u8>,
    mode: u32,
}

impl File {
    /// A plain file.
    pub(crate) fn text(path: &'static str, content: &str) -> Self {
        Self {
            path,
            content: content.into(),
            mode: 0o644,
        }
    }
}

/// The files from which the example's image is built.
///
/// # Errors
/// Which file is missing, and what makes it.
pub(crate) fn files() -> Result<Vec<File>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("counter");
    let file = |path: &'static str, mode| -> Result<File> {
        let content = fs::read(folder.join(path)).with_context(|| {
            format!(
                "examples/counter/{path} can't be read; run scripts/example counter, which makes the binary"
            )
        })?;
        Ok(File {
            path,
            content,
            mode,
        })
    };
    Ok(vec![
        file("Dockerfile", 0o644)?,
        file("counter", 0o755)?,
        file("hersh.toml", 0o644)?,
    ])
}

/// A tar of `files`, in their order. Paths go in as they are, harmful ones too.
///
/// # Errors
/// A path that is too long for a plain header.
pub(crate) fn pack<'a>(files: impl IntoIterator<Item = &'a File>) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(file.content.len())?);
        header.set_mode(file.mode);
        // `set_path` would refuse what these checks send on purpose.
        let name = &mut header.as_old_mut().name;
        name.get_mut(..file.path.len())
            .context("a path of at most 99 bytes")?
            .copy_from_slice(file.path.as_bytes());
        header.set_cksum();
        archive.append(&header, file.content.as_slice())?;
    }
    Ok(archive.into_inner()?)
}
