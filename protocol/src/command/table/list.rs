//! Commands on lists.

use super::entry::{Entry, command, counted, key, keys};

pub(super) const COMMANDS: &[Entry] = &[
    command("blmove", 6, "6.2.0")
        .flags("write denyoom noscript blocking")
        .acl("@list")
        .keys(&[key(1, "RW access delete"), key(2, "RW insert")]),
    command("blmpop", -5, "7.0.0")
        .flags("write blocking movablekeys")
        .acl("@list")
        .keys(&[counted(2, "RW access delete")]),
    command("blpop", -3, "2.0.0")
        .flags("write noscript blocking")
        .acl("@list")
        .keys(&[keys(1, -2, "RW access delete")]),
    command("brpop", -3, "2.0.0")
        .flags("write noscript blocking")
        .acl("@list")
        .keys(&[keys(1, -2, "RW access delete")]),
    command("brpoplpush", 4, "2.2.0")
        .flags("write denyoom noscript blocking")
        .acl("@list")
        .keys(&[key(1, "RW access delete"), key(2, "RW insert")]),
    command("lindex", 3, "1.0.0")
        .flags("readonly")
        .acl("@list")
        .keys(&[key(1, "RO access")]),
    command("linsert", 5, "2.2.0")
        .flags("write denyoom")
        .acl("@list")
        .keys(&[key(1, "RW insert")]),
    command("llen", 2, "1.0.0")
        .flags("readonly fast")
        .acl("@list")
        .keys(&[key(1, "RO")]),
    command("lmove", 5, "6.2.0")
        .flags("write denyoom")
        .acl("@list")
        .keys(&[key(1, "RW access delete"), key(2, "RW insert")]),
    command("lmpop", -4, "7.0.0")
        .flags("write movablekeys")
        .acl("@list")
        .keys(&[counted(1, "RW access delete")]),
    command("lpop", -2, "1.0.0")
        .flags("write fast")
        .acl("@list")
        .keys(&[key(1, "RW access delete")]),
    command("lpos", -3, "6.0.6")
        .flags("readonly")
        .acl("@list")
        .keys(&[key(1, "RO access")]),
    command("lpush", -3, "1.0.0")
        .flags("write denyoom fast")
        .acl("@list")
        .keys(&[key(1, "RW insert")]),
    command("lpushx", -3, "2.2.0")
        .flags("write denyoom fast")
        .acl("@list")
        .keys(&[key(1, "RW insert")]),
    command("lrange", 4, "1.0.0")
        .flags("readonly")
        .acl("@list")
        .keys(&[key(1, "RO access")]),
    command("lrem", 4, "1.0.0")
        .flags("write")
        .acl("@list")
        .keys(&[key(1, "RW delete")]),
    command("lset", 4, "1.0.0")
        .flags("write denyoom")
        .acl("@list")
        .keys(&[key(1, "RW update")]),
    command("ltrim", 4, "1.0.0")
        .flags("write")
        .acl("@list")
        .keys(&[key(1, "RW delete")]),
    command("rpop", -2, "1.0.0")
        .flags("write fast")
        .acl("@list")
        .keys(&[key(1, "RW access delete")]),
    command("rpoplpush", 3, "1.2.0")
        .flags("write denyoom")
        .acl("@list")
        .keys(&[key(1, "RW access delete"), key(2, "RW insert")]),
    command("rpush", -3, "1.0.0")
        .flags("write denyoom fast")
        .acl("@list")
        .keys(&[key(1, "RW insert")]),
    command("rpushx", -3, "2.2.0")
        .flags("write denyoom fast")
        .acl("@list")
        .keys(&[key(1, "RW insert")]),
];
