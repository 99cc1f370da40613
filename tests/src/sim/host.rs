//! Does for an engine what the tokio driver does, by the same contract, and watches that the
//! engine keeps its side of it.

use std::io::IoSlice;

use bytes::BytesMut;
use slotway_protocol::engine::{
    Action, Address, CloseWhen, ConnectError, ConnectToken, ConnectionId, Instant, Now, Origin,
    Peer,
};

use super::machine::{Effect, Keeper, Limits, Machine, Stimulus, Subject};
use super::random::Random;
use super::resp;

/// An engine and its connections.
pub struct Host<E> {
    engine: E,
    connections: Vec<Place>,
    free: Vec<u32>,
    /// Connections to be handed their leftover input, and those to be closed.
    resumed: Vec<ConnectionId>,
    closed: Vec<ConnectionId>,
    effects: Vec<Effect>,
    limits: Limits,
    random: Random,
    steps: u64,
}

#[derive(Default)]
struct Place {
    generation: u32,
    connection: Option<Connection>,
}

/// What a driver knows about a connection.
struct Connection {
    input: BytesMut,
    accepted: bool,
    paused: bool,
    /// Closes once its output is written.
    flushing: bool,
    closing: bool,
    /// Sends its end of the stream once its output is written.
    shutdown: bool,
}

impl<E: Subject> Host<E> {
    pub fn new(engine: E, limits: Limits, random: Random) -> Self {
        Self {
            engine,
            connections: Vec::new(),
            free: Vec::new(),
            resumed: Vec::new(),
            closed: Vec::new(),
            effects: Vec::new(),
            limits,
            random,
            steps: 0,
        }
    }

    fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let place = self.connections.get_mut(id.index as usize)?;
        place
            .connection
            .as_mut()
            .filter(|_| place.generation == id.generation)
    }

    fn fault(&mut self, what: impl Into<String>) {
        self.effects.push(Effect::Fault(what.into()));
    }

    /// Carries out what the engine asks for, until it asks for nothing.
    fn drain(&mut self, now: Now) {
        let mut rounds = 0;
        loop {
            while let Some(action) = self.engine.poll_action() {
                self.act(action);
                rounds += 1;
                assert!(rounds < 1_000_000, "the engine never stops asking");
            }
            if let Some(id) = self.closed.pop() {
                self.finish(id, now);
            } else if let Some(id) = self.resumed.pop() {
                self.offer(id, now);
            } else {
                break;
            }
        }
        self.steps += 1;
        self.engine.check(self.steps);
        self.check_limits();
    }

    fn act(&mut self, action: Action<E::Notice>) {
        match action {
            Action::Connect { token, address } => {
                self.effects.push(Effect::Connect { token, address });
            }
            Action::Close { connection, when } => self.close(connection, when),
            Action::Wake(id) if self.connection(id).is_some() => {
                self.effects.push(Effect::Dirty(id));
            }
            Action::Wake(id) => self.fault(format!("woke a connection that is gone: {id:?}")),
            Action::Pause(id) => match self.connection(id) {
                Some(connection) => connection.paused = true,
                None => self.fault(format!("paused a connection that is gone: {id:?}")),
            },
            Action::Resume(id) => self.resume(id),
            Action::Notify(notice) => {
                for signal in E::signals(notice) {
                    self.signal(signal);
                }
            }
        }
    }

    fn signal(&mut self, signal: super::machine::Signal) {
        if let super::machine::Signal::Shutdown(id) = signal {
            if let Some(connection) = self.connection(id) {
                connection.shutdown = true;
                self.effects.push(Effect::Dirty(id));
            }
            return;
        }
        self.effects.push(Effect::Signal(signal));
    }

    fn resume(&mut self, id: ConnectionId) {
        let Some(connection) = self.connection(id) else {
            return self.fault(format!("resumed a connection that is gone: {id:?}"));
        };
        connection.paused = false;
        self.resumed.push(id);
        self.effects.push(Effect::Resumed(id));
    }

    fn close(&mut self, id: ConnectionId, when: CloseWhen) {
        let Some(connection) = self.connection(id) else {
            return self.fault(format!("closed a connection that is gone: {id:?}"));
        };
        connection.closing = true;
        connection.flushing = when == CloseWhen::Flushed;
        if when == CloseWhen::Now || self.engine.output(id).is_empty() {
            self.closed.push(id);
        } else {
            self.effects.push(Effect::Dirty(id));
        }
    }

    /// Tells the engine that a connection is gone.
    fn finish(&mut self, id: ConnectionId, now: Now) {
        if self.connection(id).is_none() {
            return;
        }
        self.forget(id);
        self.effects.push(Effect::Closed(id));
        self.engine.handle_close(id, now);
    }

    fn forget(&mut self, id: ConnectionId) {
        let place = &mut self.connections[id.index as usize];
        place.connection = None;
        place.generation += 1;
        self.free.push(id.index);
    }

    /// Hands the kept input to the engine.
    fn offer(&mut self, id: ConnectionId, now: Now) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        if connection.paused || connection.closing || connection.input.is_empty() {
            return;
        }
        let mut input = std::mem::take(&mut connection.input);
        self.engine.handle_input(id, &mut input, now);
        if let Some(connection) = self.connection(id) {
            connection.input = input;
        }
        self.effects.push(Effect::Dirty(id));
    }

    /// After all actions are carried out, no whole frame may lie about unless reading is paused.
    fn check_taken(&mut self, id: ConnectionId) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        let idle = !connection.paused && !connection.closing;
        if idle && resp::frame_len(&connection.input).is_some() {
            let input = String::from_utf8_lossy(&connection.input).into_owned();
            self.fault(format!(
                "left a whole frame of {id:?} without a pause: {input:?}"
            ));
        }
    }

    fn check_limits(&mut self) {
        let limits = self.limits;
        let mut faults = Vec::new();
        for (index, place) in self.connections.iter().enumerate() {
            let Some(connection) = &place.connection else {
                continue;
            };
            let id = ConnectionId {
                index: index as u32,
                generation: place.generation,
            };
            let output = self.engine.output(id);
            let (bytes, max) = if connection.accepted {
                (output.len(), limits.accepted_output_bytes)
            } else {
                (
                    output.len() + output.retained_len(),
                    limits.connected_output_bytes,
                )
            };
            if bytes > max {
                faults.push(format!("{bytes} output bytes on {id:?}, more than {max}"));
            }
        }
        faults.into_iter().for_each(|what| self.fault(what));
    }
}

