//! What 10,000 registered programs cost a start.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use hersh_host::testkit::{FakeEngine, Setup, TestHost};
use hersh_journal::{JOURNAL_FILE, Journal};
use hersh_program::{
    BuildId, ContainerId, Event, ImageId, Manifest, Program, ProgramId, ProgramRecord,
    ProgramStepper, Readiness, Source, StartResult,
};
use hersh_storage::Storage;
use serde_json::Value;

const PROGRAMS: u64 = 10_000;
/// Programs that are stored side by side.
const WRITERS: u64 = 100;
/// The program that is started at the end, the only one whose source is stored.
const STARTED: u64 = 77;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_stopped_programs_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(JOURNAL_FILE);
    let records = register(&Journal::open(&path).unwrap()).await;
    store_source(folder.path(), &program(STARTED));
    let bytes = std::fs::metadata(&path).unwrap().len();
    let (memory, began) = (memory_bytes(), Instant::now());
    let engine = Arc::new(FakeEngine::default());
    let host = TestHost::start(Setup::new(folder.path(), &engine).unwrap());
    let host = host.await.unwrap();
    let start = began.elapsed();
    let memory = memory_bytes().saturating_sub(memory);
    let (_, usual) = list(&host, 100).await;
    let (programs, large) = list(&host, 1_000).await;
    println!(
        "{PROGRAMS} stopped programs, {records} events, {} MiB of journal: start in {start:?}, {} bytes of memory each",
        bytes >> 20,
        memory / PROGRAMS,
    );
    for (limit, times) in [(100, usual), (1_000, large)] {
        println!("GET /programs?limit={limit}: {}", figures(times));
    }
    assert_eq!(programs.len() as u64, PROGRAMS);
    assert!(programs.iter().all(|program| program["state"] == "Stopped"));
    assert!(engine.running().is_empty());
    // They are alive: one of them starts.
    let start = format!("/programs/p{STARTED}/start?wait=30s");
    let (status, answer) = host.ask("POST", &start, b"").await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((status, &answer["state"]), (200, &"Ready".into()));
    // After a restore of the journal alone the others have no source, and say what to do.
    let (_, answer) = host.ask("POST", "/programs/p78/start?wait=30s", b"").await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["state"], "Error", "{answer}");
    let told = answer["cause"]["message"].as_str().unwrap();
    assert!(told.contains("its source is not on this machine"), "{told}");
    assert!(told.contains("deploy it again"), "{told}");
    host.shut_down();
}

/// Every program, page by page, and how long each page took.
async fn list(host: &TestHost, limit: u64) -> (Vec<Value>, Vec<Duration>) {
    let (mut programs, mut times) = (Vec::new(), Vec::new());
    let mut cursor = String::new();
    loop {
        let path = format!("/programs?limit={limit}{cursor}");
        let began = Instant::now();
        let (status, page) = host.ask("GET", &path, b"").await;
        times.push(began.elapsed());
        assert_eq!(status, 200);
        let page: Value = serde_json::from_slice(&page).unwrap();
        programs.extend(page["programs"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (programs, times),
        }
    }
}

fn figures(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100) - 1];
    let whole: Duration = times.iter().sum();
    format!(
        "{} pages, p50 {:?}, p99 {:?}, all in {whole:?}",
        times.len(),
        at(50),
        at(99)
    )
}

/// Registers programs that were started and stopped once; how many events.
async fn register(journal: &Journal) -> u64 {
    let writers = (0..WRITERS).map(|writer| {
        let journal = journal.clone();
        tokio::spawn(async move {
            let mut written = 0;
            for n in (writer..PROGRAMS).step_by(WRITERS as usize) {
                let program = program(n);
                let row = journal.create("admin", 1, &program).await.unwrap();
                for record in life(program) {
                    journal.append(row, &record).await.unwrap();
                    written += 1;
                }
            }
            written
        })
    });
    let mut written = 0;
    for writer in writers.collect::<Vec<_>>() {
        written += writer.await.unwrap();
    }
    written
}

fn store_source(data: &Path, program: &Program) {
    let storage = Storage::open(data).unwrap();
    let tree = storage.source_path(&program.id, &program.source.build);
    std::fs::create_dir_all(&tree).unwrap();
    std::fs::write(tree.join("Dockerfile"), "FROM scratch\n").unwrap();
}

fn program(n: u64) -> Program {
    let manifest = Manifest {
        env: [("SETTING".to_owned(), format!("value {n}"))].into(),
        readiness: Readiness::None { port: 8080 },
        ..Manifest::default()
    };
    let source = Source {
        build: BuildId::parse(&format!("build-{n:012x}")).unwrap(),
        manifest: Arc::new(manifest),
    };
    Program::new(ProgramId::parse(&format!("p{n}")).unwrap(), source, n)
}

/// A start that succeeds, and a stop.
fn life(program: Program) -> Vec<ProgramRecord> {
    let mut stepper = ProgramStepper::new(program);
    let mut records = Vec::new();
    let mut step = |make: &dyn Fn(hersh_program::OpId) -> Event| {
        let op = stepper
            .open()
            .last()
            .map_or(hersh_program::OpId(0), |open| open.op);
        records.push(stepper.step(make(op), 1_000).unwrap());
    };
    let image = ImageId::parse(&format!("sha256:{:064x}", 7)).unwrap();
    let container = ContainerId::parse("0123456789ab").unwrap();
    step(&|_| Event::UserStartRequested);
    step(&|op| Event::FoldersEnsured { op, result: Ok(()) });
    step(&|op| Event::BuildFinished {
        op,
        result: Ok(image.clone()),
    });
    step(&|op| Event::InstanceStarted {
        op,
        started: StartResult {
            container: container.clone(),
        },
    });
    step(&|_| Event::UserStopRequested);
    step(&|op| Event::StopFinished { op, result: Ok(()) });
    records
}

fn memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() * 1_024
}
