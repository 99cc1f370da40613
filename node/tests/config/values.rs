//! CONFIG SET with values of each kind, good and bad: replies, and what CONFIG GET says after.

use crate::{ask_both, both};

/// Names and values, and whether they are given in one CONFIG SET.
const SETS: &[&[&str]] = &[
    &["maxmemory", "abc"],
    &["maxmemory", "-1"],
    &["maxmemory", ""],
    &["maxmemory", "1gb"],
    &["maxmemory", "1GB"],
    &["maxmemory", "3k"],
    &["maxmemory", "99999999999999999999"],
    &["maxmemory", "1.5gb"],
    &["maxmemory", "0"],
    &["maxmemory-policy", "lru"],
    &["maxmemory-policy", "ALLKEYS-LRU"],
    &["maxmemory-clients", "10%"],
    &["maxmemory-clients", "101%"],
    &["maxmemory-clients", "-1%"],
    &["maxmemory-clients", "5mb"],
    &["maxmemory-clients", "x"],
    &["maxmemory-clients", "%"],
    &["proto-max-bulk-len", "1"],
    &["proto-max-bulk-len", "2mb"],
    &["repl-backlog-size", "0"],
    &["repl-backlog-size", "9223372036854775808"],
    &["repl-backlog-size", "2mb"],
    &["port", "70000"],
    &["port", "x"],
    &["port", "-1"],
    &["timeout", ""],
    &["timeout", " 1"],
    &["timeout", "+1"],
    &["timeout", "01"],
    &["timeout", "2147483648"],
    &["timeout", "3"],
    &["tcp-keepalive", "60"],
    &["hz", "1000"],
    &["hz", "0"],
    &["hz", "-1"],
    &["slowlog-log-slower-than", "-1"],
    &["slowlog-log-slower-than", "-2"],
    &["slowlog-max-len", "-1"],
    &["list-max-ziplist-size", "-5"],
    &["cluster-node-timeout", "9223372036854775807"],
    &["cluster-node-timeout", "9223372036854775808"],
    &["maxclients", "0"],
    &["maxclients", "4294967296"],
    &["appendfsync", "sometimes"],
    &["appendfsync", "always"],
    &["loglevel", "loud"],
    &["repl-diskless-load", "swapdb"],
    &["acl-pubsub-default", "x"],
    &["oom-score-adj", "x"],
    &["cluster-preferred-endpoint-type", "name"],
    &["activedefrag", "yes"],
    &["activedefrag", "maybe"],
    &["rdbcompression", "1"],
    &["rdbcompression", "NO"],
    &["save", "900"],
    &["save", "0 1"],
    &["save", "1 -1"],
    &["save", "a b"],
    &["save", "900 1 60 10"],
    &["save", "900  1"],
    &["save", ""],
    &["client-output-buffer-limit", "normal 1 2"],
    &["client-output-buffer-limit", "master 1 2 3"],
    &["client-output-buffer-limit", "normal x 2 3"],
    &["client-output-buffer-limit", "normal 1 2 x"],
    &[
        "client-output-buffer-limit",
        "replica 1mb 2kb 3 pubsub 4 5 6",
    ],
    &["client-output-buffer-limit", ""],
    &["oom-score-adj-values", "1 2"],
    &["oom-score-adj-values", "1 2 2001"],
    &["oom-score-adj-values", "1 2 x"],
    &["notify-keyspace-events", "KEA"],
    &["notify-keyspace-events", "gxE"],
    &["notify-keyspace-events", "nm"],
    &["notify-keyspace-events", "An"],
    &["notify-keyspace-events", "q"],
    &["notify-keyspace-events", ""],
    &["latency-tracking-info-percentiles", "50.0 99.99"],
    &["latency-tracking-info-percentiles", "x"],
    &["latency-tracking-info-percentiles", "101"],
    &["latency-tracking-info-percentiles", ""],
    &["bind", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17"],
    &["cluster-announce-hostname", "a_b"],
    &["cluster-announce-hostname", "a.b-c"],
    &["proc-title-template", "{x}"],
    &["proc-title-template", ""],
    &["proc-title-template", "{title} {port}"],
    &["shutdown-on-sigint", "save nosave"],
    &["shutdown-on-sigint", "now force"],
    &["shutdown-on-sigint", "default"],
    &["replica-announce-port", "65536"],
    &["slave-announce-port", "x"],
    &["SLAVE-priority", "x"],
    &["min-slaves-to-write", "2"],
    &["masterauth", "secret word"],
    &["masteruser", "someone"],
    &["nosuch", "1"],
    &["databases", "3"],
    &["cluster-enabled", "yes"],
    &["replicaof", "a 1"],
    &["slaveof", "a 1"],
    &["logfile", "x"],
    &["unixsocketperm", "777"],
    &["rdbchecksum", "no"],
    &["dir", "/"],
    &["dbfilename", "x"],
    &["appendfilename", "x"],
    &["timeout", "5", "timeout", "6"],
    &["timeout", "5", "TIMEOUT", "6"],
    &["slave-priority", "5", "replica-priority", "6"],
    &["timeout", "8", "nosuch", "1"],
    &["timeout", "8", "maxmemory", "x"],
    &["timeout", "8", "rdbcompression", "maybe", "maxmemory", "x"],
    &["databases", "1", "nosuch", "1"],
    &["nosuch", "1", "databases", "1"],
    &["timeout", "9", "maxmemory", "2mb", "save", "1 1"],
    &["timeout"],
    &["timeout", "1", "x"],
];

#[test]
fn values_are_taken_and_refused_as_by_redis_server() {
    let (mut ours, mut theirs) = both(None, &[]);
    for set in SETS {
        let words: Vec<&str> = ["config", "set"].iter().chain(*set).copied().collect();
        ask_both(&mut ours, &mut theirs, &words);
        let names = set.iter().step_by(2).copied();
        for name in names.filter(|name| *name != "dir") {
            ask_both(&mut ours, &mut theirs, &["config", "get", name]);
        }
    }
}

/// Every directive there is, with values that hardly any takes. Those left out differ on purpose:
/// one takes a word more, others are not there to be changed, or do something at once.
#[test]
fn nonsense_is_refused_in_the_same_words() {
    const LEFT_OUT: [&str; 6] = [
        "shutdown-on-sigint",
        "shutdown-on-sigterm",
        "bind",
        "port",
        "tls-port",
        "requirepass",
    ];
    let (mut ours, mut theirs) = both(None, &[]);
    let names: Vec<String> = theirs
        .get(&["*"])
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    for name in &names {
        if LEFT_OUT.contains(&name.as_str()) || name.starts_with("tls-") {
            continue;
        }
        for value in ["maybe", "-3000000000", "99999999999999999999999", ""] {
            // What redis-server takes as a text is a value like any other.
            ask_both(&mut ours, &mut theirs, &["config", "set", name, value]);
            if name != "dir" {
                ask_both(&mut ours, &mut theirs, &["config", "get", name]);
            }
        }
    }
}
