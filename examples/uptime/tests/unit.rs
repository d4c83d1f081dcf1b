//! What it makes of answers: no server, no waiting.

use std::time::Duration;

use hersh::testing::{Setup, Test};
use hersh::{Context, EndKind, Outcome, Result};
use uptime::{Answer, History, uptime};

const WELL: Answer = Answer {
    status: 200,
    response_ms: 12,
};

fn watching(targets: &str) -> Test<impl AsyncFnMut(&mut Context) -> Result> {
    Test::with(Setup::new().env("TARGETS", targets), uptime)
}

#[test]
fn changes_are_told_once() {
    let mut test = watching("http://example.com, http://example.org/health");
    assert_eq!(test.start().ok().logs.len(), 0);
    assert_eq!(
        test.change("example.com", &WELL).ok().log(),
        "example.com is up"
    );
    assert_eq!(test.change("example.com", &WELL).ok().logs.len(), 0);

    let run = test.fail("example.com", "connection refused").ok();
    assert_eq!(run.log(), "example.com is down: connection refused");
    test.advance(Duration::from_secs(60));
    assert_eq!(
        test.fail("example.com", "connection refused")
            .ok()
            .logs
            .len(),
        0
    );
    test.advance(Duration::from_secs(30));
    let run = test.change("example.com", &WELL).ok();
    assert_eq!(run.log(), "example.com is up again after 1m 30s");

    let run = test.message("report").ok();
    assert_eq!(
        run.logs.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
        [
            "example.com is up since 2026-01-01T00:01:30Z; it last answered in 12 ms; \
             2 of 5 answers were bad",
            "example.org/health was not asked yet",
        ]
    );
}

#[test]
fn one_target_s_fault_is_not_the_other_s() {
    let mut test = watching("http://example.com,http://example.org");
    test.start().ok();
    let run = test
        .signals()
        .change("example.com", &WELL)
        .fail("example.org", "no route")
        .run();
    let wanted = ["example.com is up", "example.org is down: no route"];
    assert_eq!(
        run.ok()
            .logs
            .iter()
            .map(AsRef::as_ref)
            .collect::<Vec<&str>>(),
        wanted
    );
    let run = test.message("report").ok();
    let wanted =
        "example.org is down since 2026-01-01T00:00:00Z: no route; 1 of 1 answers were bad";
    assert_eq!(run.logs[1].as_ref(), wanted);
}

#[test]
fn a_restart_remembers_who_was_down() {
    let mut first = watching("http://example.com");
    first.start().ok();
    first.fail("example.com", "no route").ok();
    let history: Option<History> = first.value("example.com");

    let setup = Setup::new().env("TARGETS", "http://example.com");
    let mut second = Test::with(setup.context("example.com", &history), uptime);
    second.start().ok();
    assert_eq!(second.fail("example.com", "no route").ok().logs.len(), 0);
    let run = second.change("example.com", &WELL).ok();
    assert_eq!(run.log(), "example.com is up again after 0s");
}

#[test]
fn a_message_that_it_does_not_know_is_told() {
    let mut test = watching("http://example.com");
    test.start().ok();
    assert_eq!(test.message("hello").ok().log(), "\"hello\" is not: report");
}

#[test]
fn changes_are_posted_and_news_that_nobody_took_is_told() {
    let setup = Setup::new()
        .env("TARGETS", "http://example.com")
        .env("NOTIFY", "http://example.net/news");
    let mut test = Test::with(setup, uptime);
    test.start().ok();
    let up = test.change("example.com", &WELL).ok();
    assert_eq!(up.asked[0].input, "example.com is up");
    assert_eq!(up.asked[0].key.as_deref(), Some("example.com"));
    assert_eq!(test.change("example.com", &WELL).ok().asked, []);
    let down = test.fail("example.com", "no route").ok();
    assert_eq!(
        test.settle(up.asked[0].id, Outcome::Done(()))
            .ok()
            .logs
            .len(),
        0
    );
    let error = "it answers 500".to_owned();
    let refused = test.settle(down.asked[0].id, Outcome::<()>::Failed { error });
    let line = "not told: example.com is down: no route: it answers 500";
    assert_eq!(refused.ok().log(), line);
}

#[test]
fn an_address_for_news_that_makes_no_sense_ends_it_at_once() {
    let setup = Setup::new()
        .env("TARGETS", "http://example.com")
        .env("NOTIFY", "example.net");
    let ending = Test::with(setup, uptime).start().ending();
    assert!(
        ending.reason.starts_with("NOTIFY is \"example.net\": give"),
        "{ending}"
    );
}

#[test]
fn settings_that_make_no_sense_end_it_at_once() {
    for (targets, interval, fault) in [
        ("", "30s", "TARGETS is \"\": give addresses"),
        ("example.com", "30s", "TARGETS is \"example.com\": give"),
        ("http://", "30s", "TARGETS is \"http://\": give"),
        ("http://example.com,,", "30s", "TARGETS is "),
        (
            "http://a/,http://b,http://a",
            "30s",
            "TARGETS names a twice",
        ),
        ("http://example.com", "often", "INTERVAL is \"often\": give"),
        ("http://example.com", "0s", "INTERVAL is \"0s\": give"),
    ] {
        let setup = Setup::new()
            .env("TARGETS", targets)
            .env("INTERVAL", interval);
        let ending = Test::with(setup, uptime).start().ending();
        assert_eq!(ending.kind, EndKind::Crashed);
        assert!(ending.reason.starts_with(fault), "{ending}");
    }
}
