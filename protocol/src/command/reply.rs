//! The replies of COMMAND and its subcommands, the same from proxy and node. Two things of the
//! server's are left out: the notes of key specs, and of COMMAND DOCS all but `since`, `group` and
//! `subcommands`.

use super::keys::{Arguments, BeginSearch, FindKeys, KeySpec, KeysError, locate};
use super::pattern::matches_any_case;
use super::resolve::{Refusal, find_with, resolve};
use super::{Command, Flags, KeyFlags, Learned, all, lookup};
use crate::resp::{Protocol, Request, encode};

/// Appends the reply to a request for COMMAND or one of its subcommands.
pub fn reply(request: &Request<'_>, protocol: Protocol, out: &mut Vec<u8>) {
    reply_with(request, protocol, None, out);
}

/// Like [`reply`], with the commands that were learned behind those of the table.
pub fn reply_with(
    request: &Request<'_>,
    protocol: Protocol,
    learned: Option<&Learned>,
    out: &mut Vec<u8>,
) {
    let known = Commands(learned);
    let command = match resolve(request) {
        Ok(command) => command,
        Err(refusal) => return refusal.write(request, out),
    };
    match command.name {
        "command" => write_all(known, protocol, out),
        "command|count" => encode::integer(out, known.all().count() as i64),
        "command|docs" => write_docs(known, request, protocol, out),
        "command|getkeys" => write_keys(known, request, protocol, WithFlags::No, out),
        "command|getkeysandflags" => write_keys(known, request, protocol, WithFlags::Yes, out),
        "command|help" => write_help(out),
        "command|info" => write_infos(known, request, protocol, out),
        "command|list" => write_list(known, request, out),
        _ => Refusal::UnknownCommand.write(request, out),
    }
}

/// The commands of the table and those that were learned.
#[derive(Clone, Copy)]
struct Commands<'a>(Option<&'a Learned>);

impl<'a> Commands<'a> {
    fn all(self) -> impl Iterator<Item = &'static Command> + 'a {
        let learned = self.0.into_iter().flat_map(Learned::commands);
        all().iter().chain(learned)
    }

    fn subcommands(self, container: &'static Command) -> Vec<&'static Command> {
        let learned = self.0.into_iter();
        let learned = learned.flat_map(|learned| learned.subcommands(container));
        container.subcommands.iter().chain(learned).collect()
    }

    /// The command, or with the container's name and a bar before it the subcommand, of that name.
    fn by_full_name(self, name: &[u8]) -> Option<&'static Command> {
        let in_table = match memchr::memchr(b'|', name) {
            None => lookup(name),
            Some(bar) => lookup(&name[..bar]).and_then(|found| found.subcommand(&name[bar + 1..])),
        };
        in_table.or_else(|| self.0?.lookup(name))
    }
}

fn write_all(known: Commands<'_>, protocol: Protocol, out: &mut Vec<u8>) {
    encode::array(out, known.all().count());
    for command in known.all() {
        write_info(known, command, protocol, out);
    }
}

fn write_infos(known: Commands<'_>, request: &Request<'_>, protocol: Protocol, out: &mut Vec<u8>) {
    if request.len() == 2 {
        return write_all(known, protocol, out);
    }
    encode::array(out, request.len() - 2);
    for name in request.args(2) {
        match known.by_full_name(name) {
            Some(command) => write_info(known, command, protocol, out),
            None => encode::null(out, protocol),
        }
    }
}

fn write_info(
    known: Commands<'_>,
    command: &'static Command,
    protocol: Protocol,
    out: &mut Vec<u8>,
) {
    encode::array(out, 10);
    encode::bulk(out, command.name.as_bytes());
    encode::integer(out, command.arity.into());
    write_words(command.flags.len(), command.flags.words(), protocol, out);
    encode::integer(out, command.first_key.into());
    encode::integer(out, command.last_key.into());
    encode::integer(out, command.key_step.into());
    let categories = command.categories.iter().copied();
    write_words(categories.len(), categories, protocol, out);
    encode::set(out, protocol, command.tips.len());
    for tip in command.tips {
        encode::bulk(out, tip.as_bytes());
    }
    encode::set(out, protocol, command.key_specs.len());
    for spec in command.key_specs {
        write_key_spec(spec, protocol, out);
    }
    let subcommands = known.subcommands(command);
    if subcommands.is_empty() {
        return encode::set(out, protocol, 0);
    }
    encode::array(out, subcommands.len());
    for subcommand in subcommands {
        write_info(known, subcommand, protocol, out);
    }
}

