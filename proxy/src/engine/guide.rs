//! docs/commands.md: what the proxy does with each command of the table, in words for users. Each
//! plan has its words here, in one place; which command has which plan is `plan.rs`' matter.

use core::fmt::Write;

use slotway_protocol::command::{self, Command, Flags, Group};
use slotway_protocol::resp::{RequestBuffers, RequestLimits, RequestScanner, Scan, encode};

use super::across;
use super::local::{Local, Topic};
use super::merge::MergeKind;
use super::plan::{Plan, Plans, Refusal};
use super::publish::About;
use super::pubsub::Family;
use super::special::Special;
use super::transactions::TransactionCommand;

/// The whole page.
fn page() -> String {
    let plans = [Plans::new(false), Plans::new(true)];
    let mut page = HEAD.to_owned();
    for (group, title) in GROUPS {
        let mut of_group = command::all().iter().filter(|it| it.group == group);
        let Some(first) = of_group.next() else {
            continue;
        };
        let _ = write!(page, "\n## {title}\n\n{COLUMNS}");
        for command in core::iter::once(first).chain(of_group) {
            add_row(&mut page, command, &plans);
            for subcommand in command.subcommands {
                add_row(&mut page, subcommand, &plans);
            }
        }
    }
    page
}

fn add_row(page: &mut String, command: &Command, plans: &[Plans; 2]) {
    let name = shown(command.name);
    let since = command.since;
    let _ = if is_container(command) {
        writeln!(page, "| `{name}` | {since} | by its subcommand | |")
    } else {
        let [plan, emulated] = plans.each_ref().map(|plans| plans.of(command));
        let what = what(command, plan);
        let notes = notes(command, plan, emulated).join("; ");
        let gap = if notes.is_empty() { "" } else { " " };
        writeln!(page, "| `{name}` | {since} | {what} | {notes}{gap}|")
    };
}

/// Whether there is nothing to be asked but its subcommands.
fn is_container(command: &Command) -> bool {
    !command.subcommands.is_empty() && !command.accepts(1)
}

/// The name as users write it.
fn shown(name: &str) -> String {
    name.to_ascii_uppercase().replace('|', " ")
}

/// What is done with the command.
fn what(command: &Command, plan: Plan) -> String {
    match plan {
        Plan::Any => "sent to one node, always the same".to_owned(),
        Plan::Block if command.key_specs.is_empty() => {
            "asked of every shard, on connections of the client's own; the smallest number"
                .to_owned()
        }
        Plan::Block if command.key_specs.len() > 1 => {
            "waits on a connection of its own; its keys must share a slot".to_owned()
        }
        Plan::Block => "waits on a connection of its own, or by asking again".to_owned(),
        Plan::Key(_) => "routed by its key".to_owned(),
        Plan::KeyBehind(behind) => {
            let word = shown(behind.word);
            format!(
                "with `{word}` routed by the key behind it; else {}",
                refused(behind.or)
            )
        }
        Plan::Keys => "routed by its keys, which must share a slot".to_owned(),
        Plan::Local(_) => "answered by the proxy".to_owned(),
        Plan::Monitor => "answered by all workers of the proxy".to_owned(),
        Plan::Publish(_) => "routed by its channel".to_owned(),
        Plan::Refused(refusal) => refused(refusal),
        Plan::Shards(merge) => format!("sent to every shard; {}", merged(merge)),
        Plan::Slot(_) => "routed by the slot that it names".to_owned(),
        Plan::Split { merge, .. } => format!("split by slot; {}", merged(merge)),
        Plan::Subscribe(_) => "kept by the proxy, and once for each worker at a node".to_owned(),
        Plan::Unsubscribe(_) => {
            "forgotten by the proxy, and with its last client at the node".to_owned()
        }
        Plan::Task(special) => of_special(special).0.to_owned(),
        Plan::Transaction(which) => of_transaction(which).to_owned(),
    }
}

