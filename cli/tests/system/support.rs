//! A real host on a real engine with real gVisor, steered by the real command.
//!
//! The engine is the one that `make test` starts; without it these tests fail.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long anything on the engine may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The engine's socket.
pub(crate) fn engine() -> PathBuf {
    match std::env::var_os("HERSH_TEST_ENGINE") {
        Some(path) => path.into(),
        None => {
            panic!("HERSH_TEST_ENGINE names no engine's socket: run these tests by `make test`")
        }
    }
}

/// A host process with a data folder of its own. Dropped, it removes its programs and ends.
pub(crate) struct Host {
    process: Option<Child>,
    address: String,
    data: PathBuf,
    /// What else its command line says.
    arguments: Vec<String>,
    /// The folder that goes with the host, where the host made it.
    _folder: Option<tempfile::TempDir>,
}

impl Host {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut host = Self::start_in(folder.path().join("data"));
        host._folder = Some(folder);
        host
    }

    /// With its data in a folder of the test's.
    pub(crate) fn start_in(data: PathBuf) -> Self {
        Self::start_with(data, &[])
    }

    /// With more on its command line.
    pub(crate) fn start_with(data: PathBuf, arguments: &[&str]) -> Self {
        let mut host = Self {
            process: None,
            address: String::new(),
            data,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            _folder: None,
        };
        host.start_again();
        host
    }

    /// Starts the process on the same data folder.
    pub(crate) fn start_again(&mut self) {
        let mut child = hersh()
            .arg("host")
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&self.data)
            .arg("--engine")
            .arg(engine())
            .args(&self.arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (found, address) = mpsc::channel();
        let mut log = HostLog::new(child.id());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("listening on ") {
                    let _ = found.send(address.trim().to_string());
                }
                log.keep(&line);
                eprintln!("host: {line}");
            }
        });
        self.process = Some(child);
        self.address = address
            .recv_timeout(PATIENCE)
            .expect("the host says where it listens");
    }

    /// Ends the process as a power cut would.
    pub(crate) fn kill(&mut self) {
        let mut child = self.process.take().expect("the host runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks the process to end and waits for it.
    pub(crate) fn terminate(&mut self) {
        let mut child = self.process.take().expect("the host runs");
        let pid = child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        assert!(child.wait().unwrap().success());
    }

    /// Sends the process a signal, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let child = self.process.as_ref().expect("the host runs");
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// The host's address, with its scheme.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// `hersh ARGUMENTS` against this host.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = hersh();
        command
            .args(["--host", &self.address, "--token-file"])
            .arg(self.data.join("admin-token"))
            .args(arguments);
        if let Some(at) = self.arguments.iter().position(|word| word == "--tls-cert") {
            command.env("HERSH_CA_FILE", &self.arguments[at + 1]);
        }
        command
    }

    /// Runs `hersh ARGUMENTS`; it must succeed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(
            output.status.success(),
            "hersh {arguments:?}: {}",
            told(&output)
        );
        text
    }

    /// Runs `hersh ARGUMENTS`; it must fail with `code`. Returns what it said.
    pub(crate) fn refused(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "hersh {arguments:?}: {}",
            told(&output)
        );
        String::from_utf8(output.stderr).unwrap()
    }

    /// One program and its receipt.
    pub(crate) fn inspect(&self, program: &str) -> Value {
        serde_json::from_str(&self.run(&["-o", "json", "inspect", program])).unwrap()
    }

    pub(crate) fn state(&self, program: &str) -> String {
        self.inspect(program)["program"]["state"]
            .as_str()
            .unwrap()
            .to_string()
    }

    /// Waits until the program is in `state`.
    pub(crate) fn until(&self, program: &str, state: &str) {
        until(&format!("{program} is {state}"), || {
            self.state(program) == state
        });
    }

    /// Where it listens: address and port.
    pub(crate) fn socket_address(&self) -> String {
        self.address.trim_start_matches("http://").to_owned()
    }

    pub(crate) fn token(&self) -> String {
        let token = std::fs::read_to_string(self.data.join("admin-token")).unwrap();
        token.trim().to_owned()
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, "", b"")
    }

    pub(crate) fn post(&self, path: &str) -> (u16, String) {
        self.ask("POST", path, "", b"")
    }

    pub(crate) fn delete(&self, path: &str) -> (u16, String) {
        self.ask("DELETE", path, "", b"")
    }

    pub(crate) fn post_json(&self, path: &str, body: &Value) -> (u16, String) {
        let headers = "Content-Type: application/json\r\n";
        self.ask("POST", path, headers, body.to_string().as_bytes())
    }

    /// Sends an archive.
    pub(crate) fn upload(&self, path: &str, archive: &[u8]) -> (u16, String) {
        self.ask("POST", path, "Content-Type: application/x-tar\r\n", archive)
    }

    /// One request, without the command in between.
    fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let headers = format!("Authorization: Bearer {}\r\n{headers}", self.token());
        let stream = TcpStream::connect(self.socket_address()).unwrap();
        exchange(stream, method, path, &headers, body)
    }
}

