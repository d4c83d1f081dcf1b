//! `kill -9` of a real host at random instants, under load, with real sandboxes.

use std::time::Duration;

use crate::{
    load::{Random, User, agrees, events, journalled},
    support::{Host, shell_program, until, web_program},
};

const ROUNDS: u64 = 20;
const SEED: u64 = 20_261_124;
const PROGRAMS: [&str; 4] = ["kill-a", "kill-b", "kill-c", "kill-d"];
/// The longest load before a kill.
const LOAD_MS: u64 = 2_000;

#[test]
fn kills_at_random_instants_lose_repeat_and_interrupt_nothing() {
    println!("seed {SEED}");
    let mut host = Host::start();
    for program in &PROGRAMS[..2] {
        host.run(&["deploy", web_program(program).path()]);
    }
    for program in &PROGRAMS[2..] {
        let manifest = "[readiness]\nkind = \"none\"\n[timeouts]\nstop = \"1s\"\n";
        let script = "trap 'exit 0' TERM; while true; do busybox sleep 1; done";
        host.run(&["deploy", shell_program(program, script, manifest).path()]);
    }
    let mut seen = PROGRAMS.map(|program| journalled(&host, program, 0).1);
    let mut random = Random(SEED);
    let (mut total, mut done, mut ready) = (0, 0, 0);
    for round in 1..=ROUNDS {
        // Half of them are left alone, and so mostly Ready.
        let users = PROGRAMS.map(|program| {
            let seed = random.next();
            seed.is_multiple_of(2)
                .then(|| User::start(&host, program, seed))
        });
        let load = Duration::from_millis(random.next() % LOAD_MS);
        std::thread::sleep(load); // tidy: allow(sleep) when it is killed
        host.kill();
        let given = users.map(|user| user.map(User::end).unwrap_or_default());
        host.start_again();
        for ((program, given), seen) in PROGRAMS.iter().zip(given).zip(&mut seen) {
            let context = format!("{program}, round {round}, seed {SEED}");
            if let Some(container) = ready_at_the_kill(&host, program) {
                let now = &host.inspect(program)["program"]["container_id"];
                assert_eq!(*now, *container, "{context}: interrupted");
                ready += 1;
            }
            let (found, last) = journalled(&host, program, *seen);
            *seen = last;
            let mut with_last = given.acknowledged.clone();
            with_last.extend(given.under_way);
            assert!(
                found == given.acknowledged || found == with_last,
                "{context}: the journal holds {found:?}, given were {given:?}"
            );
            total += given.acknowledged.len();
            done += usize::from(found != given.acknowledged);
        }
        until(&format!("round {round}, seed {SEED}: all agrees"), || {
            agrees(&host, &PROGRAMS)
        });
    }
    println!(
        "{ROUNDS} kills, {total} commands acknowledged, {done} under way at a kill and done; {ready} programs Ready across a kill, none interrupted"
    );
    assert!(total > 100 && ready > 20, "{total}, {ready}");
}

/// The container of a program that was Ready when the host before this one died.
fn ready_at_the_kill(host: &Host, program: &str) -> Option<String> {
    let events = events(host, program, 0);
    let name = |event: &serde_json::Value| event["event"]["event"].as_str().unwrap().to_owned();
    let kill = events
        .iter()
        .rposition(|event| name(event) == "host_started")?;
    // A program at rest is not told of a new host: that one was told of an earlier one.
    if events[kill..]
        .iter()
        .any(|event| name(event).starts_with("user_"))
    {
        return None;
    }
    let mut container = None;
    for event in &events[..kill] {
        let effects = event["effects"].as_array().unwrap();
        if effects
            .iter()
            .any(|effect| effect[1]["effect"] == "stop_runtime")
        {
            container = None;
        }
        if name(event) == "runtime_started" {
            let started = &event["event"]["started"]["container"];
            container = Some(started.as_str().unwrap().to_owned());
        }
    }
    container
}
