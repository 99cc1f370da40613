//! How nodes stand in their cluster, as they say themselves; and what follows for a primary whose
//! process is gone: whether a replica may be asked to take over, and which.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use bytes::BytesMut;
use slotway_protocol::cluster::Slot;
use slotway_protocol::cluster::nodes::{NodeId, NodeLine};
use slotway_protocol::engine::Address;
use slotway_protocol::resp::value::{Token, TokenReader};

use super::addresses::Addresses;
use super::question::told_nodes;

/// A primary that seems to be gone, and those who could do something about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stricken {
    pub(super) id: NodeId,
    pub(super) address: Address,
    /// One of its slots.
    pub(super) slot: Slot,
    pub(super) replicas: Vec<Address>,
    /// The other primaries with slots: those who vote.
    pub(super) others: Vec<Address>,
}

/// What a node says of itself and of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) lines: Vec<NodeLine>,
    /// The newest epoch that it knows of. It grows with every election.
    pub(super) epoch: u64,
    /// How a replica follows its primary.
    pub(super) following: Option<Following>,
    pub(super) node_timeout: Option<Duration>,
}

/// A replica's connection to its primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Following {
    pub(super) is_linked: bool,
    /// It is being given all data, and has only a part of them.
    pub(super) is_syncing: bool,
    /// Since when the link is down. Absent when it has never been up.
    pub(super) down_seconds: Option<u64>,
    /// How much of the primary's history it has.
    pub(super) offset: u64,
}

/// Who is to take over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) replica: Address,
    pub(super) offset: u64,
}

/// Why nobody is asked to take over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    /// Somebody has taken over, or the primary is at another address.
    Replaced,
    /// The nodes are about to do it themselves.
    HeldToBeDown,
    /// The vote would be lost.
    NoMajority { voters: usize, needed: usize },
    /// The other primaries have a connection to it.
    Reached,
    /// An election is under way, or was a moment ago.
    Election,
    /// No replica has answered.
    NoReplica,
    /// None that has answered is fit, for this reason the first.
    Unfit(Address, Unfit),
    /// It was replaced not long ago; the nodes would not vote about it again so soon.
    Tried,
}

/// Why a replica is not to take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    FollowsAnother,
    Linked,
    Syncing,
    Outdated,
    Passive,
    /// The others do not see it.
    Unseen,
    /// It knows less of the cluster than those who vote, so that they would refuse.
    Behind,
}

impl Standing {
    /// Reads the replies to `CLUSTER INFO`, `INFO replication`, `CONFIG GET cluster-node-timeout`
    /// and `CLUSTER NODES`. The third may be refused.
    pub(super) fn read(
        replies: &[BytesMut],
        origin: &Address,
        addresses: &Addresses,
    ) -> Option<Self> {
        let [cluster, replication, timeout, nodes] = replies else {
            return None;
        };
        let cluster = text(cluster)?;
        let replication = text(replication)?;
        Some(Self {
            lines: told_nodes(nodes, origin, addresses).ok()?,
            epoch: number(&cluster, "cluster_current_epoch")?,
            following: Following::read(&replication),
            node_timeout: told_millis(timeout),
        })
    }

    fn line(&self, id: NodeId) -> Option<&NodeLine> {
        self.lines.iter().find(|line| line.id == id)
    }

    fn myself(&self) -> Option<&NodeLine> {
        self.lines.iter().find(|line| line.is_myself)
    }

    /// Whether it has a vote in elections.
    pub(super) fn votes(&self) -> bool {
        let myself = self.myself();
        myself.is_some_and(|line| line.is_primary && !line.slots.is_empty())
    }
}

impl Following {
    fn read(info: &str) -> Option<Self> {
        (field(info, "role")? == "slave").then_some(())?;
        Some(Self {
            is_linked: field(info, "master_link_status")? == "up",
            is_syncing: field(info, "master_sync_in_progress")? != "0",
            down_seconds: number(info, "master_link_down_since_seconds"),
            offset: number(info, "slave_repl_offset")?,
        })
    }
}

