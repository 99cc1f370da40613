//! Commands on streams.

use super::entry::{Entry, command, half_after, key};

pub(super) const COMMANDS: &[Entry] = &[
    command("xack", -4, "5.0.0")
        .flags("write fast")
        .acl("@stream")
        .keys(&[key(1, "RW update")]),
    command("xadd", -5, "5.0.0")
        .flags("write denyoom fast")
        .acl("@stream")
        .tips(&["nondeterministic_output"])
        .keys(&[key(1, "RW update")]),
    command("xautoclaim", -6, "6.2.0")
        .flags("write fast")
        .acl("@stream")
        .tips(&["nondeterministic_output"])
        .keys(&[key(1, "RW delete")]),
    command("xclaim", -6, "5.0.0")
        .flags("write fast")
        .acl("@stream")
        .tips(&["nondeterministic_output"])
        .keys(&[key(1, "RW update")]),
    command("xdel", -3, "5.0.0")
        .flags("write fast")
        .acl("@stream")
        .keys(&[key(1, "RW delete")]),
    command("xgroup", -2, "5.0.0").subcommands(&[
        command("xgroup|create", -5, "5.0.0")
            .flags("write denyoom")
            .acl("@stream")
            .keys(&[key(2, "RW insert")]),
        command("xgroup|createconsumer", 5, "6.2.0")
            .flags("write denyoom")
            .acl("@stream")
            .keys(&[key(2, "RW insert")]),
        command("xgroup|delconsumer", 5, "5.0.0")
            .flags("write")
            .acl("@stream")
            .keys(&[key(2, "RW delete")]),
        command("xgroup|destroy", 4, "5.0.0")
            .flags("write")
            .acl("@stream")
            .keys(&[key(2, "RW delete")]),
        command("xgroup|help", 2, "5.0.0")
            .flags("loading stale")
            .acl("@stream"),
        command("xgroup|setid", -5, "5.0.0")
            .flags("write")
            .acl("@stream")
            .keys(&[key(2, "RW update")]),
    ]),
    command("xinfo", -2, "5.0.0").subcommands(&[
        command("xinfo|consumers", 4, "5.0.0")
            .flags("readonly")
            .acl("@stream")
            .tips(&["nondeterministic_output"])
            .keys(&[key(2, "RO access")]),
        command("xinfo|groups", 3, "5.0.0")
            .flags("readonly")
            .acl("@stream")
            .keys(&[key(2, "RO access")]),
        command("xinfo|help", 2, "5.0.0")
            .flags("loading stale")
            .acl("@stream"),
        command("xinfo|stream", -3, "5.0.0")
            .flags("readonly")
            .acl("@stream")
            .keys(&[key(2, "RO access")]),
    ]),
    command("xlen", 2, "5.0.0")
        .flags("readonly fast")
        .acl("@stream")
        .keys(&[key(1, "RO")]),
    command("xpending", -3, "5.0.0")
        .flags("readonly")
        .acl("@stream")
        .tips(&["nondeterministic_output"])
        .keys(&[key(1, "RO access")]),
    command("xrange", -4, "5.0.0")
        .flags("readonly")
        .acl("@stream")
        .keys(&[key(1, "RO access")]),
    command("xread", -4, "5.0.0")
        .flags("readonly blocking movablekeys")
        .acl("@stream")
        .keys(&[half_after("STREAMS", 1, "RO access")]),
    command("xreadgroup", -7, "5.0.0")
        .flags("write blocking movablekeys")
        .acl("@stream")
        .keys(&[half_after("STREAMS", 4, "RO access")]),
    command("xrevrange", -4, "5.0.0")
        .flags("readonly")
        .acl("@stream")
        .keys(&[key(1, "RO access")]),
    command("xsetid", -3, "5.0.0")
        .flags("write denyoom fast")
        .acl("@stream")
        .keys(&[key(1, "RW update")]),
    command("xtrim", -4, "5.0.0")
        .flags("write")
        .acl("@stream")
        .tips(&["nondeterministic_output"])
        .keys(&[key(1, "RW delete")]),
];
