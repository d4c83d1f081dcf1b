//! Programs that start while others end beside them.

use std::{
    io::Write,
    process::{Child, Command, Stdio},
};

use hersh_sandbox::{Runtime, StartError};

use crate::world::World;

/// Ports of a bridge that come and go as fast as the kernel makes them, until it is dropped.
struct Churn(Child);

impl Churn {
    fn on(bridge: &str, name: &str) -> Self {
        let mut process = Command::new("ip")
            .args(["-force", "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = process.stdin.take().unwrap();
        let round = format!(
            "link add {name} type veth peer name {name}p\nlink set {name} master {bridge}\nlink del {name}\n"
        );
        // Ends with the process that reads.
        std::thread::spawn(move || while input.write_all(round.as_bytes()).is_ok() {});
        Self(process)
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn ports_that_come_and_go_fail_no_start() {
    let world = World::new();
    let image = world.script("sleep 1000").await;
    let start = || world.runtime.start(world.spec(&image, |_| {}));
    start().await.unwrap();
    let number = std::process::id() % 100_000;
    let _churn = ["a", "b"].map(|one| Churn::on("hersh0", &format!("h{one}{number}")));
    for attempt in 0..12 {
        let started = start().await;
        assert!(started.is_ok(), "start {attempt}: {started:?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn neighbours_that_end_fail_no_start() {
    let world = World::new();
    let image = world.script("sleep 1000").await;
    // Another host's, on the same networks.
    let other = World::new();
    let ends = other.script("exit 3").await;
    let mut starts = std::pin::pin!(async {
        for attempt in 0..12 {
            let started = world.runtime.start(world.spec(&image, |_| {})).await;
            assert!(started.is_ok(), "start {attempt}: {started:?}");
        }
    });
    let neighbours = async {
        loop {
            match other.runtime.start(other.spec(&ends, |_| {})).await {
                Ok(_) | Err(StartError::Ended(_)) => {}
                Err(error) => panic!("a neighbour: {error:?}"),
            }
        }
    };
    tokio::select! {
        () = &mut starts => {}
        () = neighbours => {}
    }
    world.stop().await;
    other.stop().await;
}
