//! What a client has queued between MULTI and EXEC: checked when it is queued, sent as one block
//! when it is executed.

use bytes::Bytes;
use slotway_protocol::cluster::Slot;
use slotway_protocol::resp::{
    Protocol, RequestBuffers, RequestLimits, RequestScanner, Scan, encode,
};

/// The commands behind a MULTI.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// The requests for the node, one behind the other.
    frames: Vec<u8>,
    /// How many commands were queued.
    len: u32,
    /// Those that the proxy answers by itself: place and request.
    local: Vec<(u32, Vec<u8>)>,
    /// Scripts that queued commands name. Within the transaction it would be too late to find that
    /// the node does not know one.
    scripts: Vec<Bytes>,
    /// The slot of all keys so far.
    slot: Option<Slot>,
    /// The memory that all this takes.
    bytes: usize,
    /// A command was refused, so that EXEC will be.
    failed: bool,
}

/// The keys of a queued command belong to another slot than those before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Crossed;

impl Transaction {
    /// Makes sure that a command with keys of that slot can be part of it.
    pub(crate) fn join(&mut self, slot: Slot) -> Result<(), Crossed> {
        match *self.slot.get_or_insert(slot) == slot {
            true => Ok(()),
            false => Err(Crossed),
        }
    }

    /// Queues a request for the node.
    pub(crate) fn push(&mut self, frame: &[u8]) {
        self.frames.extend_from_slice(frame);
        self.bytes += frame.len();
        self.len += 1;
    }

    /// Queues a request that the proxy answers.
    pub(crate) fn push_local(&mut self, frame: &[u8]) {
        self.local.push((self.len, frame.to_vec()));
        self.bytes += frame.len();
        self.len += 1;
    }

    /// A queued command needs the node to know that script.
    pub(crate) fn need_script(&mut self, body: Bytes) {
        if !self.scripts.contains(&body) {
            self.bytes += body.len();
            self.scripts.push(body);
        }
    }

    pub(crate) fn fail(&mut self) {
        self.failed = true;
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    pub(crate) fn slot(&self) -> Option<Slot> {
        self.slot
    }

    /// The memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn local(&self) -> &[(u32, Vec<u8>)] {
        &self.local
    }

    /// How many commands were queued.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// How many of them the node is to execute.
    pub(crate) fn for_node(&self) -> u32 {
        self.len - self.local.len() as u32
    }

    /// The block to send, and how many replies come before that of its EXEC.
    pub(crate) fn block(&self) -> (Vec<u8>, u32) {
        let mut block = Vec::with_capacity(MULTI.len() + self.bytes() + EXEC.len());
        for script in &self.scripts {
            block.extend_from_slice(LOAD);
            encode::bulk(&mut block, script);
        }
        block.extend_from_slice(MULTI);
        block.extend_from_slice(&self.frames);
        block.extend_from_slice(EXEC);
        (block, self.scripts.len() as u32 + self.for_node() + 1)
    }
}

/// The part of a block before its MULTI: how long it is, and how many replies it gets. Any other
/// request has no such part.
pub(crate) fn lead(block: &[u8]) -> (usize, u32) {
    let mut buffers = RequestBuffers::default();
    let limits = RequestLimits::default();
    let (mut len, mut replies) = (0, 0);
    while block[len..].starts_with(LOAD)
        && let Ok(Scan::Request { consumed }) =
            RequestScanner::default().scan(&block[len..], &limits, &mut buffers)
        && len + consumed < block.len()
    {
        len += consumed;
        replies += 1;
    }
    (len, replies)
}

/// Puts the replies of commands that the proxy answered into the reply of an EXEC, each in its
/// place. Errors and null, for a transaction that was not executed, stay what they are.
pub(crate) fn splice(reply: &[u8], local: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let Some(mut rest) = elements(reply) else {
        return reply.to_vec();
    };
    let count = rest.len() + local.len();
    let mut whole = Vec::with_capacity(reply.len() + 16);
    encode::array(&mut whole, count);
    let mut local = local.iter().peekable();
    let mut from_node = rest.drain(..);
    for place in 0..count as u32 {
        match local.next_if(|(own, _)| *own == place) {
            Some((_, reply)) => whole.extend_from_slice(reply),
            None => whole.extend_from_slice(from_node.next().unwrap_or_default()),
        }
    }
    whole
}

/// The elements of an array, each with all that belongs to it.
fn elements(reply: &[u8]) -> Option<Vec<&[u8]>> {
    use slotway_protocol::resp::value::{Token, TokenReader};
    let mut reader = TokenReader::new(reply);
    let Ok(Some(Token::Array(count))) = reader.next_token() else {
        return None;
    };
    (0..count).map(|_| reader.next_value().ok()).collect()
}

/// The reply of an EXEC that did nothing because a watched key was changed.
pub(crate) fn aborted(protocol: Protocol) -> Vec<u8> {
    let mut reply = Vec::new();
    encode::null_array(&mut reply, protocol);
    reply
}

/// The beginning of what makes a node know a script, which follows.
const LOAD: &[u8] = b"*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n";
const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_what_a_client_would_send() {
        let mut transaction = Transaction::default();
        transaction.push(b"*1\r\n$1\r\na\r\n");
        transaction.push_local(b"local");
        transaction.push(b"*1\r\n$1\r\nb\r\n");
        let (block, preceding) = transaction.block();
        let expected =
            "*1\r\n$5\r\nMULTI\r\n*1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n*1\r\n$4\r\nEXEC\r\n";
        assert_eq!(block, expected.as_bytes());
        assert_eq!(preceding, 3);
    }

    #[test]
    fn scripts_are_loaded_in_front() {
        let mut transaction = Transaction::default();
        transaction.push(b"*1\r\n$1\r\na\r\n");
        for body in ["return 1", "return 2", "return 1"] {
            transaction.need_script(Bytes::from(body));
        }
        let (block, preceding) = transaction.block();
        let (len, replies) = lead(&block);
        let loads = "*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n$8\r\nreturn 1\r\n\
                     *3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n$8\r\nreturn 2\r\n";
        assert_eq!(&block[..len], loads.as_bytes());
        assert!(block[len..].starts_with(MULTI));
        assert_eq!((replies, preceding), (2, 4));
        // A client's own SCRIPT LOAD is no part of a block.
        assert_eq!(lead(&block[..len / 2]), (0, 0));
    }

    #[test]
    fn all_keys_share_a_slot() {
        let mut transaction = Transaction::default();
        assert_eq!(transaction.join(Slot::of(b"a")), Ok(()));
        assert_eq!(transaction.join(Slot::of(b"{a}b")), Ok(()));
        assert_eq!(transaction.join(Slot::of(b"b")), Err(Crossed));
    }

    #[test]
    fn own_replies_take_their_places() {
        let own = |place, reply: &str| (place, reply.as_bytes().to_vec());
        let local = [own(0, "+A\r\n"), own(2, "*1\r\n+C\r\n"), own(4, "+E\r\n")];
        let spliced = splice(b"*2\r\n*1\r\n:1\r\n$1\r\nd\r\n", &local);
        assert_eq!(
            spliced,
            b"*5\r\n+A\r\n*1\r\n:1\r\n*1\r\n+C\r\n$1\r\nd\r\n+E\r\n"
        );
        assert_eq!(splice(b"*-1\r\n", &local), b"*-1\r\n");
        assert_eq!(splice(b"-EXECABORT\r\n", &local), b"-EXECABORT\r\n");
    }
}
