//! HELP of the commands that have subcommands: what this node knows of them.

use slotway_protocol::command::{Command, lookup};
use slotway_protocol::resp::encode;

use super::{Call, CommandError, Run};

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("client|help", help),
    ("cluster|help", help),
    ("config|help", help),
    ("function|help", help),
    ("memory|help", help),
    ("object|help", help),
    ("slowlog|help", help),
    ("latency|help", help),
    ("pubsub|help", help),
];

fn help(call: &mut Call<'_>) -> Result<(), CommandError> {
    let container = call.arg(0);
    let subcommands = lookup(container).map_or(&[][..], |command| command.subcommands);
    let known: Vec<&Command> = subcommands
        .iter()
        .filter(|subcommand| call.dispatch.run(subcommand.id).is_some())
        .collect();
    encode::array(call.out, 1 + known.len());
    let container = String::from_utf8_lossy(container).to_ascii_uppercase();
    let title = format!("{container} <subcommand> [<argument> ...]. This node knows:");
    encode::simple(call.out, title.as_bytes());
    for subcommand in known {
        let name = subcommand.name.split('|').next_back().unwrap_or_default();
        encode::simple(call.out, name.to_ascii_uppercase().as_bytes());
    }
    Ok(())
}