/// A set of simple strings.
fn write_words(
    len: usize,
    words: impl Iterator<Item = &'static str>,
    protocol: Protocol,
    out: &mut Vec<u8>,
) {
    encode::set(out, protocol, len);
    for word in words {
        encode::simple(out, word.as_bytes());
    }
}

fn write_key_spec(spec: &KeySpec, protocol: Protocol, out: &mut Vec<u8>) {
    encode::map(out, protocol, 3);
    encode::bulk(out, b"flags");
    write_words(spec.flags.len(), spec.flags.words(), protocol, out);
    encode::bulk(out, b"begin_search");
    match spec.begin {
        BeginSearch::Index(index) => {
            write_search("index", &[("index", index.into())], protocol, out);
        }
        BeginSearch::Keyword { word, from } => write_keyword(word, from, protocol, out),
        BeginSearch::Unknown => write_search("unknown", &[], protocol, out),
    }
    encode::bulk(out, b"find_keys");
    match spec.find {
        FindKeys::Range { last, step, limit } => {
            let fields = [
                ("lastkey", last.into()),
                ("keystep", step.into()),
                ("limit", limit.into()),
            ];
            write_search("range", &fields, protocol, out);
        }
        FindKeys::KeyNum {
            number,
            first,
            step,
        } => {
            let fields = [
                ("keynumidx", number.into()),
                ("firstkey", first.into()),
                ("keystep", step.into()),
            ];
            write_search("keynum", &fields, protocol, out);
        }
        FindKeys::Unknown => write_search("unknown", &[], protocol, out),
    }
}

/// A search's type and its numbers.
fn write_search(kind: &str, fields: &[(&str, i64)], protocol: Protocol, out: &mut Vec<u8>) {
    write_search_head(kind, fields.len(), protocol, out);
    for (name, number) in fields {
        encode::bulk(out, name.as_bytes());
        encode::integer(out, *number);
    }
}

fn write_keyword(word: &str, from: i8, protocol: Protocol, out: &mut Vec<u8>) {
    write_search_head("keyword", 2, protocol, out);
    encode::bulk(out, b"keyword");
    encode::bulk(out, word.as_bytes());
    encode::bulk(out, b"startfrom");
    encode::integer(out, from.into());
}

fn write_search_head(kind: &str, fields: usize, protocol: Protocol, out: &mut Vec<u8>) {
    encode::map(out, protocol, 2);
    encode::bulk(out, b"type");
    encode::bulk(out, kind.as_bytes());
    encode::bulk(out, b"spec");
    encode::map(out, protocol, fields);
}

/// Unknown names are passed over.
fn write_docs(known: Commands<'_>, request: &Request<'_>, protocol: Protocol, out: &mut Vec<u8>) {
    let commands: Vec<&Command> = if request.len() == 2 {
        known.all().collect()
    } else {
        let names = request.args(2);
        names.filter_map(|name| known.by_full_name(name)).collect()
    };
    encode::map(out, protocol, commands.len());
    for command in commands {
        write_doc(known, command, protocol, out);
    }
}

