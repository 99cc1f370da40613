//! A small node: just enough of Redis Cluster to be moved about and to be told to misbehave.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf, BytesMut};
use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::{
    Action, CloseWhen, ConnectError, ConnectToken, ConnectionId, Engine, Instant, Now, Peer,
};
use slotway_protocol::output::Output;

use super::machine::{Keeper, Mood, Payload, Signal, Stimulus, Subject};
use super::model_block::Block;
use super::resp::{self, Read, Value};
use super::view::View;

/// The node.
#[derive(Default)]
pub struct ModelNode {
    view: View,
    keys: BTreeMap<Vec<u8>, Stored>,
    pub(super) sessions: BTreeMap<ConnectionId, Session>,
    mood: Option<Mood>,
    actions: VecDeque<Action<()>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stored {
    Text(Vec<u8>),
    List(Vec<Vec<u8>>),
}

#[derive(Default)]
pub(super) struct Session {
    output: Output,
    asking: bool,
    resp3: bool,
    pub(super) block: Option<Block>,
    /// Keys that EXEC depends on, and whether one was changed.
    pub(super) watched: Vec<Vec<u8>>,
    pub(super) is_disturbed: bool,
}

impl ModelNode {
    pub fn new(view: View) -> Self {
        Self {
            view,
            ..Self::default()
        }
    }

    fn answer(&mut self, id: ConnectionId, args: &[Vec<u8>]) {
        let session = self
            .sessions
            .get_mut(&id)
            .expect("an open connection has a session");
        let asking = std::mem::take(&mut session.asking);
        let name = args[0].to_ascii_uppercase();
        let reply = match (&name[..], &args[1..]) {
            (name, _) if self.mood == Some(Mood::Loads) && !WHILE_LOADING.contains(&name) => {
                if let Some(block) = &mut session.block {
                    block.fail();
                }
                Value::Error(LOADING.to_vec())
            }
            (b"ASKING", []) => {
                session.asking = true;
                ok()
            }
            (b"HELLO", [version]) => {
                session.resp3 = version == b"3";
                let fields = [
                    bulk("server"),
                    bulk("model"),
                    bulk("proto"),
                    int(version.len()),
                ];
                if session.resp3 {
                    Value::Map(fields.to_vec())
                } else {
                    Value::Array(fields.to_vec())
                }
            }
            (b"CLUSTER", [what]) if what.eq_ignore_ascii_case(b"NODES") => {
                Value::Bulk(self.view.nodes_text().into_bytes())
            }
            (b"CLIENT", [what]) if what.eq_ignore_ascii_case(b"ID") => int(1),
            (b"CLUSTER", [what, slot, _]) if what.eq_ignore_ascii_case(b"GETKEYSINSLOT") => {
                self.keys_of(slot)
            }
            (b"CLUSTER" | b"CLIENT" | b"READONLY", _) => ok(),
            (b"MULTI" | b"EXEC" | b"DISCARD" | b"UNWATCH", []) => {
                self.transaction(id, &name, asking)
            }
            _ if session.block.is_some() => self.queue(id, args),
            (b"WATCH", keys) => self.watch(id, keys, asking),
            (b"INFO", _) => Value::Bulk(INFO.to_vec()),
            (b"DBSIZE", []) => int(self.keys.len()),
            (b"RANDOMKEY", []) => {
                let key = self.keys.keys().next();
                key.map_or(Value::Nil, |key| Value::Bulk(key.clone()))
            }
            (b"KEYS", [pattern]) => self.list(|key| key.starts_with(&pattern[..pattern.len() - 1])),
            // All keys in one page, or none if those with some name are asked for.
            (b"SCAN", args) => {
                let named = args.iter().any(|arg| arg == b"MATCH");
                Value::Array(vec![bulk("0"), self.list(|_| !named)])
            }
            (b"PING", []) => Value::Simple(b"PONG".to_vec()),
            (b"PING" | b"ECHO", [text]) => Value::Bulk(text.clone()),
            _ => self.serve(&name, args, asking),
        };
        let session = self
            .sessions
            .get_mut(&id)
            .expect("the session is still there");
        let mut bytes = Vec::new();
        resp::write(&mut bytes, &in_protocol(reply, session.resp3));
        session.output.push(&bytes);
    }

    /// Commands with keys: the slot first, then the command.
    pub(super) fn serve(&mut self, name: &[u8], args: &[Vec<u8>], asking: bool) -> Value {
        let Some(keys) = keys(name, args) else {
            let text = String::from_utf8_lossy(name).to_lowercase();
            let known = matches!(name, b"GET" | b"SET" | b"RPUSH" | b"INCR");
            return Value::Error(if known {
                format!("ERR wrong number of arguments for '{text}' command").into_bytes()
            } else {
                format!("ERR unknown command '{text}'").into_bytes()
            });
        };
        match self.refusal(&keys, asking) {
            Some(error) => Value::Error(error.into_bytes()),
            None => self.run(name, args),
        }
    }

