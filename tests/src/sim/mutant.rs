//! Faults of a proxy, made between it and its peers: what the simulation has to notice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use slotway_protocol::cluster::Slot;

use super::network::End;
use super::random::Random;
use super::resp::{self, Read};
use super::scenario::Scenario;
use super::story::Story;
use super::workload;

/// What a broken proxy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    DropReply,
    DoubleReply,
    /// Two clients get each other's reply.
    CrossReplies,
    /// A client gets two replies in the wrong order.
    SwapReplies,
    LoseRequest,
    /// A request that was redirected is sent twice.
    RetryTwice,
    /// Two requests of a client to one slot change places when they are sent again.
    SwapRetries,
    /// Two clients get each other's reply, when both are numbers.
    CrossNumbers,
    /// An increment is sent twice.
    RepeatIncrement,
    /// A SET or MSET is acknowledged and never sent.
    ForgeWrite,
    /// A transaction is sent twice.
    RepeatBlock,
    /// Takes the answer to the last command of a transaction for that to its EXEC.
    CountOneLess,
    /// A WATCH is acknowledged and never sent.
    ForgeWatch,
    /// A page of a walk over all keys comes back empty.
    SkipPage,
    /// Says of what was executed that nobody knows.
    ClaimUnknown,
    /// Says at once that a request cannot be served.
    GiveUp,
    /// Gives a late reply on a lost connection to the next request on another one.
    PassLateReply,
    /// Goes on with a connection after a reply that nobody asked for.
    KeepStray,
    /// When a node is in trouble, all are waited for.
    HoldHealthy,
    /// Believes a topology that it knows to be out of date.
    FlipMap,
}

impl Mutant {
    pub const ALL: [Self; 20] = [
        Self::DropReply,
        Self::DoubleReply,
        Self::CrossReplies,
        Self::SwapReplies,
        Self::LoseRequest,
        Self::RetryTwice,
        Self::SwapRetries,
        Self::CrossNumbers,
        Self::RepeatIncrement,
        Self::ForgeWrite,
        Self::RepeatBlock,
        Self::CountOneLess,
        Self::ForgeWatch,
        Self::SkipPage,
        Self::ClaimUnknown,
        Self::GiveUp,
        Self::PassLateReply,
        Self::KeepStray,
        Self::HoldHealthy,
        Self::FlipMap,
    ];

    /// Whether it is about transactions or walks over all keys.
    pub fn is_about_errands(self) -> bool {
        let errands = [
            Self::RepeatBlock,
            Self::CountOneLess,
            Self::ForgeWatch,
            Self::SkipPage,
        ];
        errands.contains(&self)
    }

    /// The scenario of a seed, one in which it can be found out.
    pub fn scenario(self, seed: u64) -> Scenario {
        let story = match self {
            Self::RetryTwice | Self::SwapRetries => Story::Mixed,
            Self::PassLateReply | Self::FlipMap | Self::ClaimUnknown => Story::Broken,
            Self::KeepStray => Story::Lying,
            Self::HoldHealthy => Story::Isolated,
            _ => return Scenario::of(seed),
        };
        let mut scenario = Scenario::with_story(seed, story);
        match self {
            Self::RetryTwice | Self::SwapRetries => {
                // Much goes to few slots that move often, and its order counts.
                (scenario.tags, scenario.moves, scenario.pipeline) = (3, 16, 64);
                (scenario.in_flight_max, scenario.pace) = (1024, 5_000);
                (scenario.crowded_slots, scenario.faults.moods) = (false, 0);
            }
            Self::PassLateReply => scenario.faults.long_stalls = 6,
            _ => {}
        }
        scenario
    }

    /// Whether it does its mischief between proxy and nodes.
    fn is_behind_proxy(self) -> bool {
        let behind = [
            Self::RetryTwice,
            Self::SwapRetries,
            Self::RepeatIncrement,
            Self::ForgeWrite,
            Self::PassLateReply,
        ];
        behind.contains(&self) || self.is_about_errands()
    }

