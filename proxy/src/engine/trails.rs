//! Follows some requests, chosen by chance, from their arrival to their reply, for the access log
//! and for traces. Which ones is decided by their ticket, so nothing has to be carried with them.

use core::num::NonZeroU64;
use std::collections::HashMap;

use slotway_protocol::command::keys::each_key;
use slotway_protocol::command::{Command, CommandId};
use slotway_protocol::engine::{Action, ConnectionId, Instant};
use slotway_protocol::resp::{RequestBuffers, RequestLimits, RequestScanner, Scan};

use super::options::Options;
use super::pipeline::{InFlight, Kind};
use super::requests::Incoming;
use super::session::{Delivered, Ticket};
use super::stats::error_code;
use super::trail::{Hop, Trail};
use super::{Connection, Notice, Proxy};

/// Which requests of one worker are followed, and what is known of those under way.
#[derive(Debug, Default)]
pub(super) struct Trails {
    /// A request whose number is not above these is one for the log, or for the traces.
    logged: Bound,
    traced: Bound,
    /// The higher one of both: zero while nothing is followed.
    followed: Bound,
    open: HashMap<(ConnectionId, u32), Open>,
    /// Lines of the access log within the second that began then.
    lines: u64,
    second: Instant,
}

/// Up to which number requests are chosen; zero for none of them.
type Bound = u64;

/// A request that nodes have answered in part.
#[derive(Debug, Default)]
struct Open {
    hops: Vec<Hop>,
    keys: Vec<Vec<u8>>,
}

impl Trails {
    /// Takes over what the settings say.
    pub(super) fn configure(&mut self, options: &Options) {
        self.logged = bound(options.access_log_sample);
        self.traced = bound(options.traces_sample);
        self.followed = self.logged.max(self.traced);
        if self.followed == 0 {
            self.open = HashMap::new();
        }
    }

    /// Whether any request is followed: to be asked before all else.
    #[inline(always)]
    pub(super) fn is_on(&self) -> bool {
        self.followed != 0
    }

    /// Whether the request of that reply is followed.
    #[inline(always)]
    pub(super) fn follows(&self, ticket: Ticket) -> bool {
        self.followed != 0 && number(ticket) <= self.followed
    }

    /// Nobody waits for replies to that client any more.
    pub(super) fn forget(&mut self, client: ConnectionId) {
        if !self.open.is_empty() {
            self.open.retain(|(connection, _), _| *connection != client);
        }
    }

    fn take(&mut self, ticket: Ticket) -> Open {
        let key = (ticket.connection, ticket.sequence);
        self.open.remove(&key).unwrap_or_default()
    }

    /// Whether the log may have one more line in this second.
    fn admit(&mut self, lines_max: u64, now: Instant) -> bool {
        if now.micros_since(self.second) >= 1_000_000 {
            self.second = now;
            self.lines = 0;
        }
        self.lines += 1;
        self.lines <= lines_max
    }
}

impl Proxy {
    /// Notes what the node says to the oldest request of a pipeline, if that is followed.
    #[inline]
    pub(super) fn note_answer(&mut self, index: usize, reply: &[u8], now: Instant) {
        if !self.watched.trails.is_on() {
            return;
        }
        let front = self.pipelines[index].front();
        if let Some(front) = front.filter(|it| self.watched.trails.follows(it.ticket)) {
            let front = *front;
            let error = (reply.first() == Some(&b'-')).then(|| error_code(reply));
            let frame = match self.options.access_log_keys {
                true => self.pipelines[index].front_bytes(),
                false => Vec::new(),
            };
            self.note_hop(index, &front, &frame, error, now);
        }
    }

    /// Notes that a connection ended before the reply.
    #[inline]
    pub(super) fn note_lost(&mut self, index: usize, entry: &InFlight, frame: &[u8], now: Instant) {
        if self.watched.trails.follows(entry.ticket) {
            self.note_hop(index, entry, frame, Some(Hop::LOST), now);
        }
    }