/// What else is worth knowing.
fn notes(command: &Command, plan: Plan, emulated: Plan) -> Vec<String> {
    let mut notes = Vec::new();
    let note = match plan {
        Plan::Local(local) => of_local(local),
        Plan::Monitor => "off unless the setting `monitor` is on",
        Plan::Publish(Family::Shard) => COUNTED,
        Plan::Publish(_) => {
            "counts all clients of the same worker, and another worker as one if it is subscribed \
             at the same node; patterns may be at others"
        }
        Plan::Split { .. } => "not atomic across slots",
        Plan::Subscribe(Family::Shard) => "all channels of one request must share a slot",
        Plan::Task(special) => of_special(special).1,
        Plan::Any
        | Plan::Block
        | Plan::Key(_)
        | Plan::KeyBehind(_)
        | Plan::Keys
        | Plan::Refused(_)
        | Plan::Shards(_)
        | Plan::Slot(_)
        | Plan::Subscribe(_)
        | Plan::Transaction(_)
        | Plan::Unsubscribe(_) => "",
    };
    if !note.is_empty() {
        notes.push(note.to_owned());
    }
    if plan == Plan::Keys && reads_across_slots(command) {
        notes.push(ACROSS.to_owned());
    }
    if emulated != plan {
        let mut words = what(command, emulated);
        if let Plan::Local(local) = emulated {
            words = format!("{words}: {}", of_local(local));
        }
        notes.push(format!("with `cluster_emulation` {words}"));
    }
    let is_refused = matches!(plan, Plan::Refused(_));
    if !is_refused && command.flags.contains(Flags::ADMIN) {
        notes.push("administrative".to_owned());
    }
    if !is_refused && !fits_transaction(plan) {
        notes.push(NOT_QUEUED.to_owned());
    }
    notes
}

/// Whether those who opt in may read keys of several slots with it.
fn reads_across_slots(command: &Command) -> bool {
    let mut words = vec![command.name];
    words.resize(command.arity.unsigned_abs().into(), "1");
    let mut frame = Vec::new();
    encode::request(&mut frame, &words);
    let mut buffers = RequestBuffers::default();
    let limits = RequestLimits::default();
    let scan = RequestScanner::default().scan(&frame, &limits, &mut buffers);
    assert!(matches!(scan, Ok(Scan::Request { .. })), "{words:?}");
    across::serves(command, &buffers.request(&frame))
}

/// Whether it may stand between MULTI and EXEC.
pub(super) fn fits_transaction(plan: Plan) -> bool {
    match plan {
        Plan::Any
        | Plan::Block
        | Plan::Key(_)
        | Plan::Keys
        | Plan::Publish(_)
        | Plan::Split { .. }
        | Plan::Transaction(_) => true,
        Plan::Local(local) => local.fits_transaction() || ends_transaction(local),
        Plan::KeyBehind(_)
        | Plan::Monitor
        | Plan::Refused(_)
        | Plan::Shards(_)
        | Plan::Slot(_)
        | Plan::Subscribe(_)
        | Plan::Task(_)
        | Plan::Unsubscribe(_) => false,
    }
}

fn ends_transaction(local: Local) -> bool {
    matches!(local, Local::Quit | Local::Reset)
}

fn merged(merge: MergeKind) -> &'static str {
    match merge {
        MergeKind::Elements => "one array in the order of the keys",
        MergeKind::Sum => "the sum",
        MergeKind::AllSucceeded => "one reply when all have succeeded, else an error",
        MergeKind::OneSucceeded => "the first success, or an error when there is none",
        MergeKind::Concat => "all elements together, in any order",
        MergeKind::And => "1 for what is so on all",
        MergeKind::Or => "1 for what is so on any",
        MergeKind::Min => "the smallest number",
        MergeKind::Max => "the largest number",
    }
}

fn refused(refusal: Refusal) -> String {
    match refusal {
        Refusal::NotYet => "refused: not supported yet".to_owned(),
        Refusal::HiddenKeys => "refused: only a node can tell its keys".to_owned(),
        Refusal::Because(text) => {
            let reason = text.strip_prefix("ERR ").unwrap_or(text);
            let reason = reason.strip_prefix("proxy: ").unwrap_or(reason);
            format!("refused: {reason}")
        }
        Refusal::NoCluster => "refused, as by a server that is no cluster".to_owned(),
    }
}

fn of_transaction(which: TransactionCommand) -> &'static str {
    match which {
        TransactionCommand::Multi => "from here on commands are checked and queued in the proxy",
        TransactionCommand::Exec => "what is queued is sent as one block to the slot of its keys",
        TransactionCommand::Discard => "what is queued is forgotten, what is watched let go",
        TransactionCommand::Watch => {
            "sent on a connection of the client's own, kept until EXEC; all keys must share a slot"
        }
        TransactionCommand::Unwatch => "sent on the connection that watches, if there is one",
    }
}

