//! One node being asked for one thing, and how its answer is read.

use slotway_protocol::cluster::nodes::{NodeLine, parse_nodes};
use slotway_protocol::engine::Address;
use slotway_protocol::output::Output;
use slotway_protocol::resp::value::{Token, TokenReader};
use slotway_protocol::resp::{ReplyScanner, encode};

use super::lessons;
use crate::engine::Credentials;

/// What a node is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Topology,
    Commands,
}

/// One node being asked.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) address: Address,
    pub(super) subject: Subject,
    pub(super) output: Output,
    pub(super) scanner: ReplyScanner,
    /// Replies to skip before the one that counts.
    pub(super) skip: usize,
    pub(super) done: bool,
}

impl Question {
    pub(super) fn new(
        address: Address,
        subject: Subject,
        credentials: Option<&Credentials>,
    ) -> Self {
        let mut output = Output::default();
        let mut skip = 0;
        if let Some(credentials) = credentials {
            let mut words = vec!["AUTH"];
            words.extend(credentials.username.as_deref());
            words.push(&credentials.password);
            encode::request(output.buffer(), &words);
            skip = 1;
        }
        match subject {
            Subject::Topology => encode::request(output.buffer(), &["CLUSTER", "NODES"]),
            Subject::Commands => encode::request(output.buffer(), &["COMMAND"]),
        }
        Self {
            address,
            subject,
            output,
            scanner: ReplyScanner::default(),
            skip,
            done: false,
        }
    }
}

impl Subject {
    /// A longer answer is not believed. For 1,000 nodes it takes about 200 KiB.
    pub(super) fn bytes_max(self) -> usize {
        match self {
            Self::Topology => 16 * 1024 * 1024,
            Self::Commands => lessons::REPLY_BYTES_MAX,
        }
    }
}

/// What the reply of the node at that address says of the cluster. Else what is wrong with it, or
/// `None` when the node says that it is in no cluster.
pub(super) fn told_nodes(reply: &[u8], address: &Address) -> Result<Vec<NodeLine>, Option<String>> {
    match TokenReader::new(reply).next_token() {
        Ok(Some(Token::Bulk(text) | Token::Verbatim(text))) => {
            let text = String::from_utf8_lossy(text);
            parse_nodes(&text, address).map_err(|error| Some(error.to_string()))
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
