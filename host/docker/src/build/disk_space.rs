//! Checks that the disk has space for what the engine writes in one go, because nothing can end such a write
//! half-way.

use std::path::Path;

use hersh_storage::{MeasureError, added_files, tree_bytes, unpacked_bytes};
use hersh_wire::{ByteSize, SOURCE_BYTES_MAX};

use crate::dockerfile::Dockerfile;
use hersh_sandbox::BuildRequest;

/// The most that all archives of a file may hold together, bytes: as much as a source tree.
const UNPACKED_BYTES_MAX: u64 = SOURCE_BYTES_MAX;
/// How often the engine writes what a line copies: once where the files are collected, and once as a layer.
const WRITTEN: u64 = 2;

/// Returns the reasons against the archives that `ADD` unpacks, and against the size of the build if the
/// disk lacks the space. Each reason comes with its line.
pub(super) async fn refusals(request: &BuildRequest, file: &Dockerfile) -> Vec<(usize, String)> {
    let unpacked = file.unpacked();
    let lines: Vec<(usize, Vec<String>)> = unpacked
        .map(|(line, sources)| (line, sources.to_vec()))
        .collect();
    let (root, free_bytes) = (request.context_dir.clone(), request.free_bytes);
    let looked =
        tokio::task::spawn_blocking(move || look(&root, &lines, UNPACKED_BYTES_MAX, free_bytes));
    looked
        .await
        .unwrap_or_else(|error| vec![(1, error.to_string())])
}

fn look(
    root: &Path,
    lines: &[(usize, Vec<String>)],
    unpacked_bytes_max: u64,
    free_bytes: Option<u64>,
) -> Vec<(usize, String)> {
    let mut left = unpacked_bytes_max;
    for (line, sources) in lines {
        for source in sources {
            match measure(root, source, left) {
                Ok(bytes) => left -= bytes,
                Err(error) => return vec![(*line, reason(source, &error, unpacked_bytes_max))],
            }
        }
    }
    let tree = match tree_bytes(root) {
        Ok(bytes) => bytes,
        Err(error) => return vec![(1, format!("the source can't be read: {error}"))],
    };
    let needed = tree.saturating_add(unpacked_bytes_max - left) * WRITTEN;
    match free_bytes {
        Some(free_bytes) if needed > free_bytes => {
            let [needed, free] = [needed, free_bytes].map(|bytes| String::from(ByteSize(bytes)));
            let line = lines.first().map_or(1, |(line, _)| *line);
            let reason = format!(
                "source and archives can take {needed} while they are copied, and {free} are left on \
                 the disk: make room there"
            );
            vec![(line, reason)]
        }
        Some(_) | None => Vec::new(),
    }
}

/// Returns the size of the files at `source` after they are unpacked. Fails if it is more than `left`.
fn measure(root: &Path, source: &str, left: u64) -> Result<u64, MeasureError> {
    let mut all = 0;
    for file in added_files(root, source)? {
        all += unpacked_bytes(file, left - all)?;
    }
    Ok(all)
}

fn reason(source: &str, error: &MeasureError, bytes_max: u64) -> String {
    match error {
        MeasureError::TooLarge => format!(
            "ADD unpacks {source:?}, and with it more than {} in all: send it unpacked, or leave out what \
             the image does not need",
            String::from(ByteSize(bytes_max))
        ),
        MeasureError::UnsupportedCompression(_)
        | MeasureError::Ambiguous(_)
        | MeasureError::Unreadable(_) => {
            format!(
                "ADD would unpack {source:?}, of which nobody can say how large it becomes: {error}; pack it \
             by tar and gzip or zstd, send it unpacked, or COPY it and unpack it by RUN"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a gzip of a tar with one file of this many zeros.
    fn archive(bytes: u64) -> Vec<u8> {
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(gzip);
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        let zeros = std::io::Read::take(std::io::repeat(0), bytes);
        tar.append_data(&mut header, "zeros", zeros).unwrap();
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn archives_count_once_for_each_time_they_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let size = 1 << 20;
        std::fs::write(folder.path().join("a.tgz"), archive(size)).unwrap();
        let times = |count: usize| vec![(3, vec!["a.tgz".to_owned(); count])];
        let looked = |count, free| look(folder.path(), &times(count), 11 << 20, free);
        assert_eq!(looked(10, None), []);
        let [(3, reason)] = &looked(11, None)[..] else {
            panic!("it is too much");
        };
        assert!(reason.contains("more than 11MiB"), "{reason}");
        assert_eq!(looked(1, Some(3 * size)), []);
        let [(3, reason)] = &looked(2, Some(3 * size))[..] else {
            panic!("there is no room");
        };
        assert!(reason.contains("3MiB are left"), "{reason}");
    }

    #[test]
    fn the_tree_itself_needs_room_too() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), vec![0; 5_000]).unwrap();
        assert_eq!(look(folder.path(), &[], 0, Some(10_000)), []);
        assert_eq!(look(folder.path(), &[], 0, Some(9_999)).len(), 1);
    }
}
