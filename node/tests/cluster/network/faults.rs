//! What can go wrong in a network: processes end or stop, power fails, wires are cut, connections
//! are reset, clocks jump.

use std::time::Duration;

use super::clock::Clock;
use super::host::Attached;
use super::{Arrival, Network};

impl Network {
    /// The process is killed: its connections end, and its ports refuse.
    pub(crate) fn kill(&mut self, index: usize) {
        let sockets = self.end_process(index);
        for (until, arrival) in sockets {
            self.send(index, until, arrival);
        }
    }

    /// The power fails: nobody hears anything any more, and what was not synced may be lost. A
    /// write that was under way may have been done.
    pub(crate) fn power_off(&mut self, index: usize) {
        let boot = self.hosts[index].boot;
        self.end_process(index);
        let flying = self.flying.values();
        let mut under_way = flying.filter_map(|arrival| match arrival {
            Arrival::Saved(host, of, saved) if (*host, *of) == (index, boot) => {
                Some(saved.text.clone())
            }
            _ => None,
        });
        let under_way = under_way.next_back();
        let chance = self.wires.below(3);
        let file = &mut self.hosts[index].file;
        let left = match (chance, under_way) {
            (0, Some(text)) => Some(text),
            (0 | 1, _) => file.written.clone(),
            _ => file.synced.clone(),
        };
        file.written.clone_from(&left);
        file.synced = left;
        self.hosts[index].is_off = true;
    }

    /// What the others are told of connections that end.
    fn end_process(&mut self, index: usize) -> Vec<(u64, Arrival)> {
        self.set_timer(index, None);
        let host = &mut self.hosts[index];
        host.node = None;
        host.boot += 1;
        host.writer = None;
        host.written.clear();
        host.backlog.clear();
        host.stopped_until = 0;
        let sockets = host.close_all().into_iter();
        sockets
            .filter_map(|socket| match socket.at {
                Attached::Peer(end) => Some((socket.sent_until, Arrival::Closed(end))),
                _ => None,
            })
            .collect()
    }

    /// The process does nothing for a while, as after SIGSTOP or in a machine that is paused.
    pub(crate) fn stop(&mut self, index: usize, duration: Duration) {
        let micros = duration.as_micros() as u64;
        self.hosts[index].stopped_until = self.micros + micros;
        self.fly(micros, Arrival::Continued(index));
    }

    pub(crate) fn is_stopped(&self, index: usize) -> bool {
        self.hosts[index].stopped_until > self.micros
    }

    /// A stopped process gets what has come meanwhile.
    pub(super) fn go_on(&mut self, index: usize) {
        if self.is_stopped(index) {
            return;
        }
        let backlog = std::mem::take(&mut self.hosts[index].backlog);
        for arrival in backlog {
            self.arrive(arrival);
        }
    }

    /// From now on two nodes hear nothing of each other.
    pub(crate) fn cut(&mut self, one: usize, other: usize) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// From now on nothing that one node sends comes to the other.
    pub(crate) fn cut_one_way(&mut self, from: usize, to: usize) {
        self.wires.cut(from, to);
    }

    pub(crate) fn heal(&mut self) {
        let at = self.micros + self.latency;
        for (at, arrival) in self.wires.heal(at) {
            self.fly(at - self.micros, arrival);
        }
    }

    /// Resets one of a node's connections with others: what was on its way is lost, and the other
    /// end notices only after a while. Whether there was one.
    pub(crate) fn reset_link(&mut self, index: usize, after: Duration) -> bool {
        let links = self.hosts[index].links();
        let chosen = self.wires.below(links.len() as u64) as usize;
        let Some((id, far)) = links.get(chosen).copied() else {
            return false;
        };
        let now = self.now(index);
        let host = &mut self.hosts[index];
        host.close(id);
        if let Some(node) = &mut host.node {
            slotway_protocol::engine::Engine::handle_close(node, id, now);
        }
        self.settle(index);
        self.fly(after.as_micros() as u64, Arrival::Closed(far));
        true
    }

    /// By how much a message may take longer by chance.
    pub(crate) fn set_jitter(&mut self, jitter: Duration) {
        self.wires.jitter = jitter.as_micros() as u64;
    }

    /// From now on all that a node sends takes longer, and all that it writes to its disk.
    pub(crate) fn slow_down(&mut self, index: usize, network: Duration, disk: Duration) {
        let host = &mut self.hosts[index];
        host.slow_by = network.as_micros() as u64;
        host.disk_slow_by = disk.as_micros() as u64;
    }

    /// Sets a host's clocks; only before its first start, or as far as the clock on the wall goes.
    pub(crate) fn set_clock(&mut self, index: usize, clock: Clock) {
        self.hosts[index].clock = clock;
    }

    pub(crate) fn clock(&self, index: usize) -> Clock {
        self.hosts[index].clock
    }
}
