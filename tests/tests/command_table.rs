//! The command table, the finding of keys and the replies of COMMAND, compared with a real
//! redis-server 7.0. It has to be installed.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use slotway_protocol::command::{self, Command, CommandId, Learned, keys, reply, resolve};
use slotway_protocol::resp::{
    Protocol, Request, RequestBuffers, RequestLimits, RequestScanner, Scan, encode,
};

#[test]
fn info_is_that_of_the_server() {
    let mut server = Server::start();
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        server.hello(protocol);
        let request = ["command"];
        let (theirs, ours) = (server.call(&request), our_reply(&request, protocol));
        let (theirs, ours) = (by_name(theirs), by_name(Value::parse(&ours)));
        assert_eq!(theirs.len(), Command::count());
        for (name, info) in &theirs {
            assert_eq!(ours.get(name), Some(info), "{name}");
        }
        assert_eq!(ours.len(), theirs.len());
    }
}

/// The table lacks nothing that the server has, so there is nothing to learn from it.
#[test]
fn the_server_teaches_nothing() {
    let mut server = Server::start();
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        server.hello(protocol);
        let learned = Learned::parse(&server.call_raw(&["COMMAND"])).unwrap();
        assert_eq!((learned.len(), learned.left_out()), (0, 0));
    }
}

#[test]
fn info_of_one_command_is_the_same_bytes() {
    let mut server = Server::start();
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        server.hello(protocol);
        let mut compared = 0;
        for command in every_command() {
            let request = ["COMMAND", "INFO", command.name];
            let theirs = server.call_raw(&request);
            let has_notes = theirs.windows(5).any(|part| part == b"notes");
            if command.subcommands.is_empty() && !has_notes {
                assert_same(&theirs, &our_reply(&request, protocol), &request);
                compared += 1;
            }
        }
        assert!(compared > 330, "{compared}");
        for names in ODD_NAMES {
            let request: Vec<&str> = ["command", "info"].iter().chain(*names).copied().collect();
            let theirs = server.call_raw(&request);
            assert_same(&theirs, &our_reply(&request, protocol), &request);
        }
    }
}

#[test]
fn docs_tell_group_and_version() {
    let mut server = Server::start();
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        server.hello(protocol);
        for command in every_command() {
            let request = ["command", "docs", command.name, "no-such-command"];
            let ours = Value::parse(&our_reply(&request, protocol));
            let theirs = server.call(&request).keep_docs();
            assert_eq!(ours.sorted(), theirs.sorted(), "{}", command.name);
        }
        let request = ["command", "docs"];
        let ours = Value::parse(&our_reply(&request, protocol));
        let theirs = server.call(&request).keep_docs();
        assert_eq!(ours.sorted(), theirs.sorted());
    }
}

#[test]
fn count_and_list_are_those_of_the_server() {
    let mut server = Server::start();
    let mut requests: Vec<Vec<&str>> = LISTS.iter().map(|line| line.split(' ').collect()).collect();
    let categories = server.call(&["acl", "cat"]).texts();
    assert!(categories.len() > 20);
    for category in &categories {
        requests.push(vec!["command", "list", "filterby", "aclcat", category]);
    }
    let mut lengths = 0;
    for request in &requests {
        let theirs = server.call(request).sorted();
        let ours = Value::parse(&our_reply(request, Protocol::Resp2)).sorted();
        assert_eq!(ours, theirs, "{request:?}");
        lengths += theirs.len();
    }
    assert!(lengths > 1500, "{lengths}");
}

#[test]
fn keys_are_those_of_the_server() {
    let mut server = Server::start();
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        server.hello(protocol);
        for line in key_requests() {
            compare_keys(&mut server, protocol, &words_of(line));
        }
    }
    let missing: Vec<&str> = every_command()
        .filter(|command| !command.key_specs.is_empty())
        .map(|command| command.name)
        .filter(|name| !key_requests().any(|line| is_request_for(line, name)))
        .collect();
    assert!(missing.is_empty(), "no request for {missing:?}");
}

