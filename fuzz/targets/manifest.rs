//! Manifests, as TOML and as JSON: what is taken in can be shown, and what is shown is the same
//! manifest once more.

#![no_main]

use hersh_host::testkit::{manifest_from_json, manifest_from_toml, shown_manifest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for taken in [manifest_from_toml(text), manifest_from_json(text)] {
        let Ok(taken) = taken else { continue };
        let shown = shown_manifest(&taken);
        let mut again = manifest_from_json(&shown).expect("what is shown can be sent");
        // The values of the environment are not shown.
        assert!(again.env.keys().eq(taken.env.keys()), "{shown}");
        again.env.clone_from(&taken.env);
        assert_eq!(again, taken, "{shown}");
    }
});
