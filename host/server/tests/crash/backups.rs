//! `kill -9` in the middle of backups and restores: what is there is always one whole journal.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use hersh_journal::{self as journal, BackupTokens, JOURNAL_FILE, Journal};
use hersh_machine::SplitMix64;
use hersh_program::{BuildId, Manifest, Program, ProgramId, Source};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::child::{again, end_with_parent};

const KILLS: u64 = 40;
const SEED: u64 = 77;
/// The longest that a child works before it is killed: the time of this many copies.
const COPIES: u64 = 4;
/// Names the folder and the task to a child.
const PLACE: &str = "HERSH_TEST_CRASH_PLACE";
const TASK: &str = "HERSH_TEST_CRASH_TASK";
/// A child says this when it begins.
const MARK: &str = "at work";

#[tokio::test]
async fn a_backup_that_is_killed_leaves_the_one_before() {
    let place = Place::new();
    place.fill("data", 300).await;
    let (data, file) = (place.at("data"), place.at("backup"));
    let one = timed(|| journal::backup(&data, &file).unwrap());
    let mut random = SplitMix64::new(SEED);
    let mut cut = 0;
    for kill in 1..=KILLS {
        let work = one.as_micros() as u64 * COPIES;
        place.work_and_die("backup", random.below(work)).await;
        cut += u64::from(place.at("backup.partial").exists());
        let context = format!("kill {kill}, seed {SEED}");
        assert_eq!(place.programs_of_copy("backup"), 300, "{context}");
        assert_eq!(journal::check(&place.at("data")).unwrap().programs, 300);
    }
    println!("{KILLS} kills, {cut} in the middle of a copy");
    assert!(cut > 0, "some kills hit a copy");
}

#[tokio::test]
async fn a_killed_restore_leaves_the_old_journal_or_the_new() {
    let place = Place::new();
    for (name, programs) in [("data", 300), ("few", 100)] {
        place.fill(name, programs).await;
        let backup = place.at(&format!("backup-{programs}"));
        journal::backup(&place.at(name), &backup).unwrap();
    }
    let (data, file) = (place.at("data"), place.at("backup-300"));
    let one = timed(|| journal::restore(&data, &file, BackupTokens::Keep, 0).unwrap());
    let mut random = SplitMix64::new(SEED);
    place.forget_kept();
    let mut seen = [0; 2];
    for kill in 1..=KILLS {
        // Each begins with the other backup.
        let task = ["restore-100", "restore-300"][(kill % 2) as usize];
        let work = one.as_micros() as u64 * COPIES;
        place.work_and_die(task, random.below(work)).await;
        let found = Journal::open(&place.at("data").join(JOURNAL_FILE)).unwrap();
        let found = found.load().unwrap().len();
        match found {
            300 => seen[0] += 1,
            100 => seen[1] += 1,
            other => panic!("{other} programs: kill {kill}, seed {SEED}"),
        }
        place.forget_kept();
    }
    println!("{KILLS} kills: {seen:?} left the one journal or the other");
    assert!(seen.iter().all(|times| *times > 0), "{seen:?}");
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A journal with `programs` programs.
    async fn fill(&self, name: &str, programs: u64) {
        std::fs::create_dir(self.at(name)).unwrap();
        let journal = Journal::open(&self.at(name).join(JOURNAL_FILE)).unwrap();
        for n in 0..programs {
            journal.create("admin", 0, &program(n)).await.unwrap();
        }
    }

    /// A child does `task` over and over until it is killed.
    async fn work_and_die(&self, task: &str, work_us: u64) {
        let mut child = again("backups::a_worker")
            .env(PLACE, self.0.path())
            .env(TASK, task)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while !lines.next_line().await.unwrap().unwrap().contains(MARK) {}
        let work = Duration::from_micros(work_us);
        tokio::time::sleep(work).await; // tidy: allow(sleep) when it is killed
        child.kill().await.unwrap();
    }

    fn programs_of_copy(&self, name: &str) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(JOURNAL_FILE);
        std::fs::copy(self.at(name), &path).unwrap();
        Journal::open(&path).unwrap().load().unwrap().len()
    }

    /// Removes what restores keep of the journals before.
    fn forget_kept(&self) {
        for entry in std::fs::read_dir(self.at("data")).unwrap() {
            let path = entry.unwrap().path();
            if path.to_str().unwrap().contains("before-restore") {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn program(n: u64) -> Program {
    let source = Source {
        build: BuildId::parse("build-0123456789ab").unwrap(),
        manifest: Arc::new(Manifest::default()),
    };
    Program::new(ProgramId::parse(&format!("p{n}")).unwrap(), source, n)
}

/// No test of its own: what the others start and kill.
#[test]
fn a_worker() {
    let (Some(place), Ok(task)) = (std::env::var_os(PLACE), std::env::var(TASK)) else {
        return;
    };
    end_with_parent();
    let at = |name: &str| Path::new(&place).join(name);
    println!("{MARK}");
    let restored = match task.as_str() {
        "restore-100" => ["backup-100", "backup-300"],
        "restore-300" => ["backup-300", "backup-100"],
        _backup => loop {
            journal::backup(&at("data"), &at("backup")).unwrap();
        },
    };
    for (n, backup) in (1..).zip(restored.iter().cycle()) {
        journal::restore(&at("data"), &at(backup), BackupTokens::Keep, n).unwrap();
    }
}
