//! Measures the size of a folder while a program, possibly hostile, writes and renames in it.
//!
//! ```text
//! pass ─► depth first, every name opened in the folder that listed it ─► bytes, and what slipped away
//! measure ─► a pass in which nothing slipped away is believed; "too much" is believed if seen twice
//! ```
//! A folder that is open is counted wherever it is moved to. An entry that is renamed between its listing
//! and its opening is looked for by its inode: at once in the same folder, and by another pass in the
//! whole tree. Reading leaves no trace in access times, so the program does not learn where a pass is.

use std::{
    collections::{BTreeSet, HashSet},
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use hersh_base::sandbox::StateUsage;
use rustix::{
    fs::{
        AtFlags, CWD, Dir, DirEntry, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2,
        statat,
    },
    io::Errno,
};

/// The least bytes that an entry counts: an empty file takes space too, and this bounds how many
/// entries are counted.
const ENTRY_BYTES: u64 = 4_096;

/// The level of the deepest folder that is counted. A pass holds one open folder for each level.
const DEPTH_MAX: usize = 128;

/// The most times that a folder is read again for entries that were renamed in it meanwhile.
const READS_MAX: usize = 8;

/// The most passes through the whole tree for entries that were moved in it meanwhile.
const PASSES_MAX: usize = 4;

/// The most inodes kept for one pass in each of two sets: files with several names, which count once, and
/// entries that slipped away. Beyond that, each further name counts in full, and further entries that
/// slip away are not noted.
const INODES_MAX: usize = 65_536;

/// Measures what is below `root`, until that is more than `enough` bytes. Links are not followed, so
/// nothing outside is counted, whatever the program does meanwhile. A folder that lies too deep counts as
/// more than `enough`. If `root` is not there, it holds nothing.
pub(super) fn measure(root: &Path, enough: u64) -> io::Result<StateUsage> {
    decide(enough, || {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let magic = ResolveFlags::NO_MAGICLINKS;
        match openat2(CWD, root, flags, Mode::empty(), magic) {
            Ok(root) => Pass::through(root, enough),
            Err(Errno::NOENT) => Ok(Pass::default()),
            Err(error) => Err(error.into()),
        }
    })
}

/// Makes a result from several passes. A file that is renamed during a pass may be counted twice, so one
/// pass that finds too much is not believed alone.
fn decide(enough: u64, mut pass: impl FnMut() -> io::Result<Pass>) -> io::Result<StateUsage> {
    let mut was_too_much = false;
    let mut most = 0;
    let mut elusive: Option<BTreeSet<u64>> = None;
    for _ in 0..PASSES_MAX {
        let pass = pass()?;
        if pass.bytes > enough {
            if was_too_much {
                return Ok(StateUsage::Bytes(pass.bytes));
            }
            was_too_much = true;
            continue;
        }
        most = most.max(pass.bytes);
        // An entry that did not slip away again was removed, or this pass counted it.
        let again = match elusive.take() {
            None => pass.slipped,
            Some(before) => &before & &pass.slipped,
        };
        if again.is_empty() && !was_too_much {
            return Ok(StateUsage::Bytes(most));
        }
        elusive = Some(again);
    }
    Ok(StateUsage::Unsettled)
}

/// One pass through the tree.
#[derive(Debug, Default)]
struct Pass {
    enough: u64,
    bytes: u64,
    /// The inodes of counted files with several names.
    linked: HashSet<u64>,
    /// The inodes of entries that were listed and were not found in their folder any more.
    slipped: BTreeSet<u64>,
    /// Whether this file system lists each name with its real inode; not all do.
    lists_inodes: bool,
}

impl Pass {
    fn through(root: OwnedFd, enough: u64) -> io::Result<Self> {
        let inode = fstat(&root)?.st_ino;
        let mut pass = Self {
            enough,
            ..Self::default()
        };
        let mut root = Dir::new(reopen(root)?)?;
        while let Some(entry) = root.read() {
            let entry = entry?;
            if entry.file_name() == c"." {
                pass.lists_inodes = entry.ino() == inode;
            }
        }
        root.rewind();
        pass.folder(root, DEPTH_MAX)?;
        Ok(pass)
    }

    fn is_too_much(&self) -> bool {
        self.bytes > self.enough
    }

    /// Counts what is in a folder, down to `depth` levels below it.
    fn folder(&mut self, mut folder: Dir, depth: usize) -> io::Result<()> {
        let mut missed = BTreeSet::new();
        while let Some(entry) = folder.read() {
            let entry = entry?;
            if !self.entry(&folder, &entry, depth)? && missed.len() < INODES_MAX {
                missed.insert(entry.ino());
            }
            if self.is_too_much() {
                return Ok(());
            }
        }
        for _ in 0..READS_MAX {
            if missed.is_empty() {
                break;
            }
            folder.rewind();
            let mut still = BTreeSet::new();
            while let Some(entry) = folder.read() {
                let entry = entry?;
                if !missed.contains(&entry.ino()) {
                    continue;
                }
                if self.entry(&folder, &entry, depth)? {
                    missed.remove(&entry.ino());
                    still.remove(&entry.ino());
                } else {
                    still.insert(entry.ino());
                }
                if self.is_too_much() {
                    return Ok(());
                }
            }
            // The entries that were not listed again were removed, or are in another folder.
            self.slip(missed.difference(&still));
            missed = still;
        }
        self.slip(missed.iter());
        Ok(())
    }

    fn slip<'a>(&mut self, inodes: impl Iterator<Item = &'a u64>) {
        let left = INODES_MAX.saturating_sub(self.slipped.len());
        self.slipped.extend(inodes.take(left));
    }

    /// Counts the entry with the name that was listed; returns false if another file has that name by now,
    /// or none.
    fn entry(&mut self, folder: &Dir, listed: &DirEntry, depth: usize) -> io::Result<bool> {
        let name = listed.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            return Ok(true);
        }
        let lists_inodes = self.lists_inodes;
        let is_listed = |stat: &Stat| !lists_inodes || stat.st_ino == listed.ino();
        let stat = match statat(folder.fd()?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_listed(&stat) => stat,
            // Without real inodes, an entry can't be looked for under another name.
            Ok(_) | Err(Errno::NOENT) => return Ok(!self.lists_inodes),
            Err(error) => return Err(error.into()),
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            self.add(&stat);
            return Ok(true);
        }
        let below = match open_below(folder.fd()?, name) {
            Ok(below) if is_listed(&fstat(&below)?) => below,
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                return Ok(!self.lists_inodes);
            }
            // Another disk is mounted at this folder. No program can do that, so only the folder is counted.
            Err(Errno::XDEV) => {
                self.add(&stat);
                return Ok(true);
            }
            Err(error) => return Err(error.into()),
        };
        self.add(&stat);
        if depth == 0 {
            self.bytes = u64::MAX;
        } else if !self.is_too_much() {
            self.folder(Dir::new(below)?, depth - 1)?;
        }
        Ok(true)
    }

    fn add(&mut self, stat: &Stat) {
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let is_counted = !is_folder && stat.st_nlink > 1 && self.linked.contains(&stat.st_ino);
        if !is_folder && stat.st_nlink > 1 && self.linked.len() < INODES_MAX {
            self.linked.insert(stat.st_ino);
        }
        // Holes take no blocks. A further name of a counted file still counts as an entry.
        let blocks = if is_counted { 0 } else { stat.st_blocks };
        let bytes = u64::try_from(blocks).unwrap_or(0).saturating_mul(512);
        self.bytes = self.bytes.saturating_add(bytes.max(ENTRY_BYTES));
    }
}

