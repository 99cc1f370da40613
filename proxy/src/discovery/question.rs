//! One node being asked for one thing, and how its answer is read.

use bytes::BytesMut;
use slotway_protocol::cluster::nodes::{NodeLine, parse_nodes};
use slotway_protocol::engine::Address;
use slotway_protocol::output::Output;
use slotway_protocol::resp::value::{Token, TokenReader};
use slotway_protocol::resp::{ReplyScanner, encode};

use super::addresses::Addresses;
use super::lessons;
use crate::engine::Credentials;

/// What a node is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Topology,
    Commands,
    /// Whether anybody is there.
    Pulse,
    Standing,
    /// No question: to take over from the primary.
    Order,
}

/// One node being asked.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) address: Address,
    pub(super) subject: Subject,
    pub(super) output: Output,
    scanner: ReplyScanner,
    /// Whether the reply to a login comes first.
    logs_in: bool,
    /// The replies so far, that to a login left out.
    pub(super) replies: Vec<BytesMut>,
    pub(super) done: bool,
}

impl Question {
    pub(super) fn new(
        address: Address,
        subject: Subject,
        credentials: Option<&Credentials>,
    ) -> Self {
        let mut output = Output::default();
        // Whatever is said to a stranger is a sign of life.
        let credentials = credentials.filter(|_| subject != Subject::Pulse);
        if let Some(credentials) = credentials {
            let mut words = vec!["AUTH"];
            words.extend(credentials.username.as_deref());
            words.push(&credentials.password);
            encode::request(output.buffer(), &words);
        }
        match subject {
            Subject::Topology => encode::request(output.buffer(), &["CLUSTER", "NODES"]),
            Subject::Commands => {
                encode::request(output.buffer(), &["CONFIG", "GET", DATABASES]);
                encode::request(output.buffer(), &["COMMAND"]);
            }
            Subject::Pulse => encode::request(output.buffer(), &["PING"]),
            Subject::Standing => {
                encode::request(output.buffer(), &["CLUSTER", "INFO"]);
                encode::request(output.buffer(), &["INFO", "replication"]);
                encode::request(output.buffer(), &["CONFIG", "GET", NODE_TIMEOUT]);
                encode::request(output.buffer(), &["CLUSTER", "NODES"]);
            }
            Subject::Order => {
                // Never TAKEOVER, which asks nobody for a vote.
                encode::request(output.buffer(), &["CLUSTER", "FAILOVER", "FORCE"]);
            }
        }
        Self {
            address,
            subject,
            output,
            scanner: ReplyScanner::default(),
            logs_in: credentials.is_some(),
            replies: Vec::new(),
            done: false,
        }
    }

    /// Takes what has come of the replies; whether that is all there will be. What is no reply, or
    /// too long, is the last one, and empty. So is the refusal of a login, but for its text.
    pub(super) fn take(&mut self, input: &mut BytesMut) -> bool {
        while !self.done {
            let len = match self.scanner.scan(input) {
                Ok(Some(len)) => len,
                Ok(None) if input.len() < self.subject.bytes_max() => return false,
                Ok(None) | Err(_) => 0,
            };
            let reply = input.split_to(len);
            let is_refused = self.logs_in && reply.first() == Some(&b'-');
            if core::mem::take(&mut self.logs_in) && len > 0 && !is_refused {
                continue;
            }
            self.replies.push(reply);
            let is_last = self.replies.len() == self.subject.replies();
            self.done = len == 0 || is_refused || is_last;
        }
        input.clear();
        true
    }
}

impl Subject {
    /// How many replies answer the question.
    fn replies(self) -> usize {
        match self {
            Self::Topology | Self::Pulse | Self::Order => 1,
            Self::Commands => 2,
            Self::Standing => 4,
        }
    }

    /// A longer answer is not believed. For 1,000 nodes it takes about 200 KiB.
    pub(super) fn bytes_max(self) -> usize {
        match self {
            Self::Topology | Self::Standing => 16 * 1024 * 1024,
            Self::Commands => lessons::REPLY_BYTES_MAX,
            Self::Pulse | Self::Order => 64 * 1024,
        }
    }
}

/// What a node says of how many databases it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Databases {
    /// It does not say, or not now.
    Unknown,
    Some(u32),
}

/// What the reply to a CONFIG GET of the number of databases says. A server that does not know the
/// setting has one.
pub(super) fn told_databases(reply: &[u8]) -> Databases {
    let mut reader = TokenReader::new(reply);
    match reader.next_token() {
        Ok(Some(Token::Array(0) | Token::Map(0))) => return Databases::Some(1),
        Ok(Some(Token::Array(2) | Token::Map(1))) => {}
        // It may have them, but does not let us look.
        Ok(Some(Token::Error(text))) if !text.starts_with(b"LOADING") => return Databases::Some(1),
        _ => return Databases::Unknown,
    }
    let (_, value) = (reader.next_token(), reader.next_token());
    let Ok(Some(Token::Bulk(digits))) = value else {
        return Databases::Unknown;
    };
    let number = core::str::from_utf8(digits)
        .ok()
        .and_then(|it| it.parse().ok());
    number.map_or(Databases::Unknown, |number: u32| {
        Databases::Some(number.max(1))
    })
}

/// The setting of Valkey 9.
const DATABASES: &str = "cluster-databases";

/// The setting that says after what time the nodes hold another to be down.
const NODE_TIMEOUT: &str = "cluster-node-timeout";

/// What the reply of the node at that address says of the cluster, `addresses` heeded. Else what is
/// wrong with it, or `None` when the node says that it is in no cluster.
pub(super) fn told_nodes(
    reply: &[u8],
    address: &Address,
    addresses: &Addresses,
) -> Result<Vec<NodeLine>, Option<String>> {
    match TokenReader::new(reply).next_token() {
        Ok(Some(Token::Bulk(text) | Token::Verbatim(text))) => {
            let text = String::from_utf8_lossy(text);
            let mut lines = parse_nodes(&text, address).map_err(|error| Some(error.to_string()))?;
            lines.iter_mut().for_each(|line| addresses.translate(line));
            Ok(lines)
        }
        Ok(Some(Token::Error(text))) => {
            let text = String::from_utf8_lossy(text).into_owned();
            let is_alone = text.contains("cluster support disabled");
            Err((!is_alone).then_some(text))
        }
        _ => Err(Some(
            "the reply to CLUSTER NODES has the wrong form".to_owned(),
        )),
    }
}
