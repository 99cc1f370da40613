//! Commands on strings.

use super::entry::{Entry, command, every, key, keys};
use crate::command::keys::KeyRule;

pub(super) const COMMANDS: &[Entry] = &[
    command("append", 3, "2.0.0")
        .flags("write denyoom fast")
        .acl("@string")
        .keys(&[key(1, "RW insert")]),
    command("decr", 2, "1.0.0")
        .flags("write denyoom fast")
        .acl("@string")
        .keys(&[key(1, "RW access update")]),
    command("decrby", 3, "1.0.0")
        .flags("write denyoom fast")
        .acl("@string")
        .keys(&[key(1, "RW access update")]),
    command("get", 2, "1.0.0")
        .flags("readonly fast")
        .acl("@string")
        .keys(&[key(1, "RO access")]),
    command("getdel", 2, "6.2.0")
        .flags("write fast")
        .acl("@string")
        .keys(&[key(1, "RW access delete")]),
    command("getex", -2, "6.2.0")
        .flags("write fast")
        .acl("@string")
        .keys(&[key(1, "RW access update")]),
    command("getrange", 4, "2.4.0")
        .flags("readonly")
        .acl("@string")
        .keys(&[key(1, "RO access")]),
    command("getset", 3, "1.0.0")
        .flags("write denyoom fast")
        .acl("@string")
        .keys(&[key(1, "RW access update")]),
    command("incr", 2, "1.0.0")
        .flags("write denyoom fast")
        .acl("@string")
        .keys(&[key(1, "RW access update")]),
    command("incrby", 3, "1.0.0")
        .flags("write denyoom fast")
        .acl("@string")
        .keys(&[key(1, "RW access update")]),
    command("incrbyfloat", 3, "2.6.0")
        .flags("write denyoom fast")
        .acl("@string")
        .keys(&[key(1, "RW access update")]),
    command("lcs", -3, "7.0.0")
        .flags("readonly")
        .acl("@string")
        .keys(&[keys(1, 1, "RO access")]),
    command("mget", -2, "1.0.0")
        .flags("readonly fast")
        .acl("@string")
        .tips(&["request_policy:multi_shard"])
        .keys(&[keys(1, -1, "RO access")]),
    command("mset", -3, "1.0.1")
        .flags("write denyoom")
        .acl("@string")
        .tips(&[
            "request_policy:multi_shard",
            "response_policy:all_succeeded",
        ])
        .keys(&[every(2, 1, -1, "OW update")]),
    command("msetnx", -3, "1.0.1")
        .flags("write denyoom")
        .acl("@string")
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"])
        .keys(&[every(2, 1, -1, "OW insert")]),
    command("psetex", 4, "2.6.0")
        .flags("write denyoom")
        .acl("@string")
        .keys(&[key(1, "OW update")]),
    command("set", -3, "1.0.0")
        .flags("write denyoom")
        .acl("@string")
        .keys(&[key(1, "RW access update variable_flags")])
        .rule(KeyRule::Set),
    command("setex", 4, "2.0.0")
        .flags("write denyoom")
        .acl("@string")
        .keys(&[key(1, "OW update")]),
    command("setnx", 3, "1.0.0")
        .flags("write denyoom fast")
        .acl("@string")
        .keys(&[key(1, "OW insert")]),
    command("setrange", 4, "2.2.0")
        .flags("write denyoom")
        .acl("@string")
        .keys(&[key(1, "RW update")]),
    command("strlen", 2, "2.2.0")
        .flags("readonly fast")
        .acl("@string")
        .keys(&[key(1, "RO")]),
    command("substr", 4, "1.0.0")
        .flags("readonly")
        .acl("@string")
        .keys(&[key(1, "RO access")]),
];
