//! Follows each reply that is owed to where it is to come from. A request that nobody holds any
//! more would never be answered, and one that two hold would be answered twice, the second time in
//! the place of another: that is what must not be after a call was interrupted.

use std::collections::HashMap;

use slotway_protocol::cluster::SLOTS;
use slotway_protocol::engine::ConnectionId;

use super::hold::Held;
use super::merge::MergeId;
use super::pipeline::Pipeline;
use super::running::TaskId;
use super::scatter::is_scattered;
use super::session::Ticket;
use super::{Connection, Proxy};

/// All tickets that somebody holds, and so will be answered.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    /// By connection and sequence, how many parts. Tasks and scattered requests look like
    /// connections here.
    held: HashMap<(ConnectionId, u32), usize>,
    /// Two hold the same ticket.
    is_any_double: bool,
}

/// What is wrong with a place in a client's order of replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nobody will fill it.
    Orphan,
    /// It is filled by more than is to come.
    Crowded,
}

/// What fills a place that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filler {
    Node,
    Merge(MergeId),
    /// A request of many keys.
    Gradual,
    Task(TaskId),
}

impl Tickets {
    fn count(&self, connection: ConnectionId, sequence: u32) -> usize {
        let held = self.held.get(&(connection, sequence));
        held.copied().unwrap_or_default()
    }

    /// How many legs of a task are under way.
    pub(super) fn legs(&self, task: TaskId) -> usize {
        let ticket = task.ticket(0);
        self.count(ticket.connection, ticket.sequence)
    }
}

impl Proxy {
    /// The tickets that are in some queue.
    pub(super) fn tickets(&self) -> Tickets {
        let shared = self.pipelines.iter().chain(self.privates.pipelines());
        let sent = shared.flat_map(Pipeline::in_flight);
        let sent = sent.map(|entry| entry.ticket);
        let waiting = self.holds.held().chain(self.reads.waiting());
        let waiting = waiting.map(|held: &Held| held.entry.ticket);
        let scattered = self.scattered.requests().map(|(ticket, _)| ticket);
        let subscribing = self.subscriptions.waiting().map(|command| command.ticket);
        let mut parts = HashMap::new();
        let mut tickets = Tickets::default();
        let all = sent.chain(waiting).chain(scattered).chain(subscribing);
        for ticket in all.filter(|ticket| !is_nobodys(*ticket)) {
            let part: &mut u32 = parts.entry((ticket_key(ticket), ticket.part)).or_default();
            *part += 1;
            // A task may use a number for several of its legs.
            tickets.is_any_double |= *part > 1 && TaskId::of(ticket).is_none();
            *tickets.held.entry(ticket_key(ticket)).or_default() += 1;
        }
        tickets
    }

    /// The open places of clients that something is wrong with.
    pub(super) fn faults(&self, tickets: &Tickets) -> Vec<(Ticket, Filler, Fault)> {
        let mut faults = Vec::new();
        for session in self.connections.iter().filter_map(Connection::client) {
            for (ticket, filler) in session.open_places() {
                let held = tickets.count(ticket.connection, ticket.sequence);
                let expected = match filler {
                    Filler::Node => 1,
                    // One that has all its parts has filled its place.
                    Filler::Merge(merge) => self.merges.remaining(merge).max(1),
                    Filler::Gradual => match self.gradual.to_come(ticket) {
                        Some(parts) => parts,
                        None => held + 1,
                    },
                    Filler::Task(task) => match self.tasks.client_of(task) {
                        Some(client) if client == ticket && held == 0 => continue,
                        _ => usize::from(held == 0),
                    },
                };
                if held < expected {
                    faults.push((ticket, filler, Fault::Orphan));
                } else if held > expected {
                    faults.push((ticket, filler, Fault::Crowded));
                }
            }
        }
        faults
    }

    /// Requests that are split by their keys, and wait for one that nobody will answer.
    pub(super) fn lost_parts(&self, tickets: &Tickets) -> Vec<Ticket> {
        let is_lost = |(ticket, merge): &(Ticket, MergeId)| {
            let held = tickets.count(ticket.connection, ticket.sequence);
            held == 0 || held != self.merges.remaining(*merge)
        };
        let lost = self.scattered.parts().filter(is_lost);
        lost.map(|(ticket, _)| ticket).collect()
    }

    /// Checks that each reply owed will come, and comes to where it is owed.
    ///
    /// # Panics
    /// When that is not so.
    pub(super) fn check_tickets(&self) {
        let tickets = self.tickets();
        assert!(!tickets.is_any_double, "a request is in one place");
        let faults = self.faults(&tickets);
        assert!(faults.is_empty(), "every reply will come once: {faults:?}");
        let mut owed = HashMap::new();
        for session in self.connections.iter().filter_map(Connection::client) {
            for (ticket, _) in session.open_places() {
                owed.insert(ticket_key(ticket), ());
            }
        }
        for (connection, sequence) in tickets.held.keys() {
            let place = self.connections.get(connection.index as usize);
            let client = place.and_then(Connection::client);
            let is_here = client.is_some_and(|client| client.connection == *connection);
            assert!(
                !is_here || owed.contains_key(&(*connection, *sequence)),
                "nobody is answered who is owed nothing"
            );
        }
        assert!(
            self.lost_parts(&tickets).is_empty(),
            "every key's reply will come"
        );
        for (task, running) in self.tasks.all() {
            let legs = tickets.legs(task);
            assert_eq!(legs, running.in_flight, "every leg is under way");
        }
    }

    /// For each slot the requests that nodes have not answered.
    pub(super) fn count_in_flight(&self) -> Vec<u32> {
        let mut in_flight = vec![0; SLOTS];
        let owned = self.pipelines.iter().flat_map(Pipeline::in_flight);
        owned
            .filter(|entry| entry.has_slot())
            .for_each(|entry| in_flight[entry.slot.index()] += 1);
        in_flight
    }
}

/// Whether nobody waits for the reply, or somebody who does not mind when none comes.
fn is_nobodys(ticket: Ticket) -> bool {
    let is_askers = ticket.connection.index >= FIRST_ASKER;
    is_askers && TaskId::of(ticket).is_none() && !is_scattered(ticket)
}

fn ticket_key(ticket: Ticket) -> (ConnectionId, u32) {
    (ticket.connection, ticket.sequence)
}

/// From here on what is in the place of a connection's number is none.
const FIRST_ASKER: u32 = u32::MAX - 15;
