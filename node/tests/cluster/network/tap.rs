//! What is seen of a network from outside: votes on the wire, how much is sent, what clients get.

use slotway_node::bus::{Kind, Packet};

/// What has been seen and not been taken yet.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    pub(crate) votes: Vec<Vote>,
    /// Who has asked for votes.
    pub(crate) candidates: Vec<usize>,
    pub(crate) replies: Vec<Reply>,
    /// How many bytes all nodes together have sent on the bus, and messages.
    pub(crate) bus_bytes: u64,
    pub(crate) bus_messages: u64,
}

/// A vote that a node has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vote {
    pub(crate) voter: usize,
    pub(crate) candidate: usize,
    pub(crate) epoch: u64,
}

/// What a node has answered to a client's write.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) node: usize,
    /// The key that was written, by its number.
    pub(crate) key: usize,
    /// The node's epoch when it answered.
    pub(crate) epoch: u64,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn is_ok(&self) -> bool {
        self.text.starts_with("+OK")
    }
}

impl Tap {
    /// Whether there is anything that somebody may want to react to.
    pub(crate) fn has_news(&self) -> bool {
        !self.votes.is_empty() || !self.candidates.is_empty()
    }

    /// Looks at whole messages that a node sends to another one.
    pub(super) fn see(&mut self, from: usize, to: usize, mut bytes: &[u8]) {
        self.bus_bytes += bytes.len() as u64;
        while let Some(prefix) = bytes.first_chunk::<14>() {
            let len = u32::from_be_bytes([prefix[4], prefix[5], prefix[6], prefix[7]]) as usize;
            let kind = Kind::from_number(u16::from_be_bytes([prefix[12], prefix[13]]));
            self.bus_messages += 1;
            let (message, rest) = bytes.split_at(len.min(bytes.len()));
            match kind {
                Some(Kind::AuthAck) => self.votes.push(Vote {
                    voter: from,
                    candidate: to,
                    epoch: Packet::decode(message).unwrap().header.current_epoch,
                }),
                Some(Kind::AuthRequest) if self.candidates.last() != Some(&from) => {
                    self.candidates.push(from);
                }
                _ => {}
            }
            bytes = rest;
        }
    }
}