    /// Why the keys are not served here now.
    pub(super) fn refusal(&self, keys: &[&[u8]], asking: bool) -> Option<String> {
        match &self.mood {
            Some(Mood::Refuses(error)) => Some((*error).to_owned()),
            Some(Mood::Sends { word, to }) => Some(format!("{word} {} {to}", Slot::of(keys[0]))),
            Some(Mood::Loads) | None => self.not_mine(keys, asking),
        }
    }

    /// Why the keys are not served by this node (Redis Cluster specification, "Redirection").
    fn not_mine(&self, keys: &[&[u8]], asking: bool) -> Option<String> {
        let slot = Slot::of(keys[0]);
        if keys.iter().any(|key| Slot::of(key) != slot) {
            return Some("CROSSSLOT Keys in request don't hash to the same slot".to_owned());
        }
        let missing = keys
            .iter()
            .filter(|key| !self.keys.contains_key(**key))
            .count();
        let view = &self.view;
        if view.is_down {
            return Some("CLUSTERDOWN The cluster is down".to_owned());
        }
        if view.owner(slot) == Some(view.me) {
            let to = view.migrating.get(&slot).filter(|_| missing > 0)?;
            if keys.len() > 1 && missing < keys.len() {
                return Some(TRYAGAIN.to_owned());
            }
            return Some(format!("ASK {slot} {}", view.address(*to)));
        }
        if asking && view.importing.contains_key(&slot) {
            return (keys.len() > 1 && missing > 0).then(|| TRYAGAIN.to_owned());
        }
        match view.owner(slot) {
            Some(owner) => Some(format!("MOVED {slot} {}", view.address(owner))),
            None => Some("CLUSTERDOWN Hash slot not served".to_owned()),
        }
    }

    pub(super) fn run(&mut self, name: &[u8], args: &[Vec<u8>]) -> Value {
        let key = &args[1];
        match name {
            b"GET" => self.get(key),
            b"SET" => self.set(key, &args[2]),
            b"MGET" => Value::Array(args[1..].iter().map(|key| self.get(key)).collect()),
            b"MSET" => {
                for pair in args[1..].chunks(2) {
                    self.set(&pair[0], &pair[1]);
                }
                ok()
            }
            b"DEL" | b"UNLINK" => int(args[1..].iter().filter(|key| self.remove(key)).count()),
            b"EXISTS" | b"TOUCH" => int(args[1..]
                .iter()
                .filter(|key| self.keys.contains_key(*key))
                .count()),
            b"INCR" => self.increment(key),
            b"RPUSH" => match self
                .keys
                .entry(key.clone())
                .or_insert(Stored::List(Vec::new()))
            {
                Stored::Text(_) => wrong_type(),
                Stored::List(items) => {
                    items.extend_from_slice(&args[2..]);
                    int(items.len())
                }
            },
            _ => match self.keys.get(key) {
                None => Value::Array(Vec::new()),
                Some(Stored::Text(_)) => wrong_type(),
                Some(Stored::List(items)) => {
                    Value::Array(items.iter().cloned().map(Value::Bulk).collect())
                }
            },
        }
    }

    fn get(&self, key: &[u8]) -> Value {
        match self.keys.get(key) {
            None => Value::Nil,
            Some(Stored::Text(text)) => Value::Bulk(text.clone()),
            Some(Stored::List(_)) => wrong_type(),
        }
    }

    fn remove(&mut self, key: &[u8]) -> bool {
        self.disturb(key);
        self.keys.remove(key).is_some()
    }

    fn list(&self, wanted: impl Fn(&[u8]) -> bool) -> Value {
        let keys = self.keys.keys().filter(|key| wanted(key));
        Value::Array(keys.cloned().map(Value::Bulk).collect())
    }

    fn keys_of(&self, slot: &[u8]) -> Value {
        self.list(|key| Slot::of(key).to_string().as_bytes() == slot)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Value {
        self.disturb(key);
        self.keys.insert(key.to_vec(), Stored::Text(value.to_vec()));
        ok()
    }

    fn increment(&mut self, key: &[u8]) -> Value {
        match self
            .keys
            .entry(key.to_vec())
            .or_insert_with(|| Stored::Text(b"0".to_vec()))
        {
            Stored::List(_) => wrong_type(),
            Stored::Text(text) => {
                let number = String::from_utf8_lossy(text)
                    .parse::<usize>()
                    .map_or(1, |n| n + 1);
                *text = number.to_string().into_bytes();
                int(number)
            }
        }
    }
}

impl Engine for ModelNode {
    type Event = ();
    type Notice = ();

