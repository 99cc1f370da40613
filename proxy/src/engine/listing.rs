//! What CLIENT LIST and CLIENT INFO show of a client: one line.

use core::fmt::{self, Write};
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use slotway_protocol::command::Command;
use slotway_protocol::engine::{Instant, Peer};
use slotway_protocol::resp::Protocol;

use super::pubsub::Family;
use super::session::{Session, Watching};

/// Appends the line. Where the proxy has no such thing as a field is about, the field has the value
/// that redis-server shows of a client without it.
pub(super) fn write_line(session: &Session, user: &str, now: Instant, line: &mut Vec<u8>) {
    let seconds = |since| now.since(since).as_secs();
    let (remote, local) = (session.ends.remote(), session.ends.local());
    let mut head = format!(
        "id={} addr={remote} laddr={local} fd=-1 name=",
        session.client_id
    );
    line.extend_from_slice(head.as_bytes());
    if let Some(about) = &session.about {
        line.extend_from_slice(&about.name);
    }
    head.clear();
    let command = session.last_command.map(Command::by_id);
    let output = session.held_bytes();
    let multi = session.transaction.as_ref();
    // Writing to a string can't fail.
    let _ = writeln!(
        head,
        " age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={} qbuf=0 qbuf-free=0 \
         argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={output} oll=0 omem=0 tot-mem={} events={} cmd={} \
         user={user} redir=-1 resp={}",
        seconds(session.opened),
        seconds(session.active),
        Letters(session),
        session.database,
        session.subscriptions[Family::Channel.index()],
        session.subscriptions[Family::Pattern.index()],
        session.subscriptions[Family::Shard.index()],
        multi.map_or(-1, |transaction| i64::from(transaction.len())),
        size_of::<Session>() + output,
        if output == 0 { "r" } else { "rw" },
        command.map_or("NULL", |command| command.name),
        if session.protocol == Protocol::Resp3 {
            3
        } else {
            2
        },
    );
    line.extend_from_slice(head.as_bytes());
}

/// The letters of `flags=`.
struct Letters<'a>(&'a Session);

impl fmt::Display for Letters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let session = self.0;
        let letters = [
            (session.watching != Watching::No, 'O'),
            (session.is_subscribed(), 'P'),
            (session.transaction.is_some(), 'x'),
            (session.solo, 'b'),
            (session.closing, 'c'),
            (session.no_evict, 'e'),
        ];
        let mut none = true;
        for (_, letter) in letters.iter().filter(|(is_set, _)| *is_set) {
            none = false;
            f.write_char(*letter)?;
        }
        if none { f.write_char('N') } else { Ok(()) }
    }
}

/// Both ends of a client's connection, in as few bytes as they need: there is one for each client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    /// IPv4 addresses are mapped ones.
    remote: [u8; 16],
    local: [u8; 16],
    remote_port: u16,
    local_port: u16,
}

impl Ends {
    pub(crate) fn of(peer: &Peer) -> Self {
        Self {
            remote: octets(peer.remote),
            local: octets(peer.local),
            remote_port: peer.remote.port(),
            local_port: peer.local.port(),
        }
    }

    pub(crate) fn remote(&self) -> SocketAddr {
        address(self.remote, self.remote_port)
    }

    pub(crate) fn local(&self) -> SocketAddr {
        address(self.local, self.local_port)
    }

    /// Those of a client of which only our own end matters.
    #[cfg(test)]
    pub(crate) fn to(local: SocketAddr) -> Self {
        Self {
            local: octets(local),
            local_port: local.port(),
            ..Self::NONE
        }
    }

    #[cfg(test)]
    pub(crate) const NONE: Self = Self {
        remote: [0; 16],
        local: [0; 16],
        remote_port: 0,
        local_port: 0,
    };
}

fn octets(address: SocketAddr) -> [u8; 16] {
    match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn address(octets: [u8; 16], port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical(), port)
}
