//! The commands about scripts that go to all shards and take more than adding up replies: SCRIPT
//! LOAD and FLUSH, after which the proxy itself knows more or less, SCRIPT and FUNCTION KILL, and
//! FUNCTION STATS, which must get past the script that they are about.

use core::time::Duration;

use bytes::Bytes;
use slotway_protocol::command::CommandId;
use slotway_protocol::resp::Request;
use slotway_protocol::resp::value::{Token, TokenReader};

use super::answer;
use super::peers::{Answer, Question};
use super::task::{Cluster, Steps, Task};

/// One request to every shard, with the replies so far.
#[derive(Debug)]
struct Everywhere {
    command: CommandId,
    frame: Vec<u8>,
    /// Shards that have not answered.
    waiting: usize,
    /// The reply that counts most so far.
    best: Option<(Rank, Vec<u8>)>,
}

/// How much a reply counts; the first of those that count most becomes the client's.
type Rank = u8;

impl Everywhere {
    fn new(command: CommandId, request: &Request<'_>) -> Self {
        Self {
            command,
            frame: request.frame().to_vec(),
            waiting: 0,
            best: None,
        }
    }

    fn send(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        for (slot, part) in cluster.shards().into_iter().zip(0..) {
            self.waiting += 1;
            steps.send(part, slot, self.command, self.frame.clone());
        }
    }

    /// Past all that others have asked of the nodes.
    fn send_private(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        for (slot, part) in cluster.shards().into_iter().zip(0..) {
            self.waiting += 1;
            steps.send_private(part, slot, self.command, self.frame.clone());
        }
    }

    /// Takes a reply; says whether it was the last.
    fn take(&mut self, rank: Rank, reply: &[u8]) -> bool {
        self.waiting -= 1;
        if self.best.as_ref().is_none_or(|(best, _)| rank > *best) {
            self.best = Some((rank, reply.to_vec()));
        }
        self.waiting == 0
    }

    fn finish(&mut self, steps: &mut Steps) {
        steps.finish(self.best.take().map_or_else(Vec::new, |(_, reply)| reply));
    }
}

/// An error of any shard is the reply; one that says the same everywhere is said once.
fn failures_first(reply: &[u8]) -> Rank {
    Rank::from(is_error(reply))
}

fn is_error(reply: &[u8]) -> bool {
    reply.first() == Some(&b'-')
}

/// SCRIPT LOAD: known to the proxy, too, when all shards have it.
#[derive(Debug)]
pub(crate) struct ScriptLoad {
    nodes: Everywhere,
    body: Bytes,
}

impl ScriptLoad {
    pub(crate) fn new(command: CommandId, request: &Request<'_>) -> Self {
        Self {
            nodes: Everywhere::new(command, request),
            body: Bytes::copy_from_slice(request.arg(2)),
        }
    }
}

impl Task for ScriptLoad {
    fn begin(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        self.nodes.send(cluster, steps);
    }

    fn reply(&mut self, _part: u32, reply: &[u8], _cluster: &Cluster<'_>, steps: &mut Steps) {
        if !self.nodes.take(failures_first(reply), reply) {
            return;
        }
        let loaded = self.nodes.best.as_ref().is_some_and(|(rank, _)| *rank == 0);
        if loaded {
            steps.share_script(self.body.clone());
        }
        self.nodes.finish(steps);
    }
}

/// SCRIPT FLUSH: the workers forget what the nodes forget, or they would bring it back.
#[derive(Debug)]
pub(crate) struct ScriptFlush {
    nodes: Everywhere,
    /// Workers that have not said that they have forgotten all scripts.
    workers: usize,
}

impl ScriptFlush {
    pub(crate) fn new(command: CommandId, request: &Request<'_>) -> Result<Self, Vec<u8>> {
        let well_formed = match request.len() {
            2 => true,
            3 => request.is_arg(2, b"async") || request.is_arg(2, b"sync"),
            _ => false,
        };
        if !well_formed {
            return Err(answer::error(BAD_FLUSH));
        }
        Ok(Self {
            nodes: Everywhere::new(command, request),
            workers: 0,
        })
    }

    fn finish_if_done(&mut self, steps: &mut Steps) {
        if self.nodes.waiting == 0 && self.workers == 0 {
            self.nodes.finish(steps);
        }
    }
}

impl Task for ScriptFlush {
    fn begin(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        self.workers = cluster.workers;
        steps.ask(Question::ForgetScripts);
        steps.wake_after(ANSWER_TIMEOUT);
        self.nodes.send(cluster, steps);
    }

    fn reply(&mut self, _part: u32, reply: &[u8], _cluster: &Cluster<'_>, steps: &mut Steps) {
        self.nodes.take(failures_first(reply), reply);
        self.finish_if_done(steps);
    }

    fn answer(&mut self, _answer: Answer, _cluster: &Cluster<'_>, steps: &mut Steps) {
        self.workers = self.workers.saturating_sub(1);
        self.finish_if_done(steps);
    }

    fn wake(&mut self, _cluster: &Cluster<'_>, steps: &mut Steps) {
        if self.workers > 0 {
            steps.answers_late();
            self.workers = 0;
            self.finish_if_done(steps);
        }
    }
}

/// SCRIPT KILL, FUNCTION KILL and FUNCTION STATS: of one node that runs something, if any does. A
/// node that does answers nothing else, so these can't queue up behind what it runs.
#[derive(Debug)]
pub(crate) struct AskBusy {
    nodes: Everywhere,
    rank: fn(&[u8]) -> Rank,
}

impl AskBusy {
    pub(crate) fn kill(command: CommandId, request: &Request<'_>) -> Self {
        Self {
            nodes: Everywhere::new(command, request),
            rank: of_kill,
        }
    }

    pub(crate) fn stats(command: CommandId, request: &Request<'_>) -> Self {
        Self {
            nodes: Everywhere::new(command, request),
            rank: of_stats,
        }
    }
}

impl Task for AskBusy {
    fn begin(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        self.nodes.send_private(cluster, steps);
    }

    fn reply(&mut self, _part: u32, reply: &[u8], _cluster: &Cluster<'_>, steps: &mut Steps) {
        if self.nodes.take((self.rank)(reply), reply) {
            self.nodes.finish(steps);
        }
    }
}

/// One script was killed, or one can't be, or there is none.
fn of_kill(reply: &[u8]) -> Rank {
    if !is_error(reply) {
        return 2;
    }
    Rank::from(!reply.starts_with(b"-NOTBUSY "))
}

/// One runs a script, or one can't be asked, or there is none.
fn of_stats(reply: &[u8]) -> Rank {
    if is_error(reply) {
        return 1;
    }
    let mut reader = TokenReader::new(reply);
    let is_map = matches!(
        reader.next_token(),
        Ok(Some(Token::Array(_) | Token::Map(_)))
    );
    let first = reader.next_token();
    let runs = is_map
        && first == Ok(Some(Token::Bulk(b"running_script")))
        && reader.next_token() != Ok(Some(Token::Null));
    if runs { 2 } else { 0 }
}

const BAD_FLUSH: &[u8] = b"ERR SCRIPT FLUSH only support SYNC|ASYNC option";

/// How long all workers may take to forget.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
