//! What the proxy does with each command, decided once from the command table.

use slotway_protocol::cluster::Slot;
use slotway_protocol::command::keys::each_key;
use slotway_protocol::command::{Command, Flags, Group, KeysError, Learned, RequestPolicy};
use slotway_protocol::resp::Request;

use super::answer;
use super::learned;
use super::local::{self, Local, ONE_PROCESS};
use super::merge::MergeKind;
use super::pubsub::Family;
use super::special::Special;
use super::transactions::TransactionCommand;

/// What to do with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// The proxy answers by itself.
    Local(Local),
    /// To the slot of the one key, which is that argument.
    Key(usize),
    /// To the slot of a key that the table does not tell of.
    KeyBehind(&'static Behind),
    /// To the slot that all keys must share.
    Keys,
    /// Each key, with the arguments that follow it, to its own slot.
    Split {
        merge: MergeKind,
        step: usize,
    },
    /// To the slot to which the channel, which is the first argument, belongs as a key would.
    Publish(Family),
    /// The client hears what is published there, or ceases to.
    Subscribe(Family),
    Unsubscribe(Family),
    /// It has no keys: any node will do, but always the same one.
    Any,
    /// Whole to every shard.
    Shards(MergeKind),
    /// It begins or ends a transaction.
    Transaction(TransactionCommand),
    /// It may wait for its keys to get elements, on a connection of its own.
    Block,
    /// It takes several steps.
    Task(Special),
    /// The client is shown what others ask for.
    Monitor,
    /// To the owner of the slot whose number is that argument.
    Slot(usize),
    /// Not served.
    Refused(Refusal),
}

/// A key that stands behind a word, in a command that is not served with any other word.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    /// The first argument, in lower case.
    pub(crate) word: &'static str,
    /// Which argument the key is.
    position: usize,
    /// What those get who say another word.
    pub(crate) or: Refusal,
}

impl Behind {
    /// Where the request goes, when it says the word. Without a key any node can tell what is
    /// wrong with it.
    pub(crate) fn slot(&self, request: &Request<'_>) -> Option<Slot> {
        let says = request.len() > 1 && request.arg(1).eq_ignore_ascii_case(self.word.as_bytes());
        says.then(|| match request.len() > self.position {
            true => Slot::of(request.arg(self.position)),
            false => Slot::of(b""),
        })
    }
}

/// Why a command is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It would need something that the proxy does not have yet.
    NotYet,
    /// Which keys it has only the server can tell.
    HiddenKeys,
    /// It will never be; the text says why.
    Because(&'static str),
    /// It speaks of the cluster, of which a client of the proxy knows nothing.
    NoCluster,
}

impl Refusal {
    /// The error that says so.
    pub(crate) fn reply(self, command: &Command) -> Vec<u8> {
        match self {
            Self::Because(reason) => answer::error(reason.as_bytes()),
            Self::NotYet => answer::not_yet(command.name),
            Self::HiddenKeys => answer::hidden_keys(command.name),
            Self::NoCluster => answer::error(answer::NO_CLUSTER),
        }
    }
}

/// The plans of all commands and subcommands, by id.
#[derive(Debug)]
pub(crate) struct Plans(Vec<Plan>);

impl Plans {
    /// With `emulation` clients of Redis Cluster are served too.
    pub(crate) fn new(emulation: bool) -> Self {
        let plan = |command| plan(command, emulation);
        let mut plans = vec![Plan::Refused(Refusal::NotYet); Command::count()];
        for command in slotway_protocol::command::all() {
            plans[usize::from(command.id.0)] = plan(command);
            for subcommand in command.subcommands {
                plans[usize::from(subcommand.id.0)] = plan(subcommand);
            }
        }
        Self(plans)
    }

    /// From now on has plans for these, too. Their ids come after those of the table.
    pub(crate) fn learn(&mut self, learned: &Learned, emulation: bool) {
        for command in learned.all() {
            let index = usize::from(command.id.0);
            if index >= self.0.len() {
                self.0.resize(index + 1, Plan::Refused(Refusal::NotYet));
            }
            self.0[index] = match plan(command, emulation) {
                known @ (Plan::Local(_) | Plan::Task(_) | Plan::Transaction(_) | Plan::Slot(_)) => {
                    known
                }
                known @ (Plan::KeyBehind(_)
                | Plan::Refused(Refusal::Because(_) | Refusal::NoCluster)) => known,
                usual => learned::plan(command).unwrap_or(usual),
            };
        }
    }

