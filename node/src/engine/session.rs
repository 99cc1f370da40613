//! The clients of a node: what each connection has said about itself so far.

use core::net::{Ipv4Addr, SocketAddr};

use slotway_protocol::command::CommandId;
use slotway_protocol::engine::{CloseWhen, ConnectionId, Instant, Origin, Peer};
use slotway_protocol::resp::{Protocol, RequestScanner};

use super::transaction::Transaction;
use crate::blocking::Ticket;
use crate::pubsub::{Subscriptions, Topic};

/// One client.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) connection: ConnectionId,
    pub(crate) peer: Peer,
    /// The answer to CLIENT ID; never used twice.
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    pub(crate) name: Box<[u8]>,
    pub(crate) protocol: Protocol,
    /// The number of the database that SELECT chose.
    pub(crate) database: u32,
    pub(crate) authenticated: bool,
    /// ASKING was the last command.
    pub(crate) asking: bool,
    /// READONLY: replicas may serve reads.
    pub(crate) readonly: bool,
    pub(crate) replies: Replies,
    pub(crate) no_evict: bool,
    pub(crate) opened_at: Instant,
    pub(crate) active_at: Instant,
    pub(crate) last_command: Option<CommandId>,
    pub(crate) transaction: Transaction,
    /// `None` when there are none.
    pub(crate) subscriptions: Option<Box<Subscriptions>>,
    /// Its last command is answered later, and nothing is read from it until then.
    pub(crate) waiting: bool,
    /// The reply that it gets then, where that is known before.
    pub(crate) kept: Option<Box<[u8]>>,
    /// It waits for a key.
    pub(crate) blocked: Option<Ticket>,
    /// The offset of the stream behind its last write.
    pub(crate) wrote_until: u64,
    /// Its last request was not run, and is tried again later.
    pub(crate) held: bool,
    /// To be closed; nothing more is read from it.
    pub(crate) closing: Option<CloseWhen>,
    /// The driver was asked to close it.
    pub(crate) close_requested: bool,
    /// The peer sends no more.
    pub(crate) ended: bool,
    pub(crate) scanner: RequestScanner,
}

/// Who is at the other end of a connection that has a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Client,
    /// It follows this node.
    Replica,
    /// This node follows it, and does what it says.
    Primary,
}

/// What CLIENT REPLY chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replies {
    On,
    Off,
    /// The command that is running is answered no more than the next.
    SkipNext,
    /// The running command is not answered.
    Skip,
}

impl Session {
    fn new(connection: ConnectionId, peer: Peer, id: u64, now: Instant) -> Self {
        Self {
            connection,
            peer,
            id,
            kind: Kind::Client,
            name: Box::default(),
            protocol: Protocol::Resp2,
            database: 0,
            authenticated: false,
            asking: false,
            readonly: false,
            replies: Replies::On,
            no_evict: false,
            opened_at: now,
            active_at: now,
            last_command: None,
            transaction: Transaction::default(),
            subscriptions: None,
            waiting: false,
            kept: None,
            blocked: None,
            wrote_until: 0,
            held: false,
            closing: None,
            close_requested: false,
            ended: false,
            scanner: RequestScanner::default(),
        }
    }

    /// To be called after subscriptions were ended.
    pub(crate) fn forget_no_subscriptions(&mut self) {
        self.subscriptions.take_if(|own| own.is_empty());
    }

    /// Notes that a subscription was ended by the node; how many there are after it.
    pub(crate) fn lose_subscription(&mut self, topic: Topic, name: &[u8]) -> usize {
        let Some(own) = self.subscriptions.as_deref_mut() else {
            return 0;
        };
        let count = own.lose(topic, name);
        self.forget_no_subscriptions();
        count
    }

    /// RESET, but for the transaction, which the caller ends.
    pub(crate) fn reset(&mut self, authenticated: bool) {
        self.name = Box::default();
        self.protocol = Protocol::Resp2;
        self.database = 0;
        self.authenticated = authenticated;
        self.asking = false;
        self.readonly = false;
        self.replies = Replies::On;
        self.no_evict = false;
    }
}

/// All clients, by the index of their connection.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    places: Vec<Option<Box<Session>>>,
    count: usize,
    last_id: u64,
    /// Clients that another one closed.
    killed: Vec<ConnectionId>,
    /// In whose name commands run that no client sent.
    internal: Option<Box<Session>>,
}

impl Sessions {
    /// The index of the session that belongs to no connection.
    pub(crate) const INTERNAL: usize = usize::MAX;

    /// Opens the session of [`Sessions::INTERNAL`], in whose name commands of a file run.
    pub(crate) fn open_internal(&mut self, now: Instant) {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let peer = Peer {
            remote: nowhere,
            local: nowhere,
            origin: Origin::Accepted(0),
        };
        let connection = ConnectionId {
            index: u32::MAX,
            generation: u32::MAX,
        };
        self.internal = Some(Box::new(Session::new(connection, peer, 0, now)));
    }

    pub(crate) fn close_internal(&mut self) {
        self.internal = None;
    }

    pub(crate) fn open(&mut self, connection: ConnectionId, peer: Peer, now: Instant) -> usize {
        let index = connection.index as usize;
        if self.places.len() <= index {
            self.places.resize_with(index + 1, || None);
        }
        assert!(self.places[index].is_none(), "a connection opens once");
        self.last_id += 1;
        self.count += 1;
        self.places[index] = Some(Box::new(Session::new(connection, peer, self.last_id, now)));
        index
    }

    pub(crate) fn close(&mut self, index: usize) -> Option<Box<Session>> {
        let session = self.places.get_mut(index)?.take()?;
        self.count -= 1;
        Some(session)
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The client on that connection, unless it is gone.
    #[inline]
    pub(crate) fn find(&mut self, connection: ConnectionId) -> Option<&mut Session> {
        let session = self
            .places
            .get_mut(connection.index as usize)?
            .as_deref_mut()?;
        (session.connection == connection).then_some(session)
    }

    /// The session of a connection, to look at.
    pub(crate) fn look_up(&self, connection: ConnectionId) -> Option<&Session> {
        let session = self.places.get(connection.index as usize)?.as_deref()?;
        (session.connection == connection).then_some(session)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.places.iter().filter_map(Option::as_deref)
    }

    pub(crate) fn by_id(&mut self, id: u64) -> Option<&mut Session> {
        let mut sessions = self.places.iter_mut().filter_map(Option::as_deref_mut);
        sessions.find(|session| session.id == id)
    }

    /// Closes another client at once.
    pub(crate) fn kill(&mut self, connection: ConnectionId) {
        if let Some(session) = self.find(connection) {
            session.closing = Some(CloseWhen::Now);
            self.killed.push(connection);
        }
    }

    pub(crate) fn poll_killed(&mut self) -> Option<ConnectionId> {
        self.killed.pop()
    }
}

impl core::ops::Index<usize> for Sessions {
    type Output = Session;

    #[inline]
    fn index(&self, index: usize) -> &Session {
        match self.places.get(index) {
            Some(Some(session)) => session,
            _ => match &self.internal {
                Some(session) if index == Self::INTERNAL => session,
                _ => unreachable!("only open sessions are used by their index"),
            },
        }
    }
}

impl core::ops::IndexMut<usize> for Sessions {
    #[inline]
    fn index_mut(&mut self, index: usize) -> &mut Session {
        match self.places.get_mut(index) {
            Some(Some(session)) => session,
            _ => match &mut self.internal {
                Some(session) if index == Self::INTERNAL => session,
                _ => unreachable!("only open sessions are used by their index"),
            },
        }
    }
}
