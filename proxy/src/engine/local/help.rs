//! `HELP` of the commands that have subcommands: those that the proxy serves, each with a line.

use slotway_protocol::command::{Command, lookup};
use slotway_protocol::resp::encode;

use crate::engine::plan::{Plan, Plans};

/// The reply to `HELP` of that container.
pub(super) fn help(container: &[u8], plans: &Plans, out: &mut Vec<u8>) {
    let served = |subcommand: &&Command| !matches!(plans.of(subcommand), Plan::Refused(_));
    let subcommands = lookup(container).map_or(&[][..], |command| command.subcommands);
    let shown = subcommands
        .iter()
        .filter(served)
        .flat_map(|subcommand| lines_of(subcommand.name));
    let shown: Vec<_> = shown.collect();
    encode::array(out, 1 + 2 * shown.len());
    let container = String::from_utf8_lossy(container).to_ascii_uppercase();
    let title = format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    encode::simple(out, title.as_bytes());
    for (_, syntax, text) in shown {
        encode::simple(out, syntax.as_bytes());
        encode::simple(out, format!("    {text}").as_bytes());
    }
}

fn lines_of(
    subcommand: &str,
) -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str)> {
    LINES.iter().filter(move |(name, ..)| *name == subcommand)
}

/// A subcommand, how it is written, and what it does.
const LINES: &[(&str, &str, &str)] = &[
    (
        "acl|cat",
        "CAT [<category>]",
        "The categories, or the commands in one.",
    ),
    (
        "acl|dryrun",
        "DRYRUN <username> <command> [<arg> ...]",
        "Whether that user might send that, without doing it.",
    ),
    (
        "acl|getuser",
        "GETUSER <username>",
        "What is known of a user.",
    ),
    ("acl|help", "HELP", "This text."),
    ("acl|list", "LIST", "The users, each as a line of a file."),
    ("acl|users", "USERS", "The names of the users."),
    ("acl|whoami", "WHOAMI", "The user of this connection."),
    (
        "client|caching",
        "CACHING (YES|NO)",
        "Whether the keys of the next command are tracked.",
    ),
    ("client|getname", "GETNAME", "The name of this connection."),
    (
        "client|getredir",
        "GETREDIR",
        "The client that gets the invalidations of this one.",
    ),
    ("client|help", "HELP", "This text."),
    ("client|id", "ID", "The number of this connection."),
    ("client|info", "INFO", "What is known of this connection."),
    (
        "client|kill",
        "KILL <ip:port>",
        "Close the connection from there.",
    ),
    (
        "client|kill",
        "KILL <option> <value> [<option> <value> [...]]",
        "Close those that fit all of ADDR, LADDR, ID, TYPE, USER, SKIPME.",
    ),
    (
        "client|list",
        "LIST [options ...]",
        "What is known of all, or of a TYPE or some ID.",
    ),
    (
        "client|no-evict",
        "NO-EVICT (ON|OFF)",
        "Accepted; the proxy closes no client to save memory.",
    ),
    (
        "client|pause",
        "PAUSE <timeout> [WRITE|ALL]",
        "Let clients wait, in milliseconds.",
    ),
    (
        "client|reply",
        "REPLY (ON|OFF|SKIP)",
        "Whether replies are sent.",
    ),
    ("client|setname", "SETNAME <name>", "Name this connection."),
    (
        "client|tracking",
        "TRACKING (ON|OFF) [options ...]",
        "Whether to be told when keys that were read change.",
    ),
    (
        "client|trackinginfo",
        "TRACKINGINFO",
        "How this connection tracks keys.",
    ),
    (
        "client|unblock",
        "UNBLOCK <clientid> [TIMEOUT|ERROR]",
        "End the waiting of a client.",
    ),
    ("client|unpause", "UNPAUSE", "Let clients go on."),
    (
        "cluster|count-failure-reports",
        "COUNT-FAILURE-REPORTS <node-id>",
        "How many nodes report that one as failing: none.",
    ),
    (
        "cluster|countkeysinslot",
        "COUNTKEYSINSLOT <slot>",
        "How many keys a slot has.",
    ),
    (
        "cluster|getkeysinslot",
        "GETKEYSINSLOT <slot> <count>",
        "Names of keys in a slot.",
    ),
    ("cluster|help", "HELP", "This text."),
    ("cluster|info", "INFO", "How the cluster is."),
    ("cluster|keyslot", "KEYSLOT <key>", "The slot of a key."),
    (
        "cluster|links",
        "LINKS",
        "Connections among nodes: none is to be seen.",
    ),
    ("cluster|myid", "MYID", "The id of the one node."),
    ("cluster|nodes", "NODES", "The one node, as a line."),
    (
        "cluster|replicas",
        "REPLICAS <node-id>",
        "The replicas of a node: none.",
    ),
    (
        "cluster|shards",
        "SHARDS",
        "All slots, and the one node that has them.",
    ),
    (
        "cluster|slaves",
        "SLAVES <node-id>",
        "The same as REPLICAS.",
    ),
    (
        "cluster|slots",
        "SLOTS",
        "The same as SHARDS, in an older form.",
    ),
    (
        "config|get",
        "GET <pattern>",
        "The parameters that match, and their values.",
    ),
    ("config|help", "HELP", "This text."),
    (
        "config|resetstat",
        "RESETSTAT",
        "Let INFO count from now on.",
    ),
    (
        "config|rewrite",
        "REWRITE",
        "Refused: the config file is changed by hand.",
    ),
    (
        "config|set",
        "SET <directive> <value>",
        "Change parameters until the proxy stops, all of those named or none.",
    ),
    (
        "function|delete",
        "DELETE <LIBRARY NAME>",
        "Remove a library from all nodes.",
    ),
    (
        "function|dump",
        "DUMP",
        "All libraries as bytes for RESTORE.",
    ),
    (
        "function|flush",
        "FLUSH [ASYNC|SYNC]",
        "Remove all libraries from all nodes.",
    ),
    ("function|help", "HELP", "This text."),
    ("function|kill", "KILL", "Stop the function that runs."),
    (
        "function|list",
        "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
        "The libraries and their functions.",
    ),
    (
        "function|load",
        "LOAD [REPLACE] <FUNCTION CODE>",
        "Put a library on all nodes.",
    ),
    (
        "function|restore",
        "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
        "Put the libraries of DUMP on all nodes.",
    ),
    (
        "function|stats",
        "STATS",
        "The function that runs, and the engines.",
    ),
    (
        "latency|doctor",
        "DOCTOR",
        "What the nodes think of their latency.",
    ),
    (
        "latency|graph",
        "GRAPH <event>",
        "Samples of an event, drawn.",
    ),
    ("latency|help", "HELP", "This text."),
    (
        "latency|histogram",
        "HISTOGRAM [COMMAND ...]",
        "How long commands took.",
    ),
    ("latency|history", "HISTORY <event>", "Samples of an event."),
    (
        "latency|latest",
        "LATEST",
        "The latest sample of every event.",
    ),
    (
        "latency|reset",
        "RESET [<event> ...]",
        "Forget the samples of these events, or of all.",
    ),
    (
        "memory|doctor",
        "DOCTOR",
        "What the nodes think of their memory.",
    ),
    ("memory|help", "HELP", "This text."),
    (
        "memory|malloc-stats",
        "MALLOC-STATS",
        "What the nodes' allocators tell.",
    ),
    ("memory|purge", "PURGE", "Let the nodes give memory back."),
    ("memory|stats", "STATS", "How the nodes use memory."),
    (
        "memory|usage",
        "USAGE <key> [SAMPLES <count>]",
        "The bytes of a key and its value.",
    ),
    ("module|help", "HELP", "This text."),
    ("module|list", "LIST", "The modules of the proxy: none."),
    (
        "object|encoding",
        "ENCODING <key>",
        "How the node keeps the value.",
    ),
    (
        "object|freq",
        "FREQ <key>",
        "How often the key is used, on a logarithmic scale.",
    ),
    ("object|help", "HELP", "This text."),
    (
        "object|idletime",
        "IDLETIME <key>",
        "Seconds since the key was used.",
    ),
    (
        "object|refcount",
        "REFCOUNT <key>",
        "References to the value.",
    ),
    (
        "pubsub|channels",
        "CHANNELS [<pattern>]",
        "Channels that have subscribers.",
    ),
    ("pubsub|help", "HELP", "This text."),
    (
        "pubsub|numpat",
        "NUMPAT",
        "How many patterns are subscribed to.",
    ),
    (
        "pubsub|numsub",
        "NUMSUB [<channel> ...]",
        "How many subscribers these channels have.",
    ),
    (
        "pubsub|shardchannels",
        "SHARDCHANNELS [<pattern>]",
        "Shard channels that have subscribers.",
    ),
    (
        "pubsub|shardnumsub",
        "SHARDNUMSUB [<shardchannel> ...]",
        "How many subscribers these shard channels have.",
    ),
    (
        "script|exists",
        "EXISTS <sha1> [<sha1> ...]",
        "Which of these scripts are known.",
    ),
    (
        "script|flush",
        "FLUSH [ASYNC|SYNC]",
        "Let the nodes forget all scripts.",
    ),
    ("script|help", "HELP", "This text."),
    ("script|kill", "KILL", "Stop the script that runs."),
    (
        "script|load",
        "LOAD <script>",
        "Let the nodes know a script.",
    ),
    (
        "slowlog|get",
        "GET [<count>]",
        "The slowest requests lately, 10 or so many.",
    ),
    ("slowlog|help", "HELP", "This text."),
    ("slowlog|len", "LEN", "How many there are."),
    ("slowlog|reset", "RESET", "Forget them."),
    (
        "xgroup|create",
        "CREATE <key> <groupname> <id|$> [option]",
        "Add a group.",
    ),
    (
        "xgroup|createconsumer",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "Add a consumer.",
    ),
    (
        "xgroup|delconsumer",
        "DELCONSUMER <key> <groupname> <consumer>",
        "Remove a consumer.",
    ),
    (
        "xgroup|destroy",
        "DESTROY <key> <groupname>",
        "Remove a group.",
    ),
    ("xgroup|help", "HELP", "This text."),
    (
        "xgroup|setid",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "Where a group goes on reading.",
    ),
    (
        "xinfo|consumers",
        "CONSUMERS <key> <groupname>",
        "The consumers of a group.",
    ),
    ("xinfo|groups", "GROUPS <key>", "The groups of a stream."),
    ("xinfo|help", "HELP", "This text."),
    (
        "xinfo|stream",
        "STREAM <key> [FULL [COUNT <count>]]",
        "What is known of a stream.",
    ),
];

