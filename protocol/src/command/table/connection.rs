//! Commands about the connection itself.

use super::entry::{Entry, command};

pub(super) const COMMANDS: &[Entry] = &[
    command("auth", -2, "1.0.0")
        .flags("noscript loading stale fast no_auth allow_busy")
        .acl("@connection"),
    command("client", -2, "2.4.0").subcommands(&[
        command("client|caching", 3, "6.0.0")
            .flags("noscript loading stale")
            .acl("@connection"),
        command("client|getname", 2, "2.6.9")
            .flags("noscript loading stale")
            .acl("@connection"),
        command("client|getredir", 2, "6.0.0")
            .flags("noscript loading stale")
            .acl("@connection"),
        command("client|help", 2, "5.0.0")
            .flags("loading stale")
            .acl("@connection"),
        command("client|id", 2, "5.0.0")
            .flags("noscript loading stale")
            .acl("@connection"),
        command("client|info", 2, "6.2.0")
            .flags("noscript loading stale")
            .acl("@connection")
            .tips(&["nondeterministic_output"]),
        command("client|kill", -3, "2.4.0")
            .flags("admin noscript loading stale")
            .acl("@connection"),
        command("client|list", -2, "2.4.0")
            .flags("admin noscript loading stale")
            .acl("@connection")
            .tips(&["nondeterministic_output"]),
        command("client|no-evict", 3, "7.0.0")
            .flags("admin noscript loading stale")
            .acl("@connection"),
        command("client|pause", -3, "2.9.50")
            .flags("admin noscript loading stale")
            .acl("@connection"),
        command("client|reply", 3, "3.2.0")
            .flags("noscript loading stale")
            .acl("@connection"),
        command("client|setname", 3, "2.6.9")
            .flags("noscript loading stale")
            .acl("@connection"),
        command("client|tracking", -3, "6.0.0")
            .flags("noscript loading stale")
            .acl("@connection"),
        command("client|trackinginfo", 2, "6.2.0")
            .flags("noscript loading stale")
            .acl("@connection"),
        command("client|unblock", -3, "5.0.0")
            .flags("admin noscript loading stale")
            .acl("@connection"),
        command("client|unpause", 2, "6.2.0")
            .flags("admin noscript loading stale")
            .acl("@connection"),
    ]),
    command("echo", 2, "1.0.0")
        .flags("loading stale fast")
        .acl("@connection"),
    command("hello", -1, "6.0.0")
        .flags("noscript loading stale fast no_auth allow_busy")
        .acl("@connection"),
    command("ping", -1, "1.0.0")
        .flags("fast")
        .acl("@connection")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    command("quit", -1, "1.0.0")
        .flags("noscript loading stale fast no_auth allow_busy")
        .acl("@connection"),
    command("reset", 1, "6.2.0")
        .flags("noscript loading stale fast no_auth allow_busy")
        .acl("@connection"),
    command("select", 2, "1.0.0")
        .flags("loading stale fast")
        .acl("@connection"),
];
