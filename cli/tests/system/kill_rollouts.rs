//! `kill -9` of a real host at random instants while revisions take the place of others, with real sandboxes.

use std::time::Duration;

use serde_json::Value;

use crate::{
    load::Random,
    support::{Folder, Host, containers, until, web_program},
};

const ROUNDS: u64 = 20;
const SEED: u64 = 20_261_130;
/// One whose revisions replace each other, and one whose revisions overlap.
const PROGRAMS: [(&str, &str); 2] = [("roll-a", "replace"), ("roll-b", "overlap")];
/// The longest time from a deploy to a kill: some are killed while they build, some while they start, and some once
/// they are up.
const LOAD_MS: u64 = 1_500;

#[test]
fn kills_during_rollouts_leave_a_good_revision_up() {
    println!("seed {SEED}");
    let mut host = Host::start();
    let folders = PROGRAMS.map(|(program, strategy)| {
        let folder = web_program(program);
        write(&folder, (program, strategy), 0, true);
        host.run(&["deploy", folder.path()]);
        folder
    });
    until("the first revisions are good", || {
        PROGRAMS.iter().all(|(program, _)| has_good(&host, program))
    });
    let mut random = Random(SEED);
    let mut ends = Vec::new();
    for round in 1..=ROUNDS {
        for (folder, program) in folders.iter().zip(PROGRAMS) {
            write(folder, program, round, !random.next().is_multiple_of(4));
            host.run(&["deploy", "--detach", folder.path()]);
        }
        let load = Duration::from_millis(random.next() % LOAD_MS);
        std::thread::sleep(load); // tidy: allow(sleep) when it is killed
        host.kill();
        host.start_again();
        until(
            &format!("round {round}, seed {SEED}: one of each is up"),
            || {
                let writers = running("roll-a");
                assert!(
                    writers.len() <= 1,
                    "round {round}: they write to one /state: {writers:#?}"
                );
                PROGRAMS.iter().all(|(program, _)| is_up(&host, program))
            },
        );
        for (program, _) in PROGRAMS {
            let (status, body) = host.get(&format!("/programs/{program}/watcher/status"));
            assert_eq!(status, 200, "{program}, round {round}: {body}");
            assert!(has_good(&host, program), "{program}, round {round}");
            ends.push(view(&host, program)["last_rollout"]["outcome"].to_string());
        }
    }
    ends.sort();
    ends.dedup();
    println!("{ROUNDS} kills; rollouts ended as {ends:?}");
    assert!(ends.len() >= 2, "{ends:?}");
}

/// Writes the manifest of the next revision. One that is no good is never ready.
fn write(folder: &Folder, (program, strategy): (&str, &str), number: u64, is_good: bool) {
    let (path, start) = match is_good {
        true => ("/watcher/status", "60s"),
        false => ("/never", "3s"),
    };
    let manifest = format!(
        "name = \"{program}\"\n[resources]\nmemory = \"64MiB\"\n[env]\nNUMBER = \"{number}\"\n\
         [readiness]\npath = \"{path}\"\n[deploy]\nstrategy = \"{strategy}\"\n\
         [timeouts]\nstart = \"{start}\"\nstop = \"1s\"\n"
    );
    folder.write("hersh.toml", &manifest);
}

fn view(host: &Host, program: &str) -> Value {
    host.inspect(program)["program"].clone()
}

/// The containers of a program that run.
fn running(program: &str) -> Vec<Value> {
    let mut all = containers(program);
    all.retain(|it| it["State"] == "running");
    all
}

/// Returns whether a program is up and nothing of it comes or goes.
fn is_up(host: &Host, program: &str) -> bool {
    let view = view(host, program);
    let rollout = &view["rollout"];
    let is_over = rollout.is_null() || rollout["step"] == "settling";
    let is_alone = view["leaving_instance"].is_null();
    view["state"] == "Ready" && is_over && is_alone && running(program).len() == 1
}

fn has_good(host: &Host, program: &str) -> bool {
    let list: Value =
        serde_json::from_str(&host.run(&["-o", "json", "revisions", program])).unwrap();
    let revisions = list["revisions"].as_array().unwrap();
    revisions.iter().any(|revision| revision["good"] == true)
}
