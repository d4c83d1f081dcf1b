//! A program whose run blocks its thread still ends within the grace period. Alone in its file:
//! it sends a signal to its own process.

use std::process::{Command, ExitCode};
use std::sync::mpsc;

use hersh::{Context, Result, Watcher};

#[test]
fn a_run_that_blocks_its_thread_cannot_hold_up_the_end() {
    let (blocked, blocks) = mpsc::channel();
    let (_never, released) = mpsc::channel::<()>();
    let terminate = std::thread::spawn(move || {
        blocks.recv().unwrap();
        let pid = std::process::id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap()
    });
    let grace = ("HERSH_STOP_GRACE_MS", "50");
    let code =
        Watcher::builder("stuck")
            .env([grace])
            .main(async move |_: &mut Context| -> Result {
                blocked.send(())?;
                released.recv()?;
                Ok(())
            });
    assert_eq!(code, ExitCode::from(1));
    assert!(terminate.join().unwrap().success());
}
