//! Deploys with overlap, in real gVisor: the next revision starts beside the one that runs, and nobody who asks
//! notices.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    load::status_and_body,
    real_programs::base,
    support::{Folder, Host, containers, until},
};

/// How many requests are made at least, and by how many who ask at once.
const REQUESTS: usize = 10_000;
const ASKING: usize = 20;
/// The pause of each of them between two requests: 200 requests a second by all.
const PAUSE: Duration = Duration::from_millis(1_000 * ASKING as u64 / 200);

struct Levels(Folder);

impl Levels {
    fn new(name: &str) -> Self {
        let dockerfile = format!(
            "FROM {}\nCOPY main.js /main.js\nCMD [\"node\", \"/main.js\"]\n",
            base("node")
        );
        let folder = Folder::new(&[("Dockerfile", &dockerfile)]);
        folder.write("main.js", include_str!("../programs/levels.js"));
        let levels = Self(folder);
        levels.set(name, "one");
        levels
    }

    /// Writes the manifest of the next revision. Only its environment changes, so nothing is built for it.
    fn set(&self, name: &str, level: &str) {
        let manifest = format!(
            "name = \"{name}\"\n[env]\nLEVEL = \"{level}\"\n[readiness]\npath = \"/\"\n\
             [deploy]\nstrategy = \"overlap\"\ndrain = \"5m\"\n[timeouts]\nstop = \"1s\"\n"
        );
        self.0.write("hersh.toml", &manifest);
    }

    fn deploy(&self, host: &Host) -> String {
        host.run(&["deploy", self.0.path()])
    }
}

/// What those who ask saw.
#[derive(Default)]
struct Seen {
    asked: AtomicUsize,
    /// Set once the last revision is up. They go on until then, and until everything was asked.
    is_over: AtomicBool,
    failures: Mutex<Vec<String>>,
    levels: Mutex<BTreeSet<String>>,
}

impl Seen {
    /// Asks at an even pace.
    fn ask(&self, host: &Host, path: &str) {
        let (address, token) = (host.socket_address(), host.token());
        let mut due = Instant::now();
        let is_enough = |asked| asked >= REQUESTS && self.is_over.load(Ordering::Relaxed);
        while !is_enough(self.asked.fetch_add(1, Ordering::Relaxed)) {
            let answer = status_and_body(&address, &token, "GET", path);
            match answer {
                Some((200, body)) => drop(self.levels.lock().unwrap().insert(body)),
                other => self.failures.lock().unwrap().push(format!("{other:?}")),
            }
            // Who is late does not catch up: that would be more at once than was meant.
            due = (due + PAUSE).max(Instant::now());
            std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
        }
    }
}

/// A WebSocket, spoken by hand: short texts without fragments.
struct WebSocket(TcpStream);

impl WebSocket {
    fn open(host: &Host, path: &str) -> Self {
        let mut stream = TcpStream::connect(host.socket_address()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            host.token()
        )
        .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        Self(stream)
    }

    /// Sends a word, and returns the answer.
    fn say(&mut self, word: &str) -> String {
        let length = u8::try_from(word.len()).unwrap();
        // With a mask of zeros, the payload is as it is.
        let frame = [&[0x81, 0x80 | length, 0, 0, 0, 0], word.as_bytes()].concat();
        self.0.write_all(&frame).unwrap();
        let (kind, payload) = self.next();
        assert_eq!(kind, 0x81);
        String::from_utf8(payload).unwrap()
    }

    /// Returns the next frame that is no ping.
    fn next(&mut self) -> (u8, Vec<u8>) {
        loop {
            let mut head = [0; 2];
            self.0.read_exact(&mut head).unwrap();
            let mut payload = vec![0; usize::from(head[1])];
            self.0.read_exact(&mut payload).unwrap();
            if head[0] != 0x89 {
                return (head[0], payload);
            }
        }
    }
}

#[test]
fn no_request_fails_while_revisions_overlap() {
    let host = Host::start();
    let levels = Levels::new("levels");
    levels.deploy(&host);
    let path = "/programs/levels/watcher/";
    let mut socket = WebSocket::open(&host, path);
    assert_eq!(socket.say("a"), "one a");
    let seen = Seen::default();
    std::thread::scope(|scope| {
        for _ in 0..ASKING {
            scope.spawn(|| seen.ask(&host, path));
        }
        levels.set("levels", "two");
        let told = levels.deploy(&host);
        assert!(told.contains("levels is Ready, revision 2"), "{told}");
        // The one before still serves who is connected to it.
        assert_eq!(socket.say("b"), "one b");
        assert_eq!(containers("levels").len(), 2);
        drop(socket);
        until("it leaves when nobody is connected", || {
            containers("levels").len() == 1
        });
        for level in ["three", "four"] {
            levels.set("levels", level);
            levels.deploy(&host);
        }
        let (status, level) = host.get(path);
        assert_eq!((status, level.as_str()), (200, "four"));
        seen.is_over.store(true, Ordering::Relaxed);
    });
    let failures = seen.failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} failed: {failures:?}",
        failures.len()
    );
    let levels: Vec<_> = seen.levels.into_inner().unwrap().into_iter().collect();
    assert_eq!(levels, ["four", "one", "three", "two"]);
}

#[test]
fn who_stays_connected_is_let_go_when_the_drain_is_over() {
    let host = Host::start();
    let levels = Levels::new("stayers");
    levels.deploy(&host);
    let mut socket = WebSocket::open(&host, "/programs/stayers/watcher/");
    assert_eq!(socket.say("a"), "one a");
    let manifest = "name = \"stayers\"\n[env]\nLEVEL = \"two\"\n[readiness]\npath = \"/\"\n\
                    [deploy]\nstrategy = \"overlap\"\ndrain = \"10s\"\n[timeouts]\nstop = \"1s\"\n";
    levels.0.write("hersh.toml", manifest);
    host.run(&["deploy", "--detach", levels.0.path()]);
    let leaves = || !host.inspect("stayers")["program"]["leaving_instance"].is_null();
    until("the first instance leaves", leaves);
    let (status, level) = host.get("/programs/stayers/watcher/");
    assert_eq!((status, level.as_str()), (200, "two"));
    assert_eq!(socket.say("b"), "one b");
    let (kind, payload) = socket.next();
    // 1001: the other side goes away.
    assert_eq!((kind, &payload[..2]), (0x88, &1_001_u16.to_be_bytes()[..]));
    until("it is stopped then", || containers("stayers").len() == 1);
}

#[test]
fn a_revision_that_is_never_ready_costs_no_answer() {
    let host = Host::start();
    let levels = Levels::new("unmoved");
    levels.deploy(&host);
    let before = containers("unmoved");
    let mute = "setTimeout(() => {}, 600000);\n";
    levels.0.write("main.js", mute);
    let manifest = "name = \"unmoved\"\n[readiness]\npath = \"/\"\n[deploy]\nstrategy = \"overlap\"\n\
                    [timeouts]\nstart = \"8s\"\nstop = \"1s\"\n";
    levels.0.write("hersh.toml", manifest);
    let told = host.refused(1, &["deploy", levels.0.path()]);
    assert!(
        told.contains("revision 2 failed: not ready within"),
        "{told}"
    );
    assert!(told.contains("revision 1 still runs"), "{told}");
    until("what failed is gone", || containers("unmoved").len() == 1);
    assert_eq!(containers("unmoved")[0]["Id"], before[0]["Id"]);
    assert_eq!(host.get("/programs/unmoved/watcher/").1, "one");
}
