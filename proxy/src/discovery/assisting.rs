//! Does for the assisted failover what it wishes, and tells it what comes of it.

use bytes::BytesMut;
use slotway_protocol::cluster::Topology;
use slotway_protocol::engine::{Action, Address, ConnectError, Instant};

use super::assist::{Pulse, Wish};
use super::question::Subject;
use super::standing::Standing;
use super::{Discovery, Loss, Notice, Watch, last};

impl Discovery {
    /// A connection to that node was refused, or broke off.
    pub(super) fn suspect(&mut self, address: &Address, now: Instant) {
        let published = self.published.as_ref();
        let is_primary = published.is_some_and(|topology| {
            let mut shards = topology.shards().iter();
            shards.any(|shard| shard.primary == *address)
        });
        if self.options.assist_failover && is_primary {
            self.assist.suspect(address);
            self.do_for_assist(now);
        }
    }

    pub(super) fn go_on_assisting(&mut self, now: Instant) {
        self.assist.handle_timeout(now);
        self.do_for_assist(now);
    }

    /// Tells which primaries have been replaced in the topology that is about to be published.
    pub(super) fn note_replaced(&mut self, newer: &Topology, now: Instant) {
        let Some(older) = self
            .published
            .as_ref()
            .filter(|_| self.options.assist_failover)
        else {
            return;
        };
        for shard in older.shards() {
            let mut shards = newer.shards().iter();
            if shards.all(|other| other.primary != shard.primary) {
                self.assist.note_replaced(&shard.primary, now);
            }
        }
    }

    /// Tells who has the slots that are being waited for.
    pub(super) fn note_owner(&mut self, now: Instant) {
        let Some(topology) = self.published.clone() else {
            return;
        };
        if let Some(slot) = self.assist.slot() {
            let owner = topology.owner(slot);
            let owner = owner.map(|shard| &topology.shards()[shard].primary);
            self.assist.handle_owner(owner, now);
        }
        self.watch.take_if(|watch| {
            let mut shards = topology.shards().iter();
            watch.until <= now || shards.any(|shard| shard.primary == watch.node)
        });
        self.do_for_assist(now);
    }

    /// Takes the answer of a node that was asked for the assisted failover.
    pub(super) fn take_for_assist(
        &mut self,
        subject: Subject,
        address: &Address,
        replies: &[BytesMut],
        now: Instant,
    ) {
        match subject {
            Subject::Pulse => self.assist.handle_probe(Pulse::Alive, now),
            Subject::Standing => {
                let standing = Standing::read(replies, address, &self.options.addresses);
                self.assist.handle_standing(address, standing, now);
            }
            _ => {
                let reply = last(replies);
                let refusal = (!reply.starts_with(b"+")).then(|| {
                    let text = String::from_utf8_lossy(reply);
                    text.trim_start_matches('-').trim_end().to_owned()
                });
                self.assist.handle_reply(refusal, now);
            }
        }
        self.do_for_assist(now);
    }

    /// The same for one that did not answer.
    pub(super) fn lose_for_assist(
        &mut self,
        subject: Subject,
        address: &Address,
        loss: &Loss,
        now: Instant,
    ) {
        match subject {
            Subject::Pulse => {
                let pulse = match loss {
                    Loss::Broken | Loss::Unopened(ConnectError::Refused) => Pulse::Gone,
                    Loss::Unopened(_) => Pulse::Unclear,
                };
                self.assist.handle_probe(pulse, now);
            }
            Subject::Standing => self.assist.handle_standing(address, None, now),
            // It may have been heard; the topology will tell.
            _ => {}
        }
        self.do_for_assist(now);
    }

    fn do_for_assist(&mut self, now: Instant) {
        while let Some(next) = self.assist.next_suspect(now) {
            if let Some(stricken) = self.beliefs.stricken(&next) {
                self.assist.begin(stricken, now);
            }
        }
        while let Some(wish) = self.assist.poll_wish() {
            match wish {
                Wish::Probe(address) => self.connect(address, Subject::Pulse),
                Wish::Ask(address) => self.connect(address, Subject::Standing),
                Wish::Order(address) => {
                    self.connect(address, Subject::Order);
                    self.actions.push_back(Action::Notify(Notice::Assisting));
                }
                Wish::Watch { node, until } => {
                    self.watch = Some(Watch { node, until });
                    self.doubt(now);
                }
                Wish::Forget => {
                    for subject in [Subject::Pulse, Subject::Standing, Subject::Order] {
                        self.drop_questions(subject);
                    }
                }
                Wish::Tell(story) => {
                    let notice = Notice::Assisted(story);
                    self.actions.push_back(Action::Notify(notice));
                }
            }
        }
    }
}