/// Who is to take over from a primary that is surely gone, after what the nodes said twice: the
/// epochs that those who vote knew of at first, and all that they say now.
pub(super) fn judge(
    stricken: &Stricken,
    epochs: &BTreeMap<Address, u64>,
    standings: &BTreeMap<Address, Standing>,
) -> Result<Choice, Reason> {
    let voters: Vec<(&Address, &Standing)> = (stricken.others.iter())
        .filter_map(|address| Some((address, standings.get(address)?)))
        .filter(|(_, standing)| standing.votes())
        .collect();
    let mut lines = Vec::new();
    for (_, voter) in &voters {
        let line = voter.line(stricken.id).ok_or(Reason::Replaced)?;
        if !line.is_primary || line.slots.is_empty() || line.address != stricken.address {
            return Err(Reason::Replaced);
        }
        if line.is_failed {
            return Err(Reason::HeldToBeDown);
        }
        lines.push(line);
    }
    // More than half of all, the one that is gone among them.
    let needed = stricken.others.len().div_ceil(2) + 1;
    if voters.len() < needed {
        let voters = voters.len();
        return Err(Reason::NoMajority { voters, needed });
    }
    if lines.iter().all(|line| line.is_linked) {
        return Err(Reason::Reached);
    }
    let is_as_before = |(address, voter): &(&Address, &Standing)| {
        epochs
            .get(*address)
            .is_none_or(|epoch| *epoch == voter.epoch)
    };
    if !voters.iter().all(is_as_before) {
        return Err(Reason::Election);
    }
    let voters: Vec<&Standing> = voters.into_iter().map(|(_, voter)| voter).collect();
    choose(stricken, &voters, standings)
}

/// The fit replica that has most of the primary's history, and of several the first by its id: all
/// proxies have to choose the same.
fn choose(
    stricken: &Stricken,
    voters: &[&Standing],
    standings: &BTreeMap<Address, Standing>,
) -> Result<Choice, Reason> {
    let mut best: Option<(u64, NodeId, &Address)> = None;
    let mut unfit = Reason::NoReplica;
    for address in &stricken.replicas {
        let Some(standing) = standings.get(address) else {
            continue;
        };
        match fitness(stricken, standing, voters) {
            Ok((id, offset)) => {
                let is_better = best.is_none_or(|(other_offset, other_id, _)| {
                    offset > other_offset || offset == other_offset && id < other_id
                });
                if is_better {
                    best = Some((offset, id, address));
                }
            }
            Err(reason) if unfit == Reason::NoReplica => {
                unfit = Reason::Unfit(address.clone(), reason);
            }
            Err(_) => {}
        }
    }
    let (offset, _, replica) = best.ok_or(unfit)?;
    Ok(Choice {
        replica: replica.clone(),
        offset,
    })
}

/// The replica's id and how much of the primary's history it has, or why it is not to take over.
fn fitness(
    stricken: &Stricken,
    replica: &Standing,
    voters: &[&Standing],
) -> Result<(NodeId, u64), Unfit> {
    let myself = replica.myself().ok_or(Unfit::FollowsAnother)?;
    let following = replica.following.ok_or(Unfit::FollowsAnother)?;
    if myself.is_primary || myself.primary != Some(stricken.id) {
        return Err(Unfit::FollowsAnother);
    }
    if myself.is_passive {
        return Err(Unfit::Passive);
    }
    if following.is_linked {
        return Err(Unfit::Linked);
    }
    if following.is_syncing {
        return Err(Unfit::Syncing);
    }
    let age_max = replica.node_timeout.unwrap_or(NODE_TIMEOUT) + CLOCKS_APART;
    let age = following.down_seconds.map(Duration::from_secs);
    if age.is_none_or(|age| age > age_max) || following.offset == 0 {
        return Err(Unfit::Outdated);
    }
    let sees = |voter: &&&Standing| {
        let line = voter.line(myself.id);
        line.is_some_and(|line| line.is_linked && !line.is_failed && !line.is_suspected)
    };
    if voters.iter().filter(sees).count() * 2 <= voters.len() {
        return Err(Unfit::Unseen);
    }
    let config_epoch =
        |standing: &Standing| standing.line(stricken.id).map(|line| line.config_epoch);
    let is_behind = |voter: &&Standing| {
        voter.epoch > replica.epoch || config_epoch(voter) > config_epoch(replica)
    };
    if voters.iter().any(is_behind) {
        return Err(Unfit::Behind);
    }
    Ok((myself.id, following.offset))
}

