//! Every bad input gets one clear message and the documented exit code; nothing is left behind.

use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
};

use crate::support::{self, Folder, Host, containers, hersh, told, web_program};

const GOOD: &str = "FROM scratch\nCOPY busybox /bin/busybox\nENTRYPOINT [\"/bin/busybox\"]\n";

/// What the host stores, apart from its own files.
fn stored(host: &Host) -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["programs", "staging"] {
        for entry in std::fs::read_dir(host.data().join(folder)).unwrap() {
            found.push(entry.unwrap().path().display().to_string());
        }
    }
    found
}

#[test]
fn a_broken_dockerfile_is_told_with_the_line_and_the_log() {
    let host = Host::start();
    let folder = Folder::new(&[
        ("Dockerfile", "FROM scratch\nCOPIE busybox /\n"),
        ("hersh.toml", "name = \"broken\"\n"),
    ]);
    let message = host.refused(3, &["deploy", folder.path()]);
    assert!(
        message.contains("line 2") && message.contains("COPIE"),
        "{message}"
    );
    assert_eq!(stored(&host), Vec::<String>::new(), "nothing was sent");

    let failing = "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"sh\", \"-c\", \"echo the reason; exit 7\"]\n";
    folder.write("Dockerfile", failing);
    let message = host.refused(1, &["deploy", folder.path()]);
    assert!(
        message.contains("the reason"),
        "the log's end travels with the cause: {message}"
    );
    assert_eq!(
        host.inspect("broken")["program"]["cause"]["code"],
        "build_failed"
    );
    assert!(containers("broken").is_empty());
}

#[test]
fn a_missing_dockerfile_is_refused_before_anything_is_stored() {
    let host = Host::start();
    let folder = Folder::new(&[("hersh.toml", "name = \"bare\"\n")]);
    let message = host.refused(3, &["deploy", folder.path()]);
    assert!(message.contains("Dockerfile"), "{message}");
    let message = host.refused(3, &["deploy", "/nowhere/at/all"]);
    assert!(message.contains("/nowhere/at/all"), "{message}");
    assert_eq!(stored(&host), Vec::<String>::new());
}

#[test]
fn a_wrong_manifest_is_named_by_key_and_line() {
    let host = Host::start();
    for (manifest, expected) in [
        ("nmae = \"x\"\n", "unknown field `nmae`"),
        (
            "name = \"x\"\n[resources]\nmemory = \"64 megs\"\n",
            "64 megs",
        ),
        (
            "name = \"x\"\n[resources]\nmemory = \"1KiB\"\n",
            "resources.memory = 1KiB can't be used: use 32MiB to 1024GiB",
        ),
        ("name = \"x\"\n[timeouts]\nstart = \"soon\"\n", "soon"),
        (
            "name = \"x\"\nnetwork = \"host\"\n",
            "unknown variant `host`",
        ),
        ("name = \"Not A Label\"\n", "Not A Label"),
        ("name = \"../../etc\"\n", "../../etc"),
    ] {
        let folder = Folder::new(&[("Dockerfile", GOOD), ("hersh.toml", manifest)]);
        let message = host.refused(3, &["deploy", folder.path()]);
        assert!(message.contains(expected), "{manifest:?}: {message}");
        assert_eq!(stored(&host), Vec::<String>::new(), "{manifest:?}");
    }
}

/// Sends a tar made by Python's tarfile, which packs what an honest client never would.
fn send_archive(host: &Host, code: &str) -> (u16, String) {
    let archive = host.data().with_extension("tar");
    let script = format!(
        "import tarfile, io, sys\nt = tarfile.open(sys.argv[1], 'w')\n\
         def add(name, type=tarfile.REGTYPE, link='', data=b''):\n \
         i = tarfile.TarInfo(name); i.type = type; i.linkname = link; i.size = len(data); t.addfile(i, io.BytesIO(data))\n\
         add('Dockerfile', data=b'FROM scratch\\n')\n{code}\nt.close()\n"
    );
    let packed = Command::new("python3")
        .arg("-c")
        .arg(script)
        .arg(&archive)
        .status()
        .unwrap();
    assert!(packed.success());
    let answer = host.upload("/programs?name=hostile", &std::fs::read(&archive).unwrap());
    std::fs::remove_file(archive).unwrap();
    answer
}

#[test]
fn hostile_archives_are_refused_whole_and_the_entry_is_named() {
    let host = Host::start();
    for (code, expected) in [
        ("add('../../escape', data=b'x')", "../../escape"),
        ("add('/etc/escape', data=b'x')", "/etc/escape"),
        (
            "add('link', tarfile.SYMTYPE, '/etc'); add('link/x', data=b'x')",
            "link/x",
        ),
        (
            "add('in', tarfile.SYMTYPE, 'sub'); add('hard', tarfile.LNKTYPE, '../../journal.db')",
            "hard",
        ),
        ("add('device', tarfile.CHRTYPE)", "device"),
        ("add('pipe', tarfile.FIFOTYPE)", "pipe"),
    ] {
        let (status, body) = send_archive(&host, code);
        assert_eq!(status, 400, "{code}: {body}");
        assert!(
            body.contains("bad_source") && body.contains(expected),
            "{code}: {body}"
        );
        assert_eq!(stored(&host), Vec::<String>::new(), "{code}");
    }
    let (status, body) = send_archive(&host, "[add('f%05d' % n) for n in range(20000)]");
    assert_eq!(status, 413, "{body}");
    assert!(body.contains("more than 10000 entries"), "{body}");
    assert_eq!(stored(&host), Vec::<String>::new());
    let (status, body) = host.upload("/programs?name=hostile", b"this is no archive");
    assert_eq!(status, 400, "{body}");
    assert_eq!(host.get("/programs/hostile").0, 404);
}

