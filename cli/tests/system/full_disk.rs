//! A host whose disk is nearly full: nothing new is taken in, what runs goes on, and it is over
//! once there is room again.

use std::process::Command;

use crate::support::{Host, containers, shell_program, web_program};

/// A small disk of its own, gone with the value.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(mebibytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(mounted.success(), "these tests run as root");
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
    host.run(&["deploy", web_program("steady").path()]);
    let before = host.inspect("steady")["program"]["container_id"].clone();
    let manifest = "[readiness]\nkind = \"none\"\n[timeouts]\nstop = \"1s\"\n";
    let other = shell_program("other", "exec busybox sleep 600", manifest);
    // Taken in while there was room, never built.
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
    host.run(&["send", "steady", "add 1"]);
    assert_eq!(host.inspect("steady")["program"]["container_id"], before);
    host.run(&["restart", "steady"]);
    assert_eq!(host.state("steady"), "Ready");

    std::fs::remove_file(&filler).unwrap();
    host.run(&["start", "other"]);
    assert_eq!(host.state("other"), "Ready");
    assert_eq!(host.upload("/programs?name=third", &archive).0, 201);
    drop(host);
}

fn free_bytes(folder: &std::path::Path) -> u64 {
    let output = Command::new("df")
        .args(["-B1", "--output=avail"])
        .arg(folder)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().nth(1).unwrap().trim().parse().unwrap()
}
