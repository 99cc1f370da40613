//! Commands on hashes.

use super::entry::{Entry, command, key};

pub(super) const COMMANDS: &[Entry] = &[
    command("hdel", -3, "2.0.0")
        .flags("write fast")
        .acl("@hash")
        .keys(&[key(1, "RW delete")]),
    command("hexists", 3, "2.0.0")
        .flags("readonly fast")
        .acl("@hash")
        .keys(&[key(1, "RO")]),
    command("hget", 3, "2.0.0")
        .flags("readonly fast")
        .acl("@hash")
        .keys(&[key(1, "RO access")]),
    command("hgetall", 2, "2.0.0")
        .flags("readonly")
        .acl("@hash")
        .tips(&["nondeterministic_output_order"])
        .keys(&[key(1, "RO access")]),
    command("hincrby", 4, "2.0.0")
        .flags("write denyoom fast")
        .acl("@hash")
        .keys(&[key(1, "RW access update")]),
    command("hincrbyfloat", 4, "2.6.0")
        .flags("write denyoom fast")
        .acl("@hash")
        .keys(&[key(1, "RW access update")]),
    command("hkeys", 2, "2.0.0")
        .flags("readonly")
        .acl("@hash")
        .tips(&["nondeterministic_output_order"])
        .keys(&[key(1, "RO access")]),
    command("hlen", 2, "2.0.0")
        .flags("readonly fast")
        .acl("@hash")
        .keys(&[key(1, "RO")]),
    command("hmget", -3, "2.0.0")
        .flags("readonly fast")
        .acl("@hash")
        .keys(&[key(1, "RO access")]),
    command("hmset", -4, "2.0.0")
        .flags("write denyoom fast")
        .acl("@hash")
        .keys(&[key(1, "RW update")]),
    command("hrandfield", -2, "6.2.0")
        .flags("readonly")
        .acl("@hash")
        .tips(&["nondeterministic_output"])
        .keys(&[key(1, "RO access")]),
    command("hscan", -3, "2.8.0")
        .flags("readonly")
        .acl("@hash")
        .tips(&["nondeterministic_output"])
        .keys(&[key(1, "RO access")]),
    command("hset", -4, "2.0.0")
        .flags("write denyoom fast")
        .acl("@hash")
        .keys(&[key(1, "RW update")]),
    command("hsetnx", 4, "2.0.0")
        .flags("write denyoom fast")
        .acl("@hash")
        .keys(&[key(1, "RW insert")]),
    command("hstrlen", 3, "3.2.0")
        .flags("readonly fast")
        .acl("@hash")
        .keys(&[key(1, "RO")]),
    command("hvals", 2, "2.0.0")
        .flags("readonly")
        .acl("@hash")
        .tips(&["nondeterministic_output_order"])
        .keys(&[key(1, "RO access")]),
];
