//! A stop signal leaves the cleanup its time, whatever the run in progress does. Alone in its file:
//! it sends a signal to its own process.

use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};

use hersh::{Context, Result, Watcher};

#[test]
fn a_run_that_never_ends_leaves_the_cleanup_half_the_grace() {
    let (waiting, waits) = mpsc::channel();
    let terminate = std::thread::spawn(move || {
        waits.recv().unwrap();
        let pid = std::process::id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap()
    });
    let cleanups = Arc::new(AtomicU32::new(0));
    let counted = cleanups.clone();
    let code = Watcher::builder("waits")
        .env([("HERSH_STOP_GRACE_MS", "4000")])
        .cleanup(async move |_: &mut Context| -> Result {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .main(async move |_: &mut Context| -> Result {
            waiting.send(())?;
            std::future::pending().await
        });
    assert_eq!(code, ExitCode::SUCCESS);
    assert_eq!(cleanups.load(Ordering::Relaxed), 1);
    assert!(terminate.join().unwrap().success());
}
