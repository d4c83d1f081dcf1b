//! Reads the log of one build while the build may still write it.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    time::SystemTime,
};

use hersh_program::{BuildId, ProgramId};

use crate::Storage;

/// The most bytes that are read at once, and the longest line, bytes.
const CHUNK_BYTES: u64 = 64 * 1024;

/// Reads the log of a build from its first line, and goes on as the log grows. If the build begins anew, it
/// makes a new file, which is read from its first line.
#[derive(Debug)]
pub struct BuildLogReader {
    path: PathBuf,
    /// The inode number and the creation time of the file that was read last. The number alone is not
    /// enough, because a new file can get the number of a removed one.
    file: Option<(u64, Option<SystemTime>)>,
    offset: u64,
    /// The start of a line whose end was not written yet.
    begun: Vec<u8>,
}

impl Storage {
    /// Returns the whole log of a build; `None` if there is none. The log is bounded, see
    /// [`BUILD_LOG_BYTES`](super::BUILD_LOG_BYTES). Blocks on the disk.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn read_build_log(
        &self,
        program: &ProgramId,
        build: &BuildId,
    ) -> io::Result<Option<String>> {
        match fs::read(self.build_log_path(program, build)) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns a reader of the log of a build. The log may not be there yet.
    #[must_use]
    pub fn follow_build_log(&self, program: &ProgramId, build: &BuildId) -> BuildLogReader {
        BuildLogReader {
            path: self.build_log_path(program, build),
            file: None,
            offset: 0,
            begun: Vec::new(),
        }
    }
}

impl BuildLogReader {
    /// Returns the lines that were finished since the last call; `None` if nothing was written, or if the
    /// file is not there yet or can't be read. Blocks on the disk.
    pub fn next_lines(&mut self) -> Option<Vec<String>> {
        let (file, offset, chunk) = self.read_chunk().ok()?;
        if offset == 0 {
            self.begun.clear();
        }
        self.file = Some(file);
        self.offset = offset + u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        (!chunk.is_empty()).then(|| self.split(&chunk))
    }

    /// Takes the text of the last line, if that line has no end yet.
    pub fn rest(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.begun);
        (!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).into_owned())
    }

    #[expect(clippy::type_complexity, reason = "used once, by the lines above")]
    fn read_chunk(&self) -> io::Result<((u64, Option<SystemTime>), u64, Vec<u8>)> {
        let mut file = File::open(&self.path)?;
        let metadata = file.metadata()?;
        // If it is another file, or shorter than what was read, a build has begun anew.
        let id = (metadata.ino(), metadata.created().ok());
        let is_same = self.file == Some(id) && metadata.len() >= self.offset;
        let offset = if is_same { self.offset } else { 0 };
        file.seek(SeekFrom::Start(offset))?;
        let mut chunk = Vec::new();
        file.take(CHUNK_BYTES).read_to_end(&mut chunk)?;
        Ok((id, offset, chunk))
    }

    fn split(&mut self, chunk: &[u8]) -> Vec<String> {
        let longest = usize::try_from(CHUNK_BYTES).unwrap_or(usize::MAX);
        let mut lines = Vec::new();
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if self.begun.ends_with(b"\n") || self.begun.len() > longest {
                let line = std::mem::take(&mut self.begun);
                lines.push(String::from_utf8_lossy(&line).trim_end().to_string());
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_as_it_grows_and_anew_when_it_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(folder.path()).unwrap();
        let program = ProgramId::parse("p").unwrap();
        let build = BuildId::parse("build-0123456789ab").unwrap();
        storage.ensure_folders(&program).unwrap();
        let path = storage.build_log_path(&program, &build);
        let mut reader = storage.follow_build_log(&program, &build);
        assert_eq!(reader.next_lines(), None);
        assert_eq!(storage.read_build_log(&program, &build).unwrap(), None);
        fs::write(&path, "one\ntw").unwrap();
        assert_eq!(reader.next_lines(), Some(vec!["one".to_owned()]));
        assert_eq!(reader.next_lines(), None);
        fs::write(&path, "one\ntwo\nend").unwrap();
        assert_eq!(reader.next_lines(), Some(vec!["two".to_owned()]));
        assert_eq!(reader.rest(), Some("end".to_owned()));
        fs::remove_file(&path).unwrap();
        fs::write(&path, "anew\n").unwrap();
        assert_eq!(reader.next_lines(), Some(vec!["anew".to_owned()]));
        let whole = storage.read_build_log(&program, &build).unwrap();
        assert_eq!(whole.as_deref(), Some("anew\n"));
    }
}