    /// Whether it shows in something else than bytes.
    fn is_silent(self) -> bool {
        matches!(self, Self::KeepStray | Self::HoldHealthy | Self::FlipMap)
    }

    fn is_crossing(self) -> bool {
        matches!(self, Self::CrossReplies | Self::CrossNumbers)
    }
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ClientToProxy,
    ProxyToClient,
    ProxyToNode,
    NodeToProxy,
    Other,
}

/// The man in the middle.
#[derive(Debug)]
pub struct Tamper {
    mutant: Mutant,
    random: Random,
    /// Bytes of frames that are not whole yet, by writer.
    partial: BTreeMap<End, Vec<u8>>,
    /// A reply that waits for another to change places with.
    held: Option<(End, Vec<u8>)>,
    /// What the replies of each node connection are to become, by the node's end.
    expected: BTreeMap<End, Replies>,
    /// Values that were sent to a node before.
    seen: BTreeSet<Identity>,
    /// What was sent since MULTI, by the proxy's end.
    blocks: BTreeMap<End, Vec<Vec<u8>>>,
    /// A reply that came when nobody listened any more.
    late: Option<Vec<u8>>,
    /// How often it did its mischief.
    pub strikes: u64,
}

type Identity = (u64, u64, u64, Slot);

#[derive(Debug, Default)]
struct Replies {
    plan: VecDeque<Fate>,
    /// From the first of a swapped pair on.
    held: Vec<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pass,
    Swallow,
    /// The answer to what was sent instead of a write.
    Forge,
    SwapFirst,
    SwapSecond,
}

/// A request on its way to a node.
struct Sent {
    frame: Vec<u8>,
    fate: Fate,
    identity: Option<Identity>,
    is_retry: bool,
}

impl Sent {
    fn new(frame: Vec<u8>, fate: Fate) -> Self {
        Self {
            frame,
            fate,
            identity: None,
            is_retry: false,
        }
    }
}

impl Tamper {
    pub fn new(mutant: Mutant, random: Random) -> Self {
        Self {
            mutant,
            random,
            partial: BTreeMap::new(),
            held: None,
            expected: BTreeMap::new(),
            seen: BTreeSet::new(),
            blocks: BTreeMap::new(),
            late: None,
            strikes: 0,
        }
    }

    /// Whether this is the mutant, and now is the time for its mischief.
    pub fn strikes_now(&mut self, mutant: Mutant) -> bool {
        self.random.chance(300) && self.strikes_if(mutant)
    }

    /// Whether this is the mutant, which does its mischief now.
    pub fn strikes_if(&mut self, mutant: Mutant) -> bool {
        let strikes = self.mutant == mutant;
        self.strikes += u64::from(strikes);
        strikes
    }

    /// Bytes that `from` writes while nobody listens.
    pub fn waste(&mut self, from: End, bytes: &[u8]) {
        if self.mutant == Mutant::PassLateReply {
            let late = self.frames(from, bytes).pop();
            self.late = late.or_else(|| self.late.take());
        }
    }

    /// What becomes of bytes that `from` writes: bytes and who seems to write them.
    pub fn pass(&mut self, from: End, way: Way, bytes: Vec<u8>) -> Vec<(End, Vec<u8>)> {
        let concerned = match self.mutant {
            mutant if mutant.is_silent() => false,
            Mutant::LoseRequest => way == Way::ClientToProxy,
            mutant if mutant.is_behind_proxy() => {
                matches!(way, Way::ProxyToNode | Way::NodeToProxy)
            }
            _ => way == Way::ProxyToClient,
        };
        if !concerned {
            return vec![(from, bytes)];
        }
        let frames = self.frames(from, &bytes);
        match way {
            Way::ProxyToNode => vec![(from, self.send_to_node(from, frames))],
            Way::NodeToProxy => vec![(from, self.answer_proxy(from, frames))],
            _ => frames
                .into_iter()
                .flat_map(|frame| self.strike(from, frame))
                .collect(),
        }
    }

