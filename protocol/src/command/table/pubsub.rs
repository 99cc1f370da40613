//! Commands of publish and subscribe.

use super::entry::{Entry, command, key, keys};

pub(super) const COMMANDS: &[Entry] = &[
    command("psubscribe", -2, "2.0.0").flags("pubsub noscript loading stale"),
    command("publish", 3, "2.0.0").flags("pubsub loading stale fast"),
    command("pubsub", -2, "2.8.0").subcommands(&[
        command("pubsub|channels", -2, "2.8.0").flags("pubsub loading stale"),
        command("pubsub|help", 2, "6.2.0").flags("loading stale"),
        command("pubsub|numpat", 2, "2.8.0").flags("pubsub loading stale"),
        command("pubsub|numsub", -2, "2.8.0").flags("pubsub loading stale"),
        command("pubsub|shardchannels", -2, "7.0.0").flags("pubsub loading stale"),
        command("pubsub|shardnumsub", -2, "7.0.0").flags("pubsub loading stale"),
    ]),
    command("punsubscribe", -1, "2.0.0").flags("pubsub noscript loading stale"),
    command("spublish", 3, "7.0.0")
        .flags("pubsub loading stale fast")
        .keys(&[key(1, "not_key")]),
    command("ssubscribe", -2, "7.0.0")
        .flags("pubsub noscript loading stale")
        .keys(&[keys(1, -1, "not_key")]),
    command("subscribe", -2, "2.0.0").flags("pubsub noscript loading stale"),
    command("sunsubscribe", -1, "7.0.0")
        .flags("pubsub noscript loading stale")
        .keys(&[keys(1, -1, "not_key")]),
    command("unsubscribe", -1, "2.0.0").flags("pubsub noscript loading stale"),
];
