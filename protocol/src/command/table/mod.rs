//! The table itself, put together by the compiler from one file for each group: sorted, numbered,
//! with everything that follows from an entry's statements.

mod bitmap;
mod cluster;
mod connection;
mod entry;
mod generic;
mod geo;
mod hash;
mod hyperloglog;
mod list;
mod mends;
mod pubsub;
mod scripting;
mod server;
mod set;
mod sorted_set;
mod stream;
mod string;
mod transactions;

use super::flags::Categories;
use super::keys::{BeginSearch, FindKeys, KeyRule, KeySpec, RANGES_MAX};
use super::words::before;
use super::{Command, CommandId, Group, RequestPolicy, ResponsePolicy};
use entry::{Entry, command};

pub(super) use mends::mended;

/// All commands in the order of their names; a command's id is its place.
pub(super) static COMMANDS: [Command; COMMAND_COUNT] = assemble_commands();

/// All subcommands, those of one container side by side; their ids go on after the commands'.
pub(super) static SUBCOMMANDS: [Command; SUBCOMMAND_COUNT] = assemble_subcommands();

/// Stands for all that is not in the table, where that has to be one thing. Its id is the next.
pub(super) static OTHER: Command = Command {
    id: CommandId::OTHER,
    name: "other",
    ..Command::EMPTY
};

const GROUPS: [(Group, &[Entry]); 16] = [
    (Group::Bitmap, bitmap::COMMANDS),
    (Group::Cluster, cluster::COMMANDS),
    (Group::Connection, connection::COMMANDS),
    (Group::Generic, generic::COMMANDS),
    (Group::Geo, geo::COMMANDS),
    (Group::Hash, hash::COMMANDS),
    (Group::Hyperloglog, hyperloglog::COMMANDS),
    (Group::List, list::COMMANDS),
    (Group::Pubsub, pubsub::COMMANDS),
    (Group::Scripting, scripting::COMMANDS),
    (Group::Server, server::COMMANDS),
    (Group::Set, set::COMMANDS),
    (Group::SortedSet, sorted_set::COMMANDS),
    (Group::Stream, stream::COMMANDS),
    (Group::String, string::COMMANDS),
    (Group::Transactions, transactions::COMMANDS),
];

pub(super) const COMMAND_COUNT: usize = {
    let (mut count, mut group) = (0, 0);
    while group < GROUPS.len() {
        count += GROUPS[group].1.len();
        group += 1;
    }
    count
};

/// The entries of all groups, merged by name.
static SORTED: [(Group, Entry); COMMAND_COUNT] = {
    let mut sorted = [(Group::Bitmap, command("", 0, "")); COMMAND_COUNT];
    let mut next = [0; GROUPS.len()];
    let mut count = 0;
    while count < COMMAND_COUNT {
        let least = group_of_least(&next);
        let (group, entries) = GROUPS[least];
        sorted[count] = (group, entries[next[least]]);
        next[least] += 1;
        count += 1;
    }
    sorted
};

/// The group whose next entry has the smallest name of all.
const fn group_of_least(next: &[usize; GROUPS.len()]) -> usize {
    let (mut least, mut group) = (GROUPS.len(), 0);
    while group < GROUPS.len() {
        let entries = GROUPS[group].1;
        if next[group] < entries.len() {
            let name = entries[next[group]].name;
            if least == GROUPS.len() || before(name, GROUPS[least].1[next[least]].name) {
                least = group;
            }
        }
        group += 1;
    }
    least
}

pub(super) const SUBCOMMAND_COUNT: usize = {
    let (mut count, mut at) = (0, 0);
    while at < COMMAND_COUNT {
        count += SORTED[at].1.subcommands.len();
        at += 1;
    }
    count
};

/// The categories' names of all commands and subcommands, one after the other by id.
static CATEGORY_NAMES: [&str; CATEGORY_NAME_COUNT] = {
    let mut names = [""; CATEGORY_NAME_COUNT];
    let (mut len, mut at) = (0, 0);
    while at < COMMAND_COUNT {
        len = categories(&SORTED[at].1).write_words(&mut names, len);
        at += 1;
    }
    at = 0;
    while at < COMMAND_COUNT {
        let subcommands = SORTED[at].1.subcommands;
        let mut sub = 0;
        while sub < subcommands.len() {
            len = categories(&subcommands[sub]).write_words(&mut names, len);
            sub += 1;
        }
        at += 1;
    }
    assert!(len == CATEGORY_NAME_COUNT);
    names
};

const CATEGORY_NAME_COUNT: usize = {
    let (mut count, mut at) = (0, 0);
    while at < COMMAND_COUNT {
        let entry = &SORTED[at].1;
        count += categories(entry).len();
        let mut sub = 0;
        while sub < entry.subcommands.len() {
            count += categories(&entry.subcommands[sub]).len();
            sub += 1;
        }
        at += 1;
    }
    count
};

