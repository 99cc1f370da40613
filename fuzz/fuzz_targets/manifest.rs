//! Any bytes as the manifest of an append-only file: they are refused or taken, and what is taken
//! is written so that it is read the same. From the top of the repository:
//! `mkdir -p fuzz/corpus/manifest && cargo +nightly fuzz run --sanitizer none manifest
//! fuzz/corpus/manifest fuzz/seeds/manifest`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use slotway_node::Manifest;

fuzz_target!(|text: &[u8]| {
    let Ok(manifest) = Manifest::parse(text) else {
        return;
    };
    let written = manifest.format();
    // A name that needs quotes may make a line longer than one that is read.
    let is_long = |line: &[u8]| line.len() >= LINE_BYTES_MAX;
    if written.is_empty() || written.split(|byte| *byte == b'\n').any(is_long) {
        return;
    }
    assert_eq!(Manifest::parse(&written).as_ref(), Ok(&manifest));
});

const LINE_BYTES_MAX: usize = 1024;
