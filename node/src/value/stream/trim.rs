//! Taking old entries away from a log, down to a length or up to an ID.

use super::{Log, Node, StreamId};

/// How to trim.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trim {
    pub(crate) by: TrimBy,
    /// Whole nodes only.
    pub(crate) is_approximate: bool,
    /// How many entries may be taken away, 0 for all.
    pub(crate) limit: u64,
}

/// What is to stay.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TrimBy {
    Length(u64),
    /// That ID and those behind it.
    Id(StreamId),
}

impl Log {
    /// Takes entries away; how many.
    pub(crate) fn trim(&mut self, trim: &Trim) -> u64 {
        let mut removed = 0;
        while let Some((base, node)) = self.first_node() {
            if matches!(trim.by, TrimBy::Length(len) if self.len() <= len) {
                break;
            }
            let alive = node.alive();
            if trim.limit > 0 && removed + alive > trim.limit {
                break;
            }
            let goes_whole = match trim.by {
                TrimBy::Length(len) => self.len() - alive >= len,
                TrimBy::Id(id) => node.entries(base).last().is_none_or(|last| last.id < id),
            };
            if goes_whole {
                self.remove_first_node();
                removed += alive;
                continue;
            }
            if !trim.is_approximate {
                let marks = marks_to_trim(base, node, self.len(), trim.by);
                self.delete_in_first_node(&marks);
                removed += marks.len() as u64;
            }
            break;
        }
        if removed > 0 {
            self.end_deletion();
        }
        removed
    }
}

/// The marks of the first entries that have to go.
fn marks_to_trim(base: StreamId, node: &Node, mut len: u64, by: TrimBy) -> Vec<usize> {
    let mut marks = Vec::new();
    for entry in node.entries(base) {
        let stays = match by {
            TrimBy::Length(wanted) => len <= wanted,
            TrimBy::Id(id) => entry.id >= id,
        };
        if stays {
            break;
        }
        if !entry.is_deleted {
            marks.push(entry.mark());
            len -= 1;
        }
    }
    marks
}
