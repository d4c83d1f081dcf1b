//! Dockerfiles: what the engine is given can be read the same way again, and names no image but
//! those that were looked up.

#![no_main]

use std::collections::BTreeMap;

use hersh_docker::dockerfile::{Base, Dockerfile};
use libfuzzer_sys::fuzz_target;

/// Stands for an id. No id itself, since a Dockerfile that names one is refused.
const FOUND: &str = "found:1";
const LABEL: &str = "LABEL of=somebody";

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = Dockerfile::read(bytes) else {
        return;
    };
    let base = Base {
        id: FOUND.to_owned(),
        variables: [("PATH".to_owned(), 100)].into(),
        ..Base::default()
    };
    let images = file.images();
    let bases = images.map(|(_, image)| (image.to_owned(), base.clone()));
    let trees = file.modes().map(|(_, mode, _)| (mode, FOUND.to_owned()));
    let trees: BTreeMap<u32, String> = trees.collect();
    let Ok(built) = file.to_build(&bases.collect(), &trees, &[("of", "somebody")]) else {
        // Its variables make it too long: every image was found.
        return;
    };
    assert_eq!(built.text.lines().count(), built.head + built.steps.len());
    let built = built.text;
    let again = Dockerfile::read(built.as_bytes()).expect("what is built can be read");
    assert!(again.images().all(|(_, image)| image == FOUND), "{built}");
    // Every layer is somebody's, whatever the file says.
    let lines: Vec<&str> = built.lines().collect();
    let last = |word: &str| lines.iter().rposition(|line| line.starts_with(word));
    let from = last("FROM").expect("a stage");
    assert_eq!(lines.get(from + 1), Some(&LABEL), "{built}");
    assert_eq!(last("LABEL").map(|at| lines[at]), Some(LABEL), "{built}");
});
