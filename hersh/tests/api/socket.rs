//! The Unix socket: beside or instead of a port, for its owner only, replaced when stale.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use hersh::{Builder, StartError, Watcher};

use crate::client::{Place, adder, call, get, send};

fn on(path: &Path) -> Builder {
    Watcher::builder("on a socket").api_socket(path)
}

async fn refused(builder: Builder) -> String {
    let error = builder.start(adder).await.unwrap_err();
    assert!(matches!(error, StartError::ListenSocket { .. }), "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_socket_alone_serves_and_is_gone_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api");
    let watcher = on(&path).start(adder).await.unwrap();
    assert_eq!(watcher.api_address(), None);
    let place = Place::Unix(path.clone());
    watcher.ready().await.unwrap();
    assert_eq!(send(&place, "5").await.status, 200);
    let config = get(&place, "/watcher/config").await.json();
    assert_eq!(config["config"]["serverPort"], 0);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let logs = watcher.logs();
    let expected = format!("the API listens on the socket {}", path.display());
    assert_eq!(logs[0].message.as_ref(), expected);
    watcher.stop("done");
    watcher.wait().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let watcher = on(&path).start(adder).await.unwrap();
    let error = refused(on(&path)).await;
    assert!(
        error.ends_with("another process uses it; stop that or choose another path"),
        "{error}"
    );
    watcher.ready().await.unwrap();
    let place = Place::Unix(path.clone());
    assert_eq!(get(&place, "/watcher/status").await.status, 200);
    // Whoever takes the path over keeps it.
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    watcher.stop("done");
    watcher.wait().await;
    assert!(path.exists());
}

#[tokio::test]
async fn what_is_no_socket_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes");
    fs::write(&path, "mine").unwrap();
    let error = refused(on(&path)).await;
    assert!(
        error.ends_with("the file is no socket; choose another path or move it away"),
        "{error}"
    );
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    refused(on(&link)).await;
    refused(on(folder.path())).await;
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    let error = refused(on(&folder.path().join("no/folder"))).await;
    assert!(
        error.ends_with("choose a short path in a writable folder"),
        "{error}"
    );
    refused(on(&folder.path().join("x".repeat(200)))).await;
}

#[tokio::test]
async fn a_start_that_fails_leaves_no_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api");
    fs::write(folder.path().join("state"), "no folder").unwrap();
    let builder = on(&path).state_dir(folder.path().join("state"));
    let error = builder.start(adder).await.unwrap_err();
    assert!(matches!(error, StartError::StateDir { .. }), "{error}");
    assert!(!path.exists());
}

#[tokio::test]
async fn bounds_that_make_no_sense_are_refused() {
    for (builder, expected) in [
        (
            Watcher::builder("x").api_connection_limit(0),
            "api_connection_limit is 0: give at least 1",
        ),
        (
            Watcher::builder("x").api_write_timeout(std::time::Duration::ZERO),
            "api_write_timeout is 0ns: give at least 1 ms",
        ),
        (
            on(Path::new("")),
            "api_socket (HERSH_WATCHER_SOCKET) is \"\": give the path of a file, or leave it out",
        ),
    ] {
        let error = builder.start(adder).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn the_environment_names_the_socket_of_a_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["socket::a_program", "--exact", "--ignored", "--nocapture"])
        .env("HERSH_WATCHER_ADDRESS", "none")
        .env("HERSH_WATCHER_SOCKET", &path)
        .env("HERSH_STATE_DIR", folder.path().join("state"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while UnixStream::connect(&path).is_err() {
        assert!(child.try_wait().unwrap().is_none(), "it serves");
        tokio::task::yield_now().await;
    }
    let answer = call(Place::Unix(path.clone()), "POST", "/watcher/stop", "").await;
    assert_eq!(answer.status, 202);
    assert!(child.wait().unwrap().success());
    assert!(!path.exists());
}

/// The other process.
#[test]
#[ignore = "started by the test above"]
fn a_program() {
    assert_eq!(Watcher::from_env().main(adder), ExitCode::SUCCESS);
}
