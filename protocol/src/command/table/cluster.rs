//! Commands about the cluster.

use super::entry::{Entry, command};

pub(super) const COMMANDS: &[Entry] = &[
    command("asking", 1, "3.0.0")
        .flags("fast")
        .acl("@connection"),
    command("cluster", -2, "3.0.0").subcommands(&[
        command("cluster|addslots", -3, "3.0.0").flags("admin stale no_async_loading"),
        command("cluster|addslotsrange", -4, "7.0.0").flags("admin stale no_async_loading"),
        command("cluster|bumpepoch", 2, "3.0.0")
            .flags("admin stale no_async_loading")
            .tips(&["nondeterministic_output"]),
        command("cluster|count-failure-reports", 3, "3.0.0")
            .flags("admin stale")
            .tips(&["nondeterministic_output"]),
        command("cluster|countkeysinslot", 3, "3.0.0").flags("stale"),
        command("cluster|delslots", -3, "3.0.0").flags("admin stale no_async_loading"),
        command("cluster|delslotsrange", -4, "7.0.0").flags("admin stale no_async_loading"),
        command("cluster|failover", -2, "3.0.0").flags("admin stale no_async_loading"),
        command("cluster|flushslots", 2, "3.0.0").flags("admin stale no_async_loading"),
        command("cluster|forget", 3, "3.0.0").flags("admin stale no_async_loading"),
        command("cluster|getkeysinslot", 4, "3.0.0")
            .flags("stale")
            .tips(&["nondeterministic_output"]),
        command("cluster|help", 2, "5.0.0").flags("loading stale"),
        command("cluster|info", 2, "3.0.0")
            .flags("stale")
            .tips(&["nondeterministic_output"]),
        command("cluster|keyslot", 3, "3.0.0").flags("stale"),
        command("cluster|links", 2, "7.0.0")
            .flags("stale")
            .tips(&["nondeterministic_output"]),
        command("cluster|meet", -4, "3.0.0").flags("admin stale no_async_loading"),
        command("cluster|myid", 2, "3.0.0").flags("stale"),
        command("cluster|nodes", 2, "3.0.0")
            .flags("stale")
            .tips(&["nondeterministic_output"]),
        command("cluster|replicas", 3, "5.0.0")
            .flags("admin stale")
            .tips(&["nondeterministic_output"]),
        command("cluster|replicate", 3, "3.0.0").flags("admin stale no_async_loading"),
        command("cluster|reset", -2, "3.0.0").flags("admin noscript stale"),
        command("cluster|saveconfig", 2, "3.0.0").flags("admin stale no_async_loading"),
        command("cluster|set-config-epoch", 3, "3.0.0").flags("admin stale no_async_loading"),
        command("cluster|setslot", -4, "3.0.0").flags("admin stale no_async_loading"),
        command("cluster|shards", 2, "7.0.0")
            .flags("stale")
            .tips(&["nondeterministic_output"]),
        command("cluster|slaves", 3, "3.0.0")
            .flags("admin stale")
            .tips(&["nondeterministic_output"]),
        command("cluster|slots", 2, "3.0.0")
            .flags("stale")
            .tips(&["nondeterministic_output"]),
    ]),
    command("readonly", 1, "3.0.0")
        .flags("loading stale fast")
        .acl("@connection"),
    command("readwrite", 1, "3.0.0")
        .flags("loading stale fast")
        .acl("@connection"),
];
