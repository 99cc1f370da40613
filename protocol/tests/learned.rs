//! Commands learned from a node: entries as real servers give them, and as newer servers and
//! modules document them.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]

use proptest::prelude::*;
use slotway_protocol::command::{
    Command, CommandId, Flags, Group, Learned, Refusal, RequestPolicy, ResponsePolicy, keys,
    reply::{reply, reply_with},
    resolve, resolve_with,
};
use slotway_protocol::resp::{
    Protocol, Request, RequestBuffers, RequestLimits, RequestScanner, Scan, encode,
};

const PROTOCOLS: [Protocol; 2] = [Protocol::Resp2, Protocol::Resp3];

/// What redis-server 7.0.15 says of a search module's commands: a key, an index as the key of a
/// command with an operation before it, no key.
const SEARCH_RESP2: &[u8] =
    b"*3\r\n*10\r\n$9\r\nFT.SEARCH\r\n:-1\r\n*2\r\n+readonly\r\n+module\r\n\
    :1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*3\r\n+RW\r\n+access\r\n+update\r\n\
    $12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n\
    :1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\n\
    lastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n\
    *10\r\n$9\r\nFT.CURSOR\r\n:-1\r\n*2\r\n+readonly\r\n+module\r\n:2\r\n:2\r\n:1\r\n*0\r\n*0\r\n\
    *1\r\n*6\r\n$5\r\nflags\r\n*3\r\n+RW\r\n+access\r\n+update\r\n$12\r\nbegin_search\r\n*4\r\n\
    $4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n\
    $4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n\
    $5\r\nlimit\r\n:0\r\n*0\r\n\
    *10\r\n$7\r\nFT.MGET\r\n:-1\r\n*2\r\n+readonly\r\n+module\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n\
    *0\r\n*0\r\n";
const SEARCH_RESP3: &[u8] =
    b"*3\r\n*10\r\n$9\r\nFT.SEARCH\r\n:-1\r\n~2\r\n+readonly\r\n+module\r\n\
    :1\r\n:1\r\n:1\r\n~0\r\n~0\r\n~1\r\n%3\r\n$5\r\nflags\r\n~3\r\n+RW\r\n+access\r\n+update\r\n\
    $12\r\nbegin_search\r\n%2\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n%1\r\n$5\r\nindex\r\n\
    :1\r\n$9\r\nfind_keys\r\n%2\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n%3\r\n$7\r\n\
    lastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n~0\r\n\
    *10\r\n$9\r\nFT.CURSOR\r\n:-1\r\n~2\r\n+readonly\r\n+module\r\n:2\r\n:2\r\n:1\r\n~0\r\n~0\r\n\
    ~1\r\n%3\r\n$5\r\nflags\r\n~3\r\n+RW\r\n+access\r\n+update\r\n$12\r\nbegin_search\r\n%2\r\n\
    $4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n%1\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n%2\r\n\
    $4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n%3\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n\
    $5\r\nlimit\r\n:0\r\n~0\r\n\
    *10\r\n$7\r\nFT.MGET\r\n:-1\r\n~2\r\n+readonly\r\n+module\r\n:0\r\n:0\r\n:0\r\n~0\r\n~0\r\n\
    ~0\r\n~0\r\n";

/// The same server, of a module's commands with a function that finds their keys, and of one that
/// names a step of zero.
const FUNCTIONS: &[u8] = b"*3\r\n*10\r\n$12\r\nlab.getkeys1\r\n:-1\r\n*3\r\n+readonly\r\n\
    +module\r\n+movablekeys\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*4\r\n\
    +RW\r\n+access\r\n+update\r\n+variable_flags\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n\
    $5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\n\
    type\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n\
    $5\r\nlimit\r\n:0\r\n*0\r\n*10\r\n$11\r\nlab.getkeys\r\n:-1\r\n*3\r\n+write\r\n+module\r\n\
    +movablekeys\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*0\r\n*10\r\n$9\r\nlab.step0\r\n:-1\r\n\
    *2\r\n+readonly\r\n+module\r\n:1\r\n:1\r\n:0\r\n*0\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*3\r\n\
    +RW\r\n+access\r\n+update\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\n\
    spec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n\
    $4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:0\r\n$5\r\nlimit\r\n:0\r\n*0\r\n";

