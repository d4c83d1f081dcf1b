//! Reads a file's bytes for a copy: exactly as many as its tar entry says.

use std::{
    fs::File,
    io::{self, Read},
};

use super::{StateCopyError, meter::Meter};

/// How many bytes are copied between two checks of the disk and the time.
const LOOK_BYTES: u64 = 8 << 20;

/// A reader of the rest of one file.
pub(super) struct Content<'a> {
    file: io::Take<File>,
    left: u64,
    meter: &'a Meter,
    stopped: Option<StateCopyError>,
}

impl<'a> Content<'a> {
    /// A reader of the first `size` bytes of `file`.
    pub(super) fn new(file: File, size: u64, meter: &'a Meter) -> Self {
        Self {
            file: file.take(size),
            left: size,
            meter,
            stopped: None,
        }
    }

    /// Returns why reading stopped early, unless the file system failed.
    pub(super) fn stopped(self) -> Option<StateCopyError> {
        self.stopped
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let before = self.left;
        self.left -= u64::try_from(count).unwrap_or(self.left).min(self.left);
        let stopped = if count == 0 && before > 0 {
            Err(StateCopyError::Changed)
        } else if before / LOOK_BYTES != self.left / LOOK_BYTES {
            self.meter.look()
        } else {
            Ok(())
        };
        stopped.map(|()| count).map_err(|error| {
            self.stopped = Some(error);
            io::ErrorKind::Other.into()
        })
    }
}
