//! Programs as people bring them, behind the proxy, with the defaults.
//!
//! Their interpreters come from base images of Debian packages that `scripts/setup test` lays.

use std::{
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    sync::Once,
};

use serde_json::Value;

use crate::support::{Folder, Host, ask_engine, busybox, containers, engine, until, upload_to};

/// The path of the probe, and with it what every server here has to answer.
const STATUS: &str = "watcher/status";

/// A folder with a Dockerfile and one file, and its name.
fn program(name: &str, dockerfile: &str, file: &str, content: &str) -> Folder {
    Folder::new(&[
        ("Dockerfile", dockerfile),
        ("hersh.toml", &format!("name = \"{name}\"\n")),
        (file, content),
    ])
}

/// Deploys, and asks through the proxy more often than a server keeps a connection open.
fn answers(host: &Host, name: &str, folder: &Folder, expected: &str) {
    host.run(&["deploy", folder.path()]);
    for _ in 0..5 {
        let (status, body) = ask(host, name);
        assert_eq!((status, body.as_str()), (200, expected), "{name}");
    }
}

/// Asks until it is answered: a server that forks for each connection loses some in gVisor when the
/// machine is busy, whoever asks.
fn ask(host: &Host, name: &str) -> (u16, String) {
    let path = format!("/programs/{name}/{STATUS}");
    let mut answer = (0, String::new());
    until("it answers", || {
        answer = host.get(&path);
        answer.0 != 502
    });
    answer
}

/// Gives the engine a base image of Debian packages, once, and names it.
fn base(name: &str) -> String {
    static PYTHON: Once = Once::new();
    static NODE: Once = Once::new();
    let image = format!("hersh-test-{name}");
    let once = if name == "python" { &PYTHON } else { &NODE };
    once.call_once(|| {
        if ask_engine("GET", &format!("/images/{image}/json")).0 == 200 {
            return;
        }
        let folder = std::env::var_os("HERSH_TEST_BASES")
            .map(PathBuf::from)
            .expect("HERSH_TEST_BASES names no base images: run these tests by `make test`");
        let tar = std::fs::read(folder.join(format!("{name}.tar"))).unwrap();
        let stream = UnixStream::connect(engine()).unwrap();
        let path = format!("/images/create?fromSrc=-&repo={image}");
        let (status, body) = upload_to(stream, &path, &tar);
        assert_eq!(status, 200, "{body}");
    });
    image
}

fn python(name: &str, content: &str) -> Folder {
    let image = base("python");
    let dockerfile =
        format!("FROM {image}\nCOPY main.py /main.py\nCMD [\"python3\", \"-u\", \"/main.py\"]\n");
    program(name, &dockerfile, "main.py", content)
}

#[test]
fn asyncio_server_that_closes_is_ready_and_answers() {
    let host = Host::start();
    let folder = python("closes", include_str!("../programs/closes.py"));
    answers(&host, "closes", &folder, "closed");
}

#[test]
fn python_file_server_is_ready_and_answers() {
    let host = Host::start();
    let dockerfile = format!(
        "FROM {}\nCOPY status /www/{STATUS}\nCMD [\"python3\", \"-m\", \"http.server\", \"-d\", \"/www\", \"8080\"]\n",
        base("python")
    );
    let folder = program("files", &dockerfile, "status", "a file");
    answers(&host, "files", &folder, "a file");
}

#[test]
fn python_process_pool_is_ready_and_answers() {
    let host = Host::start();
    let folder = python("pool", include_str!("../programs/pool.py"));
    answers(&host, "pool", &folder, "[1, 2]");
}

#[test]
fn node_server_is_ready_and_answers() {
    let host = Host::start();
    let image = base("node");
    let dockerfile = format!("FROM {image}\nCOPY main.js /main.js\nCMD [\"node\", \"/main.js\"]\n");
    let folder = program(
        "node",
        &dockerfile,
        "main.js",
        include_str!("../programs/server.js"),
    );
    answers(&host, "node", &folder, "node answers /watcher/status");
}

#[test]
fn busybox_file_server_is_ready_and_answers() {
    let host = Host::start();
    let dockerfile = format!(
        "FROM scratch\nCOPY busybox /bin/busybox\nCOPY status /www/{STATUS}\n\
         CMD [\"/bin/busybox\", \"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]\n"
    );
    let folder = program("httpd", &dockerfile, "status", "a page");
    std::fs::copy(busybox(), Path::new(folder.path()).join("busybox")).unwrap();
    answers(&host, "httpd", &folder, "a page");
}

#[test]
fn c_server_that_forks_is_ready_and_answers() {
    let host = Host::start();
    let source = include_str!("../programs/forks.c");
    let dockerfile = "FROM scratch\nCOPY forks /forks\nCMD [\"/forks\"]\n";
    let folder = program("forks", dockerfile, "forks.c", source);
    let built = Command::new("cc")
        .args(["-static", "-O1", "-o", "forks", "forks.c"])
        .current_dir(folder.path())
        .status()
        .unwrap();
    assert!(built.success(), "cc is installed by `make test`");
    answers(&host, "forks", &folder, "forked");
}

#[test]
fn sqlite_loses_no_commit_when_its_sandbox_is_killed() {
    let host = Host::start();
    let folder = python("writers", include_str!("../programs/writers.py"));
    host.run(&["deploy", folder.path()]);
    let mut noted = 0;
    for starts in 2..=4 {
        kill_sandbox("writers");
        let mut seen = Value::Null;
        until("it runs again", || {
            let (status, body) = host.get(&format!("/programs/writers/{STATUS}"));
            seen = serde_json::from_str(&body).unwrap_or_default();
            status == 200 && seen["starts"] == starts
        });
        assert_eq!(seen["integrity"], "ok", "{seen}");
        assert_eq!(seen["lost"], 0, "{seen}");
        let now = seen["noted"].as_u64().unwrap();
        assert!(
            now > noted,
            "nothing was written since the last look: {seen}"
        );
        noted = now;
    }
}

/// Ends the sandbox of a program as the machine's kernel would, once it has written something.
fn kill_sandbox(program: &str) {
    let id = containers(program)[0]["Id"].as_str().unwrap().to_owned();
    let (status, body) = ask_engine("GET", &format!("/containers/{id}/json"));
    assert_eq!(status, 200, "{body}");
    let inspected: Value = serde_json::from_str(&body).unwrap();
    let process = inspected["State"]["Pid"].to_string();
    let killed = Command::new("kill").args(["-KILL", &process]).status();
    assert!(killed.unwrap().success());
}