#[test]
fn entries_of_a_real_server_are_learned() {
    for recorded in [SEARCH_RESP2, SEARCH_RESP3] {
        let learned = Learned::parse(recorded).unwrap();
        assert_eq!((learned.len(), learned.left_out()), (3, 0));
        let search = learned.lookup(b"ft.search").unwrap();
        assert_eq!((search.name, search.arity), ("FT.SEARCH", -1));
        assert_eq!(search.group, Group::Module);
        assert!(search.flags.contains(Flags::READONLY.union(Flags::MODULE)));
        assert_eq!(keys_of(&learned, "Ft.Search i *"), Ok(vec![1]));
        assert_eq!(keys_of(&learned, "FT.CURSOR READ i 7"), Ok(vec![2]));
        assert_eq!(keys_of(&learned, "ft.mget i a b"), Ok(vec![]));
        assert!(learned.lookup(b"FT.MGET").unwrap().tells_keys());
        assert!(learned.lookup(b"get").is_none());
    }
}

#[test]
fn functions_that_find_keys_stay_on_the_server() {
    let learned = Learned::parse(FUNCTIONS).unwrap();
    for (name, tells) in [
        ("lab.getkeys1", false),
        ("lab.getkeys", false),
        ("lab.step0", true),
    ] {
        let command = learned.lookup(name.as_bytes()).unwrap();
        assert_eq!(command.tells_keys(), tells, "{name}");
    }
    assert_eq!(keys_of(&learned, "lab.getkeys1 k x"), Ok(vec![1]));
    assert_eq!(keys_of(&learned, "lab.step0 k"), Ok(vec![1]));
}

#[test]
fn documented_commands_find_their_keys() {
    for protocol in PROTOCOLS {
        let learned = learn(&documented(), protocol);
        for (line, expected) in [
            ("json.get a $", vec![1]),
            ("JSON.MGET a b c $.x", vec![1, 2, 3]),
            ("json.mset a $ 1 b $ 2", vec![1, 4]),
            ("hgetex h EX 10 FIELDS 1 f", vec![1]),
            ("msetex 2 a 1 b 2 EX 9", vec![2, 4]),
            ("waitaof 1 0 0", vec![]),
            ("clusterscan 0 COUNT 5", vec![1]),
            ("cms.merge d 2 a b WEIGHTS 1 1", vec![1, 3, 4]),
            ("xsome COUNT 1 STREAMS a b 0 0", vec![4, 5]),
            ("ts.mrange - + FILTER a=b", vec![]),
            ("client no-touch on", vec![]),
            ("cluster slot-stats SLOTSRANGE 0 1", vec![]),
            ("ft.cursor read idx 5", vec![2]),
        ] {
            assert_eq!(keys_of(&learned, line), Ok(expected), "{line}");
        }
        let policies = |name: &str| {
            let command = learned.lookup(name.as_bytes()).unwrap();
            (command.request_policy, command.response_policy)
        };
        let msetex = (RequestPolicy::MultiShard, ResponsePolicy::AllSucceeded);
        assert_eq!(policies("msetex"), msetex);
        let waitaof = (RequestPolicy::AllShards, ResponsePolicy::AggMin);
        assert_eq!(policies("waitaof"), waitaof);
        assert_eq!(policies("json.get").0, RequestPolicy::Default);
        assert_eq!(policies("clusterscan").0, RequestPolicy::Special);
        let get = learned.lookup(b"hgetex").unwrap();
        assert_eq!((get.single_key(), get.group), (Some(1), Group::Hash));
        // The module says -1, so a request may lack the key.
        assert_eq!(learned.lookup(b"json.get").unwrap().single_key(), None);
        assert!(!learned.lookup(b"lab.where").unwrap().tells_keys());
        assert_eq!(keys_of(&learned, "lab.where k STORE d"), Ok(vec![1]));
    }
}