/// What is done, and what is worth knowing.
fn of_special(special: Special) -> (&'static str, &'static str) {
    match special {
        Special::ClientKill
        | Special::ClientList
        | Special::ClientPause
        | Special::ClientUnblock
        | Special::ClientUnpause => (
            "answered by all workers of the proxy",
            "about the clients of this proxy, not of others",
        ),
        Special::FunctionStats => (
            "asked of every shard, on connections of the client's own; that of one that is busy",
            "",
        ),
        Special::KillScript => (
            "sent to every shard, on connections of the client's own; the first success",
            "",
        ),
        Special::LatencyDoctor
        | Special::LatencyGraph
        | Special::MemoryDoctor
        | Special::MemoryMallocStats => (
            "asked of every shard; one text after the other",
            "each with the address of its node",
        ),
        Special::LatencyHistogram => (
            "asked of every shard; of each command the sum of all calls",
            "the nodes count what the proxy asks by itself, too",
        ),
        Special::LatencyHistory => ("asked of every shard; all entries, by their time", ""),
        Special::LatencyLatest => (
            "asked of every shard; for each event the latest and the worst",
            "",
        ),
        Special::MemoryStats => (
            "asked of every shard; counts are added up, of ratios the largest",
            "",
        ),
        Special::SlowLogGet | Special::SlowLogLen | Special::SlowLogReset => (
            "asked of all workers of the proxy",
            "the proxy's own; `PROXY SLOWLOG` tells more",
        ),
        Special::PubSub(About::Channels(_)) => (
            "asked of every shard; all elements together, and what clients here have",
            "",
        ),
        Special::PubSub(About::Counts(_)) => (
            "asked of every shard and of all workers of the proxy; the sum",
            "counts the clients of each worker of another proxy as one",
        ),
        Special::RandomKey => (
            "every shard is asked how many keys it has, then one of them for a key",
            "each key is as likely as the next",
        ),
        Special::Scan => (
            "walks through all slots, one node after the other",
            "any proxy of the same cluster takes the cursor; a key may be found twice while slots \
             move; COUNT is a hint",
        ),
        Special::ScriptFlush => (
            "sent to every shard; one reply when all have succeeded, else an error",
            "all workers of the proxy forget the scripts, too",
        ),
        Special::ScriptLoad => (
            "sent to every shard; one reply when all have succeeded, else an error",
            "kept by the proxy for nodes that do not know it",
        ),
    }
}

fn of_local(local: Local) -> &'static str {
    match local {
        Local::AclCat => "",
        Local::AclDryRun | Local::AclGetUser | Local::AclList | Local::AclUsers => {
            "the proxy has one user, `default`"
        }
        Local::AclWhoAmI => "`default`",
        Local::Auth => "the proxy has one user, `default`, without a password",
        Local::ClientCaching => "an error, since nothing is tracked",
        Local::ClientGetName | Local::ClientSetName => "",
        Local::ClientGetRedir => "nothing is redirected",
        Local::ClientId => "unique in this proxy, not among several",
        Local::ClientInfo => "",
        Local::ClientNoEvict => "shown by CLIENT LIST; has no other effect",
        Local::ClientReply => "",
        Local::ClientSetInfo => "",
        Local::ClientTracking => "ON is refused: what a client has read is not known to the nodes",
        Local::ClientTrackingInfo => "off",
        Local::Cluster(topic) => of_topic(topic),
        Local::Command => "also of what the nodes have besides",
        Local::ConfigGet => "the proxy's own settings",
        Local::ConfigResetStat => "what INFO counts; not what `/metrics` counts",
        Local::ConfigRewrite => "an error: the file is changed by hand",
        Local::ConfigSet => "the proxy's own limits and times, for all workers, until it stops",
        Local::Echo => "",
        Local::Hello => "RESP2 and RESP3",
        Local::Help => "names what the proxy serves",
        Local::Info => "about the proxy, but for the keys of all shards",
        Local::Lolwut => "the version only",
        Local::ModuleList => "empty",
        Local::Ok => "changes nothing",
        Local::Ping => "",
        Local::Quit | Local::Reset => "also gives up what MULTI has queued",
        Local::Role => "always a master",
        Local::Select => "as many databases as the nodes have; not between MULTI and EXEC",
        Local::Time => "the proxy's clock",
    }
}

