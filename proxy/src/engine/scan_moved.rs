//! The keys of slots that are moving from one node to another, key by key: those that have left
//! already are listed at the other node.

use std::collections::VecDeque;

use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::Address;
use slotway_protocol::resp::value::{Token, TokenReader};

use super::answer;
use super::scan_node::View;
use super::scan_request::ScanRequest;
use super::task::{Steps, command_id, request};

/// The slots of a finished unit that keys were leaving when it was.
#[derive(Debug, Default)]
pub(super) struct Moved {
    waiting: VecDeque<(Slot, Address)>,
    done: Vec<(Slot, Address)>,
    /// Those being listed whose type is asked for.
    keys: Vec<Vec<u8>>,
    /// Replies about their types that have come; two for each.
    replies: usize,
}

/// How a reply was taken.
pub(super) enum Taken {
    /// More will come.
    Partly,
    /// The slot is done.
    Whole,
    /// The client gets this.
    Failed(Vec<u8>),
}

impl Moved {
    /// The slots that are leaving; `None` when it is not known whereto.
    pub(super) fn new(leaving: Vec<(Slot, Option<Address>)>) -> Option<Self> {
        let waiting = leaving.into_iter().map(|(slot, to)| Some((slot, to?)));
        Some(Self {
            waiting: waiting.collect::<Option<_>>()?,
            ..Self::default()
        })
    }

    /// Asks for the keys of the next slot. Says whether there is one.
    pub(super) fn ask_next(&self, turn: u32, steps: &mut Steps) -> bool {
        let Some((slot, address)) = self.waiting.front() else {
            return false;
        };
        let (slot, count) = (slot.to_string(), (KEYS_MAX + 1).to_string());
        let frame = request(&["CLUSTER", "GETKEYSINSLOT", &slot, &count]);
        let id = command_id("cluster|getkeysinslot");
        steps.send_to_address(turn, address.clone(), id, frame);
        true
    }

    /// Takes a reply that is no error; `keep` is called for each key that is wanted.
    pub(super) fn take(
        &mut self,
        reply: &[u8],
        wanted: &ScanRequest,
        turn: u32,
        steps: &mut Steps,
        keep: &mut impl FnMut(&[u8]),
    ) -> Taken {
        if self.keys.is_empty() {
            return self.take_keys(reply, wanted, turn, steps, keep);
        }
        self.replies += 1;
        if self.replies.is_multiple_of(2) {
            let key = &self.keys[self.replies / 2 - 1];
            // A key that has gone in the meantime has the type `none`.
            if let Ok(Some(Token::Simple(name))) = TokenReader::new(reply).next_token()
                && wanted
                    .type_name()
                    .is_some_and(|it| it.eq_ignore_ascii_case(name))
            {
                keep(key);
            }
        }
        if self.replies < 2 * self.keys.len() {
            self.ask_types(turn, steps);
            return Taken::Partly;
        }
        self.end_slot()
    }

    fn take_keys(
        &mut self,
        reply: &[u8],
        wanted: &ScanRequest,
        turn: u32,
        steps: &mut Steps,
        keep: &mut impl FnMut(&[u8]),
    ) -> Taken {
        let Some(mut keys) = read_keys(reply) else {
            return Taken::Failed(answer::error(answer::WRONG_FORM));
        };
        if keys.len() > KEYS_MAX {
            return Taken::Failed(answer::error(TOO_MANY));
        }
        keys.retain(|key| wanted.matches(key));
        if wanted.type_name().is_none() {
            keys.iter().for_each(|key| keep(key));
            return self.end_slot();
        }
        self.keys = keys.into_iter().map(<[u8]>::to_vec).collect();
        if self.keys.is_empty() {
            return self.end_slot();
        }
        self.ask_types(turn, steps);
        Taken::Partly
    }

    /// Asks for the types of some more keys, once those asked before have come. The node does not
    /// own the slot yet, so each question needs an ASKING.
    fn ask_types(&self, turn: u32, steps: &mut Steps) {
        let asked = self.replies / 2;
        if !self.replies.is_multiple_of(2 * TYPES_AT_ONCE) {
            return;
        }
        let Some((_, address)) = self.waiting.front() else {
            return;
        };
        for key in self.keys.iter().skip(asked).take(TYPES_AT_ONCE) {
            let asking = request(&["ASKING"]);
            steps.send_to_address(turn, address.clone(), command_id("asking"), asking);
            let frame = request(&[b"TYPE", &key[..]]);
            steps.send_to_address(turn, address.clone(), command_id("type"), frame);
        }
    }

    fn end_slot(&mut self) -> Taken {
        self.keys.clear();
        self.replies = 0;
        self.done.extend(self.waiting.pop_front());
        Taken::Whole
    }

    /// The first listed slot that is not on its way to the same node any more: its keys may have
    /// been carried on meanwhile.
    pub(super) fn first_changed(&self, view: &View) -> Option<Slot> {
        let changed = self.done.iter().find(|(slot, address)| {
            let leaving = view.leaving(slot.number(), slot.number());
            !view.owns(*slot) || leaving.first() != Some(&(*slot, Some(address.clone())))
        });
        changed.map(|(slot, _)| *slot)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn was_listed(&self) -> bool {
        !self.done.is_empty()
    }
}

/// The elements of an array of bulk strings.
pub(super) fn read_keys(reply: &[u8]) -> Option<Vec<&[u8]>> {
    let mut reader = TokenReader::new(reply);
    let Ok(Some(Token::Array(count) | Token::Set(count))) = reader.next_token() else {
        return None;
    };
    let mut keys = Vec::with_capacity(count.min(reply.len()));
    for _ in 0..count {
        match reader.next_token() {
            Ok(Some(Token::Bulk(key))) => keys.push(key),
            _ => return None,
        }
    }
    Some(keys)
}

/// What is listed of one slot that is moving.
const KEYS_MAX: usize = 100_000;

const TOO_MANY: &[u8] = b"ERR proxy: a slot that is being moved has too many keys to be listed";

/// How many types are asked for in one go.
const TYPES_AT_ONCE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_goes_elsewhere_now_is_noticed() {
        let (me, one, other) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let view = |owned: &str, migrations: &str| {
            let text = format!(
                "{me} h:1@2 myself,master - 0 0 3 connected {owned} {migrations}\n\
                 {one} h:3@4 master - 0 0 1 connected\n{other} h:5@6 master - 0 0 2 connected\n"
            );
            View::parse(text.as_bytes(), &Address::new("h", 1)).unwrap()
        };
        let before = view("0-9", &format!("[4->-{one}] [6->-{one}]"));
        let mut moved = Moved::new(before.leaving(0, 5)).unwrap();
        assert!(!moved.is_empty() && !moved.was_listed());
        moved.end_slot();
        assert!(moved.is_empty() && moved.was_listed());
        let slot = Slot::new(4);
        assert_eq!(moved.first_changed(&before), None);
        assert_eq!(moved.first_changed(&view("0-9", "")), slot);
        assert_eq!(moved.first_changed(&view("0-3", "")), slot);
        let elsewhere = view("0-9", &format!("[4->-{other}]"));
        assert_eq!(moved.first_changed(&elsewhere), slot);
    }
}