const fn assemble_commands() -> [Command; COMMAND_COUNT] {
    let mut commands = [const { Command::EMPTY }; COMMAND_COUNT];
    let mut names: &'static [&'static str] = &CATEGORY_NAMES;
    let mut subcommands: &'static [Command] = &SUBCOMMANDS;
    let mut at = 0;
    while at < COMMAND_COUNT {
        let (group, entry) = &SORTED[at];
        assert!(at == 0 || before(SORTED[at - 1].1.name, entry.name));
        let (own_names, other_names) = names.split_at(categories(entry).len());
        let (own_subcommands, others) = subcommands.split_at(entry.subcommands.len());
        commands[at] = Command {
            subcommands: own_subcommands,
            ..assemble(entry, *group, at, own_names)
        };
        (names, subcommands) = (other_names, others);
        at += 1;
    }
    commands
}

const fn assemble_subcommands() -> [Command; SUBCOMMAND_COUNT] {
    let mut commands = [const { Command::EMPTY }; SUBCOMMAND_COUNT];
    let mut names: &'static [&'static str] = &CATEGORY_NAMES;
    let (mut id, mut at) = (0, 0);
    while at < COMMAND_COUNT {
        names = names.split_at(categories(&SORTED[at].1).len()).1;
        at += 1;
    }
    at = 0;
    while at < COMMAND_COUNT {
        let (group, entry) = &SORTED[at];
        let mut sub = 0;
        while sub < entry.subcommands.len() {
            let subcommand = &entry.subcommands[sub];
            assert!(sub == 0 || before(entry.subcommands[sub - 1].name, subcommand.name));
            let (own_names, others) = names.split_at(categories(subcommand).len());
            commands[id] = assemble(subcommand, *group, COMMAND_COUNT + id, own_names);
            names = others;
            id += 1;
            sub += 1;
        }
        at += 1;
    }
    commands
}

const fn assemble(
    entry: &Entry,
    group: Group,
    id: usize,
    categories: &'static [&'static str],
) -> Command {
    assert!(entry.key_specs.len() <= RANGES_MAX);
    let (first_key, last_key, key_step) = legacy_range(entry.key_specs);
    Command {
        id: CommandId(id as u16),
        name: entry.name,
        arity: entry.arity,
        flags: entry.flags,
        first_key,
        last_key,
        key_step,
        key_specs: entry.key_specs,
        tips: entry.tips,
        categories,
        request_policy: RequestPolicy::of(entry.tips),
        response_policy: ResponsePolicy::of(entry.tips),
        subcommands: &[],
        group,
        since: entry.since,
        key_rule: entry.key_rule,
        single_key: single_key(entry),
        own_name: own_name(entry.name),
    }
}

/// The place after the bar in a subcommand's name.
const fn own_name(name: &str) -> u8 {
    let name = name.as_bytes();
    let mut at = name.len();
    while at > 0 && name[at - 1] != b'|' {
        at -= 1;
    }
    at as u8
}

const fn categories(entry: &Entry) -> Categories {
    let explicit = entry.categories;
    explicit.union(Categories::implied_by(entry.flags, explicit))
}

/// First key, last key and step as `COMMAND` told them before there were key specs. Plain ranges
/// that follow one another count as one; what else there is only shows as `movablekeys`.
const fn legacy_range(specs: &[KeySpec]) -> (i8, i8, i8) {
    let (mut first, mut last, mut step) = (0, 0, 0);
    let mut at = 0;
    while at < specs.len() {
        if let Some((begin, end, distance)) = plain_range(&specs[at]) {
            if first == 0 {
                (first, last, step) = (begin, end, distance);
            } else if distance == 1 && step == 1 && last + 1 == begin {
                last = end;
            }
        }
        at += 1;
    }
    (first, last, step)
}

const fn plain_range(spec: &KeySpec) -> Option<(i8, i8, i8)> {
    match (spec.begin, spec.find) {
        (BeginSearch::Index(first), FindKeys::Range { last, step, .. }) => {
            let first = first as i8;
            let last = if last < 0 { last } else { first + last };
            Some((first, last, step as i8))
        }
        _ => None,
    }
}

/// The position of the only key that requests with the right arity always have; 0 when it takes
/// more to tell.
const fn single_key(entry: &Entry) -> u8 {
    match (entry.key_rule, entry.key_specs) {
        (KeyRule::Specs | KeyRule::Bitfield | KeyRule::Set, [only]) => match *only {
            KeySpec {
                begin: BeginSearch::Index(index),
                find: FindKeys::Range { last: 0, .. },
                ..
            } => {
                assert!(entry.arity.unsigned_abs() > index);
                index
            }
            _ => 0,
        },
        (KeyRule::SortRo, _) => 1,
        _ => 0,
    }
}
