//! What docs/commands.md says of transactions is what the engine does.

use slotway_protocol::command::{self, Command};

use super::*;
use crate::engine::guide::fits_transaction;
use crate::engine::plan::{Plan, Plans};

#[test]
fn commands_are_queued_as_the_guide_says() {
    let plans = Plans::new(false);
    let all = command::all()
        .iter()
        .flat_map(|command| core::iter::once(command).chain(command.subcommands));
    let mut refused = 0;
    for command in all {
        let plan = plans.of(command);
        let is_container = !command.subcommands.is_empty() && !command.accepts(1);
        if is_container || matches!(plan, Plan::Transaction(_)) {
            continue;
        }
        let reply = reply_inside(command);
        let passes = !reply.starts_with('-');
        assert_eq!(passes, fits_transaction(plan), "{}: {reply}", command.name);
        refused += usize::from(reply.contains("can't be part of a transaction"));
    }
    assert!(refused > 20, "{refused} commands do not fit a transaction");
}

/// What a client gets for a command behind MULTI.
fn reply_inside(command: &Command) -> String {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    let mut words: Vec<&str> = command.name.split('|').collect();
    words.resize(command.arity.unsigned_abs().into(), "1");
    bench.input(client, &(request(&["MULTI"]) + &request(&words)));
    let replies = bench.written(client);
    let reply = replies.strip_prefix("+OK\r\n").unwrap();
    reply.to_owned()
}
