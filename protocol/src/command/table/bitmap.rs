//! Commands on bitmaps.

use super::entry::{Entry, command, key, keys};
use crate::command::keys::KeyRule;

pub(super) const COMMANDS: &[Entry] = &[
    command("bitcount", -2, "2.6.0")
        .flags("readonly")
        .acl("@bitmap")
        .keys(&[key(1, "RO access")]),
    command("bitfield", -2, "3.2.0")
        .flags("write denyoom")
        .acl("@bitmap")
        .keys(&[key(1, "RW access update variable_flags")])
        .rule(KeyRule::Bitfield),
    command("bitfield_ro", -2, "6.0.0")
        .flags("readonly fast")
        .acl("@bitmap")
        .keys(&[key(1, "RO access")]),
    command("bitop", -4, "2.6.0")
        .flags("write denyoom")
        .acl("@bitmap")
        .keys(&[key(2, "OW update"), keys(3, -1, "RO access")]),
    command("bitpos", -3, "2.8.7")
        .flags("readonly")
        .acl("@bitmap")
        .keys(&[key(1, "RO access")]),
    command("getbit", 3, "2.2.0")
        .flags("readonly fast")
        .acl("@bitmap")
        .keys(&[key(1, "RO access")]),
    command("setbit", 4, "2.2.0")
        .flags("write denyoom")
        .acl("@bitmap")
        .keys(&[key(1, "RW access update")]),
];