#[test]
fn subcommands_are_learned_for_old_containers_and_new() {
    let learned = learn(&documented(), Protocol::Resp3);
    let touch = learned.lookup(b"CLIENT|No-Touch").unwrap();
    assert_eq!(
        (touch.name, touch.group),
        ("client|no-touch", Group::Connection)
    );
    assert!(learned.lookup(b"client|list").is_none(), "the table has it");
    assert!(learned.lookup(b"client").is_none());
    assert_eq!(
        learned.lookup(b"cluster|slot-stats").unwrap().group,
        Group::Cluster
    );

    let found = |line: &str| {
        with_request(line, |request| {
            resolve_with(request, Some(&learned)).map_or_else(
                |refusal| {
                    let mut out = Vec::new();
                    refusal.write(request, &mut out);
                    String::from_utf8(out).unwrap()
                },
                |command| command.name.to_owned(),
            )
        })
    };
    assert_eq!(found("CLIENT NO-TOUCH on"), "client|no-touch");
    assert_eq!(found("client list"), "client|list");
    assert_eq!(found("FT.cursor DEL idx 1"), "FT.CURSOR|DEL");
    assert_eq!(
        found("client no-such x"),
        "-ERR unknown subcommand 'no-such'. Try CLIENT HELP.\r\n"
    );
    assert_eq!(
        found("ft.cursor no-such x"),
        "-ERR unknown subcommand 'no-such'. Try FT.CURSOR HELP.\r\n"
    );
    assert_eq!(
        found("ft.cursor"),
        "-ERR wrong number of arguments for 'FT.CURSOR' command\r\n"
    );
    assert_eq!(
        found("hgetex h"),
        "-ERR wrong number of arguments for 'hgetex' command\r\n"
    );
    assert_eq!(
        found("nosuch a"),
        "-ERR unknown command 'nosuch', with args beginning with: 'a' \r\n"
    );
    assert_eq!(found("get k"), "get");
    with_request("HGETEX h FIELDS 1 f", |request| {
        assert!(matches!(resolve(request), Err(Refusal::UnknownCommand)));
    });
}

#[test]
fn what_is_learned_again_is_the_same() {
    let once = learn(&documented(), Protocol::Resp2);
    let again = learn(&documented(), Protocol::Resp3);
    assert_eq!(once, again);
    for (one, other) in once.all().zip(again.all()) {
        assert!(core::ptr::eq(one, other), "{}", one.name);
        assert!(core::ptr::eq(one, Command::by_id(one.id)));
        assert!(one.id > CommandId::OTHER);
        assert_eq!(one.id.index_or_other(), Command::count());
    }
    let fewer = learn(&documented()[1..], Protocol::Resp2);
    assert_ne!(once, fewer);
    // Another arity is another command, and the first is still there for those who hold it.
    let mut changed = documented();
    changed[0].arity = -7;
    let changed = learn(&changed, Protocol::Resp2);
    assert_ne!(once, changed);
    let (old, new) = (once.lookup(b"json.get"), changed.lookup(b"json.get"));
    assert_eq!((old.unwrap().arity, new.unwrap().arity), (-1, -7));
    let mut moved = documented();
    moved[0].specs = vec![("RW access update", Spec::Index(2, 0, 1))];
    let moved = learn(&moved, Protocol::Resp2);
    assert_eq!(keys_of(&moved, "json.get a b"), Ok(vec![2]));
    assert_eq!(keys_of(&once, "json.get a b"), Ok(vec![1]));
    assert_eq!(Command::by_id(CommandId::OTHER).name, "other");
}

#[test]
fn the_table_teaches_nothing() {
    for protocol in PROTOCOLS {
        let mut out = Vec::new();
        with_request("command", |request| reply(request, protocol, &mut out));
        let learned = Learned::parse(&out).unwrap();
        assert_eq!((learned.len(), learned.left_out()), (0, 0));
        assert!(learned.is_empty());
    }
}

