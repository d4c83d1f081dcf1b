//! Manifests, as TOML and as JSON: what is taken in can be shown, and what is shown is the same
//! manifest once more.

#![no_main]

use hersh_manifest::{read, shown};
use hersh_wire::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let asked = [
        toml::from_str::<Manifest>(text).ok(),
        serde_json::from_str(text).ok(),
    ];
    for asked in asked.into_iter().flatten() {
        let Ok(taken) = read(&asked) else { continue };
        let sent = serde_json::to_string(&shown(&taken)).expect("what is shown can be written");
        let sent = serde_json::from_str(&sent).expect("what is shown can be sent");
        let mut again = read(&sent).expect("what is shown is allowed");
        // The values of the environment are not shown.
        assert!(again.env.keys().eq(taken.env.keys()), "{text}");
        again.env.clone_from(&taken.env);
        assert_eq!(again, taken, "{text}");
    }
});
