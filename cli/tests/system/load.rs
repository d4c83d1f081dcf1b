//! Users who give commands to a host that may die meanwhile, one command at a time each.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use serde_json::Value;

use crate::support::{Host, containers};

/// An answer that does not come in this time is given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest pause between two commands.
const PAUSE_MS: u64 = 300;

/// What a user knows: the commands that were acknowledged, in order, and the one that was under
/// way when the answers ended.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) acknowledged: Vec<&'static str>,
    pub(crate) under_way: Option<&'static str>,
}

/// One user of one program.
pub(crate) struct User {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Given>,
}

impl User {
    /// Gives random commands, with pauses in between, until the host answers no more.
    pub(crate) fn start(host: &Host, program: &str, seed: u64) -> Self {
        let (address, token) = (host.socket_address(), host.token());
        let program = program.to_owned();
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut given = Given::default();
            let mut random = Random(seed);
            while !asked.load(Ordering::Relaxed) {
                let command = random.command();
                given.under_way = Some(command);
                match ask(&address, &token, &format!("/programs/{program}/{command}")) {
                    Some(200 | 202) => given.acknowledged.push(command),
                    Some(other) => panic!("{program} {command}: {other}"),
                    None => break,
                }
                given.under_way = None;
                std::thread::park_timeout(Duration::from_millis(random.next() % PAUSE_MS));
            }
            given
        });
        Self { stop, thread }
    }

    /// Asks it to stop, and what it knows.
    pub(crate) fn end(self) -> Given {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The status of one `POST`; `None` if no answer came.
fn ask(address: &str, token: &str, path: &str) -> Option<u16> {
    status_and_body(address, token, "POST", path).map(|(status, _)| status)
}

/// The answer to one request; `None` if none came.
pub(crate) fn status_and_body(
    address: &str,
    token: &str,
    method: &str,
    path: &str,
) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).ok()?;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: test\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// The events of a program after event `after`.
pub(crate) fn events(host: &Host, program: &str, after: u64) -> Vec<Value> {
    let mut events: Vec<Value> = Vec::new();
    loop {
        let last = events
            .last()
            .map_or(after, |event| event["seq"].as_u64().unwrap());
        let (status, page) = host.get(&format!(
            "/programs/{program}/events?after={last}&limit=1000"
        ));
        assert_eq!(status, 200, "{page}");
        let page: Value = serde_json::from_str(&page).unwrap();
        events.extend(page["events"].as_array().unwrap().iter().cloned());
        if page["next_after"].is_null() {
            return events;
        }
    }
}

/// The commands in a program's journal after event `after`, and the number of its last event.
pub(crate) fn journalled(host: &Host, program: &str, after: u64) -> (Vec<String>, u64) {
    let events = events(host, program, after);
    let command = |event: &Value| {
        let name = event["event"]["event"].as_str().unwrap();
        let command = name.strip_prefix("user_")?.strip_suffix("_requested")?;
        Some(command.to_owned())
    };
    let last = events
        .last()
        .map_or(after, |event| event["seq"].as_u64().unwrap());
    (events.iter().filter_map(command).collect(), last)
}

/// True when every program has settled and the engine has just the containers that the host says.
pub(crate) fn agrees(host: &Host, programs: &[&str]) -> bool {
    let list: Value = serde_json::from_str(&host.run(&["-o", "json", "ps"])).unwrap();
    let list = list["programs"].as_array().unwrap();
    let running = |program: &str| {
        let all = containers(program);
        let runs = |container: &&Value| container["State"] == "running";
        let ids = all
            .iter()
            .filter(runs)
            .map(|container| container["Id"].clone());
        ids.collect::<Vec<_>>()
    };
    programs.iter().all(|name| {
        let program = list.iter().find(|program| program["program_id"] == **name);
        let program = program.expect("it is listed");
        match program["state"].as_str().unwrap() {
            "Ready" => running(name) == [program["container_id"].clone()],
            "Created" | "Stopped" | "Error" => running(name).is_empty(),
            _under_way => false,
        }
    })
}

/// Equal seeds give equal numbers (Knuth's linear congruential generator, upper half).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn command(&mut self) -> &'static str {
        ["start", "start", "stop", "restart"][(self.next() % 4) as usize]
    }
}
