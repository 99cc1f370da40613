//! How large what is moved or kept for every request and every client may be.

use core::mem::size_of;

use slotway_protocol::engine::Action;

use super::super::connection::Connection;
use super::super::pipeline::InFlight;
use super::super::{Event, Notice};

/// Each wish of the engine is moved through a queue, and most of them are a wake. A client is
/// touched for each of its requests and replies. What is large and rare belongs into a box.
#[test]
fn what_is_moved_for_each_request_is_small() {
    for (what, size, bytes_max) in [
        ("a wish", size_of::<Action<Notice>>(), 48),
        ("an event", size_of::<Event>(), 16),
        ("a request on its way", size_of::<InFlight>(), 56),
        ("a client", size_of::<Connection>(), 368),
    ] {
        assert!(
            size <= bytes_max,
            "{what} takes {size} bytes, not {bytes_max} at most"
        );
    }
}
