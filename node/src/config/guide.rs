//! docs/directives.md: every directive with its default, values and effect, in words for users. A
//! test holds the page to the table.

use super::directive::Directive;
use super::kind::{Kind, in_units};
use super::table::Config;

/// The page.
fn page() -> String {
    let mut page = HEAD.to_owned();
    let defaults = Config::default();
    for directive in Directive::all() {
        let aliases = directive.alias.iter().map(|alias| format!(", `{alias}`"));
        let aliases: String = aliases.collect();
        let lines = directive.show(&defaults);
        let default = if lines.is_empty() {
            "`\"\"`".to_owned()
        } else {
            format!("`{lines}`")
        };
        let traits = directive.traits;
        let when = match (traits.immutable, traits.protected) {
            (true, _) => "at the start",
            (_, true) => "protected",
            _ => "any time",
        };
        let effect = if traits.kept {
            "kept, no effect yet"
        } else {
            effect(directive.name)
        };
        page.push_str(&format!(
            "| `{}`{aliases} | {default} | {} | {when} | {effect} |\n",
            directive.name,
            values(&directive.kind),
        ));
    }
    page
}

/// What a directive takes.
fn values(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "yes, no".to_owned(),
        Kind::NeverYes(_) => "no".to_owned(),
        Kind::Number(least, most) => format!("{least} to {}", limit(*most)),
        Kind::Clamped(least, most) => format!("{least} to {most}; others become the nearest"),
        Kind::Octal(least, most) => format!("{least:o} to {most:o}, octal"),
        Kind::Memory(least, most) => format!("{} to {} bytes", in_units(*least), limit(*most)),
        Kind::AnyMemory => "bytes".to_owned(),
        Kind::MemoryOrPercent => "bytes, or up to `100%`".to_owned(),
        Kind::Text(_) | Kind::OptionalText(_) => "text".to_owned(),
        Kind::Directory => "a folder".to_owned(),
        Kind::Choice(names) => names
            .iter()
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(", "),
        Kind::Flags(names) => {
            let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            format!("one or several of {}", names.join(", "))
        }
        Kind::Events => "letters of `Ag$lshzxeKEtmdn`".to_owned(),
        Kind::Words(_) => "words".to_owned(),
    }
}

fn limit(most: i64) -> String {
    match most {
        i64::MAX => "2⁶³-1".to_owned(),
        most if most == i64::from(i32::MAX) => "2³¹-1".to_owned(),
        most if most == i64::from(u32::MAX) => "2³²-1".to_owned(),
        most => most.to_string(),
    }
}

/// What a directive that has an effect does.
fn effect(name: &str) -> &'static str {
    EFFECTS
        .iter()
        .find_map(|(other, effect)| (*other == name).then_some(*effect))
        .unwrap_or_default()
}

