//! A journal that is gone: nothing is cleared, nothing runs on unseen, and a person decides.

use std::{fs, path::Path, process::Output};

use crate::support::{self, Host, containers, shell_program, told};

fn start(data: &Path) -> Output {
    let mut command = support::hersh();
    command.args(["host", "--listen", "127.0.0.1:0", "--data-dir"]);
    command.arg(data).arg("--engine").arg(support::engine());
    command.output().unwrap()
}

fn set_aside(data: &Path) -> Output {
    let mut command = support::hersh();
    command.args(["-o", "json", "host", "set-aside", "--data-dir"]);
    command.arg(data).arg("--engine").arg(support::engine());
    command.output().unwrap()
}

fn refused(data: &Path) {
    let output = start(data);
    assert_eq!(output.status.code(), Some(8), "{}", told(&output));
    for way in ["hersh host restore", "hersh host set-aside", "(orphaned)"] {
        assert!(told(&output).contains(way), "{}", told(&output));
    }
    assert_eq!(containers("orphaned").len(), 1, "it runs as before");
}

#[test]
fn a_lost_journal_is_no_new_host_until_somebody_says_so() {
    let mut host = Host::start();
    let script = "echo mine > /state/mine; exec busybox sleep 600";
    let manifest = "[readiness]\nkind = \"none\"\n[timeouts]\nstop = \"1s\"\n";
    host.run(&["deploy", shell_program("orphaned", script, manifest).path()]);
    support::until("it has state", || {
        host.data().join("programs/orphaned/state/mine").exists()
    });
    host.terminate();
    let known = set_aside(host.data());
    assert_eq!(known.status.code(), Some(3), "{}", told(&known));

    // The disk of the data folder is not mounted.
    let data = host.data().to_owned();
    let away = data.with_file_name("away");
    fs::rename(&data, &away).unwrap();
    refused(&data);
    assert!(!data.join("journal.db").exists(), "none is begun there");
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&away, &data).unwrap();

    for file in ["journal.db", "journal.db-wal", "journal.db-shm"] {
        let _ = fs::remove_file(data.join(file));
    }
    refused(&data);
    fs::write(data.join("journal.db"), "").unwrap();
    refused(&data);
    assert!(data.join("programs/orphaned/src").exists());

    let output = set_aside(&data);
    assert!(output.status.success(), "{}", told(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(containers("orphaned").is_empty(), "{report}");
    let aside = Path::new(report["set_aside"][0].as_str().unwrap());
    assert_eq!(
        fs::read_to_string(aside.join("state/mine")).unwrap(),
        "mine\n"
    );
    assert!(fs::read_dir(aside.join("src")).unwrap().next().is_some());
    host.start_again();
    assert_eq!(host.get("/programs/orphaned").0, 404);
    let nothing = set_aside(&data);
    assert_ne!(nothing.status.code(), Some(0), "a host runs there");
}
