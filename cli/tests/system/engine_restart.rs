//! The container engine ends and comes back under a host that goes on.

use std::{
    os::unix::net::UnixStream,
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    load::{Random, User, agrees},
    support::{Host, engine, shell_program, until, web_program},
};

/// From the engine's first answer until states and containers are the same again.
const AGREED_WITHIN: Duration = Duration::from_secs(10);
const SEED: u64 = 9;
const PROGRAMS: [&str; 5] = ["engine-a", "engine-b", "engine-c", "engine-d", "engine-e"];
/// Ends well when it is told to.
const WELL_BEHAVED: &str = "trap 'exit 0' TERM; while true; do busybox sleep 1; done";
const NO_PROBE: &str = "[readiness]\nkind = \"none\"\n[timeouts]\nstop = \"1s\"\n";

/// This test needs the engine for itself: `.config/nextest.toml` runs it alone.
#[test]
fn an_engine_that_ends_and_comes_back_is_agreed_with_soon() {
    println!("seed {SEED}");
    let host = Host::start();
    let always = format!("restart = \"always\"\n{NO_PROBE}");
    host.run(&["deploy", web_program(PROGRAMS[0]).path()]);
    host.run(&["deploy", web_program(PROGRAMS[1]).path()]);
    for (program, manifest) in [(2, &*always), (3, &*always), (4, NO_PROBE)] {
        let folder = shell_program(PROGRAMS[program], WELL_BEHAVED, manifest);
        host.run(&["deploy", folder.path()]);
    }
    for signal in ["TERM", "KILL"] {
        let mut random = Random(SEED);
        // The others are left alone: what becomes of them is the engine's doing.
        let users =
            [PROGRAMS[1], PROGRAMS[3]].map(|program| User::start(&host, program, random.next()));
        restart_engine(signal);
        let back = Instant::now();
        let given = users.map(User::end);
        assert!(
            given.iter().all(|given| given.under_way.is_none()),
            "the host answered all"
        );
        while !agrees(&host, &PROGRAMS) {
            let states = host.run(&["ps"]);
            assert!(
                back.elapsed() < AGREED_WITHIN,
                "after SIG{signal}:\n{states}"
            );
            std::thread::park_timeout(Duration::from_millis(50));
        }
        println!("after SIG{signal} all agreed within {:?}", back.elapsed());
        // Those who want to run always do, and so does one whose clean end was the engine's doing.
        host.run(&["start", PROGRAMS[3]]);
        host.until(PROGRAMS[2], "Ready");
        host.until(PROGRAMS[4], "Ready");
        host.run(&["start", PROGRAMS[0]]);
        host.run(&["start", PROGRAMS[1]]);
    }
}

#[test]
fn what_was_up_when_the_machine_went_down_is_up_again() {
    let mut host = Host::start();
    let never = format!("restart = \"never\"\n{NO_PROBE}");
    for (program, manifest) in [("boot-default", NO_PROBE), ("boot-never", &never)] {
        host.run(&[
            "deploy",
            shell_program(program, WELL_BEHAVED, manifest).path(),
        ]);
    }
    // As at a reboot: the host ends first, and comes back when the engine has.
    host.terminate();
    restart_engine("TERM");
    host.start_again();
    host.until("boot-default", "Ready");
    host.until("boot-never", "Error");
    let view = host.inspect("boot-never");
    assert_eq!(view["program"]["cause"]["code"], "engine_stopped", "{view}");
}

fn restart_engine(signal: &str) {
    let process = end_engine(signal);
    until("the engine has ended", || !is_there(&process));
    until("the engine answers again", || answers(&process));
}

/// Ends the engine's process; `scripts/engine` starts another. Only that one names the file, so
/// this never ends an engine that a person runs.
fn end_engine(signal: &str) -> String {
    let Some(file) = std::env::var_os("HERSH_TEST_ENGINE_PID_FILE") else {
        panic!("HERSH_TEST_ENGINE_PID_FILE names no private engine: run these tests by `make test`")
    };
    let process = std::fs::read_to_string(file).unwrap().trim().to_owned();
    let signal = format!("-{signal}");
    assert!(
        Command::new("kill")
            .args([&signal, &process])
            .status()
            .unwrap()
            .success()
    );
    process
}

fn is_there(process: &str) -> bool {
    std::fs::exists(format!("/proc/{process}")).unwrap()
}

/// Whether an engine other than the ended one answers.
fn answers(ended: &str) -> bool {
    use std::io::{Read, Write};
    let now = std::env::var_os("HERSH_TEST_ENGINE_PID_FILE").map(std::fs::read_to_string);
    if !matches!(now, Some(Ok(now)) if now.trim() != ended) {
        return false;
    }
    let Ok(mut stream) = UnixStream::connect(engine()) else {
        return false;
    };
    let mut answer = String::new();
    let asked = stream
        .write_all(b"GET /_ping HTTP/1.0\r\n\r\n")
        .and_then(|()| stream.read_to_string(&mut answer));
    asked.is_ok() && answer.ends_with("OK")
}