    #[inline]
    pub(crate) fn of(&self, command: &Command) -> Plan {
        self.0[usize::from(command.id.0)]
    }
}

fn plan(command: &Command, emulation: bool) -> Plan {
    let of_cluster = command.group == Group::Cluster || command.name == "asking";
    if of_cluster && !emulation {
        return Plan::Refused(Refusal::NoCluster);
    }
    if let Some(local) = Local::of(command.name) {
        return Plan::Local(local);
    }
    if let Some(which) = TransactionCommand::of(command.name) {
        return Plan::Transaction(which);
    }
    if command.name == "monitor" {
        return Plan::Monitor;
    }
    if let Some(special) = Special::of(command.name) {
        return Plan::Task(special);
    }
    // What a client says of its own connection must not reach one that it shares with others.
    if matches!(command.group, Group::Connection) {
        return Plan::Refused(Refusal::NotYet);
    }
    if let Some(reason) = local::reason(command.name) {
        return Plan::Refused(Refusal::Because(reason));
    }
    if matches!(
        command.name,
        "cluster|countkeysinslot" | "cluster|getkeysinslot"
    ) {
        return Plan::Slot(2);
    }
    if let Some((_, plan)) = EXCEPTIONS.iter().find(|(name, _)| *name == command.name) {
        return *plan;
    }
    // What is about the connection would be about one that is shared.
    if matches!(command.group, Group::Connection) {
        return Plan::Refused(Refusal::NotYet);
    }
    if command.flags.contains(Flags::BLOCKING) {
        return Plan::Block;
    }
    // One that changes the connection's own state would change it for everyone else.
    let own_connection = Flags::PUBSUB.union(Flags::ADMIN);
    let stateful = command.flags.intersects(own_connection)
        || command.flags.contains(Flags::NO_MULTI)
        || command.name.starts_with("client|");
    if stateful {
        return Plan::Refused(Refusal::NotYet);
    }
    let merge = MergeKind::of(command.response_policy);
    match (command.request_policy, merge) {
        (RequestPolicy::MultiShard, Some(merge)) if merge.is_of_parts() => Plan::Split {
            merge,
            step: command.key_step.unsigned_abs().into(),
        },
        // A replica has from its primary what a primary is told.
        (RequestPolicy::AllShards | RequestPolicy::AllNodes, Some(merge)) => {
            Plan::Shards(if merge == MergeKind::Elements {
                MergeKind::Concat
            } else {
                merge
            })
        }
        // What changes data that no key names would change it on one node only.
        (RequestPolicy::Default, _)
            if command.key_specs.is_empty() && !command.flags.contains(Flags::WRITE) =>
        {
            Plan::Any
        }
        _ if command.key_specs.is_empty() => Plan::Refused(Refusal::NotYet),
        _ => command.single_key().map_or(Plan::Keys, Plan::Key),
    }
}

/// Commands of which the table does not tell what to do with them.
const EXCEPTIONS: &[(&str, Plan)] = &[
    // The table does not call it blocking, since the server answers it without being told.
    ("wait", Plan::Block),
    // Its channel is no key. Subscriptions of the channel are with the same node.
    ("publish", Plan::Publish(Family::Channel)),
    ("spublish", Plan::Publish(Family::Shard)),
    ("subscribe", Plan::Subscribe(Family::Channel)),
    ("psubscribe", Plan::Subscribe(Family::Pattern)),
    ("ssubscribe", Plan::Subscribe(Family::Shard)),
    ("unsubscribe", Plan::Unsubscribe(Family::Channel)),
    ("punsubscribe", Plan::Unsubscribe(Family::Pattern)),
    ("sunsubscribe", Plan::Unsubscribe(Family::Shard)),
    ("pubsub|help", Plan::Any),
    // A node counts different patterns, and we have each of ours with one node.
    ("pubsub|numpat", Plan::Shards(MergeKind::Sum)),
    // The tips leave it to the proxy how to put them together, which is as of any other command.
    ("latency|reset", Plan::Shards(MergeKind::Sum)),
    // What all shards have saved is as old as the oldest.
    ("lastsave", Plan::Shards(MergeKind::Min)),
    // The table knows of no subcommands of it, so of no keys.
    ("debug", Plan::KeyBehind(&DEBUG_OBJECT)),
];