impl<E: Subject> Machine for Host<E> {
    fn open(&mut self, peer: Peer, now: Now) -> ConnectionId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.connections.push(Place::default());
            self.connections.len() as u32 - 1
        });
        let place = &mut self.connections[index as usize];
        place.connection = Some(Connection {
            input: BytesMut::new(),
            accepted: matches!(peer.origin, Origin::Accepted(_)),
            paused: false,
            flushing: false,
            closing: false,
            shutdown: false,
        });
        let id = ConnectionId {
            index,
            generation: place.generation,
        };
        self.effects.push(Effect::Opened(id));
        self.engine.handle_open(id, peer, now);
        self.drain(now);
        id
    }

    fn connect_failed(&mut self, token: ConnectToken, error: ConnectError, now: Now) {
        self.engine.handle_connect_failed(token, error, now);
        self.drain(now);
    }

    fn receive(&mut self, id: ConnectionId, bytes: &[u8], now: Now) {
        if let Some(connection) = self.connection(id) {
            connection.input.extend_from_slice(bytes);
            self.offer(id, now);
            self.drain(now);
            self.check_taken(id);
        }
    }

    fn end(&mut self, id: ConnectionId, now: Now) {
        if self.connection(id).is_some() {
            self.engine.handle_end(id, now);
            self.drain(now);
        }
    }

    fn reset(&mut self, id: ConnectionId, now: Now) {
        if self.connection(id).is_some() {
            self.forget(id);
            self.engine.handle_close(id, now);
            self.drain(now);
        }
    }

    fn write(&mut self, id: ConnectionId, max: usize, now: Now) -> Vec<u8> {
        if self.connection(id).is_none() {
            return Vec::new();
        }
        let few = self.random.chance(300);
        let mut slices = [IoSlice::new(&[]); 8];
        let slices = &mut slices[..if few { 1 } else { 8 }];
        let output = self.engine.output(id);
        let used = output.slices(slices);
        let mut bytes = Vec::new();
        for slice in &slices[..used] {
            bytes.extend_from_slice(&slice[..slice.len().min(max - bytes.len())]);
        }
        if few && !bytes.is_empty() {
            bytes.truncate(1 + self.random.index(bytes.len()));
        }
        if !bytes.is_empty() {
            output.advance(bytes.len());
            self.engine.handle_written(id, now);
            self.drain(now);
        }
        let is_empty = self.connection(id).is_some() && self.engine.output(id).is_empty();
        let Some(connection) = self.connection(id).filter(|_| is_empty) else {
            return bytes;
        };
        let (flushing, shutdown) = (connection.flushing, connection.shutdown);
        connection.shutdown = false;
        if flushing {
            self.closed.push(id);
            self.drain(now);
        } else if shutdown {
            self.effects.push(Effect::Shutdown(id));
        }
        bytes
    }

    fn has_output(&mut self, id: ConnectionId) -> bool {
        self.connection(id).is_some() && !self.engine.output(id).is_empty()
    }

    fn is_reading(&self, id: ConnectionId) -> bool {
        let place = &self.connections[id.index as usize];
        let reads = |connection: &Connection| !connection.paused && !connection.closing;
        place.generation == id.generation && place.connection.as_ref().is_some_and(reads)
    }

    fn timeout(&mut self, now: Now) {
        self.engine.handle_timeout(now);
        self.drain(now);
    }

    fn stimulate(&mut self, stimulus: Stimulus, now: Now) {
        if let Some(event) = E::event(stimulus) {
            self.engine.handle_event(event, now);
            self.drain(now);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.engine.poll_timeout()
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    fn keeper(&mut self) -> Option<&mut dyn Keeper> {
        self.engine.keeper()
    }

    fn waits_for(&self) -> Option<String> {
        self.engine.waits_for()
    }

    fn settle(&mut self, now: Now) {
        self.drain(now);
    }
}

/// The address as text and number, for what takes a `SocketAddr`.
pub fn socket_address(address: &Address) -> core::net::SocketAddr {
    let ip = address
        .host
        .parse()
        .expect("the simulation's hosts are addresses");
    core::net::SocketAddr::new(ip, address.port)
}
