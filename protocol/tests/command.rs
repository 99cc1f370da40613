//! The command table without a server: numbering, policies, arities, and the places of keys.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use slotway_protocol::command::{
    self, BeginSearch, Command, CommandId, FindKeys, Flags, KeyFlags, KeysError, Refusal,
    RequestPolicy, ResponsePolicy, keys, lookup, resolve,
};
use slotway_protocol::resp::{
    Request, RequestBuffers, RequestLimits, RequestScanner, Scan, encode,
};

#[test]
fn ids_are_dense_and_names_unique() {
    let listed: Vec<&Command> = command::all()
        .iter()
        .flat_map(|command| std::iter::once(command).chain(command.subcommands))
        .collect();
    assert_eq!((command::all().len(), listed.len()), (240, 366));
    assert_eq!(Command::count(), listed.len());
    let names: BTreeSet<&str> = listed.iter().map(|command| command.name).collect();
    assert_eq!(names.len(), listed.len());
    let ids: BTreeSet<usize> = listed.iter().map(|command| command.id.0.into()).collect();
    assert!(ids.into_iter().eq(0..listed.len()));
    for command in listed {
        assert!(
            std::ptr::eq(Command::by_id(command.id), command),
            "{}",
            command.name
        );
    }
}

#[test]
fn subcommands_are_found_in_any_case_in_their_container_only() {
    for container in command::all() {
        for subcommand in container.subcommands {
            let name = subcommand.name.strip_prefix(container.name).unwrap();
            let name = name.strip_prefix('|').unwrap();
            for name in [name.to_owned(), name.to_uppercase()] {
                let found = container.subcommand(name.as_bytes());
                assert!(
                    found.is_some_and(|found| std::ptr::eq(found, subcommand)),
                    "{name}"
                );
            }
            assert!(container.subcommand(subcommand.name.as_bytes()).is_none());
        }
    }
    let get = lookup(b"get").unwrap();
    assert!(get.subcommand(b"get").is_none() && get.subcommand(b"").is_none());
}

#[test]
fn arities_are_exact_or_least() {
    let accepted = |name: &str| -> Vec<usize> {
        let command = lookup(name.as_bytes()).unwrap();
        (0..7).filter(|&len| command.accepts(len)).collect()
    };
    assert_eq!(accepted("get"), [2]);
    assert_eq!(accepted("set"), [3, 4, 5, 6]);
    assert_eq!(accepted("ping"), [1, 2, 3, 4, 5, 6]);
}

/// The commands that concern several shards, as the documentation of command tips has them.
#[test]
fn policies_follow_the_tips() {
    let of = |request, response| -> Vec<&str> {
        every_command()
            .filter(|command| command.request_policy == request)
            .filter(|command| command.response_policy == response)
            .map(|command| command.name)
            .collect()
    };
    let succeed = ResponsePolicy::AllSucceeded;
    assert_eq!(
        of(RequestPolicy::MultiShard, ResponsePolicy::Default),
        ["mget"]
    );
    assert_eq!(of(RequestPolicy::MultiShard, succeed), ["mset"]);
    // The server's own tip, although a split MSETNX can't keep its promise of all or nothing.
    assert_eq!(
        of(RequestPolicy::MultiShard, ResponsePolicy::AggMin),
        ["msetnx"]
    );
    assert_eq!(
        of(RequestPolicy::MultiShard, ResponsePolicy::AggSum),
        ["del", "exists", "touch", "unlink"]
    );
    assert_eq!(
        of(RequestPolicy::Special, ResponsePolicy::Default),
        ["scan"]
    );
    assert_eq!(
        of(RequestPolicy::AllShards, ResponsePolicy::AggLogicalAnd),
        ["script|exists"]
    );
    assert_eq!(
        of(RequestPolicy::AllShards, ResponsePolicy::OneSucceeded),
        ["function|kill", "script|kill"]
    );
    assert!(of(RequestPolicy::AllNodes, succeed).contains(&"config|set"));
    assert!(of(RequestPolicy::AllShards, succeed).contains(&"flushall"));
    assert!(of(RequestPolicy::Default, ResponsePolicy::Default).contains(&"get"));
}

#[test]
fn flags_and_specs_are_readable_as_data() {
    let zunionstore = lookup(b"ZUnionStore").unwrap();
    assert!(
        zunionstore
            .flags
            .contains(Flags::WRITE.union(Flags::MOVABLEKEYS))
    );
    let [destination, sources] = zunionstore.key_specs else {
        panic!("two specs");
    };
    assert!(destination.flags.contains(KeyFlags::OW));
    assert_eq!(sources.begin, BeginSearch::Index(2));
    let counted = FindKeys::KeyNum {
        number: 0,
        first: 1,
        step: 1,
    };
    assert_eq!(sources.find, counted);
}