impl Reason {
    /// Whether it may be another in a moment.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::NoMajority { .. } | Self::Reached | Self::Election | Self::NoReplica => true,
            Self::Unfit(_, unfit) => {
                matches!(unfit, Unfit::Linked | Unfit::Unseen | Unfit::Behind)
            }
            Self::Replaced | Self::HeldToBeDown | Self::Tried => false,
        }
    }
}

impl Reason {
    /// How long to wait at least before looking again.
    pub(super) fn pause(&self) -> Duration {
        match self {
            Self::Election => ELECTION_PAUSE,
            _ => PAUSE,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replaced => f.write_str("another node has its slots"),
            Self::HeldToBeDown => f.write_str("the nodes hold it to be down and act themselves"),
            Self::NoMajority { voters, needed } => write!(
                f,
                "only {voters} other primaries can be reached, and {needed} votes are needed"
            ),
            Self::Reached => f.write_str("the other primaries have a connection to it"),
            Self::Election => f.write_str("an election is under way"),
            Self::NoReplica => f.write_str("no replica of it can be reached"),
            Self::Unfit(replica, unfit) => write!(f, "its replica {replica} {unfit}"),
            Self::Tried => f.write_str(
                "it was replaced not long ago, and the nodes do not vote about it again so soon",
            ),
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FollowsAnother => "does not follow it any more",
            Self::Linked => "has a connection to it",
            Self::Syncing => "has only a part of its data",
            Self::Outdated => "has lost it too long ago",
            Self::Passive => "is told never to take over",
            Self::Unseen => "is not seen by the other primaries",
            Self::Behind => "knows less of the cluster than the others",
        })
    }
}

/// The text of a bulk reply.
fn text(reply: &[u8]) -> Option<String> {
    match TokenReader::new(reply).next_token() {
        Ok(Some(Token::Bulk(text) | Token::Verbatim(text))) => {
            Some(String::from_utf8_lossy(text).into_owned())
        }
        _ => None,
    }
}

/// The value of a field of `INFO` or `CLUSTER INFO`.
fn field<'t>(info: &'t str, name: &str) -> Option<&'t str> {
    let mut lines = info.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// None also for a number below zero.
fn number(info: &str, name: &str) -> Option<u64> {
    field(info, name)?.trim().parse().ok()
}

/// What the reply to a CONFIG GET of a time in milliseconds says, if it does.
fn told_millis(reply: &[u8]) -> Option<Duration> {
    let mut reader = TokenReader::new(reply);
    let Ok(Some(Token::Array(2) | Token::Map(1))) = reader.next_token() else {
        return None;
    };
    let (_, value) = (reader.next_token(), reader.next_token());
    let Ok(Some(Token::Bulk(digits))) = value else {
        return None;
    };
    let millis = core::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(Duration::from_millis(millis))
}

/// An election takes about so long; others follow when it was about another shard.
const ELECTION_PAUSE: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(20);

/// The nodes' own default, for those that do not tell.
pub(super) const NODE_TIMEOUT: Duration = Duration::from_secs(15);

/// Nodes count the time since they lost their primary in seconds.
const CLOCKS_APART: Duration = Duration::from_secs(2);