/// Opens a folder by its name in the folder that listed it, through no link and on the same disk, so that
/// nothing outside of the tree is counted.
fn open_below(folder: impl AsFd, name: &std::ffi::CStr) -> rustix::io::Result<OwnedFd> {
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat2(
        &folder,
        name,
        flags | OFlags::NOATIME,
        Mode::empty(),
        inside,
    ) {
        // `O_NOATIME` is allowed only to root and to the owner of the folder.
        Err(Errno::PERM) => openat2(&folder, name, flags, Mode::empty(), inside),
        opened => opened,
    }
}

/// Opens the same folder again, in the way in which the folders below it are opened.
fn reopen(folder: OwnedFd) -> rustix::io::Result<OwnedFd> {
    open_below(&folder, c".")
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        path::PathBuf,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    use super::*;

    fn used(root: &Path, enough: u64) -> u64 {
        match measure(root, enough).unwrap() {
            StateUsage::Bytes(bytes) => bytes,
            StateUsage::Unsettled => panic!("nobody renames"),
        }
    }

    #[test]
    fn files_count_by_their_blocks_and_links_lead_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("state");
        assert_eq!(used(&root, 1), 0, "it was never started");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(folder.path().join("outside"), vec![1; 1 << 20]).unwrap();
        symlink(folder.path(), root.join("a/out")).unwrap();
        symlink("..", root.join("a/b/up")).unwrap();
        let empty = used(&root, u64::MAX);
        assert_eq!(empty, 4 * ENTRY_BYTES, "two folders and two links");
        fs::write(root.join("a/b/file"), vec![1; 100_000]).unwrap();
        let more = used(&root, u64::MAX) - empty;
        assert!((100_000..150_000).contains(&more), "{more}");
        let hole = fs::File::create(root.join("hole")).unwrap();
        hole.set_len(1 << 40).unwrap();
        assert_eq!(used(&root, u64::MAX), empty + more + ENTRY_BYTES);
    }

    #[test]
    fn a_file_with_many_names_counts_once() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("d")).unwrap();
        fs::write(root.path().join("file"), vec![1; 1 << 20]).unwrap();
        for n in 0..9 {
            fs::hard_link(root.path().join("file"), root.path().join(format!("d/{n}"))).unwrap();
        }
        let bytes = used(root.path(), u64::MAX);
        let expected = (1 << 20) + 10 * ENTRY_BYTES;
        assert!(
            (expected..expected + 8 * ENTRY_BYTES).contains(&bytes),
            "{bytes}"
        );
    }

    #[test]
    fn counting_ends_at_enough_and_counts_empty_files() {
        let root = tempfile::tempdir().unwrap();
        for n in 0..1_000 {
            fs::write(root.path().join(n.to_string()), "").unwrap();
        }
        let bytes = used(root.path(), 100 * ENTRY_BYTES);
        assert_eq!(bytes, 101 * ENTRY_BYTES);
    }

    #[test]
    fn folders_too_deep_to_be_looked_into_are_too_much() {
        let root = tempfile::tempdir().unwrap();
        let deepest = root.path().join("d/".repeat(DEPTH_MAX));
        fs::create_dir_all(&deepest).unwrap();
        assert_eq!(used(root.path(), 1 << 30), DEPTH_MAX as u64 * ENTRY_BYTES);
        fs::create_dir(deepest.join("d")).unwrap();
        assert_eq!(used(root.path(), 1 << 30), u64::MAX);
    }

    #[test]
    fn nesting_deeper_than_a_path_can_say_is_counted() {
        let root = tempfile::tempdir().unwrap();
        let name = "d".repeat(200);
        let mut at = rustix::fs::open(root.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..30 {
            rustix::fs::mkdirat(&at, &name, Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        assert_eq!(used(root.path(), 1 << 30), 30 * ENTRY_BYTES);
        super::super::remove::remove_tree(root.path()).unwrap();
    }

    /// A thread that repeats one step until this value is dropped.
    struct Busy(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

    impl Busy {
        fn with(mut step: impl FnMut() + Send + 'static) -> Self {
            let is_over = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&is_over);
            let work = move || {
                while !seen.load(Ordering::Relaxed) {
                    step();
                }
            };
            Self(is_over, Some(std::thread::spawn(work)))
        }
    }

    impl Drop for Busy {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
            self.1.take().unwrap().join().unwrap();
        }
    }

    const MUCH: usize = 4 << 20;
    const ENOUGH: u64 = 1 << 20;

    /// Measures several times; says for each measurement whether it found too much.
    fn finds_much(root: &Path) -> Vec<bool> {
        let looks = (0..50).map(|_| measure(root, ENOUGH).unwrap());
        looks
            .map(|usage| match usage {
                StateUsage::Bytes(bytes) => bytes > ENOUGH,
                StateUsage::Unsettled => true,
            })
            .collect()
    }

    fn swap(root: &Path, one: &'static str, other: &'static str) -> Busy {
        let (one, other): (PathBuf, PathBuf) = (root.join(one), root.join(other));
        Busy::with(move || {
            fs::rename(&one, &other).unwrap();
            fs::rename(&other, &one).unwrap();
        })
    }

    #[test]
    fn what_is_renamed_in_its_folder_all_the_time_is_counted() {
        for is_folder in [true, false] {
            let root = tempfile::tempdir().unwrap();
            // These files take time between listing and opening, so the name has likely changed by then.
            for n in 0..200 {
                fs::write(root.path().join(format!("small-{n}")), "").unwrap();
            }
            let moved = root.path().join("a");
            if is_folder {
                fs::create_dir(&moved).unwrap();
                fs::write(moved.join("much"), vec![1; MUCH]).unwrap();
            } else {
                fs::write(&moved, vec![1; MUCH]).unwrap();
            }
            let _busy = swap(root.path(), "a", "b");
            let found = finds_much(root.path());
            assert_eq!(found, vec![true; found.len()], "a folder: {is_folder}");
        }
    }

    #[test]
    fn what_is_moved_between_folders_is_found_before_long() {
        let root = tempfile::tempdir().unwrap();
        for side in ["left", "right"] {
            fs::create_dir(root.path().join(side)).unwrap();
        }
        fs::create_dir(root.path().join("left/a")).unwrap();
        fs::write(root.path().join("left/a/much"), vec![1; MUCH]).unwrap();
        let _busy = swap(root.path(), "left/a", "right/a");
        let found = finds_much(root.path());
        // Each measurement may miss the folder; all of them together don't.
        assert!(found.contains(&true), "{found:?}");
    }

    #[test]
    fn files_that_come_and_go_are_not_too_much() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("kept"), vec![1; 1 << 19]).unwrap();
        let place = root.path().to_owned();
        let mut n = 0_u32;
        let _busy = Busy::with(move || {
            n = n.wrapping_add(1);
            let (new, journal) = (place.join("new"), place.join(format!("journal-{}", n % 7)));
            fs::write(&journal, "x").unwrap();
            fs::write(&new, "y").unwrap();
            fs::rename(&new, place.join("file")).unwrap();
            fs::create_dir_all(place.join("scratch/d")).unwrap();
            fs::remove_dir_all(place.join("scratch")).unwrap();
            fs::remove_file(&journal).unwrap();
        });
        let found = finds_much(root.path());
        let wrong = found.iter().filter(|is_much| **is_much).count();
        assert_eq!(wrong, 0, "{found:?}");
    }

    fn pass(bytes: u64, slipped: &[u64]) -> Pass {
        Pass {
            bytes,
            slipped: slipped.iter().copied().collect(),
            ..Pass::default()
        }
    }

    fn decided(passes: &[(u64, &[u64])]) -> StateUsage {
        let mut passes = passes.iter().map(|(bytes, slipped)| pass(*bytes, slipped));
        decide(10, || Ok(passes.next().unwrap())).unwrap()
    }

    #[test]
    fn passes_together_say_how_much_there_is() {
        for (passes, said) in [
            (&[(5, &[][..])][..], StateUsage::Bytes(5)),
            // Entries were removed in the first pass, and others in the second.
            (&[(5, &[1, 2]), (4, &[3])], StateUsage::Bytes(5)),
            (&[(11, &[]), (12, &[])], StateUsage::Bytes(12)),
            (
                &[(5, &[1]), (11, &[]), (5, &[1]), (13, &[])],
                StateUsage::Bytes(13),
            ),
            // One pass counted a file twice, because it was renamed.
            (
                &[(11, &[]), (5, &[]), (5, &[]), (5, &[])],
                StateUsage::Unsettled,
            ),
            // An entry was listed in each pass, and never found.
            (
                &[(5, &[1]), (5, &[1]), (5, &[1, 2]), (5, &[1])],
                StateUsage::Unsettled,
            ),
        ] {
            assert_eq!(decided(passes), said, "{passes:?}");
        }
    }
}
