//! MULTI, EXEC, DISCARD, WATCH and UNWATCH of the small node.

use slotway_protocol::engine::ConnectionId;

use super::model::{ModelNode, Session, keys, ok};
use super::resp::Value;

/// What was queued since MULTI.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// An ASKING before the MULTI is good for all of it.
    asking: bool,
    queued: Vec<Vec<Vec<u8>>>,
    has_failed: bool,
}

impl Block {
    /// A command was refused, so EXEC will be.
    pub(super) fn fail(&mut self) {
        self.has_failed = true;
    }
}

impl ModelNode {
    fn session(&mut self, id: ConnectionId) -> &mut Session {
        let session = self.sessions.get_mut(&id);
        session.expect("an open connection has a session")
    }

    /// One of the commands without keys.
    pub(super) fn transaction(&mut self, id: ConnectionId, name: &[u8], asking: bool) -> Value {
        let session = self.session(id);
        match (name, session.block.take()) {
            (b"MULTI", None) => {
                let block = Block::default();
                session.block = Some(Block { asking, ..block });
                ok()
            }
            (b"UNWATCH", None) => {
                session.watched.clear();
                session.is_disturbed = false;
                ok()
            }
            (b"DISCARD", Some(_)) => {
                session.watched.clear();
                session.is_disturbed = false;
                ok()
            }
            (b"EXEC", Some(block)) => self.execute(id, &block),
            (b"UNWATCH", Some(mut block)) => {
                block.queued.push(vec![b"UNWATCH".to_vec()]);
                session.block = Some(block);
                Value::Simple(b"QUEUED".to_vec())
            }
            (_, block) => {
                session.block = block;
                Value::Error(b"ERR not now".to_vec())
            }
        }
    }

    /// A command between MULTI and EXEC.
    pub(super) fn queue(&mut self, id: ConnectionId, args: &[Vec<u8>]) -> Value {
        let Some(mut block) = self.session(id).block.take() else {
            return Value::Error(b"ERR nothing was begun".to_vec());
        };
        let name = args[0].to_ascii_uppercase();
        let error = match keys(&name, args) {
            _ if matches!(&name[..], b"PING" | b"ECHO") => None,
            None => Some("ERR unknown command or too few arguments".to_owned()),
            Some(keys) => self.refusal(&keys, block.asking),
        };
        block.has_failed |= error.is_some();
        if error.is_none() {
            block.queued.push(args.to_vec());
        }
        self.session(id).block = Some(block);
        match error {
            Some(text) => Value::Error(text.into_bytes()),
            None => Value::Simple(b"QUEUED".to_vec()),
        }
    }

    fn execute(&mut self, id: ConnectionId, block: &Block) -> Value {
        let session = self.session(id);
        session.watched.clear();
        let is_disturbed = std::mem::take(&mut session.is_disturbed);
        let mut all: Vec<&[u8]> = Vec::new();
        for args in &block.queued {
            let name = args[0].to_ascii_uppercase();
            let more = keys(&name, args).unwrap_or_default();
            all.extend(more.into_iter().filter(|_| args.len() > 1));
        }
        all.sort_unstable();
        all.dedup();
        if block.has_failed {
            let text = "EXECABORT Transaction discarded because of previous errors.";
            return Value::Error(text.into());
        }
        if !all.is_empty()
            && let Some(error) = self.refusal(&all, block.asking)
        {
            return Value::Error(error.into_bytes());
        }
        if is_disturbed {
            // A null array; in_protocol makes it null.
            return Value::Other(b'*', b"-1".to_vec());
        }
        let run = |args: &Vec<Vec<u8>>| match &args[0].to_ascii_uppercase()[..] {
            b"UNWATCH" => ok(),
            b"PING" if args.len() == 1 => Value::Simple(b"PONG".to_vec()),
            b"PING" | b"ECHO" => Value::Bulk(args[1].clone()),
            name => self.run(name, args),
        };
        Value::Array(block.queued.iter().map(run).collect())
    }

    pub(super) fn watch(&mut self, id: ConnectionId, keys: &[Vec<u8>], asking: bool) -> Value {
        let all: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
        if let Some(error) = self.refusal(&all, asking) {
            return Value::Error(error.into_bytes());
        }
        self.session(id).watched.extend_from_slice(keys);
        ok()
    }

    /// A key is changed: those who watch it will not execute what they queue.
    pub(super) fn disturb(&mut self, key: &[u8]) {
        for session in self.sessions.values_mut() {
            session.is_disturbed |= session.watched.iter().any(|watched| watched == key);
        }
    }
}
