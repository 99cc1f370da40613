//! A client's SUBSCRIBE that waits for nodes.

use slotway_protocol::engine::Instant;

use crate::engine::session::Ticket;

/// A command whose reply is known, and given once all that it names is confirmed.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) ticket: Ticket,
    /// The place of its reply, which the subscriptions that it began have noted.
    pub(crate) place: u64,
    pub(crate) reply: Vec<u8>,
    /// When it is answered with an error.
    pub(crate) deadline: Instant,
    /// How many topics are not confirmed.
    pub(super) waits_for: usize,
}

impl Command {
    pub(crate) fn new(ticket: Ticket, place: u64, reply: Vec<u8>, deadline: Instant) -> Self {
        Self {
            ticket,
            place,
            reply,
            deadline,
            waits_for: 0,
        }
    }
}

/// Numbers commands in the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CommandNumber(pub(super) u64);