#[test]
fn a_name_that_is_taken_is_told_and_the_first_is_untouched() {
    let host = Host::start();
    host.run(&["deploy", web_program("twice").path()]);
    let before = host.inspect("twice");
    let (status, body) = send_named(&host, "twice");
    assert_eq!(status, 409, "{body}");
    assert!(body.contains("already_exists"), "{body}");
    assert_eq!(
        host.inspect("twice")["program"]["build_id"],
        before["program"]["build_id"]
    );
    assert_eq!(host.get("/programs/twice/watcher/status").0, 200);
}

fn send_named(host: &Host, name: &str) -> (u16, String) {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(13);
    header.set_mode(0o644);
    archive
        .append_data(&mut header, "Dockerfile", b"FROM scratch\n".as_slice())
        .unwrap();
    host.upload(
        &format!("/programs?name={name}"),
        &archive.into_inner().unwrap(),
    )
}

#[test]
fn no_host_no_token_no_program_each_has_its_exit_code() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let run = |arguments: &[&str]| {
        hersh()
            .env("HERSH_TOKEN", "x")
            .args(["--host", &nobody])
            .args(arguments)
            .output()
            .unwrap()
    };
    let output = run(&["ps"]);
    assert_eq!(output.status.code(), Some(6), "{}", told(&output));
    assert!(
        told(&output).contains("is one running here ('hersh host'"),
        "{}",
        told(&output)
    );
    assert_eq!(run(&["frobnicate"]).status.code(), Some(2));
    let host = Host::start();
    for arguments in [
        ["start", "ghost"],
        ["inspect", "ghost"],
        ["logs", "ghost"],
        ["rm", "ghost"],
    ] {
        assert!(
            host.refused(4, &arguments).contains("ghost"),
            "{arguments:?}"
        );
    }
}

fn host_with(data: &Path, engine: &str) -> std::process::Output {
    hersh()
        .args([
            "host",
            "--listen",
            "127.0.0.1:0",
            "--engine",
            engine,
            "--data-dir",
        ])
        .arg(data)
        .stdout(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn an_engine_that_is_down_is_told_with_its_socket() {
    let data = tempfile::tempdir().unwrap();
    let output = host_with(data.path(), "unix:///nowhere/docker.sock");
    assert_eq!(output.status.code(), Some(7), "{}", told(&output));
    assert!(
        told(&output).contains("/nowhere/docker.sock"),
        "{}",
        told(&output)
    );
    let output = hersh()
        .args(["doctor", "--engine", "/nowhere/docker.sock"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", told(&output));
    assert!(told(&output).contains("mend:"), "{}", told(&output));
    let output = host_with(data.path(), "tcp://127.0.0.1:2375");
    assert_eq!(output.status.code(), Some(3), "{}", told(&output));
}

#[test]
fn an_engine_without_runsc_is_told_and_how_to_register_it() {
    let engine = PlainEngine::start();
    let data = tempfile::tempdir().unwrap();
    let output = host_with(data.path(), engine.socket.to_str().unwrap());
    assert_eq!(output.status.code(), Some(7), "{}", told(&output));
    assert!(told(&output).contains("runsc"), "{}", told(&output));
    let output = hersh()
        .arg("doctor")
        .arg("--engine")
        .arg(&engine.socket)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", told(&output));
    assert!(
        told(&output).contains("restart the engine"),
        "{}",
        told(&output)
    );
}

#[test]
fn the_test_engine_passes_the_doctor() {
    let output = hersh()
        .arg("doctor")
        .arg("--engine")
        .arg(support::engine())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", told(&output));
}

/// A second engine beside the first, which knows no runtime but its own.
struct PlainEngine {
    process: std::process::Child,
    folder: tempfile::TempDir,
    socket: std::path::PathBuf,
}

impl PlainEngine {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let socket = at("docker.sock");
        let process = Command::new("dockerd")
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"))
            .arg("--host")
            .arg(format!("unix://{}", socket.display()))
            .args(["--bridge", "none", "--iptables=false", "--group", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        support::until("the second engine answers", || {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        Self {
            process,
            folder,
            socket,
        }
    }
}

impl Drop for PlainEngine {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .args(["-TERM", &self.process.id().to_string()])
            .status();
        let _ = self.process.wait();
        let _ = &self.folder;
    }
}

/// A small file system that is unmounted at the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(size: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(
            mounted.success(),
            "mounting needs root: run these tests by `make test`"
        );
        Self(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_told_and_nothing_is_left() {
    let disk = SmallDisk::new("6m");
    let host = Host::start_in(disk.0.path().join("data"));
    let folder = Folder::new(&[("Dockerfile", GOOD), ("hersh.toml", "name = \"big\"\n")]);
    folder.write("blob", &"x".repeat(8 << 20));
    let message = host.refused(7, &["deploy", folder.path()]);
    assert!(message.contains("disk is full"), "{message}");
    assert_eq!(stored(&host), Vec::<String>::new());
    // There is space again, so the host goes on.
    folder.write("blob", "x");
    host.run(&["deploy", "--detach", folder.path()]);
}