/// One look at `path` of the host that listens at `address`.
pub(crate) fn get_at(address: &str, path: &str, token: &str) -> (u16, String) {
    let headers = format!("Authorization: Bearer {token}\r\n");
    let stream = TcpStream::connect(address).unwrap();
    exchange(stream, "GET", path, &headers, b"")
}

/// What a host said, kept for `scripts/test`, which looks for secrets in it.
struct HostLog {
    file: std::fs::File,
    left_bytes: usize,
}

impl HostLog {
    /// The most that is kept of one host.
    const BYTES_MAX: usize = 4 << 20;

    fn new(pid: u32) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("host-logs");
        std::fs::create_dir_all(&folder).unwrap();
        Self {
            file: std::fs::File::create(folder.join(format!("{pid}.log"))).unwrap(),
            left_bytes: Self::BYTES_MAX,
        }
    }

    fn keep(&mut self, line: &str) {
        let kept = &line.as_bytes()[..line.len().min(self.left_bytes)];
        self.left_bytes -= kept.len();
        let _ = self.file.write_all(&[kept, b"\n"].concat());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.process.is_none() {
            self.start_again();
        }
        let list: Value =
            serde_json::from_str(&self.run(&["-o", "json", "ps"])).unwrap_or_default();
        for program in list["programs"].as_array().into_iter().flatten() {
            let id = program["program_id"].as_str().unwrap_or_default();
            let _ = self.command(&["rm", id]).output();
        }
        if !std::thread::panicking() {
            self.terminate();
        } else {
            self.kill();
        }
    }
}

pub(crate) fn hersh() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hersh"));
    command
        .env_remove("HERSH_TOKEN")
        .env_remove("HERSH_HOST")
        .stdin(Stdio::null());
    command
}

pub(crate) fn told(output: &Output) -> String {
    format!(
        "{}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Waits for something that another process brings about and nobody tells of.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(
            began.elapsed() < PATIENCE,
            "waited {PATIENCE:?} until {what}"
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
    began.elapsed()
}

/// A folder with a program in it, made of busybox.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    /// `files` by path; a file named `busybox` is added, executable.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(busybox(), folder.path().join("busybox")).unwrap();
        std::fs::set_permissions(
            folder.path().join("busybox"),
            PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        let this = Self(folder);
        for (path, text) in files {
            this.write(path, text);
        }
        this
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        if path == "hersh.toml" {
            claim_name(text);
        }
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    /// All of it as a tar.
    pub(crate) fn archive(&self) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_dir_all("", self.0.path()).unwrap();
        archive.into_inner().unwrap()
    }
}

/// Fails the test whose program has the name of another test's: all tests share one engine, where the
/// later of two containers of one name cannot be made.
fn claim_name(manifest: &str) {
    let Some((_, rest)) = manifest.split_once("name = \"") else {
        return;
    };
    let name = rest.split('"').next().unwrap();
    let test = std::thread::current().name().unwrap().to_owned();
    let claims = Path::new(env!("CARGO_TARGET_TMPDIR")).join("program-names");
    std::fs::create_dir_all(&claims).unwrap();
    let claim = claims.join(name);
    let claimed = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&claim)
        .and_then(|mut file| file.write_all(test.as_bytes()));
    if claimed.is_err() {
        let owner = std::fs::read_to_string(&claim).unwrap();
        assert_eq!(owner, test, "both tests deploy a program named {name}");
    }
}