/// Random arguments, from words that mean something to some command.
#[test]
fn keys_of_random_requests_are_those_of_the_server() {
    let mut server = Server::start();
    server.hello(Protocol::Resp3);
    let mut random = 0x5107_3a11_u64;
    let mut with_keys = 0;
    for command in every_command().filter(|command| !command.key_specs.is_empty()) {
        for _ in 0..150 {
            let mut request: Vec<&str> = command.name.split('|').collect();
            let least = usize::from(command.arity.unsigned_abs());
            let len = if command.arity < 0 {
                least + next(&mut random) % 8
            } else {
                least
            };
            while request.len() < len {
                request.push(WORDS[next(&mut random) % WORDS.len()]);
            }
            let reply = compare_keys(&mut server, Protocol::Resp3, &request);
            with_keys += usize::from(reply.starts_with(b"*") && reply != b"*0\r\n");
        }
    }
    assert!(with_keys > 15_000, "{with_keys}");
}

#[test]
fn routing_sees_the_keys_that_getkeys_sees() {
    let mut server = Server::start();
    for line in key_requests() {
        let request = words_of(line);
        let theirs = match server.call(&[&["command", "getkeys"], &request[..]].concat()) {
            Value::Error(_) => None,
            keys => Some(keys.texts()),
        };
        let Some(ours) = our_keys(&request) else {
            assert!(theirs.is_none_or(|keys| keys.is_empty()), "{line}");
            continue;
        };
        // Shard channels and a lone PFMERGE destination are routed, though no keys to GETKEYS.
        let routed_only = line.starts_with('s') && line.contains("channel") || line == "pfmerge d";
        match theirs {
            Some(theirs) => assert_eq!(ours, theirs, "{line}"),
            None => assert_eq!(!ours.is_empty(), routed_only, "{line}"),
        }
    }
}

#[test]
fn refusals_are_those_of_the_server() {
    let mut server = Server::start();
    let mut refused = 0;
    for command in every_command() {
        for request in wrong_arities(command) {
            refused += 1;
            compare_refusal(&mut server, &request);
        }
        if !command.subcommands.is_empty() {
            for subcommand in ["nope", "", "a\r\nb", "help me", "list|get"] {
                compare_refusal(&mut server, &[command.name, subcommand]);
            }
        }
    }
    assert!(refused > 450, "{refused}");
    let long = "x".repeat(300);
    let almost = "y".repeat(122);
    let requests: &[&[&str]] = &[
        &["nope"],
        &["NoPe", "a", "b"],
        &["", ""],
        &["no\r\npe", "a\nb", "\r"],
        &["no\0pe", "a\0b", "c"],
        &["get\0", "k"],
        &[&long, &long, &long],
        &["nope", &almost, "abc", "d"],
        &["nope", &long[..123], "abc"],
        &["nope", &long[..124], "abc"],
        &["nope", &long[..125], "abc"],
        &["nope", "ä", "ö\u{7f}\t'"],
        &["client|list"],
        &["config", &long],
        &["CONFIG", "\0x"],
        &["coNfig", "get|x", "y"],
    ];
    for request in requests {
        compare_refusal(&mut server, request);
    }
}

#[test]
fn wrong_requests_for_command_are_refused_alike() {
    let mut server = Server::start();
    for line in [
        "command nope",
        "command count x",
        "command help x",
        "command getkeys",
        "command getkeys ping",
        "command getkeysandflags get",
        "command list filterby",
        "command list x",
        "command list filterby module",
        "command list filterby nope x",
        "command list filterby pattern a filterby pattern b",
        "command docs nope",
        "command info nope",
    ] {
        let request = words_of(line);
        let theirs = server.call_raw(&request);
        assert_same(&theirs, &our_reply(&request, Protocol::Resp2), &request);
    }
}

/// The same shape as the server's: names in a fixed form, one line of words for each.
#[test]
fn help_names_every_subcommand() {
    let help = Value::parse(&our_reply(&["command", "help"], Protocol::Resp2)).texts();
    for subcommand in command::lookup(b"command").unwrap().subcommands {
        let name = subcommand
            .name
            .split('|')
            .next_back()
            .unwrap()
            .to_uppercase();
        let listed = help
            .iter()
            .any(|line| line.split(' ').next() == Some(&name));
        assert!(listed, "{name}");
    }
}

/// Compares both forms of COMMAND GETKEYS and returns the server's second.
fn compare_keys(server: &mut Server, protocol: Protocol, request: &[&str]) -> Vec<u8> {
    let mut last = Vec::new();
    for subcommand in ["getkeys", "getkeysandflags"] {
        let request = [&["command", subcommand], request].concat();
        let theirs = server.call_raw(&request);
        assert_same(&theirs, &our_reply(&request, protocol), &request);
        last = theirs;
    }
    last
}

