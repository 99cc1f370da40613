//! Commands about the server.

use super::entry::{Entry, command, key};

pub(super) const COMMANDS: &[Entry] = &[
    command("acl", -2, "6.0.0").subcommands(&[
        command("acl|cat", -2, "6.0.0").flags("noscript loading stale"),
        command("acl|deluser", -3, "6.0.0").flags("admin noscript loading stale"),
        command("acl|dryrun", -4, "7.0.0").flags("admin noscript loading stale"),
        command("acl|genpass", -2, "6.0.0").flags("noscript loading stale"),
        command("acl|getuser", 3, "6.0.0").flags("admin noscript loading stale"),
        command("acl|help", 2, "6.0.0").flags("loading stale"),
        command("acl|list", 2, "6.0.0").flags("admin noscript loading stale"),
        command("acl|load", 2, "6.0.0").flags("admin noscript loading stale"),
        command("acl|log", -2, "6.0.0").flags("admin noscript loading stale"),
        command("acl|save", 2, "6.0.0").flags("admin noscript loading stale"),
        command("acl|setuser", -3, "6.0.0").flags("admin noscript loading stale"),
        command("acl|users", 2, "6.0.0").flags("admin noscript loading stale"),
        command("acl|whoami", 2, "6.0.0").flags("noscript loading stale"),
    ]),
    command("bgrewriteaof", 1, "1.0.0").flags("admin noscript no_async_loading"),
    command("bgsave", -1, "1.0.0").flags("admin noscript no_async_loading"),
    command("command", -1, "2.8.13")
        .flags("loading stale")
        .acl("@connection")
        .tips(&["nondeterministic_output_order"])
        .subcommands(&[
            command("command|count", 2, "2.8.13")
                .flags("loading stale")
                .acl("@connection"),
            command("command|docs", -2, "7.0.0")
                .flags("loading stale")
                .acl("@connection")
                .tips(&["nondeterministic_output_order"]),
            command("command|getkeys", -4, "2.8.13")
                .flags("loading stale")
                .acl("@connection"),
            command("command|getkeysandflags", -4, "7.0.0")
                .flags("loading stale")
                .acl("@connection"),
            command("command|help", 2, "5.0.0")
                .flags("loading stale")
                .acl("@connection"),
            command("command|info", -2, "2.8.13")
                .flags("loading stale")
                .acl("@connection")
                .tips(&["nondeterministic_output_order"]),
            command("command|list", -2, "7.0.0")
                .flags("loading stale")
                .acl("@connection")
                .tips(&["nondeterministic_output_order"]),
        ]),
    command("config", -2, "2.0.0").subcommands(&[
        command("config|get", -3, "2.0.0").flags("admin noscript loading stale"),
        command("config|help", 2, "5.0.0").flags("loading stale"),
        command("config|resetstat", 2, "2.0.0").flags("admin noscript loading stale"),
        command("config|rewrite", 2, "2.8.0").flags("admin noscript loading stale"),
        command("config|set", -4, "2.0.0")
            .flags("admin noscript loading stale")
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    ]),
    command("dbsize", 1, "1.0.0")
        .flags("readonly fast")
        .acl("@keyspace")
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"]),
    command("debug", -2, "1.0.0").flags("admin noscript loading stale"),
    command("failover", -1, "6.2.0").flags("admin noscript stale"),
    command("flushall", -1, "1.0.0")
        .flags("write")
        .acl("@keyspace @dangerous")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    command("flushdb", -1, "1.0.0")
        .flags("write")
        .acl("@keyspace @dangerous")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    command("info", -1, "1.0.0")
        .flags("loading stale")
        .acl("@dangerous")
        .tips(&[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ]),
    command("lastsave", 1, "1.0.0")
        .flags("loading stale fast")
        .acl("@admin @dangerous")
        .tips(&["nondeterministic_output"]),
    command("latency", -2, "2.8.13").subcommands(&[
        command("latency|doctor", 2, "2.8.13")
            .flags("admin noscript loading stale")
            .tips(&[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ]),
        command("latency|graph", 3, "2.8.13")
            .flags("admin noscript loading stale")
            .tips(&[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ]),
        command("latency|help", 2, "2.8.13").flags("loading stale"),
        command("latency|histogram", -2, "7.0.0")
            .flags("admin noscript loading stale")
            .tips(&[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ]),
        command("latency|history", 3, "2.8.13")
            .flags("admin noscript loading stale")
            .tips(&[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ]),
        command("latency|latest", 2, "2.8.13")
            .flags("admin noscript loading stale")
            .tips(&[
                "nondeterministic_output",
                "request_policy:all_nodes",
                "response_policy:special",
            ]),
        command("latency|reset", -2, "2.8.13")
            .flags("admin noscript loading stale")
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    ]),
    command("lolwut", -1, "5.0.0").flags("readonly fast"),
    command("memory", -2, "4.0.0").subcommands(&[
        command("memory|doctor", 2, "4.0.0").tips(&[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ]),
        command("memory|help", 2, "4.0.0").flags("loading stale"),
        command("memory|malloc-stats", 2, "4.0.0").tips(&[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ]),
        command("memory|purge", 2, "4.0.0")
            .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
        command("memory|stats", 2, "4.0.0").tips(&[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ]),
        command("memory|usage", -3, "4.0.0")
            .flags("readonly")
            .keys(&[key(2, "RO")]),
    ]),
    command("module", -2, "4.0.0").subcommands(&[
        command("module|help", 2, "5.0.0").flags("loading stale"),
        command("module|list", 2, "4.0.0")
            .flags("admin noscript")
            .tips(&["nondeterministic_output_order"]),
        command("module|load", -3, "4.0.0").flags("admin noscript no_async_loading"),
        command("module|loadex", -3, "7.0.0").flags("admin noscript no_async_loading"),
        command("module|unload", 3, "4.0.0").flags("admin noscript no_async_loading"),
    ]),
    command("monitor", 1, "1.0.0").flags("admin noscript loading stale"),
    command("psync", -3, "2.8.0").flags("admin noscript no_async_loading no_multi"),
    command("replconf", -1, "3.0.0").flags("admin noscript loading stale allow_busy"),
    command("replicaof", 3, "5.0.0").flags("admin noscript stale no_async_loading"),
    command("restore-asking", -4, "3.0.0")
        .flags("write denyoom asking")
        .acl("@keyspace @dangerous")
        .keys(&[key(1, "OW update")]),
    command("role", 1, "2.8.12")
        .flags("noscript loading stale fast")
        .acl("@admin @dangerous"),
    command("save", 1, "1.0.0").flags("admin noscript no_async_loading no_multi"),
    command("shutdown", -1, "1.0.0").flags("admin noscript loading stale no_multi allow_busy"),
    command("slaveof", 3, "1.0.0").flags("admin noscript stale no_async_loading"),
    command("slowlog", -2, "2.2.12").subcommands(&[
        command("slowlog|get", -2, "2.2.12")
            .flags("admin loading stale")
            .tips(&["request_policy:all_nodes", "nondeterministic_output"]),
        command("slowlog|help", 2, "6.2.0").flags("loading stale"),
        command("slowlog|len", 2, "2.2.12")
            .flags("admin loading stale")
            .tips(&[
                "request_policy:all_nodes",
                "response_policy:agg_sum",
                "nondeterministic_output",
            ]),
        command("slowlog|reset", 2, "2.2.12")
            .flags("admin loading stale")
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    ]),
    command("swapdb", 3, "4.0.0")
        .flags("write fast")
        .acl("@keyspace @dangerous"),
    command("sync", 1, "1.0.0").flags("admin noscript no_async_loading no_multi"),
    command("time", 1, "2.6.0")
        .flags("loading stale fast")
        .tips(&["nondeterministic_output"]),
];