/// The folder of an example with its static binary, as `scripts/example NAME` leaves it.
pub(crate) fn example(name: &str) -> String {
    let folder = format!("{}/../examples/{name}", env!("CARGO_MANIFEST_DIR"));
    let binary = format!("{folder}/{name}");
    assert!(
        std::fs::exists(&binary).unwrap(),
        "{binary} is missing: run these tests by `make test`"
    );
    folder
}

/// The folder of the counter.
pub(crate) fn counter() -> String {
    example("counter")
}

/// A program with a WatcherAPI: the counter, by another name. (busybox's web server forks for each
/// request, which loses some in gVisor when the machine is busy.)
pub(crate) fn web_program(name: &str) -> Folder {
    let manifest = "[resources]\nmemory = \"64MiB\"\n[timeouts]\nstop = \"1s\"\n";
    let folder = Folder::new(&[
        ("Dockerfile", COUNTER_DOCKERFILE),
        ("hersh.toml", &format!("name = \"{name}\"\n{manifest}")),
    ]);
    std::fs::copy(
        format!("{}/counter", counter()),
        format!("{}/counter", folder.path()),
    )
    .unwrap();
    folder
}

pub(crate) const COUNTER_DOCKERFILE: &str =
    "FROM scratch\nCOPY counter /counter\nENTRYPOINT [\"/counter\"]\n";

/// A program that runs `script` by busybox's shell, with `manifest` after its name.
pub(crate) fn shell_program(name: &str, script: &str, manifest: &str) -> Folder {
    let entrypoint = serde_json::to_string(&["/bin/busybox", "sh", "-c", script]).unwrap();
    Folder::new(&[
        (
            "Dockerfile",
            &format!("FROM scratch\nCOPY busybox /bin/busybox\nENTRYPOINT {entrypoint}\n"),
        ),
        ("hersh.toml", &format!("name = \"{name}\"\n{manifest}")),
    ])
}

pub(crate) fn busybox() -> PathBuf {
    let found = ["/bin/busybox", "/usr/bin/busybox"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists());
    found.expect("busybox-static is installed by `make test`")
}

/// The containers of a program on the engine, running or not. Steps of builds are not among them.
pub(crate) fn containers(program: &str) -> Vec<Value> {
    let filter = format!("{{\"label\":[\"hersh.program={program}\"]}}");
    let escaped: String = filter.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let (status, body) = ask_engine("GET", &format!("/containers/json?all=1&filters={escaped}"));
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// When a container was started last.
pub(crate) fn started_at(container: &str) -> String {
    let (status, body) = ask_engine("GET", &format!("/containers/{container}/json"));
    assert_eq!(status, 200, "{body}");
    let inspected: Value = serde_json::from_str(&body).unwrap();
    inspected["State"]["StartedAt"]
        .as_str()
        .unwrap()
        .to_string()
}

/// The names of a program's images.
pub(crate) fn images(program: &str) -> Vec<String> {
    let (status, body) = ask_engine("GET", "/images/json");
    assert_eq!(status, 200, "{body}");
    let images: Vec<Value> = serde_json::from_str(&body).unwrap();
    let tags = images
        .iter()
        .flat_map(|image| image["RepoTags"].as_array().cloned().unwrap_or_default());
    let part = format!("/{program}:");
    tags.filter_map(|tag| tag.as_str().map(ToString::to_string))
        .filter(|tag| tag.contains(&part))
        .collect()
}

/// All containers on the engine.
pub(crate) fn all_containers() -> Vec<Value> {
    let (status, body) = ask_engine("GET", "/containers/json?all=1");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// One request to the engine.
pub(crate) fn ask_engine(method: &str, path: &str) -> (u16, String) {
    exchange(
        UnixStream::connect(engine()).unwrap(),
        method,
        path,
        "",
        b"",
    )
}

/// Sends a body to an engine.
pub(crate) fn upload_to(stream: UnixStream, path: &str, body: &[u8]) -> (u16, String) {
    exchange(
        stream,
        "POST",
        path,
        "Content-Type: application/x-tar\r\n",
        body,
    )
}

/// One request by HTTP/1.0, so that the answer ends where the connection does.
fn exchange(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> (u16, String) {
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: test\r\nContent-Length: {length}\r\n{headers}\r\n"
    )
    .unwrap();
    // A refusal may come, and the connection go, before all of the body is taken.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .expect("a status");
    (status, body.to_string())
}