const EFFECTS: &[(&str, &str)] = &[
    (
        "slowlog-log-slower-than",
        "commands that take more microseconds than that are in SLOWLOG; -1 for none, 0 for all",
    ),
    (
        "slowlog-max-len",
        "how many commands SLOWLOG keeps; the oldest go first",
    ),
    (
        "latency-tracking",
        "whether INFO latencystats and LATENCY HISTOGRAM tell how times are distributed: about \
         24 KiB for each kind of command that is used",
    ),
    (
        "latency-tracking-info-percentiles",
        "which percentiles INFO latencystats shows",
    ),
    (
        "metrics-port",
        "where metrics, health and readiness are, see [node-metrics.md](node-metrics.md); 0 for \
         nowhere. Our own",
    ),
    (
        "metrics-bind",
        "the addresses for it, as in `bind`. Our own",
    ),
    (
        "port",
        "where clients connect; changing it closes nobody's connection",
    ),
    (
        "bind",
        "addresses to listen on, `*` for all; one with `-` in front may be missing",
    ),
    ("protected-mode", "see above"),
    (
        "tcp-backlog",
        "how many connections may wait to be accepted",
    ),
    (
        "tcp-keepalive",
        "seconds after which idle connections are probed; for new ones",
    ),
    ("maxclients", "one more is told so and closed"),
    (
        "timeout",
        "seconds after which idle clients are closed; 0 for never",
    ),
    (
        "client-output-buffer-limit",
        "class, hard limit, soft limit, seconds; for replicas",
    ),
    ("proto-max-bulk-len", "the longest argument of a request"),
    ("requirepass", "clients have to authenticate"),
    (
        "enable-protected-configs",
        "who may set what is protected; local is the same machine",
    ),
    ("enable-debug-command", "who may use `DEBUG`"),
    (
        "daemonize",
        "starts the program once more in the background, and ends",
    ),
    (
        "supervised",
        "with systemd or auto: tells it when clients are served; never in background",
    ),
    (
        "pidfile",
        "gets the number of the process; in the background `/var/run/redis.pid`",
    ),
    ("loglevel", "which lines are logged"),
    (
        "logfile",
        "where; empty is the standard output. A missing folder is made",
    ),
    (
        "shutdown-timeout",
        "seconds for replicas to catch up before a primary ends; 0 for none",
    ),
    (
        "shutdown-on-sigint",
        "the words of `SHUTDOWN` that it means",
    ),
    (
        "shutdown-on-sigterm",
        "the words of `SHUTDOWN` that it means",
    ),
    ("databases", "of a node that is not part of a cluster"),
    (
        "cluster-databases",
        "of one that is; redis-server always has 1. Our own",
    ),
    (
        "stream-node-max-bytes",
        "how large a node of a stream gets; 0 for as large as it likes",
    ),
    (
        "stream-node-max-entries",
        "how many entries a node of a stream gets; 0 for any number",
    ),
    (
        "dir",
        "where the files are; the current directory of the process",
    ),
    ("dbfilename", "the file with all keys"),
    (
        "save",
        "seconds and changes after which all keys are saved; `\"\"` for never",
    ),
    ("save-buffer-max", "see [node.md](node.md). Our own"),
    (
        "stop-writes-on-bgsave-error",
        "writes are refused after a save that failed",
    ),
    ("rdbcompression", "long strings are compressed"),
    ("rdbchecksum", "files have a checksum"),
    (
        "rdb-key-save-delay",
        "microseconds from key to key of a full sync that goes out, for tests",
    ),
    (
        "key-load-delay",
        "microseconds from key to key of a full sync that comes in, for tests",
    ),
    (
        "loading-process-events-interval-bytes",
        "with `key-load-delay`, how much is loaded at once",
    ),
    ("appendonly", "each write is appended to a file"),
    ("appendfilename", "how its parts begin"),
    ("appenddirname", "the folder with its parts, in `dir`"),
    ("appendfsync", "when it is flushed to the disk"),
    ("no-appendfsync-on-rewrite", "not while it is rewritten"),
    (
        "auto-aof-rewrite-percentage",
        "by how much it may grow before it is rewritten; 0 for never",
    ),
    ("auto-aof-rewrite-min-size", "but not below this"),
    (
        "aof-load-truncated",
        "one that is cut off at its end is loaded",
    ),
    ("aof-timestamp-enabled", "has comments with times"),
    (
        "aof-buffer-max",
        "what may wait to be written; beyond it writes are refused",
    ),
    (
        "aof-disable-auto-gc",
        "parts that are not needed any more stay",
    ),
    ("replicaof", "whom to follow; not in a cluster"),
    ("masteruser", "with `masterauth`, as whom"),
    ("masterauth", "the password for the primary"),
    (
        "replica-serve-stale-data",
        "a replica answers although the link to its primary is down",
    ),
    ("replica-read-only", "a replica takes no writes"),
    ("replica-priority", "who takes over first; 0 for never"),
    (
        "replica-announced",
        "whether a primary tells of this replica",
    ),
    ("replica-announce-ip", "what it tells"),
    ("replica-announce-port", "what it tells"),
    (
        "repl-backlog-size",
        "how much a replica may miss and still go on where it was",
    ),
    (
        "repl-backlog-ttl",
        "seconds without replicas after which that is forgotten; 0 for never",
    ),
    (
        "busy-reply-threshold",
        "milliseconds after which others are told that a script keeps the node busy",
    ),
    (
        "repl-timeout",
        "seconds of silence after which a link is given up",
    ),
    (
        "repl-ping-replica-period",
        "seconds between PINGs to replicas",
    ),
    ("repl-diskless-sync", "full syncs go out without a file"),
    (
        "repl-diskless-load",
        "with swapdb, `INFO` calls a full sync of the same stream `async_loading`",
    ),
    (
        "min-replicas-to-write",
        "writes are refused with fewer replicas",
    ),
    (
        "min-replicas-max-lag",
        "which are not further behind, in seconds",
    ),
    ("cluster-enabled", "be a node of a cluster"),
    ("cluster-config-file", "what the node knows of it"),
    (
        "cluster-node-timeout",
        "milliseconds of silence after which a node is suspected",
    ),
    (
        "cluster-port",
        "of the bus; 0 is 10,000 above `port`, which is then at most 55,535",
    ),
    ("cluster-announce-ip", "how others reach this node"),
    ("cluster-announce-port", "how others reach this node"),
    ("cluster-announce-bus-port", "how others reach this node"),
    (
        "cluster-announce-hostname",
        "a name that clients may be told",
    ),
    ("cluster-preferred-endpoint-type", "what clients are told"),
    (
        "cluster-replica-validity-factor",
        "how old a replica's data may be to take over; 0 for any",
    ),
    (
        "cluster-replica-no-failover",
        "this replica never takes over by itself",
    ),
    (
        "cluster-crash-failover",
        "it does at once when the process of its primary has ended. Our own",
    ),
    (
        "cluster-shutdown-failover",
        "a primary has a replica take its place before it ends. Our own",
    ),
    (
        "cluster-migration-barrier",
        "replicas that a primary keeps when others have none",
    ),
    (
        "cluster-allow-replica-migration",
        "replicas go to primaries without any",
    ),
    (
        "cluster-require-full-coverage",
        "no slot is served while one is not",
    ),
    ("cluster-allow-reads-when-down", "but reads are"),
    (
        "cluster-allow-pubsubshard-when-down",
        "and so are channels of shards",
    ),
    (
        "cluster-link-sendbuf-limit",
        "what may wait for another node of the cluster; 0 for any",
    ),
];