fn of_topic(topic: Topic) -> &'static str {
    match topic {
        Topic::FailureReports => "none",
        Topic::Info => "of one node that is well",
        Topic::KeySlot => "as every node",
        Topic::Links => "none",
        Topic::MyId => "the one node's",
        Topic::Nodes | Topic::Shards | Topic::Slots => "one node with all slots, the proxy",
        Topic::Replicas => "none",
    }
}

const ACROSS: &str = "with `cross_slot_reads` of any slots, though not as of one moment";

const COUNTED: &str = "counts all clients of the same worker, and any other worker as one";

const NOT_QUEUED: &str = "not in a transaction";

/// In the order of the page; a module's commands are in no table.
const GROUPS: [(Group, &str); 16] = [
    (Group::String, "Strings"),
    (Group::Hash, "Hashes"),
    (Group::List, "Lists"),
    (Group::Set, "Sets"),
    (Group::SortedSet, "Sorted sets"),
    (Group::Stream, "Streams"),
    (Group::Geo, "Geo"),
    (Group::Bitmap, "Bitmaps"),
    (Group::Hyperloglog, "HyperLogLog"),
    (Group::Generic, "Keys of any type"),
    (Group::Transactions, "Transactions"),
    (Group::Pubsub, "Publish and subscribe"),
    (Group::Scripting, "Scripts and functions"),
    (Group::Connection, "Connection"),
    (Group::Server, "Server"),
    (Group::Cluster, "Cluster"),
];

const COLUMNS: &str =
    "| command | since | what the proxy does | notes |\n| --- | --- | --- | --- |\n";

const HEAD: &str = "\
# What the proxy does with each command

Every command of Redis 7.0, and what becomes of it on its way through the proxy. Replies differ
from those of a single server only as [conformance.md](conformance.md) says.

This page is written from the proxy's own table, and a test holds it to that. After a change, run

    SLOTWAY_WRITE_DOCS=1 cargo test -p slotway guide

- **Routed by its key**: sent to the node that owns the key's slot, wherever that is by now;
  redirects are followed and failovers waited for. Commands whose keys **must share a slot** get
  the error that a cluster gives, `CROSSSLOT`, when they do not; keys with the same `{tag}` always
  do.
- **Split by slot**: each node gets the part that is its own. When all keys share a slot the
  request is sent whole, and is atomic as ever. Otherwise others may see it half done, and after
  an error some parts may have been done.
- **Sent to every shard**: to the primary of each. An error of one is the reply, though the others
  may have done what they were told, unless the table says otherwise.
- **On a connection of its own**: the request takes one of the connections to nodes that serve one
  client at a time (`private_connections_max`), since it waits, or leaves something with the
  connection.
- **By asking again**: when the keys of a command that waits lie in several slots, or when there
  are too many such connections, the proxy tries without waiting, has the nodes tell it when one
  of the keys changes, and tries again. Clients of one worker that wait for a key are served in
  the order in which they came; they have no place in the order in which the node serves those who
  wait there.
- **Not in a transaction**: refused between MULTI and EXEC, and then so is EXEC, since a
  transaction is for one shard.
- **Administrative** is what Redis calls so: think about who may reach the proxy.
- **Refused**: answered with an error that begins with `ERR proxy:`, or with the words of a server
  that can't do it either.

Commands that Redis got later and those of modules are learned from the nodes. They are served by
what the nodes tell of them: their keys, and how to split or spread them. Refused are those of
which the nodes do not tell where the keys are, and those that would change a connection that
clients share.
";

#[cfg(test)]
mod tests {
    use super::*;

    /// The page in the repository is what the table says.
    #[test]
    fn the_page_is_true() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/commands.md");
        let page = page();
        if std::env::var_os("SLOTWAY_WRITE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        let pairs = page.lines().zip(kept.lines());
        let differs = pairs.clone().position(|(page, kept)| page != kept);
        let at = differs.unwrap_or_else(|| pairs.count());
        assert!(
            page == kept,
            "docs/commands.md differs from the table in line {}; write it anew with\n    \
             SLOTWAY_WRITE_DOCS=1 cargo test -p slotway guide\nThere should be: {:?}\nThere is: \
             {:?}",
            at + 1,
            page.lines().nth(at),
            kept.lines().nth(at),
        );
    }

    #[test]
    fn each_command_has_a_row() {
        let page = page();
        let rows = page.lines().filter(|line| line.starts_with("| `"));
        assert_eq!(rows.count(), Command::count());
        for row in page.lines().filter(|line| line.starts_with('|')) {
            assert_eq!(row.matches(" |").count(), 4, "{row}");
        }
    }
}