/// A command's name and the map of what is to say about it. Of what was learned nobody told since
/// when there is such a command.
fn write_doc(
    known: Commands<'_>,
    command: &'static Command,
    protocol: Protocol,
    out: &mut Vec<u8>,
) {
    let subcommands = known.subcommands(command);
    let fields = [!command.since.is_empty(), true, !subcommands.is_empty()];
    encode::bulk(out, command.name.as_bytes());
    encode::map(out, protocol, fields.iter().filter(|field| **field).count());
    if !command.since.is_empty() {
        encode::bulk(out, b"since");
        encode::bulk(out, command.since.as_bytes());
    }
    encode::bulk(out, b"group");
    encode::bulk(out, command.group.name().as_bytes());
    if !subcommands.is_empty() {
        encode::bulk(out, b"subcommands");
        encode::map(out, protocol, subcommands.len());
        for subcommand in subcommands {
            write_doc(known, subcommand, protocol, out);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WithFlags {
    No,
    Yes,
}

/// The keys of the request that comes after the subcommand's name.
fn write_keys(
    known: Commands<'_>,
    request: &Request<'_>,
    protocol: Protocol,
    with: WithFlags,
    out: &mut Vec<u8>,
) {
    let inner = Arguments::inside(request, 2);
    let Ok(command) = find_with(known.0, inner.len(), |index| inner.get(index)) else {
        return encode::error(out, b"ERR Invalid command specified");
    };
    let is_key = |spec: &KeySpec| !spec.flags.contains(KeyFlags::NOT_KEY);
    if !command.key_specs.iter().any(is_key) {
        return encode::error(out, b"ERR The command has no key arguments");
    }
    if !command.accepts(inner.len()) {
        return encode::error(
            out,
            b"ERR Invalid number of arguments specified for command",
        );
    }
    let mut keys = Vec::new();
    match locate(command, &inner) {
        Ok(ranges) if !ranges.as_slice().iter().any(|range| range.is_empty()) => {
            for range in ranges.as_slice() {
                range.each(|position| keys.push((inner.get(position), range.flags)));
            }
        }
        _ if command.flags.contains(Flags::NO_MANDATORY_KEYS) => {}
        _ => {
            let text = format!("ERR {}", KeysError::InvalidArguments);
            return encode::error(out, text.as_bytes());
        }
    }
    encode::array(out, keys.len());
    for (key, flags) in keys {
        if with == WithFlags::Yes {
            encode::array(out, 2);
        }
        encode::bulk(out, key);
        if with == WithFlags::Yes {
            write_words(flags.len(), flags.words(), protocol, out);
        }
    }
}

/// What COMMAND LIST lists.
enum Filter<'a> {
    All,
    /// No command tells which module brought it, so none is listed.
    Module,
    Category(&'a [u8]),
    Pattern(&'a [u8]),
}

impl<'a> Filter<'a> {
    fn of(request: &Request<'a>) -> Option<Self> {
        if request.len() == 2 {
            return Some(Self::All);
        }
        if request.len() != 5 || !request.arg(2).eq_ignore_ascii_case(b"filterby") {
            return None;
        }
        let value = request.arg(4);
        match request.arg(3).to_ascii_lowercase().as_slice() {
            b"module" => Some(Self::Module),
            b"aclcat" => Some(Self::Category(value)),
            b"pattern" => Some(Self::Pattern(value)),
            _ => None,
        }
    }

    fn accepts(&self, command: &Command) -> bool {
        match self {
            Self::All => true,
            Self::Module => false,
            Self::Category(category) => command
                .categories
                .iter()
                .any(|name| name.as_bytes()[1..].eq_ignore_ascii_case(category)),
            Self::Pattern(pattern) => matches_any_case(pattern, command.name.as_bytes()),
        }
    }
}

fn write_list(known: Commands<'_>, request: &Request<'_>, out: &mut Vec<u8>) {
    let Some(filter) = Filter::of(request) else {
        return encode::error(out, b"ERR syntax error");
    };
    let listed: Vec<&Command> = (known.all())
        .flat_map(|command| core::iter::once(command).chain(known.subcommands(command)))
        .filter(|command| filter.accepts(command))
        .collect();
    encode::array(out, listed.len());
    for command in listed {
        encode::bulk(out, command.name.as_bytes());
    }
}

fn write_help(out: &mut Vec<u8>) {
    encode::array(out, HELP.len());
    for line in HELP {
        encode::simple(out, line.as_bytes());
    }
}

const HELP: &[&str] = &[
    "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "(no subcommand)",
    "    What is known of every command.",
    "COUNT",
    "    The number of commands.",
    "DOCS [<command-name> ...]",
    "    Group and first version of these commands, or of all.",
    "GETKEYS <full-command>",
    "    The keys in a command line.",
    "GETKEYSANDFLAGS <full-command>",
    "    The keys in a command line, and what is done with each.",
    "INFO [<command-name> ...]",
    "    What is known of these commands, or of all.",
    "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
    "    The names of all commands, or of some.",
    "HELP",
    "    This text.",
];
