//! Commands on sets.

use super::entry::{Entry, command, counted, key, keys};

pub(super) const COMMANDS: &[Entry] = &[
    command("sadd", -3, "1.0.0")
        .flags("write denyoom fast")
        .acl("@set")
        .keys(&[key(1, "RW insert")]),
    command("scard", 2, "1.0.0")
        .flags("readonly fast")
        .acl("@set")
        .keys(&[key(1, "RO")]),
    command("sdiff", -2, "1.0.0")
        .flags("readonly")
        .acl("@set")
        .tips(&["nondeterministic_output_order"])
        .keys(&[keys(1, -1, "RO access")]),
    command("sdiffstore", -3, "1.0.0")
        .flags("write denyoom")
        .acl("@set")
        .keys(&[key(1, "OW update"), keys(2, -1, "RO access")]),
    command("sinter", -2, "1.0.0")
        .flags("readonly")
        .acl("@set")
        .tips(&["nondeterministic_output_order"])
        .keys(&[keys(1, -1, "RO access")]),
    command("sintercard", -3, "7.0.0")
        .flags("readonly movablekeys")
        .acl("@set")
        .keys(&[counted(1, "RO access")]),
    command("sinterstore", -3, "1.0.0")
        .flags("write denyoom")
        .acl("@set")
        .keys(&[key(1, "RW update"), keys(2, -1, "RO access")]),
    command("sismember", 3, "1.0.0")
        .flags("readonly fast")
        .acl("@set")
        .keys(&[key(1, "RO")]),
    command("smembers", 2, "1.0.0")
        .flags("readonly")
        .acl("@set")
        .tips(&["nondeterministic_output_order"])
        .keys(&[key(1, "RO access")]),
    command("smismember", -3, "6.2.0")
        .flags("readonly fast")
        .acl("@set")
        .keys(&[key(1, "RO access")]),
    command("smove", 4, "1.0.0")
        .flags("write fast")
        .acl("@set")
        .keys(&[key(1, "RW access delete"), key(2, "RW insert")]),
    command("spop", -2, "1.0.0")
        .flags("write fast")
        .acl("@set")
        .tips(&["nondeterministic_output"])
        .keys(&[key(1, "RW access delete")]),
    command("srandmember", -2, "1.0.0")
        .flags("readonly")
        .acl("@set")
        .tips(&["nondeterministic_output"])
        .keys(&[key(1, "RO access")]),
    command("srem", -3, "1.0.0")
        .flags("write fast")
        .acl("@set")
        .keys(&[key(1, "RW delete")]),
    command("sscan", -3, "2.8.0")
        .flags("readonly")
        .acl("@set")
        .tips(&["nondeterministic_output"])
        .keys(&[key(1, "RO access")]),
    command("sunion", -2, "1.0.0")
        .flags("readonly")
        .acl("@set")
        .tips(&["nondeterministic_output_order"])
        .keys(&[keys(1, -1, "RO access")]),
    command("sunionstore", -3, "1.0.0")
        .flags("write denyoom")
        .acl("@set")
        .keys(&[key(1, "OW update"), keys(2, -1, "RO access")]),
];
