//! Asks primaries and replicas now and then how they are, and takes note of what they say and of
//! what else shows it: lost connections, silence, slots that move.

use core::time::Duration;

use slotway_protocol::cluster::{Slot, Topology};
use slotway_protocol::command::{CommandId, lookup};
use slotway_protocol::engine::{Address, ConnectionId, Instant};

use super::Fitness;
use super::health::{Node, Report};
use crate::engine::pipeline::InFlight;
use crate::engine::session::Ticket;
use crate::engine::{NO_OWNER, Proxy, TICK};

/// Whether the ticket is that of a question which is asked here.
pub(crate) fn is_probe(ticket: Ticket) -> bool {
    ticket.connection.index == NO_CONNECTION
}

impl Proxy {
    /// Takes over who follows whom. `before` has the owners of the slots up to now.
    pub(in crate::engine) fn set_replicas(
        &mut self,
        topology: &Topology,
        before: &[u32],
        now: Instant,
    ) {
        if !self.reads.is_on() {
            return;
        }
        let shards = topology.shards().iter();
        let shards: Vec<(usize, Vec<u32>)> = shards
            .map(|shard| {
                let mut replicas: Vec<&Address> = shard.replicas.iter().collect();
                replicas.sort_unstable();
                let primary = self.backend(&shard.primary);
                let replicas = replicas.into_iter().map(|it| self.backend(it) as u32);
                (primary, replicas.collect())
            })
            .collect();
        let primaries: Vec<u32> = shards.iter().map(|(primary, _)| *primary as u32).collect();
        self.note_moves(before, now);
        let was_replica = self.replicas();
        let followers = &mut self.reads.followers;
        followers.iter_mut().for_each(Vec::clear);
        for (primary, mut replicas) in shards {
            replicas.retain(|replica| !primaries.contains(replica));
            self.reads.followers[primary] = replicas;
        }
        for backend in &mut self.backends {
            backend.is_read = false;
        }
        for replica in self.replicas() {
            self.backends[replica].is_read = true;
            if !was_replica.contains(&replica) {
                self.reads.nodes[replica] = Node::default();
            }
        }
        for primary in primaries {
            // What it was asked as a replica does not count.
            if was_replica.contains(&(primary as usize)) {
                self.reads.nodes[primary as usize].asked = None;
            }
        }
        self.reads.expect_nodes(now);
        // Whoever is new is asked at once.
        self.reads.asked = Instant::default();
        self.probe_nodes(now);
        self.advance_reads(now);
    }

    fn replicas(&self) -> Vec<usize> {
        let replicas = self.reads.followers.iter().flatten();
        replicas.map(|replica| *replica as usize).collect()
    }

    /// Slots have another owner. Where that was no replica of the old one, keys were carried over.
    fn note_moves(&mut self, before: &[u32], now: Instant) {
        let mut moves: Vec<(u32, u32)> = Vec::new();
        for slot in Slot::all() {
            let (old, new) = (before[slot.index()], self.owners[slot.index()]);
            if old != new && old != NO_OWNER && new != NO_OWNER && moves.last() != Some(&(old, new))
            {
                moves.push((old, new));
            }
        }
        for (old, new) in moves {
            self.note_move(old, new, now);
        }
    }

    /// A slot of one backend is another's.
    pub(in crate::engine) fn note_move(&mut self, old: u32, new: u32, now: Instant) {
        if !self.reads.is_on() || old == NO_OWNER || old == new {
            return;
        }
        let is_failover = self.reads.followers[old as usize].contains(&new);
        if !is_failover {
            self.note_moving(old, now);
            self.note_moving(new, now);
        }
    }

    /// A node has said that the slot, or some of its keys, are elsewhere.
    pub(in crate::engine) fn note_asked(&mut self, slot: Slot, now: Instant) {
        self.note_moving(self.owners[slot.index()], now);
    }

    /// Slots of a shard are being carried to another or from there. Its replicas do not know of the
    /// keys that have left, nor yet of those that have come: for a while its primary serves.
    fn note_moving(&mut self, owner: u32, now: Instant) {
        if let Some(node) = self.reads.nodes.get_mut(owner as usize) {
            node.moving_until = now + MOVING;
        }
    }

    /// Asks the nodes when it is time, and does not wait for ever for those that were asked.
    pub(in crate::engine) fn probe_nodes(&mut self, now: Instant) {
        for backend in 0..self.reads.nodes.len() {
            let asked = self.reads.nodes[backend].asked;
            if asked.is_some_and(|asked| now.since(asked) >= self.options.reads.replica_timeout / 2)
            {
                self.set_fitness(backend, Fitness::Silent, now);
            }
        }
        let begins = now.since(self.reads.asked) >= self.options.reads.check_interval
            || self.reads.asked == Instant::default();
        if begins {
            self.reads.asked = now;
            self.reads.round += 1;
            if self.reads.expects_nodes(now) {
                self.topology_is_stale();
            }
        }
        let waits = now.since(self.reads.asked) < TICK;
        for primary in 0..self.reads.followers.len() {
            if self.reads.followers[primary].is_empty() {
                continue;
            }
            self.ask_primary(primary, now);
            // Replicas are asked once it is known how far the primary is, unless it does not say.
            let owes = self.reads.nodes[primary].asked == Some(self.reads.asked);
            if !owes || !waits {
                self.ask_followers(primary, now);
            }
        }
    }

    fn ask_primary(&mut self, primary: usize, now: Instant) {
        if self.begin_question(primary, now) {
            let lane = primary * self.lanes();
            self.ask_node(primary, lane, INFO, now);
        }
    }

