//! The files of a journal: numbered parts in a folder.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Returns the path of a part's file.
pub(super) fn part_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:012}.journal"))
}

/// Returns the numbers of the parts in a folder, in order.
pub(super) fn parts_in(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        numbers.extend(part_number(&entry?.file_name()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Returns the number of a part from its file name, if the name is that of a part.
pub(super) fn part_number(name: &OsStr) -> Option<u64> {
    let name = name.to_str()?;
    let digits = name.strip_suffix(".journal")?;
    let number = digits.parse::<u64>().ok()?;
    (digits.len() == 12 && part_path(Path::new(""), number) == Path::new(name)).then_some(number)
}