#[cfg(test)]
mod tests {
    use slotway_protocol::command::all;

    use super::super::tests::{World, session};
    use super::*;
    use crate::engine::options::Emulation;

    #[test]
    fn every_container_has_help_on_what_is_served() {
        let mut world = World::default();
        world.options.cluster = Some(Emulation { announce: None });
        let plans = Plans::new(true);
        for container in all()
            .iter()
            .filter(|command| !command.subcommands.is_empty())
        {
            if container.name == "command" {
                continue;
            }
            let name = container.name.to_ascii_uppercase();
            let got = world.reply(&mut session(), &format!("{} help", container.name));
            let title = format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
            assert!(got.contains(&format!("\r\n+{title}\r\n")), "{got}");
            for subcommand in container.subcommands {
                let is_served = !matches!(plans.of(subcommand), Plan::Refused(_));
                let own = subcommand.name.split('|').next_back().unwrap_or_default();
                let own = own.to_ascii_uppercase();
                let is_told = got.lines().any(|line| {
                    let line = line.strip_prefix('+').unwrap_or_default();
                    line == own || line.starts_with(&format!("{own} "))
                });
                assert_eq!(is_told, is_served, "{name} {own}");
            }
        }
    }

    #[test]
    fn every_line_is_of_a_subcommand() {
        for (name, syntax, text) in LINES {
            let (container, own) = name.split_once('|').expect(name);
            let container = lookup(container.as_bytes()).expect(name);
            assert!(container.subcommand(own.as_bytes()).is_some(), "{name}");
            assert!(syntax.to_ascii_lowercase().starts_with(own), "{name}");
            assert!(text.ends_with('.'), "{name}");
        }
    }
}
