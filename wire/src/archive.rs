//! Marks in an archive of source by which a host sees that the archive is complete.
//!
//! A tar ends with two blocks of zeros, and a host refuses an archive without them. A newer client can say
//! more: it begins its archive with a global extended header that holds [`ARCHIVE_COUNTED`], and ends it with
//! another one that holds [`ARCHIVE_ENTRIES`] and [`ARCHIVE_SHA256`]. When such an end was announced, a host
//! refuses an archive whose end is missing or does not fit the archive. Other tar readers ignore both
//! headers.

/// The key that announces the header at the end; its value is `1`.
pub const ARCHIVE_COUNTED: &str = "HERSH.counted";
/// The key of the number of files, folders and links in the archive.
pub const ARCHIVE_ENTRIES: &str = "HERSH.entries";
/// The key of the SHA-256 of all bytes of the tar before the header at the end, in hex.
pub const ARCHIVE_SHA256: &str = "HERSH.sha256";

/// The largest total size of the files in one source tree, bytes.
pub const SOURCE_BYTES_MAX: u64 = 1 << 30;
/// The largest number of files, folders and links in one source tree.
pub const SOURCE_ENTRIES_MAX: u64 = 10_000;
/// The longest path in a source tree, bytes.
pub const SOURCE_PATH_BYTES_MAX: usize = 1_024;
/// The largest number of names in one path of a source tree.
pub const SOURCE_DEPTH_MAX: usize = 64;
