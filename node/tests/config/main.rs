//! Settings as a user meets them: CONFIG, redis.conf and the command line, each compared with a
//! redis-server that was given the same.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]

mod files;
#[path = "../ports/mod.rs"]
mod ports;
mod servers;
mod values;

use std::net::TcpListener;

use ports::free_port;
use servers::{Server, Which};

fn both(file: Option<&str>, arguments: &[&str]) -> (Server, Server) {
    (
        Server::start(Which::Ours, file, arguments),
        Server::start(Which::Theirs, file, arguments),
    )
}

/// Asks both, and checks that they say the same, but for the ports.
fn ask_both(ours: &mut Server, theirs: &mut Server, words: &[&str]) {
    let mask = |reply: String, port: u16| reply.replace(&port.to_string(), "PORT");
    let our_reply = mask(ours.ask(words), ours.port);
    let their_reply = mask(theirs.ask(words), theirs.port);
    assert_eq!(our_reply, their_reply, "{words:?}");
}

#[test]
fn every_directive_has_its_default() {
    let (mut ours, mut theirs) = both(None, &[]);
    let our_pairs = ours.get(&["*"]);
    let their_pairs = theirs.get(&["*"]);
    assert_eq!(their_pairs.len(), 192, "as many as 7.0.15 has");
    for (name, their_value) in their_pairs {
        let found: Vec<_> = our_pairs
            .iter()
            .filter(|(other, _)| *other == name)
            .collect();
        assert_eq!(found.len(), 1, "{name} stands there once");
        let expected = match name.as_str() {
            "port" => ours.port.to_string(),
            "dir" => ours.folder.to_str().unwrap().to_owned(),
            _ => their_value,
        };
        assert_eq!(found[0].1, expected, "{name}");
    }
    let hidden = [
        "rdb-key-save-delay",
        "key-load-delay",
        "watchdog-period",
        "use-exit-on-panic",
    ];
    for name in hidden {
        ask_both(&mut ours, &mut theirs, &["config", "get", name]);
    }
}

#[test]
fn config_get_finds_names_and_patterns() {
    let (mut ours, mut theirs) = both(None, &[]);
    for words in [
        &["config", "get", "maxmemory"][..],
        &["config", "get", "MaxMemory"],
        &["config", "get", "slave-priority"],
        &["config", "get", "maxmemory", "MAXMEMORY"],
        &["config", "get", "nothing"],
        &["config", "get", "maxmem?ry"],
        &["config", "get", "*watchdog*"],
        &["config", "get"],
        &["config", "resetstat"],
        &["config", "resetstat", "x"],
        &["config", "nothing"],
        &["config", "rewrite"],
    ] {
        ask_both(&mut ours, &mut theirs, words);
    }
    for patterns in [
        &["*priority"][..],
        &["slave-*", "replica-*"],
        &["*z[is]*t-max*", "hz"],
    ] {
        let sorted = |mut pairs: Vec<(String, String)>| {
            pairs.sort();
            pairs
        };
        assert_eq!(sorted(ours.get(patterns)), sorted(theirs.get(patterns)));
    }
}

#[test]
fn a_node_listens_where_config_set_says() {
    let (mut ours, mut theirs) = both(None, &["--bind", "127.0.0.1"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().port().to_string();
    for words in [
        &["config", "set", "port", &taken][..],
        &["config", "get", "port"],
        &["config", "set", "bind", "192.0.2.1"],
        &["config", "set", "timeout", "7", "PORT", &taken],
        &["config", "get", "timeout"],
        &["config", "get", "bind"],
        &["config", "set", "bind", "127.0.0.1 -192.0.2.1"],
        &["config", "set", "bind", "*"],
        &["config", "set", "bind", "127.0.0.1 -::1"],
        &["config", "set", "loglevel", "verbose"],
        &["config", "set", "dir", "/"],
        &["multi"],
        &["config", "set", "loglevel", "notice"],
        &["exec"],
        &["ping"],
    ] {
        ask_both(&mut ours, &mut theirs, words);
    }
    for server in [&mut ours, &mut theirs] {
        let port = free_port();
        let old = server.port;
        assert_eq!(
            server.ask(&["config", "set", "port", &port.to_string()]),
            "+OK\r\n"
        );
        server.move_to(port);
        assert_eq!(server.ask(&["ping"]), "+PONG\r\n");
        let refused = std::net::TcpStream::connect(("127.0.0.1", old));
        assert!(refused.is_err(), "the old port is free");
    }
}

#[test]
fn a_directory_may_be_changed_by_those_who_may() {
    let arguments = ["--enable-protected-configs", "local"];
    let (mut ours, mut theirs) = both(None, &arguments);
    for words in [
        &["config", "set", "dir", "/nowhere"][..],
        &["config", "set", "dir", "/"],
        &["config", "get", "dir"],
        &["config", "set", "dir", "tmp"],
        &["config", "get", "dir"],
        &["config", "set", "dbfilename", "a/b"],
        &["config", "set", "dbfilename", "x.rdb"],
    ] {
        ask_both(&mut ours, &mut theirs, words);
    }
}

#[test]
fn log_lines_have_the_form_of_the_original() {
    let (ours, theirs) = both(None, &[]);
    for server in [&ours, &theirs] {
        let log = server.log("stdout");
        let ready = log
            .lines()
            .find(|line| line.ends_with("* Ready to accept connections"));
        let (process, rest) = ready.unwrap().split_once(':').unwrap();
        assert!(process.parse::<u32>().is_ok());
        let words: Vec<&str> = rest.split(' ').collect();
        assert_eq!((words[0], words.len()), ("M", 10), "{rest}");
        assert_eq!(words[4].len(), "14:11:28.048".len(), "{rest}");
    }
}
