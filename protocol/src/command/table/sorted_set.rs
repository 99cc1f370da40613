//! Commands on sorted sets.

use super::entry::{Entry, command, counted, key, keys};

pub(super) const COMMANDS: &[Entry] = &[
    command("bzmpop", -5, "7.0.0")
        .flags("write blocking movablekeys")
        .acl("@sortedset")
        .keys(&[counted(2, "RW access delete")]),
    command("bzpopmax", -3, "5.0.0")
        .flags("write noscript blocking fast")
        .acl("@sortedset")
        .keys(&[keys(1, -2, "RW access delete")]),
    command("bzpopmin", -3, "5.0.0")
        .flags("write noscript blocking fast")
        .acl("@sortedset")
        .keys(&[keys(1, -2, "RW access delete")]),
    command("zadd", -4, "1.2.0")
        .flags("write denyoom fast")
        .acl("@sortedset")
        .keys(&[key(1, "RW update")]),
    command("zcard", 2, "1.2.0")
        .flags("readonly fast")
        .acl("@sortedset")
        .keys(&[key(1, "RO")]),
    command("zcount", 4, "2.0.0")
        .flags("readonly fast")
        .acl("@sortedset")
        .keys(&[key(1, "RO access")]),
    command("zdiff", -3, "6.2.0")
        .flags("readonly movablekeys")
        .acl("@sortedset")
        .keys(&[counted(1, "RO access")]),
    command("zdiffstore", -4, "6.2.0")
        .flags("write denyoom movablekeys")
        .acl("@sortedset")
        .keys(&[key(1, "OW update"), counted(2, "RO access")]),
    command("zincrby", 4, "1.2.0")
        .flags("write denyoom fast")
        .acl("@sortedset")
        .keys(&[key(1, "RW access update")]),
    command("zinter", -3, "6.2.0")
        .flags("readonly movablekeys")
        .acl("@sortedset")
        .keys(&[counted(1, "RO access")]),
    command("zintercard", -3, "7.0.0")
        .flags("readonly movablekeys")
        .acl("@sortedset")
        .keys(&[counted(1, "RO access")]),
    command("zinterstore", -4, "2.0.0")
        .flags("write denyoom movablekeys")
        .acl("@sortedset")
        .keys(&[key(1, "OW update"), counted(2, "RO access")]),
    command("zlexcount", 4, "2.8.9")
        .flags("readonly fast")
        .acl("@sortedset")
        .keys(&[key(1, "RO access")]),
    command("zmpop", -4, "7.0.0")
        .flags("write movablekeys")
        .acl("@sortedset")
        .keys(&[counted(1, "RW access delete")]),
    command("zmscore", -3, "6.2.0")
        .flags("readonly fast")
        .acl("@sortedset")
        .keys(&[key(1, "RO access")]),
    command("zpopmax", -2, "5.0.0")
        .flags("write fast")
        .acl("@sortedset")
        .keys(&[key(1, "RW access delete")]),
    command("zpopmin", -2, "5.0.0")
        .flags("write fast")
        .acl("@sortedset")
        .keys(&[key(1, "RW access delete")]),
    command("zrandmember", -2, "6.2.0")
        .flags("readonly")
        .acl("@sortedset")
        .tips(&["nondeterministic_output"])
        .keys(&[key(1, "RO access")]),
    command("zrange", -4, "1.2.0")
        .flags("readonly")
        .acl("@sortedset")
        .keys(&[key(1, "RO access")]),
    command("zrangebylex", -4, "2.8.9")
        .flags("readonly")
        .acl("@sortedset")
        .keys(&[key(1, "RO access")]),
    command("zrangebyscore", -4, "1.0.5")
        .flags("readonly")
        .acl("@sortedset")
        .keys(&[key(1, "RO access")]),
    command("zrangestore", -5, "6.2.0")
        .flags("write denyoom")
        .acl("@sortedset")
        .keys(&[key(1, "OW update"), key(2, "RO access")]),
    command("zrank", 3, "2.0.0")
        .flags("readonly fast")
        .acl("@sortedset")
        .keys(&[key(1, "RO access")]),
    command("zrem", -3, "1.2.0")
        .flags("write fast")
        .acl("@sortedset")
        .keys(&[key(1, "RW delete")]),
    command("zremrangebylex", 4, "2.8.9")
        .flags("write")
        .acl("@sortedset")
        .keys(&[key(1, "RW delete")]),
    command("zremrangebyrank", 4, "2.0.0")
        .flags("write")
        .acl("@sortedset")
        .keys(&[key(1, "RW delete")]),
    command("zremrangebyscore", 4, "1.2.0")
        .flags("write")
        .acl("@sortedset")
        .keys(&[key(1, "RW delete")]),
    command("zrevrange", -4, "1.2.0")
        .flags("readonly")
        .acl("@sortedset")
        .keys(&[key(1, "RO access")]),
    command("zrevrangebylex", -4, "2.8.9")
        .flags("readonly")
        .acl("@sortedset")
        .keys(&[key(1, "RO access")]),
    command("zrevrangebyscore", -4, "2.2.0")
        .flags("readonly")
        .acl("@sortedset")
        .keys(&[key(1, "RO access")]),
    command("zrevrank", 3, "2.0.0")
        .flags("readonly fast")
        .acl("@sortedset")
        .keys(&[key(1, "RO access")]),
    command("zscan", -3, "2.8.0")
        .flags("readonly")
        .acl("@sortedset")
        .tips(&["nondeterministic_output"])
        .keys(&[key(1, "RO access")]),
    command("zscore", 3, "1.2.0")
        .flags("readonly fast")
        .acl("@sortedset")
        .keys(&[key(1, "RO access")]),
    command("zunion", -3, "6.2.0")
        .flags("readonly movablekeys")
        .acl("@sortedset")
        .keys(&[counted(1, "RO access")]),
    command("zunionstore", -4, "2.0.0")
        .flags("write denyoom movablekeys")
        .acl("@sortedset")
        .keys(&[key(1, "OW update"), counted(2, "RO access")]),
];