const HEAD: &str = "\
# The directives of a node

All directives of redis-server 7.0.15, and six of our own. This page is written from the table of
the node, and a test holds it to that. After a change, run

    SLOTWAY_WRITE_DOCS=1 cargo test -p slotway-node --lib guide

**Where they stand.** In a redis.conf, which is the first argument of `slotway-node`; on its
standard input, with `-`; and behind `--` on the command line, which counts most. Lines are as
redis-server reads them: quotes with escapes, `include` with patterns, and a mistake anywhere keeps
the node from starting, with the words of the original. `user` lines are taken where they give the
user `default` all rights, as CONFIG REWRITE writes them; its password has to stand in
`requirepass`. `rename-command`, `loadmodule` and other users are refused.

**Changing them.** CONFIG SET takes several at once, all or none, with the texts of redis-server.
What can be set only at the start is refused, and so is what is protected, unless
`enable-protected-configs` allows it. A client waits until the node listens elsewhere; in a
transaction nobody waits, and what fails is only in the log. Changes to `dir` and `dbfilename` count
for files that are opened after that.

**Writing them down.** CONFIG REWRITE keeps comments and order, as redis-server does. The file's
mode stays as it was: there may be passwords in it. Where no file may be made in its folder, the
file itself is written over, so a crash at that moment may leave a part of it.

**Protected mode.** Without a password, and as long as `bind` is the default, clients of other
machines are refused. Naming other addresses in `bind` counts as consent, as it did up to 6.2, and
a warning is logged; redis-server 7.0 wants `protected-mode no` in addition.

**Kept** are directives whose feature the node does not have, or does in its own way. They are
shown and written back, and one warning at the start names those that a file sets to something else
than the default.

Numbers of bytes may have a unit: `k`, `m` and `g` are powers of 1,000, `kb`, `mb` and `gb` of
1,024. Log lines have the form of redis-server; their times are UTC.

| directive | default | values | set | effect |
| --- | --- | --- | --- | --- |
";

#[cfg(test)]
mod tests {
    use super::*;

    /// The page in the repository is what the table says.
    #[test]
    fn the_page_is_true() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/directives.md");
        let page = page();
        if std::env::var_os("SLOTWAY_WRITE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        let same = page
            .lines()
            .zip(kept.lines())
            .find(|(page, kept)| page != kept);
        assert!(
            page == kept,
            "docs/directives.md differs from the table; write it anew with\n    \
             SLOTWAY_WRITE_DOCS=1 cargo test -p slotway-node --lib guide\n{same:?}"
        );
    }

    #[test]
    fn exactly_what_has_an_effect_has_it_explained() {
        for directive in Directive::all() {
            let is_explained = !effect(directive.name).is_empty();
            assert_eq!(is_explained, !directive.traits.kept, "{}", directive.name);
        }
        for (name, _) in EFFECTS {
            assert!(Directive::find(name).is_some(), "{name}");
        }
    }
}
