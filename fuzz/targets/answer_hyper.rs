//! Answers of programs: what this host takes, the client of hyper takes as well and alike.

#![no_main]

use hersh_answer::testkit::compare;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, u8, &[u8])| {
    let (is_head, step, answer) = input;
    // In small pieces, or all at once.
    let step = if step == 0 {
        answer.len()
    } else {
        usize::from(step)
    };
    if let Err(difference) = compare(answer, step, is_head) {
        panic!(
            "{difference:#?}\n{}\nin pieces of {step}",
            answer.escape_ascii()
        );
    }
});
