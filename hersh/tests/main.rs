//! The exit codes of a watcher that is a whole program. Signals are tested with the counter.

use std::process::ExitCode;

use hersh::{Builder, Context, Control, Recovery, Result, Watcher};

fn builder() -> Builder {
    Watcher::builder("program").recovery(Recovery {
        max_consecutive_failures: 1,
        ..Recovery::default()
    })
}

fn code_of(wish: fn() -> Result) -> ExitCode {
    builder().main(async move |_: &mut Context| wish())
}

#[test]
fn exit_codes_tell_the_ends_apart() {
    assert_eq!(
        code_of(|| Err(Control::stop("x").into())),
        ExitCode::SUCCESS
    );
    assert_eq!(
        code_of(|| Err(Control::crash("x").into())),
        ExitCode::from(1)
    );
    assert_eq!(code_of(|| Err(hersh::Error::msg("x"))), ExitCode::from(1));
    assert_eq!(code_of(|| panic!("x")), ExitCode::from(1));
    assert_eq!(
        code_of(|| Err(Control::kill("x").into())),
        ExitCode::from(3)
    );
}

#[test]
fn a_watcher_that_cannot_start_has_a_code_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("context.json"), "damaged").unwrap();
    let builder = builder().state_dir(folder.path());
    let code = builder.main(async |_: &mut Context| -> Result { Ok(()) });
    assert_eq!(code, ExitCode::from(2));
}

#[cfg(feature = "api")]
#[test]
fn an_api_needs_a_runtime_around_the_start() {
    let builder = builder().api(([127, 0, 0, 1], 0));
    let start = builder.start(async |_: &mut Context| -> Result { Ok(()) });
    let mut start = std::pin::pin!(start);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(result) = start.as_mut().poll(&mut cx) else {
        panic!("it answers at once");
    };
    assert_eq!(result.unwrap_err(), hersh::StartError::NoRuntime);
}

#[test]
fn a_journal_from_the_environment_replays_with_its_own_codes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let wish = |text: &'static str| {
        async move |cx: &mut Context| -> Result {
            cx.log(text);
            Err(Control::stop("x").into())
        }
    };
    let recorded = builder().journal_dir(path).main(wish("hello"));
    assert_eq!(recorded, ExitCode::SUCCESS);
    let replaying = || builder().env([("HERSH_REPLAY", path)]);
    assert_eq!(replaying().main(wish("hello")), ExitCode::SUCCESS);
    assert_eq!(replaying().main(wish("goodbye")), ExitCode::from(4));
    let comparing = || builder().env([("HERSH_COMPARE", path)]);
    assert_eq!(comparing().main(wish("hello")), ExitCode::SUCCESS);
    assert_eq!(comparing().main(wish("goodbye")), ExitCode::from(4));
    let part = folder.path().join("000000000001.journal");
    std::fs::write(part, "something else").unwrap();
    assert_eq!(replaying().main(wish("hello")), ExitCode::from(2));
    assert_eq!(comparing().main(wish("hello")), ExitCode::from(2));
}
