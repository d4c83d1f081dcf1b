//! A host that is made up, and the command without anything of this machine's user.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Output},
    sync::{Arc, Mutex},
};

/// What is answered to a request, such as `GET /programs/p`: a status and a text.
pub(crate) type Answer = (&'static str, u16, String);

/// A host that knows a few answers.
pub(crate) struct MadeUp {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl MadeUp {
    /// Serves until the test ends. Where one request has several answers, they are given in their
    /// order, the last one again and again; where it has none, the answer is 404.
    pub(crate) fn host(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut given = HashMap::<String, usize>::new();
            for stream in listener.incoming().map_while(Result::ok) {
                let Some(request) = request(&stream) else {
                    continue;
                };
                let known = answers.iter().filter(|(of, ..)| *of == request);
                let known: Vec<&Answer> = known.collect();
                let turn = given.entry(request.clone()).or_default();
                let answer = known.get(*turn).or(known.last());
                *turn += 1;
                noted.lock().unwrap().push(request);
                let (status, text) = answer.map_or((404, ""), |(_, status, text)| (*status, text));
                let _ = write!(
                    &stream,
                    "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
                    text.len()
                );
            }
        });
        Self { address, asked }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The requests so far, without their queries.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// `hersh ARGUMENTS` against this host, by a person whose home is `home`.
    pub(crate) fn run(&self, home: &Path, arguments: &[&str]) -> Output {
        let mut command = hersh(home);
        command.args(["--host", &self.address]).args(arguments);
        command.env("HERSH_TOKEN", "hersh_x").output().unwrap()
    }
}

/// Reads one request with its body; its method and path.
fn request(stream: &TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let (mut length, mut is_chunked) = (0, false);
    loop {
        let mut head = String::new();
        if reader.read_line(&mut head).ok()? < 3 {
            break;
        }
        let head = head.to_ascii_lowercase();
        is_chunked |= head.starts_with("transfer-encoding: chunked");
        if let Some(value) = head.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    loop {
        if is_chunked {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            length = usize::from_str_radix(size.trim(), 16).ok()? + 2;
        }
        reader.read_exact(&mut vec![0; length]).ok()?;
        if !is_chunked || length == 2 {
            break;
        }
    }
    let mut words = line.split([' ', '?']);
    Some(format!("{} {}", words.next()?, words.next()?))
}

/// The command without anything of this machine's user.
pub(crate) fn hersh(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hersh"));
    command.env_clear().env("HOME", home);
    command
}

pub(crate) fn told(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A program as a host shows it, with changes.
pub(crate) fn program(change: &serde_json::Value) -> String {
    let mut view = serde_json::json!({
        "program_id": "shop", "state": "Ready", "build_id": "build-mine", "attempts": 0,
        "run_build_id": "build-mine", "proxy_url": "/programs/shop/watcher/",
        "created_at_ms": 1, "changed_at_ms": 1, "manifest": {},
    });
    let change = change.as_object().unwrap().clone();
    view.as_object_mut().unwrap().extend(change);
    view.to_string()
}

/// What a host says when it refuses.
pub(crate) fn problem(status: u16, code: &str, detail: &str) -> String {
    serde_json::json!({ "code": code, "status": status, "title": code, "detail": detail })
        .to_string()
}
