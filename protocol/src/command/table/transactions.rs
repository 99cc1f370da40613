//! Commands of transactions.

use super::entry::{Entry, command, keys};

pub(super) const COMMANDS: &[Entry] = &[
    command("discard", 1, "2.0.0")
        .flags("noscript loading stale fast allow_busy")
        .acl("@transaction"),
    command("exec", 1, "1.2.0")
        .flags("noscript loading stale skip_slowlog")
        .acl("@transaction"),
    command("multi", 1, "1.2.0")
        .flags("noscript loading stale fast allow_busy")
        .acl("@transaction"),
    command("unwatch", 1, "2.2.0")
        .flags("noscript loading stale fast allow_busy")
        .acl("@transaction"),
    command("watch", -2, "2.2.0")
        .flags("noscript loading stale fast allow_busy")
        .acl("@transaction")
        .keys(&[keys(1, -1, "RO")]),
];
