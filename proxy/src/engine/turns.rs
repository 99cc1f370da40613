//! Requests that are large, or whose reply will be: they go through a connection of their own to
//! their node, a few at a time, so that the others wait neither in the proxy nor at the node for
//! much more than one of them. A client has one under way and nothing else, which keeps its order.

use std::collections::{HashMap, VecDeque};

use slotway_protocol::cluster::Slot;
use slotway_protocol::command::{self, Command};
use slotway_protocol::engine::{Action, ConnectionId};
use slotway_protocol::resp::Request;

use super::Proxy;
use super::fail_point;
use super::plan::{Plan, common_slot};

/// Which clients have something large under way, and which wait for that.
#[derive(Debug, Default)]
pub(super) struct Turns {
    clients: HashMap<ConnectionId, Turn>,
    /// By the number of the backend; one without clients is not here.
    nodes: HashMap<u32, Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Taken(u32),
    Awaited(u32),
}

#[derive(Debug, Default)]
struct Node {
    taken: usize,
    /// Those that are not read from until it is their turn, in the order in which they came. Some
    /// may have gone.
    waiting: VecDeque<ConnectionId>,
}

impl Turns {
    /// Whether the client waits for its turn.
    #[inline]
    fn makes_wait(&self, client: ConnectionId) -> bool {
        matches!(self.clients.get(&client), Some(Turn::Awaited(_)))
    }

    fn has_room(&self, node: u32, max: usize) -> bool {
        self.nodes.get(&node).is_none_or(|node| node.taken < max)
    }

    fn take(&mut self, client: ConnectionId, node: u32) {
        self.end(client);
        self.clients.insert(client, Turn::Taken(node));
        fail_point::pass();
        self.nodes.entry(node).or_default().taken += 1;
    }

    fn wait(&mut self, client: ConnectionId, node: u32) {
        self.end(client);
        self.clients.insert(client, Turn::Awaited(node));
        fail_point::pass();
        let node = self.nodes.entry(node).or_default();
        node.waiting.push_back(client);
    }

    /// The client has nothing large any more. Says at which node it had.
    fn end(&mut self, client: ConnectionId) -> Option<u32> {
        let (Turn::Taken(number) | Turn::Awaited(number)) = self.clients.get(&client).copied()?;
        let turn = self.clients.remove(&client);
        fail_point::pass();
        let node = self.nodes.get_mut(&number)?;
        if turn == Some(Turn::Taken(number)) {
            node.taken -= 1;
        } else {
            node.waiting.retain(|waiting| *waiting != client);
        }
        if node.taken == 0 && node.waiting.is_empty() {
            self.nodes.remove(&number);
        }
        Some(number)
    }

    /// Who comes next at that node, if there is room.
    fn call_next(&mut self, node: u32, max: usize) -> Option<ConnectionId> {
        if !self.has_room(node, max) {
            return None;
        }
        let next = self.nodes.get(&node)?.waiting.front().copied()?;
        self.end(next);
        Some(next)
    }

    /// Forgets the clients of which that is not so, and counts the others anew. `owed` is how many
    /// replies a client is owed that is still there.
    pub(super) fn recount(&mut self, owed: impl Fn(ConnectionId) -> Option<usize>) {
        let nodes = &self.nodes;
        // Who is not in the queue would never be called.
        let is_queued = |client: &ConnectionId, node: &u32| {
            nodes
                .get(node)
                .is_some_and(|node| node.waiting.contains(client))
        };
        self.clients.retain(|client, turn| match turn {
            Turn::Taken(_) => owed(*client).is_some_and(|owed| owed > 0),
            Turn::Awaited(node) => owed(*client).is_some() && is_queued(client, node),
        });
        let clients = &self.clients;
        let has = |client: ConnectionId, turn| clients.get(&client) == Some(&turn);
        for (number, node) in &mut self.nodes {
            let waits = |client: &ConnectionId| has(*client, Turn::Awaited(*number));
            node.waiting.retain(waits);
            node.taken = 0;
        }
        for turn in self.clients.values() {
            if let Turn::Taken(number) = turn {
                self.nodes.entry(*number).or_default().taken += 1;
            }
        }
        self.nodes
            .retain(|_, node| node.taken > 0 || !node.waiting.is_empty());
    }

    /// The clients that have their turn, and those that wait for it.
    pub(super) fn clients(&self) -> impl Iterator<Item = (ConnectionId, bool)> {
        let clients = self.clients.iter();
        clients.map(|(client, turn)| (*client, matches!(turn, Turn::Taken(_))))
    }

    /// Checks what must hold between calls.
    pub(super) fn check_invariants(&self) {
        let waiting = self.nodes.values().map(|node| node.waiting.len());
        let taken = self.nodes.values().map(|node| node.taken);
        assert_eq!(
            taken.sum::<usize>() + waiting.sum::<usize>(),
            self.clients.len(),
            "each has its turn or waits"
        );
        for (number, node) in &self.nodes {
            let turns = self.clients.values();
            let taken = turns.filter(|turn| **turn == Turn::Taken(*number)).count();
            assert_eq!(taken, node.taken);
            let waits = |client| self.clients.get(client) == Some(&Turn::Awaited(*number));
            assert!(node.waiting.iter().all(waits), "who is called waits");
        }
    }
}

