//! Commands that run scripts and functions.

use super::entry::{Entry, command, counted};

pub(super) const COMMANDS: &[Entry] = &[
    command("eval", -3, "2.6.0")
        .flags("noscript stale skip_monitor no_mandatory_keys movablekeys")
        .acl("@scripting")
        .keys(&[counted(2, "RW access update")]),
    command("eval_ro", -3, "7.0.0")
        .flags("readonly noscript stale skip_monitor no_mandatory_keys movablekeys")
        .acl("@scripting")
        .keys(&[counted(2, "RO access")]),
    command("evalsha", -3, "2.6.0")
        .flags("noscript stale skip_monitor no_mandatory_keys movablekeys")
        .acl("@scripting")
        .keys(&[counted(2, "RW access update")]),
    command("evalsha_ro", -3, "7.0.0")
        .flags("readonly noscript stale skip_monitor no_mandatory_keys movablekeys")
        .acl("@scripting")
        .keys(&[counted(2, "RO access")]),
    command("fcall", -3, "7.0.0")
        .flags("noscript stale skip_monitor no_mandatory_keys movablekeys")
        .acl("@scripting")
        .keys(&[counted(2, "RW access update")]),
    command("fcall_ro", -3, "7.0.0")
        .flags("readonly noscript stale skip_monitor no_mandatory_keys movablekeys")
        .acl("@scripting")
        .keys(&[counted(2, "RO access")]),
    command("function", -2, "7.0.0").subcommands(&[
        command("function|delete", 3, "7.0.0")
            .flags("write noscript")
            .acl("@scripting")
            .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
        command("function|dump", 2, "7.0.0")
            .flags("noscript")
            .acl("@scripting"),
        command("function|flush", -2, "7.0.0")
            .flags("write noscript")
            .acl("@scripting")
            .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
        command("function|help", 2, "7.0.0")
            .flags("loading stale")
            .acl("@scripting"),
        command("function|kill", 2, "7.0.0")
            .flags("noscript allow_busy")
            .acl("@scripting")
            .tips(&["request_policy:all_shards", "response_policy:one_succeeded"]),
        command("function|list", -2, "7.0.0")
            .flags("noscript")
            .acl("@scripting")
            .tips(&["nondeterministic_output_order"]),
        command("function|load", -3, "7.0.0")
            .flags("write denyoom noscript")
            .acl("@scripting")
            .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
        command("function|restore", -3, "7.0.0")
            .flags("write denyoom noscript")
            .acl("@scripting")
            .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
        command("function|stats", 2, "7.0.0")
            .flags("noscript allow_busy")
            .acl("@scripting")
            .tips(&[
                "nondeterministic_output",
                "request_policy:all_shards",
                "response_policy:special",
            ]),
    ]),
    command("script", -2, "2.6.0").subcommands(&[
        command("script|debug", 3, "3.2.0")
            .flags("noscript")
            .acl("@scripting"),
        command("script|exists", -3, "2.6.0")
            .flags("noscript")
            .acl("@scripting")
            .tips(&[
                "request_policy:all_shards",
                "response_policy:agg_logical_and",
            ]),
        command("script|flush", -2, "2.6.0")
            .flags("noscript")
            .acl("@scripting")
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
        command("script|help", 2, "5.0.0")
            .flags("loading stale")
            .acl("@scripting"),
        command("script|kill", 2, "2.6.0")
            .flags("noscript allow_busy")
            .acl("@scripting")
            .tips(&["request_policy:all_shards", "response_policy:one_succeeded"]),
        command("script|load", 3, "2.6.0")
            .flags("noscript stale")
            .acl("@scripting")
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    ]),
];