    #[cold]
    fn note_hop(
        &mut self,
        index: usize,
        entry: &InFlight,
        frame: &[u8],
        error: Option<&'static str>,
        now: Instant,
    ) {
        let ticket = entry.ticket;
        // What a task asks for is not the request of its client.
        let is_part = entry.has_slot() || entry.kind == Kind::Read;
        if !is_part || self.session(ticket.connection).is_none() {
            return;
        }
        let trails = &mut self.watched.trails;
        let key = (ticket.connection, ticket.sequence);
        let is_full = trails.open.len() >= OPEN_MAX && !trails.open.contains_key(&key);
        let open = (!is_full).then(|| trails.open.entry(key).or_default());
        let Some(open) = open.filter(|open| open.hops.len() < HOPS_MAX) else {
            if number(ticket) <= trails.traced {
                self.stats.trace_spans_dropped.inc();
            }
            return;
        };
        if self.options.access_log_keys {
            let command = Command::by_id(entry.command);
            note_keys(command, frame, &mut open.keys);
        }
        let held_us = match entry.held_since == Instant::default() {
            true => 0,
            false => entry.sent.micros_since(entry.held_since),
        };
        open.hops.push(Hop {
            node: self.pipelines[index].address.clone(),
            slot: entry.slot,
            part: ticket.part,
            queue_us: entry.sent.micros_since(entry.arrived),
            backend_us: now.micros_since(entry.sent),
            redirects: entry.redirects,
            held_us,
            request_bytes: u64::from(entry.len),
            error,
        });
    }

    /// The reply to all of a request is here.
    #[inline]
    pub(super) fn end_trail(
        &mut self,
        ticket: Ticket,
        delivered: Delivered,
        error: Option<&'static str>,
        len: usize,
        now: Instant,
    ) {
        if self.watched.trails.follows(ticket) {
            self.tell_trail(ticket, delivered, error, len, now);
        }
    }

    #[cold]
    fn tell_trail(
        &mut self,
        ticket: Ticket,
        delivered: Delivered,
        error: Option<&'static str>,
        len: usize,
        now: Instant,
    ) {
        let Open { hops, keys } = self.watched.trails.take(ticket);
        // A part that was sent more than once counts once.
        let sent = hops.iter().enumerate().filter(|(index, hop)| {
            let mut before = hops[..*index].iter();
            before.all(|other| other.part != hop.part)
        });
        let request_bytes = sent.map(|(_, hop)| hop.request_bytes).sum();
        let total_us = now.micros_since(delivered.arrived);
        let about = About {
            number: number(ticket),
            command: delivered.command,
            request_bytes,
            reply_bytes: len as u64,
            error,
            total_us,
            hops,
            keys,
        };
        self.follow_up(ticket.connection, about, now);
    }

    /// The same for a request that the proxy answers at once and by itself.
    #[inline]
    pub(super) fn tell_local(
        &mut self,
        incoming: &Incoming<'_>,
        command: CommandId,
        error: Option<&'static str>,
        len: usize,
    ) {
        if !self.watched.trails.is_on() {
            return;
        }
        let number = mixed(self.random());
        if number <= self.watched.trails.followed {
            let about = About {
                number,
                command,
                request_bytes: incoming.request.frame().len() as u64,
                reply_bytes: len as u64,
                error,
                total_us: 0,
                hops: Vec::new(),
                keys: Vec::new(),
            };
            self.follow_up(incoming.connection, about, incoming.now);
        }
    }

    fn follow_up(&mut self, connection: ConnectionId, about: About, now: Instant) {
        let lines_max = self.options.access_log_lines_max;
        let trails = &mut self.watched.trails;
        let mut is_logged = about.number <= trails.logged;
        let is_traced = about.number <= trails.traced;
        if is_logged && !trails.admit(lines_max, now) {
            self.stats.access_lines_dropped.inc();
            is_logged = false;
        }
        if !is_logged && !is_traced {
            return;
        }
        let trace_id = u128::from(self.random()) << 64 | u128::from(self.random());
        let user = self.options.user().into();
        let Some(Connection::Client(session)) = self.connections.get(connection.index as usize)
        else {
            return;
        };
        let name = session.about.as_ref().map(|about| about.name.clone());
        let trail = Trail {
            trace_id,
            is_logged,
            is_traced,
            client: session.ends.remote(),
            client_name: name.unwrap_or_default(),
            user,
            database: session.database,
            command: Command::by_id(about.command).name,
            keys: about.keys,
            error: about.error,
            total_us: about.total_us,
            request_bytes: about.request_bytes,
            reply_bytes: about.reply_bytes,
            hops: about.hops,
        };
        let notice = Notice::Followed(Box::new(trail));
        self.actions.push_back(Action::Notify(notice));
    }
}

