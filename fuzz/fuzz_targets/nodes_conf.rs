//! Any bytes as a cluster file: they are refused or taken, and what is taken is written so that it
//! is read and written the same, and the node goes on. From the top of the repository:
//! `mkdir -p fuzz/corpus/nodes_conf && cargo +nightly fuzz run --sanitizer none nodes_conf
//! fuzz/corpus/nodes_conf fuzz/seeds/nodes_conf`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use slotway_fuzz::Bench;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Some(written) = written(text) else {
        return;
    };
    // The file names this node's own address, whatever stood there, and a primary that it has no
    // line of, so that it is the same only from now on.
    let again = written_again(&written);
    assert_eq!(written_again(&again), again);
});

fn written_again(text: &str) -> String {
    written(text).expect("a node reads what it has written")
}

/// What a node that has read a cluster file writes.
fn written(text: &str) -> Option<String> {
    let mut bench = Bench::new(Some(text))?;
    for _ in 0..3 {
        bench.pass(100);
    }
    bench = Bench::new(Some(text))?;
    bench.ask(&[b"CLUSTER", b"SAVECONFIG"]);
    bench.ask(&[b"CLUSTER", b"NODES"]);
    bench.ask(&[b"CLUSTER", b"SHARDS"]);
    bench.ask(&[b"CLUSTER", b"SLOTS"]);
    Some(bench.saved.expect("the file is written when asked for"))
}
