//! Paths of the proxy: what is forwarded stays below `/watcher`, however a server decodes it.

#![no_main]

use hersh_proxy::testkit::forwarded_path;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|asked: &str| {
    let Some(path) = forwarded_path(asked, "p") else {
        return;
    };
    assert!(asked.contains(&path), "{path} is not what was asked for");
    let mut text = path.into_bytes();
    // By the first round, which servers agree on, no segment falls into two.
    let once = decode(&text);
    let separators = |text: &[u8]| text.iter().filter(|byte| b"/\\".contains(byte)).count();
    assert_eq!(separators(&once), separators(&text), "{once:?}");
    loop {
        let read = String::from_utf8_lossy(&text).replace('\\', "/");
        assert!(
            read == "/watcher" || read.starts_with("/watcher/"),
            "{read}"
        );
        let climbs = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
        assert!(!read.split('/').any(climbs), "{read}");
        assert!(!read.chars().any(|c| c.is_ascii_control()), "{read:?}");
        let decoded = decode(&text);
        if decoded == text {
            return;
        }
        text = decoded;
    }
});

/// One round of percent-decoding, by a server that leaves alone what is none.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| first == b'%');
        let digit = |at: usize| char::from(*escaped?.get(at)?).to_digit(16);
        let byte = digit(0).zip(digit(1));
        let byte = byte.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        decoded.push(byte.unwrap_or(first));
        rest = byte.map_or(after, |_| &after[2..]);
    }
    decoded
}