fn compare_refusal(server: &mut Server, request: &[&str]) {
    let theirs = server.call_raw(request);
    let mut ours = Vec::new();
    with_request(request, |request| match resolve(request) {
        Ok(command) => panic!("{} is well formed", command.name),
        Err(refusal) => refusal.write(request, &mut ours),
    });
    assert_same(&theirs, &ours, request);
}

/// Requests with too few and too many arguments.
fn wrong_arities(command: &Command) -> Vec<Vec<&'static str>> {
    let name: Vec<&str> = Command::by_id(command.id).name.split('|').collect();
    let arity = usize::from(command.arity.unsigned_abs());
    let mut lens = vec![arity - 1];
    if command.arity > 0 {
        lens.extend([arity + 1, arity + 5]);
    }
    let shortest = name.len();
    lens.retain(|&len| len >= shortest);
    // One argument more makes a container's name a request for a subcommand.
    lens.retain(|&len| command.subcommands.is_empty() || len == 1);
    let request = |len| {
        name.iter()
            .copied()
            .chain(std::iter::repeat("1"))
            .take(len)
            .collect()
    };
    lens.into_iter().map(request).collect()
}

fn every_command() -> impl Iterator<Item = &'static Command> {
    (0..Command::count()).map(|id| Command::by_id(CommandId(id as u16)))
}

/// The keys that routing sees, `None` for an error.
fn our_keys(request: &[&str]) -> Option<Vec<String>> {
    with_request(request, |parsed| {
        let command = resolve(parsed).ok()?;
        let mut found = Vec::new();
        let mut visit = |position: usize| found.push(request[position].to_owned());
        keys::each_key(command, parsed, &mut visit).ok()?;
        Some(found)
    })
}

fn our_reply(request: &[&str], protocol: Protocol) -> Vec<u8> {
    let mut out = Vec::new();
    with_request(request, |request| reply::reply(request, protocol, &mut out));
    out
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

#[track_caller]
fn assert_same(theirs: &[u8], ours: &[u8], request: &[&str]) {
    let (theirs, ours) = (theirs.escape_ascii(), ours.escape_ascii());
    assert_eq!(theirs.to_string(), ours.to_string(), "{request:?}");
}

fn key_requests() -> impl Iterator<Item = &'static str> {
    KEYS.split(['\n', '/'])
        .map(str::trim)
        .filter(|line| !line.is_empty())
}

/// Words at single spaces; `""` is the empty one.
fn words_of(line: &str) -> Vec<&str> {
    let word = |word| if word == "\"\"" { "" } else { word };
    line.split(' ').map(word).collect()
}

fn is_request_for(line: &str, name: &str) -> bool {
    let wanted: Vec<&str> = name.split('|').collect();
    words_of(line).starts_with(&wanted)
}

/// The next of a sequence of numbers without a pattern that matters (xorshift).
fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 33) as usize
}

/// The infos of commands and subcommands by name, without notes and without the subcommands'
/// infos inside of their containers' but with their number.
fn by_name(infos: Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let Value::Aggregate(b'*', infos) = infos else {
        panic!("not an array: {infos:?}");
    };
    for info in infos {
        let Value::Aggregate(b'*', mut fields) = info.without_notes() else {
            panic!("not an array");
        };
        assert_eq!(fields.len(), 10);
        if let Value::Aggregate(b'*', _) = &fields[9] {
            let subcommands = std::mem::replace(&mut fields[9], Value::Integer(0));
            fields[9] = Value::Integer(subcommands.len() as i64);
            found.append(&mut by_name(subcommands));
        }
        let name = fields[0].text().to_owned();
        let replaced = found.insert(name, Value::Aggregate(b'*', fields));
        assert!(replaced.is_none());
    }
    found
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(String),
    Null(u8),
    /// The type byte and the elements, in a map keys and values.
    Aggregate(u8, Vec<Self>),
}

impl Value {
    fn parse(bytes: &[u8]) -> Self {
        let mut rest = bytes;
        let value = Self::read(&mut rest).expect("a whole value");
        assert!(rest.is_empty(), "{:?}", rest.escape_ascii().to_string());
        value
    }

