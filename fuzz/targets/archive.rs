//! Archives: whatever is sent, the tree stays in its folder and within its limits, and nothing is
//! left of what is refused.

#![no_main]

use std::{fs, path::Path, sync::OnceLock};

use libfuzzer_sys::fuzz_target;
use hersh_storage::{SourceLimits, Storage};

/// Small, so that inputs reach every one of them.
const LIMITS: SourceLimits = SourceLimits {
    total_bytes: 4_096,
    entries: 16,
    path_bytes: 128,
    depth: 6,
    free_bytes_min: 0,
};
const BYSTANDER: &str = "not for archives";

struct Place {
    folder: tempfile::TempDir,
    storage: Storage,
}

static PLACE: OnceLock<Place> = OnceLock::new();

fuzz_target!(|archive: &[u8]| {
    let place = PLACE.get_or_init(Place::new);
    if let Ok(staged) = place.storage.stage_archive(archive, LIMITS) {
        let mut tree = Tree::default();
        tree.walk(staged.path(), staged.path(), 0);
        assert!(tree.bytes <= LIMITS.total_bytes, "{} bytes", tree.bytes);
        assert!(tree.entries <= LIMITS.entries, "{} entries", tree.entries);
        // What the host reads of it is in it.
        for name in ["Dockerfile", "hersh.toml"] {
            if let Ok(bytes) = staged.read(name, BYSTANDER.len()) {
                assert_ne!(bytes, BYSTANDER.as_bytes(), "{name} leads out");
            }
        }
    }
    place.is_as_before();
});

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("bystander"), BYSTANDER).expect("a file");
        let storage = Storage::open(&folder.path().join("data")).expect("a data folder");
        Self { folder, storage }
    }

    /// The folders around the tree hold what they held, and staging is empty again.
    fn is_as_before(&self) {
        let folder = self.folder.path();
        assert_eq!(names(folder), ["bystander", "data"]);
        let data = folder.join("data");
        let all = ["programs", "removing", "staging", "staging.lock"];
        assert_eq!(names(&data), all);
        for empty in ["programs", "removing", "staging"] {
            assert!(
                names(&data.join(empty)).is_empty(),
                "{empty} holds something"
            );
        }
        let bystander = fs::read_to_string(folder.join("bystander"));
        assert_eq!(bystander.expect("it is there"), BYSTANDER);
    }
}

#[derive(Default)]
struct Tree {
    bytes: u64,
    entries: u64,
}

impl Tree {
    fn walk(&mut self, root: &Path, folder: &Path, depth: usize) {
        assert!(depth <= LIMITS.depth, "{}", folder.display());
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let metadata = fs::symlink_metadata(&path).expect("it is there");
            let inside = path.strip_prefix(root).expect("it is below");
            assert!(inside.as_os_str().len() <= LIMITS.path_bytes);
            self.entries += 1;
            if metadata.is_dir() {
                self.walk(root, &path, depth + 1);
            } else if metadata.is_file() {
                self.bytes += metadata.len();
            } else {
                // Wherever it leads: nobody follows it.
                assert!(metadata.is_symlink(), "{} is something else", path.display());
            }
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}
