//! Commands on keys of any type.

use super::entry::{Entry, all_after, command, key, keys, somewhere};
use crate::command::keys::KeyRule;

pub(super) const COMMANDS: &[Entry] = &[
    command("copy", -3, "6.2.0")
        .flags("write denyoom")
        .acl("@keyspace")
        .keys(&[key(1, "RO access"), key(2, "OW update")]),
    command("del", -2, "1.0.0")
        .flags("write")
        .acl("@keyspace")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys(&[keys(1, -1, "RM delete")]),
    command("dump", 2, "2.6.0")
        .flags("readonly")
        .acl("@keyspace")
        .tips(&["nondeterministic_output"])
        .keys(&[key(1, "RO access")]),
    command("exists", -2, "1.0.0")
        .flags("readonly fast")
        .acl("@keyspace")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys(&[keys(1, -1, "RO")]),
    command("expire", -3, "1.0.0")
        .flags("write fast")
        .acl("@keyspace")
        .keys(&[key(1, "RW update")]),
    command("expireat", -3, "1.2.0")
        .flags("write fast")
        .acl("@keyspace")
        .keys(&[key(1, "RW update")]),
    command("expiretime", 2, "7.0.0")
        .flags("readonly fast")
        .acl("@keyspace")
        .keys(&[key(1, "RO access")]),
    command("keys", 2, "1.0.0")
        .flags("readonly")
        .acl("@keyspace @dangerous")
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"]),
    command("migrate", -6, "2.6.0")
        .flags("write movablekeys")
        .acl("@keyspace @dangerous")
        .tips(&["nondeterministic_output"])
        .keys(&[
            key(3, "RW access delete"),
            all_after("KEYS", -2, "RW access delete incomplete"),
        ])
        .rule(KeyRule::Migrate),
    command("move", 3, "1.0.0")
        .flags("write fast")
        .acl("@keyspace")
        .keys(&[key(1, "RW access update")]),
    command("object", -2, "2.2.3").subcommands(&[
        command("object|encoding", 3, "2.2.3")
            .flags("readonly")
            .acl("@keyspace")
            .tips(&["nondeterministic_output"])
            .keys(&[key(2, "RO")]),
        command("object|freq", 3, "4.0.0")
            .flags("readonly")
            .acl("@keyspace")
            .tips(&["nondeterministic_output"])
            .keys(&[key(2, "RO")]),
        command("object|help", 2, "6.2.0")
            .flags("loading stale")
            .acl("@keyspace"),
        command("object|idletime", 3, "2.2.3")
            .flags("readonly")
            .acl("@keyspace")
            .tips(&["nondeterministic_output"])
            .keys(&[key(2, "RO")]),
        command("object|refcount", 3, "2.2.3")
            .flags("readonly")
            .acl("@keyspace")
            .tips(&["nondeterministic_output"])
            .keys(&[key(2, "RO")]),
    ]),
    command("persist", 2, "2.2.0")
        .flags("write fast")
        .acl("@keyspace")
        .keys(&[key(1, "RW update")]),
    command("pexpire", -3, "2.6.0")
        .flags("write fast")
        .acl("@keyspace")
        .keys(&[key(1, "RW update")]),
    command("pexpireat", -3, "2.6.0")
        .flags("write fast")
        .acl("@keyspace")
        .keys(&[key(1, "RW update")]),
    command("pexpiretime", 2, "7.0.0")
        .flags("readonly fast")
        .acl("@keyspace")
        .keys(&[key(1, "RO access")]),
    command("pttl", 2, "2.6.0")
        .flags("readonly fast")
        .acl("@keyspace")
        .tips(&["nondeterministic_output"])
        .keys(&[key(1, "RO access")]),
    command("randomkey", 1, "1.0.0")
        .flags("readonly")
        .acl("@keyspace")
        .tips(&["request_policy:all_shards", "nondeterministic_output"]),
    command("rename", 3, "1.0.0")
        .flags("write")
        .acl("@keyspace")
        .keys(&[key(1, "RW access delete"), key(2, "OW update")]),
    command("renamenx", 3, "1.0.0")
        .flags("write fast")
        .acl("@keyspace")
        .keys(&[key(1, "RW access delete"), key(2, "OW insert")]),
    command("restore", -4, "2.6.0")
        .flags("write denyoom")
        .acl("@keyspace @dangerous")
        .keys(&[key(1, "OW update")]),
    command("scan", -2, "2.8.0")
        .flags("readonly")
        .acl("@keyspace")
        .tips(&["nondeterministic_output", "request_policy:special"]),
    command("sort", -2, "1.0.0")
        .flags("write denyoom movablekeys")
        .acl("@set @sortedset @list @dangerous")
        .keys(&[
            key(1, "RO access"),
            somewhere("RO access"),
            somewhere("OW update"),
        ])
        .rule(KeyRule::Sort),
    command("sort_ro", -2, "7.0.0")
        .flags("readonly movablekeys")
        .acl("@set @sortedset @list @dangerous")
        .keys(&[key(1, "RO access"), somewhere("RO access")])
        .rule(KeyRule::SortRo),
    command("touch", -2, "3.2.1")
        .flags("readonly fast")
        .acl("@keyspace")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys(&[keys(1, -1, "RO")]),
    command("ttl", 2, "1.0.0")
        .flags("readonly fast")
        .acl("@keyspace")
        .tips(&["nondeterministic_output"])
        .keys(&[key(1, "RO access")]),
    command("type", 2, "1.0.0")
        .flags("readonly fast")
        .acl("@keyspace")
        .keys(&[key(1, "RO")]),
    command("unlink", -2, "4.0.0")
        .flags("write fast")
        .acl("@keyspace")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys(&[keys(1, -1, "RM delete")]),
    command("wait", 3, "3.0.0")
        .flags("noscript")
        .acl("@connection")
        .tips(&["request_policy:all_shards", "response_policy:agg_min"]),
];