#[test]
fn old_servers_tell_a_range_only() {
    let mut out = Vec::new();
    encode::array(&mut out, 4);
    for (name, flags, range) in [
        ("old.get", &["readonly", "fast"][..], [1, 1, 1]),
        ("old.mset", &["write"], [1, -1, 2]),
        ("old.eval", &["write", "movablekeys"], [0, 0, 0]),
        ("old.none", &["readonly"], [0, 0, 0]),
    ] {
        // Redis 6 adds the categories.
        let categories = usize::from(name == "old.mset");
        encode::array(&mut out, 6 + categories);
        encode::bulk(&mut out, name.as_bytes());
        encode::integer(&mut out, -2);
        encode::array(&mut out, flags.len());
        flags
            .iter()
            .for_each(|flag| encode::simple(&mut out, flag.as_bytes()));
        range
            .iter()
            .for_each(|&number| encode::integer(&mut out, number));
        (0..categories).for_each(|_| encode::array(&mut out, 0));
    }
    let learned = Learned::parse(&out).unwrap();
    assert_eq!((learned.len(), learned.left_out()), (4, 0));
    assert_eq!(keys_of(&learned, "old.get k"), Ok(vec![1]));
    assert_eq!(learned.lookup(b"old.get").unwrap().single_key(), Some(1));
    assert_eq!(keys_of(&learned, "old.mset a 1 b 2"), Ok(vec![1, 3]));
    assert!(!learned.lookup(b"old.eval").unwrap().tells_keys());
    assert!(learned.lookup(b"old.none").unwrap().tells_keys());
}

#[test]
fn nonsense_is_left_out_and_the_rest_is_learned() {
    let good = documented().remove(3);
    let spoiled = |change: fn(&mut Entry)| {
        let mut entry = documented().remove(0);
        change(&mut entry);
        entry
    };
    let long = "x".repeat(65);
    for (entry, why) in [
        (spoiled(|entry| entry.arity = 0), "arity 0"),
        (spoiled(|entry| entry.arity = 300), "arity 300"),
        (spoiled(|entry| entry.name = String::new()), "no name"),
        (spoiled(|entry| entry.name = "a|b".into()), "a bar"),
        (spoiled(|entry| entry.name = "x".repeat(65)), "long name"),
        (spoiled(|entry| entry.range = [1, 1, 300]), "far step"),
        (
            spoiled(|entry| entry.tips = vec!["x".repeat(65)]),
            "long tip",
        ),
        (
            spoiled(|entry| entry.tips = vec!["x".into(); 33]),
            "many tips",
        ),
    ] {
        let learned = learn(&[entry, good.clone()], Protocol::Resp2);
        assert_eq!((learned.len(), learned.left_out()), (1, 1), "{why}");
        assert!(learned.lookup(long.as_bytes()).is_none());
    }
    for reply in [&b""[..], b":1\r\n", b"*1\r\n", b"*1\r\n*1\r\n", b"$-1\r\n"] {
        assert!(Learned::parse(reply).is_err(), "{}", reply.escape_ascii());
    }
    let refused = Learned::parse(b"-NOPERM no\r\n").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the reply to COMMAND is an error: NOPERM no"
    );
    let learned = Learned::parse(b"*3\r\n:1\r\n*0\r\n*2\r\n+a\r\n:1\r\n").unwrap();
    assert_eq!((learned.len(), learned.left_out()), (0, 3));
}

/// Key specs that make no sense do not let a request's keys be told, and never loop or panic.
#[test]
fn specs_that_make_no_sense_are_unknown() {
    for (at, spec) in [
        Spec::Index(0, 0, 1),
        Spec::Index(300, 0, 1),
        Spec::Index(1, -1, 0),
        Spec::Index(1, 500, 1),
        Spec::KeyNum(1, 0, 1, 0),
        Spec::KeyNum(1, -1, 1, 1),
        Spec::Keyword("", 1, -1, 1),
        Spec::Keyword("x", 0, -1, 1),
        Spec::Keyword("x", 200, -1, 1),
        Spec::Unknown,
    ]
    .into_iter()
    .enumerate()
    {
        let mut entry = documented().remove(0);
        entry.name = format!("odd.{at}");
        entry.specs = vec![("RW", spec)];
        let learned = learn(&[entry], Protocol::Resp3);
        let command = learned.lookup(format!("odd.{at}").as_bytes()).unwrap();
        assert!(!command.tells_keys(), "{spec:?}");
        assert_eq!(
            keys_of(&learned, &format!("odd.{at} a b")),
            Ok(vec![]),
            "{spec:?}"
        );
    }
    let mut entry = documented().remove(0);
    entry.name = "odd.many".into();
    entry.specs = vec![("RW", Spec::Index(1, 0, 1)); 9];
    let learned = learn(&[entry], Protocol::Resp3);
    assert!(!learned.lookup(b"odd.many").unwrap().tells_keys());
    assert_eq!(keys_of(&learned, "odd.many a b"), Ok(vec![1, 1, 1]));
}

