//! A watcher that is up and hangs is started again; one that is up and idle is left alone.

use std::time::{Duration, Instant};

use crate::support::{Host, until, web_program};

/// From the message that hangs a watcher until it is up again: the library calls an engine stalled after 10 s, the
/// host asks every 10 s and twice more soon after, and its stop, its retry and its start take some seconds.
const BACK_WITHIN: Duration = Duration::from_secs(45);

fn instance(host: &Host, program: &str) -> Option<u64> {
    host.inspect(program)["program"]["instance"].as_u64()
}

/// The causes and kinds of liveness events in the program's journal.
fn silences(host: &Host, program: &str) -> usize {
    let (status, body) = host.get(&format!("/programs/{program}/events?limit=1000"));
    assert_eq!(status, 200, "{body}");
    body.matches("\"instance_not_alive\"").count()
}

#[test]
fn a_hung_watcher_is_started_again_and_an_idle_one_not() {
    let host = Host::start();
    for name in ["hangs", "idles"] {
        host.run(&["deploy", web_program(name).path()]);
        assert_eq!(instance(&host, name), Some(1));
    }
    host.run(&["send", "hangs", "add 5"]);
    until("the sum is kept", || {
        let vars = host.run(&["-o", "json", "vars", "hangs"]);
        vars.contains("\"total\": 5")
    });
    let began = Instant::now();
    host.run(&["send", "hangs", "hang"]);
    until("it is up again", || instance(&host, "hangs") == Some(2));
    let took = began.elapsed();
    assert!(took < BACK_WITHIN, "{took:?}");
    assert_eq!(silences(&host, "hangs"), 1);
    let vars = host.run(&["-o", "json", "vars", "hangs"]);
    assert!(vars.contains("\"total\": 5"), "{vars}");
    // It was asked about as often, and answered.
    assert_eq!(instance(&host, "idles"), Some(1));
    assert_eq!(silences(&host, "idles"), 0);
}
