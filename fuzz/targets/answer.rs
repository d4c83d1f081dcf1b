//! Answers of programs: however their bytes fall into pieces, a client gets the same of them, and
//! nothing in it that is not for clients.

#![no_main]

use hersh_proxy::testkit::{ReceivedAnswer, received_answer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, u8, &[u8])| {
    let (is_head, step, answer) = input;
    let whole = received_answer(&[answer], is_head);
    let pieces: Vec<&[u8]> = answer.chunks(usize::from(step).max(1)).collect();
    assert_eq!(received_answer(&pieces, is_head), whole, "in pieces of {step}");
    let Some(ReceivedAnswer {
        status,
        headers,
        body,
    }) = whole
    else {
        return;
    };
    assert!((200..1_000).contains(&status), "{status}");
    assert!(body.len() < answer.len());
    assert!(body.is_empty() || !(is_head || [204, 304].contains(&status)));
    for (name, value) in headers {
        let is_own = [
            "set-cookie",
            "transfer-encoding",
            "connection",
            "refresh",
            "www-authenticate",
            "access-control-allow-credentials",
        ];
        assert!(!is_own.contains(&name.as_str()), "{name}");
        if ["location", "content-location"].contains(&name.as_str()) {
            let below = value.strip_prefix(b"/programs/p/watcher").expect("it stays below");
            assert!(matches!(below.first(), None | Some(b'/' | b'?' | b'#')), "{value:?}");
            let path = below.split(|byte| b"?#".contains(byte)).next().unwrap_or_default();
            let mut segments = path.split(|byte| b"/\\".contains(byte));
            assert!(!segments.any(|it| matches!(it, b"." | b"..")), "{value:?}");
        }
        assert!(is_head || name != "content-length");
        assert!(
            !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)),
            "{value:?}"
        );
    }
});