    fn handle_open(&mut self, connection: ConnectionId, _: Peer, _: Now) {
        self.sessions.insert(connection, Session::default());
    }

    fn handle_connect_failed(&mut self, _: ConnectToken, _: ConnectError, _: Now) {}

    fn handle_input(&mut self, connection: ConnectionId, input: &mut BytesMut, _: Now) {
        loop {
            match resp::read(input) {
                Read::Incomplete => return,
                Read::Broken => panic!("a node was sent no RESP: {input:?}"),
                Read::Whole(value, len) => {
                    input.advance(len);
                    let args = resp::arguments(value).expect("a request is an array of strings");
                    self.answer(connection, &args);
                }
            }
        }
    }

    fn handle_end(&mut self, connection: ConnectionId, _: Now) {
        let when = CloseWhen::Flushed;
        self.actions.push_back(Action::Close { connection, when });
    }

    fn handle_close(&mut self, connection: ConnectionId, _: Now) {
        self.sessions.remove(&connection);
    }

    fn handle_written(&mut self, _: ConnectionId, _: Now) {}

    fn handle_timeout(&mut self, _: Now) {}

    fn handle_event(&mut self, (): (), _: Now) {}

    fn output(&mut self, connection: ConnectionId) -> &mut Output {
        &mut self
            .sessions
            .get_mut(&connection)
            .expect("only open ones are written")
            .output
    }

    fn poll_action(&mut self) -> Option<Action<()>> {
        self.actions.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

impl Subject for ModelNode {
    fn event(_: Stimulus) -> Option<()> {
        None
    }

    fn signals((): ()) -> Vec<Signal> {
        Vec::new()
    }

    fn check(&self, _: u64) {}

    fn keeper(&mut self) -> Option<&mut dyn Keeper> {
        Some(self)
    }
}

impl Keeper for ModelNode {
    fn set_view(&mut self, view: &View, _: Now) {
        self.view = view.clone();
    }

    fn export(&mut self, key: &[u8]) -> Option<Payload> {
        let stored = self.keys.remove(key)?;
        self.disturb(key);
        Some(Box::new(stored))
    }

    fn import(&mut self, key: &[u8], payload: Payload) {
        let stored = payload
            .downcast::<Stored>()
            .expect("all nodes are of one kind");
        self.disturb(key);
        let before = self.keys.insert(key.to_vec(), *stored);
        assert_eq!(before, None, "a key lives on one node");
    }

    fn set_mood(&mut self, mood: Option<Mood>) -> bool {
        self.mood = mood;
        true
    }
}

/// The keys of a command with keys; `None` when it is unknown or has too few arguments.
pub(super) fn keys<'a>(name: &[u8], args: &'a [Vec<u8>]) -> Option<Vec<&'a [u8]>> {
    let (first, step, least) = match name {
        b"GET" | b"INCR" => (1, 0, 2),
        b"SET" | b"RPUSH" => (1, 0, 3),
        b"LRANGE" => (1, 0, 4),
        b"MGET" | b"WATCH" | b"DEL" | b"UNLINK" | b"EXISTS" | b"TOUCH" => (1, 1, 2),
        b"MSET" => (1, 2, 3),
        _ => return None,
    };
    if args.len() < least {
        return None;
    }
    let end = if step == 0 { first + 1 } else { args.len() };
    Some(
        args[first..end]
            .iter()
            .step_by(step.max(1))
            .map(|key| &key[..])
            .collect(),
    )
}

/// Nothing is written differently in the two protocols.
fn in_protocol(value: Value, resp3: bool) -> Value {
    match value {
        Value::Nil | Value::Other(b'*', _) if resp3 => Value::Null,
        Value::Array(items) => Value::Array(
            items
                .into_iter()
                .map(|item| in_protocol(item, resp3))
                .collect(),
        ),
        other => other,
    }
}

pub(super) fn ok() -> Value {
    Value::Simple(b"OK".to_vec())
}

fn bulk(text: &str) -> Value {
    Value::Bulk(text.as_bytes().to_vec())
}

fn int(number: usize) -> Value {
    Value::Integer(number as i64)
}

fn wrong_type() -> Value {
    let text = "WRONGTYPE Operation against a key holding the wrong kind of value";
    Value::Error(text.as_bytes().to_vec())
}

/// As of a server whose cursors have no slots in them.
const INFO: &[u8] = b"# Server\r\nredis_version:7.0.15\r\nrun_id:model\r\n";

/// What a node answers while it is loading.
const WHILE_LOADING: [&[u8]; 8] = [
    b"HELLO", b"CLIENT", b"INFO", b"WATCH", b"UNWATCH", b"MULTI", b"DISCARD", b"EXEC",
];

const LOADING: &[u8] = b"LOADING Redis is loading the dataset in memory";

const TRYAGAIN: &str = "TRYAGAIN Multiple keys request during rehashing of slot";
