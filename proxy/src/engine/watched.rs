//! What a worker notes of its requests for those who want to know what goes on.

use super::hold_story::HoldNotes;
use super::hot::HotKeys;
use super::slow_log::SlowLog;
use super::trails::Trails;

/// Each part is bounded, and read or shown by its own file.
#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) hot: HotKeys,
    pub(super) slow_log: SlowLog,
    pub(super) holds: HoldNotes,
    pub(super) trails: Trails,
}
