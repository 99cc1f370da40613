//! The allocator of the programs. It gives back at once what is freed, so that a burst of large
//! requests does not cost its memory for ever.

pub use tikv_jemallocator::Jemalloc as Allocator;

/// What jemalloc reads when it starts, by the name that it looks for. Without a delay the peak
/// stays lowest, and no thread has to give back later what was freed.
#[allow(
    unsafe_code,
    reason = "nothing else has this name, and it is a pointer to a C string as jemalloc expects it"
)]
#[unsafe(export_name = "_rjem_malloc_conf")]
#[used]
pub static OPTIONS: &[u8; 17] = b"dirty_decay_ms:0\0";