#[test]
fn command_replies_include_what_was_learned() {
    for (protocol, recorded) in PROTOCOLS.into_iter().zip([SEARCH_RESP2, SEARCH_RESP3]) {
        let learned = Learned::parse(recorded).unwrap();
        let ask = |line: &str| {
            let mut out = Vec::new();
            with_request(line, |request| {
                reply_with(request, protocol, Some(&learned), &mut out);
            });
            out
        };
        // The server's own bytes come back, but for the cursor's: its key is mended.
        let from = recorded
            .windows(5)
            .position(|part| part == b"\r\n*10")
            .unwrap()
            + 2;
        let rest = &recorded[from..];
        let to = rest
            .windows(7)
            .position(|part| part == b"\r\n*10\r\n")
            .unwrap()
            + 2;
        let mut expected = b"*2\r\n".to_vec();
        expected.extend_from_slice(&rest[..to]);
        encode::null(&mut expected, protocol);
        let info = ask("command info ft.search nosuch");
        assert_eq!(
            info.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );

        assert_eq!(ask("command count"), b":243\r\n");
        assert!(ask("command").starts_with(b"*243\r\n"));
        let listed = ask("command list");
        assert!(listed.windows(9).any(|part| part == b"FT.SEARCH"));
        assert_eq!(
            ask("command getkeys ft.search idx *"),
            b"*1\r\n$3\r\nidx\r\n"
        );
        let docs = String::from_utf8(ask("command docs FT.SEARCH")).unwrap();
        assert!(docs.ends_with("$5\r\ngroup\r\n$6\r\nmodule\r\n"), "{docs}");
    }
    let learned = learn(&documented(), Protocol::Resp2);
    let mut out = Vec::new();
    with_request("command info client ft.cursor", |request| {
        reply_with(request, Protocol::Resp2, Some(&learned), &mut out);
    });
    let out = String::from_utf8(out).unwrap();
    for name in ["client|list", "client|no-touch", "FT.CURSOR|READ"] {
        assert!(out.contains(name), "{name}");
    }
}

proptest! {
    /// Whatever a node sends, learning ends and says what it made of it.
    #[test]
    fn no_bytes_panic(cut in 0usize..3_000, at in 0usize..3_000, byte: u8) {
        let mut reply = encoded(&documented(), Protocol::Resp3);
        let (at, cut) = (at % reply.len(), cut % reply.len());
        reply[at] = byte;
        if let Ok(learned) = Learned::parse(&reply) {
            for command in learned.all() {
                let _ = keys_of(&learned, &format!("{} a 1 b STREAMS c", command.name));
            }
        }
        let _ = Learned::parse(&reply[..cut]);
    }
}

/// A command as COMMAND tells it.
#[derive(Debug, Clone)]
struct Entry {
    name: String,
    arity: i64,
    flags: &'static str,
    range: [i64; 3],
    categories: &'static str,
    tips: Vec<String>,
    specs: Vec<(&'static str, Spec)>,
    subcommands: Vec<Self>,
}

#[derive(Debug, Clone, Copy)]
enum Spec {
    /// The first, the last relative to it, the step.
    Index(i64, i64, i64),
    /// Where it begins; the number's place, the first key's place, the step.
    KeyNum(i64, i64, i64, i64),
    /// The word, from where; the last, the limit.
    Keyword(&'static str, i64, i64, i64),
    Unknown,
}

fn entry(name: &str, arity: i64, flags: &'static str, range: [i64; 3]) -> Entry {
    Entry {
        name: name.to_owned(),
        arity,
        flags,
        range,
        categories: "",
        tips: Vec::new(),
        specs: Vec::new(),
        subcommands: Vec::new(),
    }
}

impl Entry {
    fn spec(mut self, flags: &'static str, spec: Spec) -> Self {
        self.specs.push((flags, spec));
        self
    }