    fn frames(&mut self, from: End, bytes: &[u8]) -> Vec<Vec<u8>> {
        let partial = self.partial.entry(from).or_default();
        partial.extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some(len) = resp::frame_len(partial) {
            frames.push(partial.drain(..len).collect());
        }
        frames
    }

    /// One frame between a client and the proxy.
    fn strike(&mut self, from: End, frame: Vec<u8>) -> Vec<(End, Vec<u8>)> {
        if self.mutant == Mutant::CrossNumbers && frame[0] != b':' {
            return vec![(from, frame)];
        }
        if let Some((end, held)) = self.held.take() {
            let crossing = self.mutant.is_crossing();
            if crossing && end != from {
                self.strikes += 1;
                return vec![(end, frame), (from, held)];
            }
            if !crossing && end == from {
                self.strikes += 1;
                return vec![(from, frame), (from, held)];
            }
            if end == from {
                return vec![(from, held), (from, frame)];
            }
            self.held = Some((end, held));
        }
        if !self.random.chance(30) {
            return vec![(from, frame)];
        }
        match self.mutant {
            Mutant::DoubleReply => {
                self.strikes += 1;
                vec![(from, frame.clone()), (from, frame)]
            }
            mutant
                if (mutant.is_crossing() || mutant == Mutant::SwapReplies)
                    && self.held.is_none() =>
            {
                self.held = Some((from, frame));
                self.strikes += 1;
                Vec::new()
            }
            Mutant::ClaimUnknown | Mutant::GiveUp => {
                self.strikes += 1;
                let text = match self.mutant {
                    Mutant::GiveUp => "CLUSTERDOWN Hash slot not served",
                    _ => "ERR proxy: connection lost after sending, result unknown",
                };
                vec![(from, format!("-{text}\r\n").into_bytes())]
            }
            Mutant::DropReply | Mutant::LoseRequest => {
                self.strikes += 1;
                Vec::new()
            }
            _ => vec![(from, frame)],
        }
    }

    fn send_to_node(&mut self, from: End, frames: Vec<Vec<u8>>) -> Vec<u8> {
        let mut sent: Vec<Sent> = Vec::new();
        for frame in frames {
            let identity = identity(&frame);
            let is_retry = identity.is_some_and(|identity| !self.seen.insert(identity));
            let twice = match self.mutant {
                Mutant::RetryTwice => is_retry && self.random.chance(300),
                Mutant::RepeatIncrement => is(&frame, b"INCR") && self.random.chance(30),
                _ => false,
            };
            let before = sent.last().map(|sent| sent.frame.clone());
            let is_write = is(&frame, b"SET") || is(&frame, b"MSET");
            let forges = match self.mutant {
                Mutant::ForgeWrite => is_write && self.random.chance(30),
                Mutant::ForgeWatch => is(&frame, b"WATCH") && self.random.chance(300),
                _ => false,
            };
            if forges {
                self.strikes += 1;
                sent.push(Sent::new(b"*1\r\n$4\r\nPING\r\n".to_vec(), Fate::Forge));
                continue;
            }
            let frame = self.blinded(frame);
            let kept = Sent::new(frame.clone(), Fate::Pass);
            sent.push(Sent {
                identity,
                is_retry,
                ..kept
            });
            sent.extend(self.repeated_block(from, &frame));
            if twice {
                self.strikes += 1;
                let asking = before.filter(|frame| frame.ends_with(b"ASKING\r\n"));
                let again = asking.into_iter().chain([frame]);
                sent.extend(again.map(|frame| Sent::new(frame, Fate::Swallow)));
            }
        }
        if self.mutant == Mutant::SwapRetries {
            self.swap_one_pair(&mut sent);
        }
        let plan = &mut self.expected.entry(from.peer()).or_default().plan;
        plan.extend(sent.iter().map(|sent| sent.fate));
        sent.into_iter().flat_map(|sent| sent.frame).collect()
    }

