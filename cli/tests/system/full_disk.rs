//! A host whose disk is nearly full: nothing new is taken in, what runs goes on, who filled it is
//! ended, and it is over once there is space again.

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::{
    load::events,
    support::{Folder, Host, containers, get_at, hersh, shell_program, until, web_program},
};

/// A small disk of its own, gone with the value.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(mebibytes: u32) -> Self {
        let size = format!("size={mebibytes}m");
        Self::mounted(&["-t", "tmpfs", "-o", &size, "tmpfs"])
    }

    /// With the file system of most machines, in a file that is gone as soon as it is mounted.
    fn ext4(mebibytes: u64) -> Self {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(mebibytes << 20).unwrap();
        let path = image.path().to_str().unwrap();
        let made = Command::new("mkfs.ext4")
            .args(["-q", "-m", "0", path])
            .status();
        assert!(made.unwrap().success(), "mkfs.ext4 makes one");
        Self::mounted(&["-o", "loop", path])
    }

    fn mounted(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        let mounted = mount.args(arguments).arg(folder.path()).status();
        assert!(mounted.unwrap().success(), "these tests run as root");
        Self(folder)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.0.path())
            .status();
    }
}

#[test]
fn a_full_disk_refuses_source_and_builds_while_programs_go_on() {
    // Dropped after the host, which lives on it.
    let disk = Disk::new(128);
    let host = Host::start_in(disk.0.path().join("data"));
    host.run(&["deploy", web_program("undeterred").path()]);
    let before = host.inspect("undeterred")["program"]["container_id"].clone();
    let manifest = "[readiness]\nkind = \"none\"\n[timeouts]\nstop = \"1s\"\n";
    let other = shell_program("other", "exec busybox sleep 600", manifest);
    // Taken in while there was space, never built.
    let archive = other.archive();
    assert_eq!(host.upload("/programs?name=other", &archive).0, 201);

    let filler = disk.0.path().join("filler");
    let free = free_bytes(disk.0.path());
    let fill = usize::try_from(free - (2 << 20)).unwrap();
    std::fs::write(&filler, vec![1; fill]).unwrap();
    let (status, body) = host.upload("/programs?name=third", &archive);
    assert_eq!(status, 507, "{body}");
    assert!(body.contains("must stay free"), "{body}");
    assert!(body.contains("storage_full"), "{body}");
    let (status, body) = host.post("/programs/other/start?wait=30s");
    assert_eq!(status, 200, "{body}");
    let failed = host.inspect("other");
    let cause = failed["program"]["cause"]["message"].as_str().unwrap();
    assert!(cause.contains("must stay free"), "{failed}");
    assert!(containers("other").is_empty());

    // What runs goes on, and starts again without a build.
    host.run(&["send", "undeterred", "add 1"]);
    assert_eq!(
        host.inspect("undeterred")["program"]["container_id"],
        before
    );
    host.run(&["restart", "undeterred"]);
    assert_eq!(host.state("undeterred"), "Ready");

    std::fs::remove_file(&filler).unwrap();
    host.run(&["start", "other"]);
    assert_eq!(host.state("other"), "Ready");
    assert_eq!(host.upload("/programs?name=third", &archive).0, 201);
    drop(host);
}

fn free_bytes(folder: &Path) -> u64 {
    let output = Command::new("df")
        .args(["-B1", "--output=avail"])
        .arg(folder)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().nth(1).unwrap().trim().parse().unwrap()
}

/// What asks programs for their status without a pause, until it is told to end.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<(u64, Vec<String>)>>,
}

impl Load {
    fn on(host: &Host, programs: &[String]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (address, token) = (host.socket_address(), host.token());
        let threads = programs.iter().map(|program| {
            let (address, token, stop) = (address.clone(), token.clone(), Arc::clone(&stop));
            let path = format!("/programs/{program}/watcher/status");
            std::thread::spawn(move || {
                let (mut answered, mut failed) = (0, Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    match get_at(&address, &path, &token) {
                        (200, _) => answered += 1,
                        other => failed.push(format!("{path}: {other:?}")),
                    }
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                (answered, failed)
            })
        });
        Self {
            threads: threads.collect(),
            stop,
        }
    }

    /// Each program answered every time.
    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let (answered, failed) = thread.join().unwrap();
            assert!(answered > 0 && failed.is_empty(), "{answered}: {failed:?}");
        }
    }
}