    fn tips(mut self, tips: &[&str]) -> Self {
        self.tips = tips.iter().map(|&tip| tip.to_owned()).collect();
        self
    }

    fn categories(mut self, categories: &'static str) -> Self {
        self.categories = categories;
        self
    }

    fn subcommands(mut self, subcommands: Vec<Self>) -> Self {
        self.subcommands = subcommands;
        self
    }

    fn encode(&self, protocol: Protocol, out: &mut Vec<u8>) {
        encode::array(out, 10);
        encode::bulk(out, self.name.as_bytes());
        encode::integer(out, self.arity);
        encode_words(self.flags.split_whitespace(), protocol, out);
        for number in self.range {
            encode::integer(out, number);
        }
        encode_words(self.categories.split_whitespace(), protocol, out);
        encode::set(out, protocol, self.tips.len());
        self.tips
            .iter()
            .for_each(|tip| encode::bulk(out, tip.as_bytes()));
        encode::set(out, protocol, self.specs.len());
        for (flags, spec) in &self.specs {
            spec.encode(flags, protocol, out);
        }
        encode::array(out, self.subcommands.len());
        for subcommand in &self.subcommands {
            subcommand.encode(protocol, out);
        }
    }
}

impl Spec {
    fn encode(self, flags: &str, protocol: Protocol, out: &mut Vec<u8>) {
        encode::map(out, protocol, 4);
        encode::bulk(out, b"notes");
        encode::bulk(out, b"what the server's people say of it");
        encode::bulk(out, b"flags");
        encode_words(flags.split_whitespace(), protocol, out);
        let range = |last, step, limit| {
            let fields = vec![("lastkey", last), ("keystep", step), ("limit", limit)];
            ("range", fields)
        };
        let (begin, keyword, from, (find, fields)) = match self {
            Self::Index(first, last, step) => ("index", "", first, range(last, step, 0)),
            Self::KeyNum(begin, number, first, step) => {
                let fields = vec![
                    ("keynumidx", number),
                    ("firstkey", first),
                    ("keystep", step),
                ];
                ("index", "", begin, ("keynum", fields))
            }
            Self::Keyword(word, from, last, limit) => {
                ("keyword", word, from, range(last, 1, limit))
            }
            Self::Unknown => ("unknown", "", 0, ("unknown", Vec::new())),
        };
        encode::bulk(out, b"begin_search");
        encode::map(out, protocol, 2);
        encode::bulk(out, b"type");
        encode::bulk(out, begin.as_bytes());
        encode::bulk(out, b"spec");
        match begin {
            "unknown" => encode::map(out, protocol, 0),
            "keyword" => {
                encode::map(out, protocol, 2);
                encode::bulk(out, b"keyword");
                encode::bulk(out, keyword.as_bytes());
                encode::bulk(out, b"startfrom");
                encode::integer(out, from);
            }
            _ => {
                encode::map(out, protocol, 1);
                encode::bulk(out, b"index");
                encode::integer(out, from);
            }
        }
        encode::bulk(out, b"find_keys");
        encode::map(out, protocol, 2);
        encode::bulk(out, b"type");
        encode::bulk(out, find.as_bytes());
        encode::bulk(out, b"spec");
        encode::map(out, protocol, fields.len());
        for (name, number) in fields {
            encode::bulk(out, name.as_bytes());
            encode::integer(out, number);
        }
    }
}

fn encode_words<'a>(
    words: impl Iterator<Item = &'a str> + Clone,
    protocol: Protocol,
    out: &mut Vec<u8>,
) {
    encode::set(out, protocol, words.clone().count());
    words.for_each(|word| encode::simple(out, word.as_bytes()));
}

/// Modules' commands as the modules register them, newer servers' as their documents state them.
fn documented() -> Vec<Entry> {
    let one = Spec::Index(1, 0, 1);
    let connection = "noscript loading stale";
    vec![
        entry("json.get", -1, "readonly module", [1, 1, 1]).spec("RW access update", one),
        entry("json.mget", -1, "readonly module", [1, 1, 1]).spec("RW access update", one),
        entry("json.mset", -1, "write denyoom module", [1, -1, 3])
            .spec("RW access update", Spec::Index(1, -1, 3)),
        entry("hgetex", -5, "write fast", [1, 1, 1])
            .categories("@write @hash @fast")
            .spec("RW access update", one),
        entry("msetex", -4, "write denyoom movablekeys", [0, 0, 0])
            .categories("@write @string @slow")
            .tips(&[
                "request_policy:multi_shard",
                "response_policy:all_succeeded",
            ])
            .spec("OW update", Spec::KeyNum(1, 0, 1, 2)),
        entry("waitaof", 4, "blocking", [0, 0, 0])
            .categories("@connection @blocking @slow")
            .tips(&["request_policy:all_shards", "response_policy:agg_min"]),
        entry("clusterscan", -2, "readonly", [1, 1, 1])
            .tips(&["request_policy:special", "response_policy:special"])
            .spec("not_key", one),
        entry("cms.merge", -1, "write denyoom module", [1, 1, 1]).spec("RW access update", one),
        entry("xsome", -4, "readonly blocking movablekeys", [0, 0, 0])
            .spec("RO access", Spec::Keyword("STREAMS", 1, -1, 2)),
        entry("ts.mrange", -1, "readonly module", [0, 0, 0]),
        entry("lab.where", -2, "write movablekeys", [1, 1, 1])
            .spec("RO access", one)
            .spec("OW update incomplete", Spec::Unknown),
        entry("client", -2, "", [0, 0, 0]).subcommands(vec![
            entry("client|list", -2, "admin noscript loading stale", [0, 0, 0]),
            entry("client|no-touch", 3, connection, [0, 0, 0]).categories("@slow @connection"),
            entry("client|setinfo", 4, connection, [0, 0, 0]).categories("@slow @connection"),
        ]),
        entry("cluster", -2, "", [0, 0, 0]).subcommands(vec![
            entry("cluster|slot-stats", -4, "stale loading", [0, 0, 0])
                .tips(&["request_policy:all_shards"]),
        ]),
        entry("FT.CURSOR", -2, "readonly module", [0, 0, 0]).subcommands(vec![
            entry("FT.CURSOR|DEL", -4, "readonly module", [0, 0, 0]),
            entry("FT.CURSOR|READ", -4, "readonly module", [0, 0, 0])
                .tips(&["request_policy:special"]),
        ]),
        entry("get", 2, "readonly fast", [1, 1, 1]),
    ]
}

fn encoded(entries: &[Entry], protocol: Protocol) -> Vec<u8> {
    let mut out = Vec::new();
    encode::array(&mut out, entries.len());
    entries
        .iter()
        .for_each(|entry| entry.encode(protocol, &mut out));
    out
}

fn learn(entries: &[Entry], protocol: Protocol) -> Learned {
    Learned::parse(&encoded(entries, protocol)).unwrap()
}

/// Where a request's keys are, or why it is none.
fn keys_of(learned: &Learned, line: &str) -> Result<Vec<usize>, String> {
    with_request(line, |request| {
        let command = resolve_with(request, Some(learned)).map_err(|it| format!("{it:?}"))?;
        let mut found = Vec::new();
        keys::each_key(command, request, &mut |position| found.push(position))
            .map_err(|error| error.to_string())?;
        Ok(found)
    })
}

fn with_request<T>(line: &str, use_it: impl FnOnce(&Request<'_>) -> T) -> T {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut frame = Vec::new();
    encode::request(&mut frame, &words);
    let mut buffers = RequestBuffers::default();
    let limits = RequestLimits::default();
    let scan = RequestScanner::default().scan(&frame, &limits, &mut buffers);
    assert!(matches!(scan, Ok(Scan::Request { .. })), "{line}");
    use_it(&buffers.request(&frame))
}