    /// The transaction that ends with this request, if it is to be sent again.
    fn repeated_block(&mut self, from: End, frame: &[u8]) -> Vec<Sent> {
        let block = self.blocks.entry(from).or_default();
        if is(frame, b"MULTI") {
            block.clear();
        } else if block.is_empty() {
            return Vec::new();
        }
        block.push(frame.to_vec());
        if !is(frame, b"EXEC") {
            return Vec::new();
        }
        let block = std::mem::take(block);
        if self.mutant != Mutant::RepeatBlock || !self.random.chance(200) {
            return Vec::new();
        }
        self.strikes += 1;
        let again = block.into_iter();
        again.map(|frame| Sent::new(frame, Fate::Swallow)).collect()
    }

    /// A SCAN that will find nothing, or any other request as it is.
    fn blinded(&mut self, frame: Vec<u8>) -> Vec<u8> {
        let strikes = self.mutant == Mutant::SkipPage && is(&frame, b"SCAN");
        if !strikes || !self.random.chance(300) {
            return frame;
        }
        self.strikes += 1;
        let mut blinded = Vec::new();
        if let Read::Whole(value, _) = resp::read(&frame) {
            let mut args = resp::arguments(value).unwrap_or_default();
            args.extend([b"MATCH".to_vec(), b"nothing".to_vec()]);
            resp::write_request(&mut blinded, &args);
        }
        blinded
    }

    /// Swaps the first retried request with the next of its session and slot.
    fn swap_one_pair(&mut self, sent: &mut [Sent]) {
        let place =
            |identity: Option<Identity>| identity.map(|(session, _, _, slot)| (session, slot));
        let Some(first) = sent.iter().position(|sent| sent.is_retry) else {
            return;
        };
        let wanted = place(sent[first].identity);
        let later = sent[first + 1..]
            .iter()
            .position(|sent| place(sent.identity) == wanted);
        let Some(second) = later.map(|offset| first + 1 + offset) else {
            return;
        };
        let (left, right) = sent.split_at_mut(second);
        std::mem::swap(&mut left[first].frame, &mut right[0].frame);
        left[first].fate = Fate::SwapFirst;
        right[0].fate = Fate::SwapSecond;
        self.strikes += 1;
    }

    fn answer_proxy(&mut self, from: End, frames: Vec<Vec<u8>>) -> Vec<u8> {
        let replies = self.expected.entry(from).or_default();
        let mut out = Vec::new();
        if let Some(late) = self.late.take_if(|_| !frames.is_empty()) {
            self.strikes += 1;
            out = late;
        }
        for frame in frames {
            let miscounts = self.mutant == Mutant::CountOneLess && frame == b"+QUEUED\r\n";
            if miscounts && self.random.chance(50) {
                self.strikes += 1;
                out.extend_from_slice(&frame);
            }
            match replies.plan.pop_front().unwrap_or(Fate::Pass) {
                Fate::Swallow => {}
                Fate::Forge => out.extend(b"+OK\r\n"),
                Fate::SwapSecond => {
                    replies.held.push(frame);
                    let last = replies.held.len() - 1;
                    replies.held.swap(0, last);
                    out.extend(replies.held.drain(..).flatten());
                }
                Fate::Pass if replies.held.is_empty() => out.extend(frame),
                Fate::Pass | Fate::SwapFirst => replies.held.push(frame),
            }
        }
        out
    }
}
/// Whether a request is for that command.
fn is(frame: &[u8], name: &[u8]) -> bool {
    frame
        .split(|byte| *byte == b'\n')
        .nth(2)
        .is_some_and(|line| line.trim_ascii() == name)
}

/// Whose write a request is, if it is one.
fn identity(frame: &[u8]) -> Option<Identity> {
    let Read::Whole(value, _) = resp::read(frame) else {
        return None;
    };
    let args = resp::arguments(value)?;
    let (key, session, number, part) = args[1..].iter().find_map(|arg| workload::identify(arg))?;
    Some((session, number, part, Slot::of(key.as_bytes())))
}