impl Proxy {
    /// Whether it is worth while to look closer.
    #[inline]
    pub(super) fn may_be_large(&self, request: &Request<'_>) -> bool {
        self.knows_large_keys || request.frame().len() >= self.options.large_request
    }

    /// The slot of a request that is large, or whose reply will probably be. To be asked once for
    /// each request: other workers add keys meanwhile, and what did not wait must not overtake.
    #[inline]
    pub(super) fn large_slot(
        &mut self,
        connection: ConnectionId,
        request: &Request<'_>,
        command: &Result<&'static Command, command::Refusal>,
    ) -> Option<Slot> {
        match command {
            Ok(command) if self.may_be_large(request) => {
                self.slot_if_large(connection, request, command)
            }
            _ => None,
        }
    }

    #[cold]
    fn slot_if_large(
        &mut self,
        connection: ConnectionId,
        request: &Request<'_>,
        command: &'static Command,
    ) -> Option<Slot> {
        let is_large = request.frame().len() >= self.options.large_request;
        let slot = match self.plans.of(command) {
            Plan::Key(position) => {
                let key = request.arg(position);
                let is_large = is_large || self.options.large_keys.has(command.id, key);
                is_large.then(|| Slot::of(key))
            }
            Plan::Keys if is_large => common_slot(command, request).ok()?,
            _ => None,
        };
        slot.filter(|_| !self.is_queuing(connection))
    }

    /// Whether the client has to take first what it is owed, or others come before it.
    #[cold]
    pub(super) fn must_wait_for_turn(&mut self, connection: ConnectionId, slot: Slot) -> bool {
        let bytes_max = self.bounds.output / 2;
        let Some(session) = self.session(connection) else {
            return false;
        };
        if session.owed() > 0 || session.held_bytes() > bytes_max {
            session.waits_for_all = true;
            self.pause(connection);
            return true;
        }
        let node = self.owners[slot.index()];
        if self.turns.has_room(node, self.options.large_in_flight_max) {
            return false;
        }
        self.stats.large_waits.inc();
        self.turns.wait(connection, node);
        fail_point::pass();
        self.pause(connection);
        true
    }

    /// The request is on its way: nothing more of the client is read until it is answered.
    #[cold]
    pub(super) fn take_turn(&mut self, connection: ConnectionId, slot: Slot) {
        fail_point::pass();
        self.turns.take(connection, self.owners[slot.index()]);
        fail_point::pass();
        if let Some(session) = self.session(connection) {
            session.waits_for_all = true;
        }
        self.pause(connection);
    }

    /// Whether the client waits for its turn. If it had it and is owed nothing more, others go on.
    #[inline]
    pub(super) fn awaits_turn(&mut self, connection: ConnectionId) -> bool {
        if self.turns.clients.is_empty() {
            return false;
        }
        let is_over = self.session(connection).is_none_or(|it| it.owed() == 0);
        if self.turns.makes_wait(connection) {
            return true;
        }
        if is_over {
            self.end_turn(connection);
        }
        false
    }

    #[cold]
    pub(super) fn end_turn(&mut self, connection: ConnectionId) {
        if let Some(node) = self.turns.end(connection) {
            self.call_next(node);
        }
    }

    fn call_next(&mut self, node: u32) {
        let max = self.options.large_in_flight_max;
        if let Some(next) = self.turns.call_next(node, max) {
            fail_point::pass();
            if let Some(session) = self.session(next) {
                session.paused = false;
                self.actions.push_back(Action::Resume(next));
            }
        }
    }

    /// Calls those who wait though there is room: one that was called did not want its turn.
    pub(super) fn sweep_turns(&mut self) {
        let nodes: Vec<u32> = self.turns.nodes.keys().copied().collect();
        nodes.into_iter().for_each(|node| self.call_next(node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(index: u32) -> ConnectionId {
        let generation = 0;
        ConnectionId { index, generation }
    }

    #[test]
    fn those_who_wait_are_called_in_their_order() {
        let mut turns = Turns::default();
        turns.take(client(1), 7);
        turns.take(client(2), 7);
        assert!(!turns.has_room(7, 2) && turns.has_room(8, 2));
        for number in 3..6 {
            turns.wait(client(number), 7);
            assert!(turns.makes_wait(client(number)));
        }
        turns.check_invariants();
        assert_eq!(turns.call_next(7, 2), None);
        assert_eq!(turns.end(client(4)), Some(7), "it has gone");
        assert_eq!(turns.end(client(1)), Some(7));
        assert_eq!(turns.call_next(7, 2), Some(client(3)));
        assert!(!turns.makes_wait(client(3)));
        assert_eq!(turns.call_next(7, 2), Some(client(5)));
        assert_eq!(turns.end(client(2)), Some(7));
        turns.check_invariants();
        assert!(turns.clients.is_empty() && turns.nodes.is_empty());
    }
}
