//! Clients that take too long: with a request, with saying who they are, with taking their replies,
//! or with having anything to say. They are looked at every second.

use core::time::Duration;
use std::collections::HashMap;

use slotway_protocol::engine::{ConnectionId, Instant};

use super::newcomers::Suspicion;
use super::options::Options;
use super::session::{Session, Watching};
use super::stats::Cut;
use super::{Connection, Proxy};

/// How clients take what waits for them, as far as it is more than should wait.
#[derive(Debug, Default)]
pub(super) struct Backlogs(HashMap<ConnectionId, Backlog>);

#[derive(Debug, Clone, Copy)]
struct Backlog {
    /// When enough was taken last.
    since: Instant,
    /// What waited then, in bytes.
    bytes: usize,
}

impl Proxy {
    /// Cuts off the clients that are too late.
    pub(super) fn cut_late(&mut self, now: Instant) {
        let mut late = Vec::new();
        let mut backlogs = HashMap::new();
        for connection in &mut self.connections {
            let Connection::Client(session) = connection else {
                continue;
            };
            if session.leaving {
                continue;
            }
            let id = session.connection;
            let mut reason = lateness(session, &self.options, now);
            let bytes = session.held_bytes();
            let step = step(session, &self.options);
            if bytes > step {
                let before = self.backlogs.0.get(&id).copied();
                let backlog = before.filter(|it| bytes + step > it.bytes);
                let backlog = backlog.unwrap_or(Backlog { since: now, bytes });
                if now.since(backlog.since) >= self.options.client_output_timeout {
                    reason = Some(Cut::OutputTime);
                }
                backlogs.insert(id, backlog);
            }
            late.extend(reason.map(|reason| (id, reason)));
        }
        self.backlogs.0 = backlogs;
        for (connection, reason) in late {
            if reason == Cut::Garbage {
                self.tell_suspicion(connection, Suspicion::Garbage, now);
            }
            self.cut_client(connection, reason);
        }
    }
}

/// A client that has more than this waiting has to take as much again within the time.
fn step(session: &Session, options: &Options) -> usize {
    if session.is_subscribed() || session.watching != Watching::No {
        // What comes is not what it has asked for, so it may lie a little longer.
        options.subscriber_output_bytes_max / 4
    } else {
        options.client_output_bytes_max
    }
}

fn lateness(session: &mut Session, options: &Options, now: Instant) -> Option<Cut> {
    if session.is_newcomer && now.since(session.opened) >= options.client_login_timeout {
        return Some(Cut::Login);
    }
    // Those that we do not read from are late because of us.
    if session.paused || session.solo || session.postponed {
        return None;
    }
    if !session.scanner.is_idle() {
        let seconds = session.scanner.grow_old();
        let extra = session.unread as usize / LEAST_RATE;
        let allowed = options.client_request_timeout + Duration::from_secs(extra as u64);
        if Duration::from_secs(seconds.into()) >= allowed {
            return Some(Cut::RequestTime);
        }
        return session.is_odd.then_some(Cut::Garbage);
    }
    let is_idle = session.owed() == 0 && session.output.is_empty() && !session.is_subscribed();
    let timeout = options.client_idle_timeout;
    let is_long = !timeout.is_zero() && now.since(session.active) >= timeout;
    (is_idle && is_long && session.watching == Watching::No).then_some(Cut::Idle)
}

/// A request may take a second longer for so many bytes of it that are here.
const LEAST_RATE: usize = 64 * 1024;