/// What is known of a request that has its reply, but for its client.
struct About {
    number: u64,
    command: CommandId,
    request_bytes: u64,
    reply_bytes: u64,
    error: Option<&'static str>,
    total_us: u64,
    hops: Vec<Hop>,
    keys: Vec<Vec<u8>>,
}

/// The first keys of a request, shortened.
fn note_keys(command: &Command, frame: &[u8], keys: &mut Vec<Vec<u8>>) {
    let mut buffers = RequestBuffers::default();
    let limits = RequestLimits::default();
    let scanned = RequestScanner::default().scan(frame, &limits, &mut buffers);
    let Ok(Scan::Request { consumed }) = scanned else {
        return;
    };
    let request = buffers.request(&frame[..consumed]);
    // That they can't be told is for the node to say.
    let _ = each_key(command, &request, &mut |position| {
        let key = request.arg(position);
        let shown = &key[..key.len().min(KEY_BYTES_MAX)];
        if keys.len() < KEYS_MAX && !keys.iter().any(|known| known == shown) {
            keys.push(shown.to_vec());
        }
    });
}

/// Of so many requests one is chosen.
fn bound(one_in: u64) -> Bound {
    NonZeroU64::new(one_in).map_or(0, |one_in| u64::MAX / one_in)
}

/// A number that is as good as any by chance, and the same for all parts of a request.
#[inline(always)]
fn number(ticket: Ticket) -> u64 {
    let ConnectionId { index, generation } = ticket.connection;
    let connection = u64::from(index) << 32 | u64::from(generation);
    mixed(connection.rotate_left(16) ^ u64::from(ticket.sequence))
}

/// Each bit of the result depends on all of those of `number`. Never 0.
#[inline(always)]
fn mixed(number: u64) -> u64 {
    let number = (number ^ number >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let number = (number ^ number >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (number ^ number >> 33) | 1
}

/// Requests with a part answered and others not, and what is noted of one.
const OPEN_MAX: usize = 256;
const HOPS_MAX: usize = 32;

const KEYS_MAX: usize = 4;
const KEY_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(index: u32, sequence: u32) -> Ticket {
        let connection = ConnectionId {
            index,
            generation: 0,
        };
        Ticket {
            connection,
            sequence,
            part: 0,
        }
    }

    #[test]
    fn as_many_are_chosen_as_the_settings_say() {
        for (one_in, least, most) in [
            (0, 0, 0),
            (1, 100_000, 100_000),
            (10, 9_500, 10_500),
            (1000, 60, 140),
        ] {
            let mut trails = Trails::default();
            let options = Options {
                access_log_sample: one_in,
                ..Options::default()
            };
            trails.configure(&options);
            assert_eq!(trails.is_on(), one_in > 0);
            let tickets = (0..100).flat_map(|index| (0..1000).map(move |it| ticket(index, it)));
            let chosen = tickets.filter(|ticket| trails.follows(*ticket)).count();
            assert!((least..=most).contains(&chosen), "1 in {one_in}: {chosen}");
        }
    }

    #[test]
    fn a_second_has_so_many_lines() {
        let mut trails = Trails::default();
        let mut admitted = |micros| {
            let now = Instant::from_micros(micros);
            (0..10).filter(|_| trails.admit(3, now)).count()
        };
        assert_eq!(admitted(5_000_000), 3);
        assert_eq!(admitted(5_999_999), 0);
        assert_eq!(admitted(6_000_000), 3);
    }
}