/// A program that writes to its `/state` for as long as it is let, and then stays.
fn filler(name: &str, state: &str) -> Folder {
    let script =
        "busybox sleep 2; busybox dd if=/dev/zero of=/state/fill bs=1M; exec busybox sleep 600";
    let manifest = format!(
        "[resources]\nstate = \"{state}\"\n[readiness]\nkind = \"none\"\n[timeouts]\nstop = \"1s\"\n"
    );
    shell_program(name, script, &manifest)
}

/// The events of a program, by number: none is missing between the first and the last.
fn history(host: &Host, program: &str) -> Vec<serde_json::Value> {
    let events = events(host, program, 0);
    let numbers: Vec<u64> = events
        .iter()
        .map(|it| it["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    events
}

fn cause(host: &Host, program: &str) -> serde_json::Value {
    host.inspect(program)["program"]["cause"]["code"].take()
}

#[test]
fn a_program_that_fills_the_disk_ends_alone_and_all_is_undone() {
    let disk = Disk::ext4(512);
    let data = disk.0.path().join("data");
    let mut host = Host::start_in(data.clone());
    let names: Vec<String> = (1..=9).map(|n| format!("steady-{n}")).collect();
    for name in &names {
        host.run(&["deploy", "--detach", web_program(name).path()]);
    }
    names.iter().for_each(|name| host.until(name, "Ready"));
    let containers: Vec<_> = names
        .iter()
        .map(|name| host.inspect(name)["program"]["container_id"].take())
        .collect();
    let before: Vec<_> = names.iter().map(|name| history(&host, name)).collect();
    let ready = || host.get("/readyz");
    assert_eq!(ready().0, 200);

    // Within a generous limit: the disk is full in seconds.
    let load = Load::on(&host, &names);
    host.run(&["deploy", "--detach", filler("filler", "64GiB").path()]);
    until("the disk is full", || free_bytes(disk.0.path()) < 1 << 20);
    let (status, body) = ready();
    assert_eq!(status, 507, "{body}");
    assert!(body.contains("must stay free"), "{body}");
    host.until("filler", "Error");
    assert_eq!(cause(&host, "filler"), "disk_filled");
    load.end();

    // Nothing is free, and what frees space works.
    assert!(free_bytes(disk.0.path()) < 4 << 20);
    let (status, body) = host.post("/programs/steady-1/restart");
    assert_eq!(status, 507, "{body}");
    let token = serde_json::json!({ "scope": "read" });
    assert_eq!(host.post_json("/tokens", &token).0, 507);
    let (status, body) = host.post("/programs/steady-9/stop?wait=30s");
    assert_eq!(status, 200, "{body}");
    assert_eq!(host.state("steady-9"), "Stopped");

    // A host starts on it as well, whether it ended in good order or not.
    host.terminate();
    host.start_again();
    assert_eq!(host.state("filler"), "Error");
    host.kill();
    host.start_again();
    let steady = &names[..8];
    let load = Load::on(&host, steady);
    assert_eq!(host.get("/readyz").0, 507);
    for (name, container) in names.iter().zip(&containers).take(8) {
        assert_eq!(host.state(name), "Ready");
        assert_eq!(host.inspect(name)["program"]["container_id"], *container);
    }
    let (status, body) = host.delete("/programs/filler?wait=60s");
    assert_eq!(status, 204, "{body}");
    until("the host is ready", || host.get("/readyz").0 == 200);

    // Past a small limit: ended for that, whatever is left of the disk.
    host.run(&["deploy", "--detach", filler("greedy", "16MiB").path()]);
    host.until("greedy", "Error");
    assert_eq!(cause(&host, "greedy"), "state_quota_exceeded");
    host.run(&["rm", "greedy"]);
    load.end();

    host.run(&["start", "steady-9"]);
    is_as_it_was(&host, &data, names.iter().zip(before));
    drop(host);
}

/// Every program is up and its history goes on from what it was `before`; and a backup can be made.
fn is_as_it_was<'a>(
    host: &Host,
    data: &Path,
    before: impl Iterator<Item = (&'a String, Vec<serde_json::Value>)>,
) {
    for (name, before) in before {
        assert_eq!(host.state(name), "Ready");
        let now = history(host, name);
        assert_eq!(now[..before.len()], before, "{name}");
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("backup");
    until("a backup can be made", || {
        let mut backup = hersh();
        backup.args(["host", "backup", "--data-dir"]).arg(data);
        backup.arg(&file).output().unwrap().status.success()
    });
}
