//! How an archive of source says that it is whole.
//!
//! A tar ends with two blocks of zeros, and a host takes none without them. A client that can say
//! more begins its archive with a global extended header that holds [`ARCHIVE_COUNTED`], and ends it
//! with another one that holds [`ARCHIVE_ENTRIES`] and [`ARCHIVE_SHA256`]. A host takes nothing whose
//! end was announced and is missing, or tells of another archive. Other readers pass over both.

/// Announces the header at the end; its value is `1`.
pub const ARCHIVE_COUNTED: &str = "HERSH.counted";
/// How many files, folders and links the archive holds.
pub const ARCHIVE_ENTRIES: &str = "HERSH.entries";
/// SHA-256 of all bytes of the tar before the header at the end, in hex.
pub const ARCHIVE_SHA256: &str = "HERSH.sha256";

/// The most that one source tree may hold in its files, bytes.
pub const SOURCE_BYTES_MAX: u64 = 1 << 30;
/// The most files, folders and links of one source tree.
pub const SOURCE_ENTRIES_MAX: u64 = 10_000;
/// The longest path in a source tree, bytes.
pub const SOURCE_PATH_BYTES_MAX: usize = 1_024;
/// The most names in one path of a source tree.
pub const SOURCE_DEPTH_MAX: usize = 64;
