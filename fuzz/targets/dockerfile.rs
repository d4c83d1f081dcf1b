//! Dockerfiles: what the engine is given can be read the same way again, and names no image but
//! those that were looked up.

#![no_main]

use hersh_host::dockerfile::Dockerfile;
use libfuzzer_sys::fuzz_target;

/// Stands for an id. No id itself, since a Dockerfile that names one is refused.
const FOUND: &str = "found:1";
const LABEL: &str = "LABEL of=somebody";

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = Dockerfile::read(bytes) else {
        return;
    };
    let images = file
        .images()
        .map(|(_, image)| (image.to_owned(), FOUND.to_owned()));
    let built = file
        .to_build(&images.collect(), ("of", "somebody"))
        .expect("every image has an id");
    let again = Dockerfile::read(built.as_bytes()).expect("what is built can be read");
    assert!(again.images().all(|(_, image)| image == FOUND), "{built}");
    // Every layer is somebody's, whatever the file says.
    let lines: Vec<&str> = built.lines().collect();
    let last = |word: &str| lines.iter().rposition(|line| line.starts_with(word));
    let from = last("FROM").expect("a stage");
    assert_eq!(lines.get(from + 1), Some(&LABEL), "{built}");
    assert_eq!(last("LABEL").map(|at| lines[at]), Some(LABEL), "{built}");
});