/// What a real server can't be asked: commands whose arguments are routed without being keys, and
/// requests that it gets wrong.
#[test]
fn keys_for_routing() {
    let cases: &[(&str, Result<&[usize], KeysError>)] = &[
        ("ssubscribe one two", Ok(&[1, 2])),
        ("sunsubscribe", Ok(&[])),
        ("spublish channel message", Ok(&[1])),
        ("publish channel message", Ok(&[])),
        ("pfmerge destination", Ok(&[1])),
        ("ping", Ok(&[])),
        ("eval script 0 argument", Ok(&[])),
        ("eval script 2 key", Err(KeysError::InvalidArguments)),
        ("eval script 02 a b", Ok(&[3, 4])),
        ("eval script \t+2x a b", Ok(&[3, 4])),
        ("zdiff 1.5 a b", Ok(&[2])),
        ("zdiff 4294967297 a b", Ok(&[2])),
        (
            "zdiff 99999999999999999999 a",
            Err(KeysError::InvalidArguments),
        ),
        ("zdiff -1 a", Err(KeysError::InvalidArguments)),
        ("zdiff x1 a", Err(KeysError::InvalidArguments)),
        ("zunion 0 key", Err(KeysError::InvalidArguments)),
        (
            "zunionstore destination 9 key",
            Err(KeysError::InvalidArguments),
        ),
        ("xread count 1 a b", Err(KeysError::InvalidArguments)),
        ("xread count 1 streams a", Err(KeysError::InvalidArguments)),
        ("mset a 1 b 2", Ok(&[1, 3])),
        ("blpop a b 0", Ok(&[1, 2])),
        ("bitop and destination a b", Ok(&[2, 3, 4])),
        ("object encoding key", Ok(&[2])),
        ("xreadgroup group g c streams a b > >", Ok(&[5, 6])),
    ];
    for (line, expected) in cases {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(
            positions(&words).as_deref(),
            expected.as_ref().map(|keys| *keys),
            "{line}"
        );
    }
}

#[test]
fn refusals_tell_what_is_wrong() {
    let refusal = |words: &[&str]| with_request(words, |request| resolve(request).err());
    assert!(matches!(refusal(&["nope"]), Some(Refusal::UnknownCommand)));
    assert!(matches!(
        refusal(&["client", "nope"]),
        Some(Refusal::UnknownSubcommand)
    ));
    assert!(matches!(refusal(&["client"]), Some(Refusal::WrongArity(_))));
    assert!(matches!(
        refusal(&["client", "id", "x"]),
        Some(Refusal::WrongArity(_))
    ));
    let resolved = |words: &[&str]| with_request(words, |request| resolve(request).unwrap().name);
    assert_eq!(resolved(&["Client", "ID"]), "client|id");
    assert_eq!(resolved(&["command"]), "command");
    assert_eq!(resolved(&["GET", "id"]), "get");
}

proptest! {
    /// The short cut for one key agrees with the general way, whatever the arguments are.
    #[test]
    fn a_single_key_is_what_each_key_visits(
        id in 0..366_u16,
        arguments in prop::collection::vec("get|store|keys|set|0|1|2|by|streams|[a-z]{0,3}", 12),
        more in 0..8_usize,
    ) {
        let command = Command::by_id(CommandId(id));
        let mut request: Vec<&str> = command.name.split('|').collect();
        let least = usize::from(command.arity.unsigned_abs());
        let len = if command.arity < 0 { least + more } else { least };
        request.extend(arguments.iter().map(String::as_str).cycle().take(len - request.len()));
        let positions = positions_of(command, &request);
        if let Some(position) = command.single_key() {
            prop_assert_eq!(positions, Ok(vec![position]));
        } else if let Ok(positions) = positions {
            prop_assert!(positions.iter().all(|&position| position < request.len()));
            let distinct: BTreeSet<&usize> = positions.iter().collect();
            prop_assert_eq!(distinct.len(), positions.len());
        }
    }

    /// No bytes upset the lookup, and what it finds has that name.
    #[test]
    fn lookup_finds_nothing_but_names(name in prop::collection::vec(any::<u8>(), 0..24)) {
        if let Some(command) = lookup(&name) {
            prop_assert_eq!(command.name.as_bytes(), name.to_ascii_lowercase());
        }
    }
}

fn every_command() -> impl Iterator<Item = &'static Command> {
    (0..Command::count()).map(|id| Command::by_id(CommandId(id as u16)))
}

fn positions(words: &[&str]) -> Result<Vec<usize>, KeysError> {
    let command = with_request(words, |request| resolve(request).unwrap());
    positions_of(command, words)
}

fn positions_of(command: &Command, words: &[&str]) -> Result<Vec<usize>, KeysError> {
    with_request(words, |request| {
        let mut found = Vec::new();
        keys::each_key(command, request, &mut |position| found.push(position))?;
        Ok(found)
    })
}

fn with_request<T>(arguments: &[&str], act: impl FnOnce(&Request<'_>) -> T) -> T {
    let mut bytes = Vec::new();
    encode::request(&mut bytes, arguments);
    let mut buffers = RequestBuffers::default();
    let scan = RequestScanner::default().scan(&bytes, &RequestLimits::default(), &mut buffers);
    let consumed = bytes.len();
    assert_eq!(scan, Ok(Scan::Request { consumed }), "{arguments:?}");
    act(&buffers.request(&bytes))
}