const DEBUG_OBJECT: Behind = Behind {
    word: "object",
    position: 2,
    or: Refusal::Because(ONE_PROCESS),
};

/// The slot that all keys of the request share.
pub(crate) fn common_slot(
    command: &'static Command,
    request: &Request<'_>,
) -> Result<Option<Slot>, SlotError> {
    let mut common = None;
    let mut crossed = false;
    each_key(command, request, &mut |position| {
        let slot = Slot::of(request.arg(position));
        crossed |= *common.get_or_insert(slot) != slot;
    })
    .map_err(SlotError::Keys)?;
    if crossed {
        Err(SlotError::Crossed)
    } else {
        Ok(common)
    }
}

/// Why the slot of a request can't be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotError {
    Keys(KeysError),
    Crossed,
}

#[cfg(test)]
mod tests {
    use slotway_protocol::command::lookup;

    use super::*;

    fn find(name: &str) -> &'static Command {
        let (container, subcommand) = name.split_once('|').unwrap_or((name, ""));
        let command = lookup(container.as_bytes()).unwrap();
        command.subcommand(subcommand.as_bytes()).unwrap_or(command)
    }

    /// Such as CLIENT NO-TOUCH, which the nodes of Redis 7.2 teach.
    #[test]
    fn what_changes_a_connection_is_not_sent_on_one_that_clients_share() {
        let mut learned = find("client|getname").clone();
        learned.name = "client|no-touch";
        assert_eq!(plan(&learned, false), Plan::Refused(Refusal::NotYet));
    }

    /// Then a request with such a plan is one for the command of that name, whatever follows.
    #[test]
    fn no_command_with_subcommands_has_its_key_in_one_place() {
        let plans = Plans::new(true);
        for command in slotway_protocol::command::all() {
            let is_container = !command.subcommands.is_empty();
            let has_key = matches!(plans.of(command), Plan::Key(_));
            assert!(!(is_container && has_key), "{}", command.name);
        }
    }

    #[test]
    fn plans_come_from_the_table() {
        let plans = Plans::new(false);
        let because = |name| Plan::Refused(Refusal::Because(local::reason(name).unwrap()));
        for (name, plan) in [
            ("get", Plan::Key(1)),
            ("set", Plan::Key(1)),
            (
                "mget",
                Plan::Split {
                    merge: MergeKind::Elements,
                    step: 1,
                },
            ),
            (
                "mset",
                Plan::Split {
                    merge: MergeKind::AllSucceeded,
                    step: 2,
                },
            ),
            (
                "del",
                Plan::Split {
                    merge: MergeKind::Sum,
                    step: 1,
                },
            ),
            ("msetnx", Plan::Keys),
            ("rename", Plan::Keys),
            ("eval", Plan::Keys),
            ("blpop", Plan::Block),
            ("xread", Plan::Block),
            ("wait", Plan::Block),
            ("subscribe", Plan::Subscribe(Family::Channel)),
            ("spublish", Plan::Publish(Family::Shard)),
            ("sunsubscribe", Plan::Unsubscribe(Family::Shard)),
            ("multi", Plan::Transaction(TransactionCommand::Multi)),
            ("watch", Plan::Transaction(TransactionCommand::Watch)),
            ("debug", Plan::KeyBehind(&DEBUG_OBJECT)),
            ("migrate", because("migrate")),
            ("swapdb", because("swapdb")),
            ("publish", Plan::Publish(Family::Channel)),
            ("dbsize", Plan::Shards(MergeKind::Sum)),
            ("keys", Plan::Shards(MergeKind::Concat)),
            ("flushall", Plan::Shards(MergeKind::AllSucceeded)),
            ("script|exists", Plan::Shards(MergeKind::And)),
            ("script|kill", Plan::Task(Special::KillScript)),
            ("function|load", Plan::Shards(MergeKind::AllSucceeded)),
            ("function|list", Plan::Any),
            ("readonly", Plan::Refused(Refusal::NoCluster)),
            ("cluster", Plan::Refused(Refusal::NoCluster)),
        ] {
            assert_eq!(plans.of(find(name)), plan, "{name}");
        }
    }
}
