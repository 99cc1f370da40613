//! How clients come and go: opening and closing their connections, letting them finish when the
//! program ends, the regular work, taking back the memory of those that are idle, showing how much
//! is under way.

use core::time::Duration;

use slotway_protocol::engine::{Action, CloseWhen, ConnectionId, Instant, Peer};

use super::fail_point;
use super::listing::Ends;
use super::pipeline::Pipeline;
use super::session::{Session, Watching};
use super::shedding::LARGE_UNREAD;
use super::{Connection, Notice, Proxy, SHRINK_INTERVAL};

impl Proxy {
    pub(super) fn open_client(&mut self, connection: ConnectionId, peer: &Peer, now: Instant) {
        self.clients_seen += 1;
        let client_id = self.clients_seen << 8 | u64::from(self.options.worker);
        let mut session = Session::new(connection, client_id, Ends::of(peer), now);
        session.is_newcomer = self.options.login.is_some();
        if !session.is_newcomer {
            session.window = self.first_window();
        }
        self.connections[connection.index as usize] = Connection::Client(session);
        self.stats.clients.add(1);
        self.stats.clients_accepted.inc();
        if self.draining {
            self.close(connection, CloseWhen::Now);
        }
    }

    pub(super) fn close_client(&mut self, session: &Session, now: Instant) {
        if session.watching != Watching::No {
            self.leave_monitor(session.connection);
        }
        if session.unread as usize >= LARGE_UNREAD {
            self.end_large(session.connection, now);
        }
        self.end_turn(session.connection);
        fail_point::pass();
        self.watched.trails.forget(session.connection);
        self.drop_subscriptions(session.connection, now);
        fail_point::pass();
        for task in session.tasks() {
            self.abandon_task(task, now);
        }
        if let Some(watch) = session.watch {
            self.discard(watch.private);
        }
        self.stats.clients_blocked.add(-i64::from(session.solo));
        self.gradual.give_up(session.connection);
        for merge in session.merges() {
            self.merges.give_up(merge);
        }
        fail_point::pass();
        self.stats.clients.add(-1);
        self.notify_if_drained();
    }

    /// Nobody is left, and nothing that was taken for somebody is still to go back.
    pub(super) fn notify_if_drained(&mut self) {
        let is_over = self.stats.clients.value() == 0 && self.tasks.is_empty();
        if self.draining && !self.drained && is_over {
            self.drained = true;
            self.actions.push_back(Action::Notify(Notice::Drained));
        }
    }

    pub(super) fn close(&mut self, connection: ConnectionId, when: CloseWhen) {
        self.actions.push_back(Action::Close { connection, when });
    }

    /// Lets every client finish what it has begun. Those that are blocked might wait for ever: they
    /// are closed at once, and what comes for them goes back.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        let mut finished = Vec::new();
        let mut blocked = Vec::new();
        for connection in &mut self.connections {
            if let Connection::Client(session) = connection {
                session.closing = true;
                if session.solo && !session.leaving {
                    session.leaving = true;
                    blocked.push(session.connection);
                } else if session.is_finished() && !session.leaving {
                    session.leaving = true;
                    finished.push(session.connection);
                }
            }
        }
        for connection in finished {
            self.close(connection, CloseWhen::Flushed);
        }
        for connection in blocked {
            self.close(connection, CloseWhen::Now);
        }
        self.notify_if_drained();
    }

    /// What is to be looked at from time to time.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.swept = now;
        self.sweep_backends(now);
        self.sweep_feeds(now);
        self.sweep_privates(now);
        self.sweep_waiters(now);
        self.settle_databases(now);
        self.settle_early(now);
        self.expire_subscribing(now);
        self.sweep_scripts();
        self.ask_for_home();
        self.sweep_large_keys(now);
        self.sweep_passing(now);
        self.sweep_turns();
        if self.is_to_count(now) {
            self.count_memory(now);
        }
        self.sweep_reads(now);
        self.note_holds(now);
        self.show_gauges(now);
    }

    /// Gives back what idle connections hold, and cuts off those that do not let themselves be
    /// closed.
    pub(super) fn shrink(&mut self, now: Instant) {
        self.shrunk = now;
        let mut stuck = Vec::new();
        for connection in &mut self.connections {
            let Connection::Client(session) = connection else {
                continue;
            };
            if now.since(session.active) >= SHRINK_INTERVAL {
                session.shrink();
            }
            if session.leaving {
                if !session.leaving_noticed {
                    session.leaving_noticed = true;
                    session.active = now;
                }
                if now.since(session.active) >= self.options.close_timeout {
                    stuck.push(session.connection);
                }
            }
        }
        for connection in stuck {
            self.close(connection, CloseWhen::Now);
        }
        self.pipelines.iter_mut().for_each(Pipeline::shrink);
        self.show_sessions();
        self.show_hot(now);
    }

    /// Counts the silence of all nodes from now on, if it was us, or the whole machine, that stood
    /// still: they get their time again.
    pub(super) fn forgive_after_stall(&mut self, now: Instant) {
        if now.since(self.timeout) < STALL {
            return;
        }
        let pipelines = self.pipelines.iter_mut();
        pipelines.for_each(|pipeline| pipeline.heard = now);
        self.forgive_feeds(now);
    }

    pub(super) fn show_gauges(&self, now: Instant) {
        self.show_nodes(now);
        self.show_limits();
        self.stats.holds.set(self.holds.len() as i64);
        self.stats.gates_shut.set(self.gates.len() as i64);
        self.stats.hold_bytes.set(self.holds.bytes() as i64);
        self.show_subscriptions();
    }

    /// The bounds of what the gauges show.
    pub(super) fn show_limits(&self) {
        let (stats, options) = (&self.stats, &self.options);
        stats.hold_bytes_max.set(options.hold_bytes_max as i64);
        let private_max = options.private_connections_max as i64;
        stats.privates_max.set(private_max);
        stats
            .script_bytes_max
            .set(options.script_cache_bytes_max as i64);
    }

    /// How many clients are in the middle of something, and what waits for all.
    pub(super) fn show_sessions(&self) {
        let (mut in_transaction, mut subscribed, mut watching, mut output) = (0, 0, 0, 0);
        for connection in &self.connections {
            if let Connection::Client(session) = connection {
                in_transaction += i64::from(session.transaction.is_some());
                subscribed += i64::from(session.is_subscribed());
                watching += i64::from(session.watch.is_some());
                output += session.held_bytes() as i64;
            }
        }
        self.stats.clients_in_transaction.set(in_transaction);
        self.stats.clients_subscribed.set(subscribed);
        self.stats.clients_watching.set(watching);
        self.stats.client_output_bytes.set(output);
    }
}

/// When the engine is called this much too late, nobody is to blame for silence.
const STALL: Duration = Duration::from_millis(500);
