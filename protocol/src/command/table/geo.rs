//! Commands on geospatial indexes.

use super::entry::{Entry, command, key, key_after};

pub(super) const COMMANDS: &[Entry] = &[
    command("geoadd", -5, "3.2.0")
        .flags("write denyoom")
        .acl("@geo")
        .keys(&[key(1, "RW update")]),
    command("geodist", -4, "3.2.0")
        .flags("readonly")
        .acl("@geo")
        .keys(&[key(1, "RO access")]),
    command("geohash", -2, "3.2.0")
        .flags("readonly")
        .acl("@geo")
        .keys(&[key(1, "RO access")]),
    command("geopos", -2, "3.2.0")
        .flags("readonly")
        .acl("@geo")
        .keys(&[key(1, "RO access")]),
    command("georadius", -6, "3.2.0")
        .flags("write denyoom movablekeys")
        .acl("@geo")
        .keys(&[
            key(1, "RO access"),
            key_after("STORE", 6, "OW update"),
            key_after("STOREDIST", 6, "OW update"),
        ]),
    command("georadius_ro", -6, "3.2.10")
        .flags("readonly")
        .acl("@geo")
        .keys(&[key(1, "RO access")]),
    command("georadiusbymember", -5, "3.2.0")
        .flags("write denyoom movablekeys")
        .acl("@geo")
        .keys(&[
            key(1, "RO access"),
            key_after("STORE", 5, "OW update"),
            key_after("STOREDIST", 5, "OW update"),
        ]),
    command("georadiusbymember_ro", -5, "3.2.10")
        .flags("readonly")
        .acl("@geo")
        .keys(&[key(1, "RO access")]),
    command("geosearch", -7, "6.2.0")
        .flags("readonly")
        .acl("@geo")
        .keys(&[key(1, "RO access")]),
    command("geosearchstore", -8, "6.2.0")
        .flags("write denyoom")
        .acl("@geo")
        .keys(&[key(1, "OW update"), key(2, "RO access")]),
];
