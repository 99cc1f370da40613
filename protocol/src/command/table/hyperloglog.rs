//! Commands on HyperLogLogs.

use super::entry::{Entry, command, key, keys};

pub(super) const COMMANDS: &[Entry] = &[
    command("pfadd", -2, "2.8.9")
        .flags("write denyoom fast")
        .acl("@hyperloglog")
        .keys(&[key(1, "RW insert")]),
    command("pfcount", -2, "2.8.9")
        .flags("readonly")
        .acl("@hyperloglog")
        .keys(&[keys(1, -1, "RW access")]),
    command("pfdebug", 3, "2.8.9")
        .flags("write denyoom admin")
        .acl("@hyperloglog")
        .keys(&[key(2, "RW access")]),
    command("pfmerge", -2, "2.8.9")
        .flags("write denyoom")
        .acl("@hyperloglog")
        .keys(&[key(1, "RW access insert"), keys(2, -1, "RO access")]),
    command("pfselftest", 1, "2.8.9")
        .flags("admin")
        .acl("@hyperloglog"),
];