    /// Takes one value from the front of `rest`, `None` when it is not all there.
    fn read(rest: &mut &[u8]) -> Option<Self> {
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let (kind, line) = (rest[0], String::from_utf8_lossy(&rest[1..end]).into_owned());
        *rest = &rest[end + 2..];
        let number = || line.parse::<i64>().unwrap();
        Some(match kind {
            b'+' => Self::Simple(line),
            b'-' => Self::Error(line),
            b':' => Self::Integer(number()),
            b'$' if number() >= 0 => {
                let (text, others) = rest.split_at_checked(number() as usize + 2)?;
                *rest = others;
                Self::Bulk(String::from_utf8_lossy(&text[..text.len() - 2]).into_owned())
            }
            b'$' | b'_' => Self::Null(kind),
            b'*' | b'~' | b'%' => {
                let len = number() * if kind == b'%' { 2 } else { 1 };
                let elements = (0..len).map(|_| Self::read(rest));
                Self::Aggregate(kind, elements.collect::<Option<_>>()?)
            }
            _ => panic!("type {kind}"),
        })
    }

    fn text(&self) -> &str {
        match self {
            Self::Simple(text) | Self::Error(text) | Self::Bulk(text) => text,
            _ => panic!("no text: {self:?}"),
        }
    }

    fn elements(&self) -> &[Self] {
        match self {
            Self::Aggregate(_, elements) => elements,
            _ => &[],
        }
    }

    fn len(&self) -> usize {
        self.elements().len()
    }

    fn texts(&self) -> Vec<String> {
        self.elements()
            .iter()
            .map(|text| text.text().to_owned())
            .collect()
    }

    /// With the elements, or of maps the pairs, in an order that both sides agree on. RESP2 maps
    /// are told by their texts in front.
    fn sorted(self) -> Self {
        let Self::Aggregate(kind, elements) = self else {
            return self;
        };
        let elements: Vec<Self> = elements.into_iter().map(Self::sorted).collect();
        let is_map = elements.len().is_multiple_of(2)
            && elements.iter().any(|value| !matches!(value, Self::Bulk(_)));
        let width = if is_map || kind == b'%' { 2 } else { 1 };
        let mut groups: Vec<&[Self]> = elements.chunks(width).collect();
        groups.sort();
        Self::Aggregate(kind, groups.concat())
    }

    /// Without the pair `notes` in maps of key specs.
    fn without_notes(self) -> Self {
        let Self::Aggregate(kind, elements) = self else {
            return self;
        };
        let notes = matches!(elements.first(), Some(Self::Bulk(text)) if text == "notes");
        let skipped = if notes { 2 } else { 0 };
        let elements = elements.into_iter().skip(skipped).map(Self::without_notes);
        Self::Aggregate(kind, elements.collect())
    }

    /// Of a map of docs only what ours have.
    fn keep_docs(self) -> Self {
        let Self::Aggregate(kind, elements) = self else {
            panic!("no docs: {self:?}");
        };
        let mut kept = Vec::new();
        for pair in elements.chunks(2) {
            let Self::Aggregate(_, fields) = &pair[1] else {
                panic!("no docs: {pair:?}");
            };
            let mut docs = Vec::new();
            for field in fields.chunks(2) {
                match field[0].text() {
                    "since" | "group" => docs.extend_from_slice(field),
                    "subcommands" => {
                        docs.extend([field[0].clone(), field[1].clone().keep_docs()]);
                    }
                    _ => {}
                }
            }
            kept.extend([pair[0].clone(), Self::Aggregate(kind, docs)]);
        }
        Self::Aggregate(kind, kept)
    }
}

/// A redis-server of its own for one test, ended with it.
struct Server {
    process: Child,
    stream: UnixStream,
    _directory: tempfile::TempDir,
}

