//! Commands that the proxy will never serve, and what it tells those who try.

/// Why a command or subcommand is refused, if it is, as the text of an error.
pub(crate) fn reason(name: &str) -> Option<&'static str> {
    REASONS
        .iter()
        .find(|(_, names)| names.contains(&name))
        .map(|(reason, _)| *reason)
}

/// Also for the subcommands of DEBUG, of which one is served.
pub(crate) const ONE_PROCESS: &str =
    "ERR proxy: this acts on one server process; send it to a node";

const REASONS: &[(&str, &[&str])] = &[
    (
        "ERR proxy: each node writes files of its own; send this to the nodes",
        &["bgrewriteaof", "bgsave", "save"],
    ),
    (
        "ERR proxy: a client can't stop the proxy; stop its process, or send this to a node",
        &["shutdown"],
    ),
    (
        "ERR proxy: who replicates whom is settled among the nodes; send this to a node",
        &[
            "failover",
            "psync",
            "replconf",
            "replicaof",
            "slaveof",
            "sync",
        ],
    ),
    (
        "ERR proxy: moving keys needs the nodes' own addresses; reshard with redis-cli --cluster \
         at a node",
        &["migrate"],
    ),
    // These are the words of a node of a cluster.
    ("ERR SWAPDB is not allowed in cluster mode", &["swapdb"]),
    (ONE_PROCESS, &["pfdebug", "pfselftest", "restore-asking"]),
    (
        "ERR proxy: a debugged script needs a node for itself; connect to that node",
        &["script|debug"],
    ),
    (
        "ERR proxy: modules belong to the nodes; send this to each node",
        &["module|load", "module|loadex", "module|unload"],
    ),
    (
        "ERR proxy: users belong to the nodes; change them there, and name the proxy's own in \
         [cluster] of its config file",
        &[
            "acl|deluser",
            "acl|load",
            "acl|log",
            "acl|save",
            "acl|setuser",
        ],
    ),
    (
        "ERR proxy: the proxy makes no passwords; send this to a node",
        &["acl|genpass"],
    ),
    (
        "ERR proxy: the cluster is changed at its nodes; send this to a node",
        &[
            "cluster|addslots",
            "cluster|addslotsrange",
            "cluster|bumpepoch",
            "cluster|delslots",
            "cluster|delslotsrange",
            "cluster|failover",
            "cluster|flushslots",
            "cluster|forget",
            "cluster|meet",
            "cluster|replicate",
            "cluster|reset",
            "cluster|saveconfig",
            "cluster|set-config-epoch",
            "cluster|setslot",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use slotway_protocol::command::lookup;

    use super::reason as reason_of;
    use super::*;

    #[test]
    fn every_refusal_is_of_a_command_and_one_sentence() {
        for (reason, names) in REASONS {
            let is_ours = reason.starts_with("ERR proxy: ") || reason.contains("cluster mode");
            assert!(is_ours && !reason.ends_with('.'), "{reason}");
            for name in *names {
                let (container, subcommand) = name.split_once('|').unwrap_or((name, ""));
                let command = lookup(container.as_bytes()).expect(name);
                let known =
                    subcommand.is_empty() || command.subcommand(subcommand.as_bytes()).is_some();
                assert!(known, "{name}");
                assert_eq!(reason_of(name), Some(*reason), "{name} stands twice");
            }
        }
        assert_eq!(reason_of("get"), None);
    }
}