    fn ask_followers(&mut self, primary: usize, now: Instant) {
        for place in 0..self.reads.followers[primary].len() {
            let replica = self.reads.followers[primary][place] as usize;
            if self.begin_question(replica, now) {
                let lane = self.read_lane(replica, 0);
                // PING is answered as reads are, by a replica that serves none too. INFO always is.
                self.ask_node(replica, lane, PING, now);
                self.ask_node(replica, lane, INFO, now);
            }
        }
    }

    /// Whether the node is to be asked now: once in a round, and not while it owes an answer.
    fn begin_question(&mut self, backend: usize, now: Instant) -> bool {
        let node = &mut self.reads.nodes[backend];
        if node.round == self.reads.round || node.asked.is_some() {
            return false;
        }
        self.reads.questions = self.reads.questions.wrapping_add(1);
        node.question = self.reads.questions;
        node.round = self.reads.round;
        node.asked = Some(now);
        true
    }

    fn ask_node(&mut self, backend: usize, index: usize, question: Question, now: Instant) {
        let ticket = Ticket {
            connection: ConnectionId {
                index: NO_CONNECTION,
                generation: backend as u32,
            },
            sequence: self.reads.nodes[backend].question,
            part: question.part,
        };
        let command = lookup(question.name).map_or(CommandId(0), |command| command.id);
        let frame = question.frame;
        let entry = InFlight::request(ticket, command, Slot::of(b""), frame.len(), now);
        let lane = index % self.lanes();
        self.dispatch_direct(entry, backend, lane, frame);
    }

    /// A node has answered, or what stands for its answer says that it can't be reached.
    pub(in crate::engine) fn handle_probe(&mut self, ticket: Ticket, reply: &[u8], now: Instant) {
        let backend = ticket.connection.generation as usize;
        let node = self.reads.nodes.get_mut(backend);
        let Some(node) = node.filter(|node| node.question == ticket.sequence) else {
            return;
        };
        if ticket.part == PING.part {
            node.refusal = Fitness::of_error(reply);
            return;
        }
        let Some(asked) = node.asked.take() else {
            return;
        };
        let Some(report) = Report::parse(reply) else {
            let is_ours = reply.starts_with(b"-CLUSTERDOWN proxy ");
            let fitness = if is_ours {
                Fitness::Unreachable
            } else {
                Fitness::Unknown
            };
            return self.set_fitness(backend, fitness, now);
        };
        let Some(primary) = self.primary_of(backend) else {
            if !report.is_primary() {
                // It has been replaced: how far it is says nothing of what its successor has.
                self.topology_is_stale();
                return self.set_fitness(backend, Fitness::Refusing, now);
            }
            let lag_max = self.options.reads.lag_max;
            self.backends[backend].stats.show_lag(None);
            self.reads.nodes[backend].take_sample(report, asked, lag_max);
            self.set_fitness(backend, Fitness::Fit, now);
            return self.ask_followers(backend, now);
        };
        let fitness = self
            .reads
            .report(backend, primary, report, &self.options.reads);
        let lag = self.reads.nodes[backend].lag(&self.reads.nodes[primary]);
        self.backends[backend].stats.show_lag(lag);
        self.set_fitness(backend, fitness, now);
    }

    fn primary_of(&self, replica: usize) -> Option<usize> {
        let mut followers = self.reads.followers.iter();
        followers.position(|replicas| replicas.contains(&(replica as u32)))
    }

    /// A connection to the node is gone, or could not be opened.
    pub(in crate::engine) fn note_unreachable(&mut self, backend: usize, now: Instant) {
        if self.reads.is_on() {
            self.set_fitness(backend, Fitness::Unreachable, now);
            // It may be back at once.
            self.reads.nodes[backend].round = 0;
        }
    }

    pub(super) fn set_fitness(&mut self, backend: usize, fitness: Fitness, now: Instant) {
        let node = &mut self.reads.nodes[backend];
        let before = core::mem::replace(&mut node.fitness, fitness);
        if before == fitness {
            return;
        }
        let is_known = matches!(fitness, Fitness::Fit | Fitness::Lagging | Fitness::LinkDown);
        if !is_known {
            self.backends[backend].stats.show_lag(None);
        }
        if before == Fitness::Fit && self.backends[backend].is_read {
            self.stats.replicas_left_out[fitness as usize].inc();
        }
        for place in 0..self.reads.followers[backend].len() {
            let replica = self.reads.followers[backend][place] as usize;
            self.judge_again(replica, backend, now);
        }
        if fitness == Fitness::Fit && self.reads.waiting_len() > 0 {
            self.advance_reads(now);
        }
    }

    /// The primary is gone, or is back, which makes a difference for what its replica said last.
    fn judge_again(&mut self, replica: usize, primary: usize, now: Instant) {
        let (node, primary) = (&self.reads.nodes[replica], &self.reads.nodes[primary]);
        if matches!(node.fitness, Fitness::Fit | Fitness::LinkDown) {
            let fitness = node.judge(primary, &self.options.reads);
            self.set_fitness(replica, fitness, now);
        }
    }

    /// Where the connection to a replica is that stands beside one to a primary.
    pub(super) fn read_lane(&self, replica: usize, lane: usize) -> usize {
        replica * self.lanes() + self.base_lanes() + lane
    }
}

/// One thing to ask.
struct Question {
    part: u32,
    name: &'static [u8],
    frame: &'static [u8],
}

const PING: Question = Question {
    part: 0,
    name: b"ping",
    frame: b"*1\r\n$4\r\nPING\r\n",
};

const INFO: Question = Question {
    part: 1,
    name: b"info",
    frame: b"*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n",
};

/// Where in a ticket the number of a connection is, the tickets of these questions have this. The
/// next ones above are those of tasks and of single keys.
const NO_CONNECTION: u32 = u32::MAX - 3;

/// For how long after the last sign of it a shard's slots are taken to be moving.
const MOVING: Duration = Duration::from_secs(5);