impl Server {
    /// It listens on a socket file of its own, so that tests at the same time can't meet each
    /// other's server.
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let mut process = Process::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server must be installed: apt-get install redis-server");
        let deadline = Instant::now() + Duration::from_secs(20);
        let stream = loop {
            if let Ok(stream) = UnixStream::connect(&socket) {
                break stream;
            }
            if Instant::now() > deadline {
                let _ = process.kill();
                panic!("redis-server does not answer");
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let timeout = Some(Duration::from_secs(20));
        stream.set_read_timeout(timeout).unwrap();
        Self {
            process,
            stream,
            _directory: directory,
        }
    }

    fn hello(&mut self, protocol: Protocol) {
        let version = match protocol {
            Protocol::Resp2 => "2",
            Protocol::Resp3 => "3",
        };
        let reply = self.call_raw(&["hello", version]);
        assert!(!reply.starts_with(b"-"));
    }

    fn call(&mut self, request: &[&str]) -> Value {
        Value::parse(&self.call_raw(request))
    }

    fn call_raw(&mut self, request: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode::request(&mut bytes, request);
        self.stream.write_all(&bytes).unwrap();
        let (mut reply, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            let len = self.stream.read(&mut chunk).unwrap();
            assert!(len > 0, "closed at {request:?}");
            reply.extend_from_slice(&chunk[..len]);
            let mut rest = &reply[..];
            if reply.ends_with(b"\r\n") && Value::read(&mut rest).is_some() {
                assert!(rest.is_empty());
                return reply;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const ODD_NAMES: &[&[&str]] = &[
    &["get", "nope", "config|get", "set|get"],
    &[
        "GET",
        "Config|GET",
        "config|",
        "|get",
        "|",
        "",
        "config|get|x",
    ],
];

const LISTS: &[&str] = &[
    "command count",
    "COMMAND LIST",
    "command list filterby module x",
    "command list filterby aclcat nope",
    "command list filterby aclcat @geo",
    "command LIST FilterBy AclCat GEO",
    "command list filterby pattern *",
    "command list filterby pattern GEO*",
    "command list filterby pattern config|*",
    "command list filterby pattern ?et",
    "command list filterby pattern [g-s]et",
    "command list filterby pattern [^g]et",
    "command list filterby pattern \\get",
    "command list filterby pattern *[",
    "command list filterby pattern *[s",
    "command list filterby pattern x*[a-",
    "command list filterby pattern h*t",
    "command list filterby pattern *|*|*",
];

/// What random requests are made of.
const WORDS: &[&str] = &[
    "",
    "0",
    "1",
    "2",
    "3",
    "-1",
    "00",
    "1000000000",
    "a",
    "b",
    "k",
    "by",
    "get",
    "GET",
    "limit",
    "store",
    "STORE",
    "storedist",
    "keys",
    "KEYS",
    "streams",
    "Streams",
    "count",
    "block",
    "set",
    "overflow",
    "incrby",
    "auth",
    "auth2",
    "copy",
    "replace",
    "x",
    "left",
];

/// At least one well-formed request of every command that has keys, and odd ones.
const KEYS: &str = r#"
append k v / bitcount k 0 1 / bitfield k get u4 0 / bitfield k get u4 0 set u4 0 1 / bitfield k
bitfield k overflow wrap get u4 0 / bitfield k overflow / bitfield_ro k get u4 0
bitop and d a b / bitop not d a / bitpos k 1 / blmove a b left right 0
blmpop 0 2 a b left / blmpop 0 1 a left count 3 / blpop a b 0 / blpop a 0 / blpop a
brpop a b 0 / brpoplpush a b 0 / bzmpop 0 2 a b min / bzpopmax a b 0 / bzpopmin a b 0
copy a b / copy a b db 1 replace / decr k / decrby k 2 / del a b c / dump k
eval s 0 / eval s 0 a b / eval s 2 a b / eval s 2 a b c / eval s 3 a b / eval s -1 a / eval s x a
eval s 99999999999999999999 a / eval s "" a / eval_ro s 1 a / evalsha s 1 a b
evalsha_ro s 2 a b c / exists a b / expire k 1 / expireat k 1 / expiretime k
fcall f 1 a b / fcall f 0 / fcall_ro f 2 a b / geoadd k 1 2 m / geodist k a b / geohash k a
geopos k a / georadius k 1 2 3 m / georadius k 1 2 3 m store a
georadius k 1 2 3 m store a storedist b / georadius k 1 2 3 m count 1 storedist b asc
georadius k 1 2 3 m store / georadius k 1 2 3 STORE b c / georadius_ro k 1 2 3 m store a
georadiusbymember k m 3 m / georadiusbymember k m 3 m withdist store x
georadiusbymember k m 3 m storedist x / georadiusbymember_ro k m 3 m
geosearch k frommember m byradius 1 m / geosearchstore d s frommember m byradius 1 m
get k / get a b / get / getbit k 1 / getdel k / getex k persist / getrange k 0 1 / getset k v
hdel k f g / hexists k f / hget k f / hgetall k / hincrby k f 1 / hincrbyfloat k f 1 / hkeys k
hlen k / hmget k f g / hmset k f v / hrandfield k / hscan k 0 / hset k f v / hsetnx k f v
hstrlen k f / hvals k / incr k / incrby k 1 / incrbyfloat k 1 / lcs a b / lcs a b len
lindex k 0 / linsert k before a b / llen k / lmove a b left right / lmpop 1 a left
lmpop 2 a b left count 1 / lmpop 0 a left / lmpop 5 a left / lmpop -2 a left / lmpop x a left
lpop k 1 / lpos k e / lpush k a b / lpushx k a / lrange k 0 1 / lrem k 0 a / lset k 0 a
ltrim k 0 1 / memory usage k / memory usage k samples 1 / memory stats / mget a b c / mget a
migrate h 1 k 0 10 / migrate h 1 "" 0 10 keys a b / migrate h 1 k 0 10 keys a b
migrate h 1 k 0 10 copy replace auth secret / migrate h 1 "" 0 10 copy replace auth keys keys a
migrate h 1 "" 0 10 auth2 keys keys keys a b / migrate h 1 "" 0 10 keys / migrate h 1 "" 0 10
migrate h 1 "" 0 10 nope keys a / move k 1 / mset a 1 / mset a 1 b 2 / mset a 1 b
msetnx a 1 b 2 / object encoding k / object freq k / object idletime k / object refcount k
object nope k / object help / persist k / pexpire k 1 / pexpireat k 1 / pexpiretime k
pfadd k a / pfcount a b / pfdebug getreg k / pfmerge d a b / pfmerge d / psetex k 1 v / pttl k
rename a b / renamenx a b / restore k 0 v / restore-asking k 0 v / rpop k / rpoplpush a b
rpush k a / rpushx k a / sadd k a b / scard k / sdiff a b / sdiffstore d a b
set k v / set k v get / set k v ex 10 GeT / set k v ex 10 nx / set get get / setbit k 1 1
setex k 1 v / setnx k v / setrange k 0 v / sinter a b / sintercard 2 a b limit 1
sintercard 1 a limit / sintercard 0 a / sinterstore d a b / sismember k a / smembers k
smismember k a b / smove a b c / sort k / sort k by x get y limit 0 1 desc store d
sort k store a store b / sort k store / sort k store store / sort k store store x
sort k limit store 1 store x / sort k by store get store / sort_ro k / sort_ro k by x get y store z
spop k / spublish channel m / srandmember k / srem k a / sscan k 0 / ssubscribe channel other
strlen k / substr k 0 1 / sunion a b / sunionstore d a b / sunsubscribe channel other
sunsubscribe channel / touch a b / ttl k / type k / unlink a b / watch a b
xack k g 1 / xadd k * f v / xadd k maxlen 1 * f v / xautoclaim k g c 0 0 / xclaim k g c 0 1
xdel k 1 / xgroup create k g $ / xgroup createconsumer k g c / xgroup delconsumer k g c
xgroup destroy k g / xgroup setid k g 0 / xinfo consumers k g / xinfo groups k / xinfo stream k
xlen k / xpending k g / xrange k - + / xread streams a 1 / xread count 5 block 3 streams a b 1 2
xread STREAMS a b c / xread count 1 a b / xread count 1 streams / xread block 0 streams x
xread streams streams streams / xread block streams streams a 1
xreadgroup group g c streams a > / xreadgroup group streams streams streams a >
xreadgroup group g c a b c / xreadgroup group g c noack streams a b > > / xrevrange k + -
xsetid k 1 / xtrim k maxlen 1 / zadd k 1 a / zcard k / zcount k 0 1 / zdiff 2 a b withscores
zdiff 0 a / zdiffstore d 2 a b / zincrby k 1 a / zinter 2 a b weights 1 2 / zintercard 2 a b
zinterstore d 1 a weights 1 / zlexcount k - + / zmpop 2 a b min / zmscore k a / zpopmax k
zpopmin k 1 / zrandmember k / zrange k 0 1 / zrangebylex k - + / zrangebyscore k 0 1
zrangestore d s 0 1 / zrank k a / zrem k a / zremrangebylex k - + / zremrangebyrank k 0 1
zremrangebyscore k 0 1 / zrevrange k 0 1 / zrevrangebylex k + - / zrevrangebyscore k 1 0
zrevrank k a / zscan k 0 / zscore k a / zunion 2 a b / zunion 3 a b / zunionstore d 2 a b
zunionstore d 0 a / zunionstore d 3 a b / zunionstore d -1 a / zunionstore d 1 a aggregate max
ping x / nope x / config get x / client id / debug object k / publish channel m / object / command
"#;
