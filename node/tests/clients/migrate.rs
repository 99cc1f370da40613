//! MIGRATE between nodes of both kinds: whoever sends and whoever receives, the replies and the
//! keys are those of two redis-servers.

use crate::stage::{Kind, Stage, compare, parse};

/// `1` sends and `2` receives; PORT is where the second listens.
const SCRIPT: &[&str] = &[
    "1 migrate 127.0.0.1 PORT nokey 0 1000",
    "1 migrate 127.0.0.1 PORT \"\" 0 1000 keys",
    "1 migrate 127.0.0.1 PORT \"\" 0 1000 keys nokey nokey2",
    "1 migrate 127.0.0.1 PORT k 0 1000 keys k",
    "1 migrate 127.0.0.1 PORT k a 1000",
    "1 migrate 127.0.0.1 PORT k 0 a",
    "1 migrate 127.0.0.1 PORT k 0 1000 foo",
    "1 migrate 127.0.0.1 PORT k 0 1000 auth",
    "1 migrate 127.0.0.1 PORT k 0 1000 auth2 a",
    "1 migrate 127.0.0.1 PORT k 0",
    "1 set k v",
    "1 migrate 127.0.0.1 1 k 0 1000",
    "1 migrate 127.0.0.1 x k 0 1000",
    "1 migrate 127.0.0.1 -5 k 0 1000",
    "1 migrate 127.0.0.1 99999999 k 0 1000",
    "1 migrate \"\" PORT k 0 1000",
    "1 migrate 127.0.0.1 PORT k 0 1000",
    "1 exists k",
    "2 get k",
    "1 set k w",
    "1 migrate 127.0.0.1 PORT k 0 1000",
    "1 get k",
    "2 get k",
    "1 migrate 127.0.0.1 PORT k 0 1000 replace",
    "1 get k",
    "2 get k",
    "1 set k x",
    "1 migrate 127.0.0.1 PORT k 0 1000 copy replace",
    "1 get k",
    "2 get k",
    // All types, with a time to live, in one request.
    "1 rpush list a b 1 -70000 c",
    "1 sadd set 3 1 2",
    "1 zadd zset 1.5 a -inf b 3 c",
    "1 hset hash f 1",
    "1 set int 12345",
    "1 set ttl 1 ex 1000",
    "1 migrate 127.0.0.1 PORT \"\" 0 1000 keys list set zset hash gone int ttl",
    "1 dbsize",
    "2 lrange list 0 -1",
    "2 smembers set",
    "2 zrange zset 0 -1 withscores",
    "2 hgetall hash",
    "2 object encoding int",
    "2 ttl ttl",
    // Some are there already: those stay here, the others move.
    "1 mset a 1 list 2 b 3",
    "1 migrate 127.0.0.1 PORT \"\" 0 1000 keys a list b",
    "1 exists a list b",
    "2 mget a b",
    // Another database.
    "1 set db 1",
    "1 migrate 127.0.0.1 PORT db 3 1000",
    "2 select 3",
    "2 get db",
    "2 select 0",
    "1 set db 1",
    "1 migrate 127.0.0.1 PORT db 99 1000",
    "1 get db",
    "1 migrate 127.0.0.1 PORT db 0 1000",
    "2 get db",
    // Passwords.
    "1 set p 1",
    "1 migrate 127.0.0.1 PORT p 0 1000 auth wrong",
    "2 config set requirepass secret",
    "1 migrate 127.0.0.1 PORT p 0 1000",
    "1 migrate 127.0.0.1 PORT p 0 1000 auth wrong",
    "1 migrate 127.0.0.1 PORT p 0 1000 auth2 default wrong",
    "1 get p",
    "1 migrate 127.0.0.1 PORT p 0 1000 auth secret",
    "1 set p 2",
    "1 migrate 127.0.0.1 PORT p 0 1000 replace auth2 default secret",
    "1 get p",
    // The reply is in its place among those of others.
    "1 set last 1",
    "1 migrate 127.0.0.1 PORT last 0 1000 auth secret",
    "1 ping",
];

fn play(kinds: [Kind; 2]) -> Vec<String> {
    let mut stages = kinds.map(|kind| Stage::start(kind, 1, &[("databases", "16")]));
    let port = stages[1].port.to_string();
    let lines = SCRIPT.iter().map(|line| {
        let (number, rest) = line.split_once(' ').unwrap();
        let stage = &mut stages[number.parse::<usize>().unwrap() - 1];
        let told = stage.send(0, &parse(&rest.replace("PORT", &port)));
        let told = if told.is_empty() {
            stage.wait_told()
        } else {
            told
        };
        format!("{line}\n{told}")
    });
    lines.collect()
}

#[test]
fn keys_move_between_all_kinds_as_between_real_servers() {
    let expected = play([Kind::Theirs, Kind::Theirs]);
    for kinds in [
        [Kind::Ours, Kind::Theirs],
        [Kind::Theirs, Kind::Ours],
        [Kind::Ours, Kind::Ours],
    ] {
        let actual = play(kinds);
        let mut differences = String::new();
        for (expected, actual) in expected.iter().zip(&actual) {
            if expected != actual {
                differences += &format!("theirs: {expected}\n ours: {actual}\n");
            }
        }
        assert!(differences.is_empty(), "{kinds:?}:\n{differences}");
    }
}

/// The set of libraries of functions is there, and empty.
const FUNCTIONS: &[&str] = &[
    "0 function list",
    "0 function list withcode libraryname *",
    "0 function list libraryname",
    "0 function list libraryname a libraryname b",
    "0 function list withcode withcode",
    "0 function list foo",
    "0 function dump",
    "0 function dump x",
    "0 function stats",
    "0 function flush",
    "0 function flush sync",
    "0 function flush now",
    "0 function flush sync sync",
    "0 function delete x",
    "0 function kill",
    "0 function restore x",
    "0 function restore DUMP",
    "0 function restore DUMP flush",
    "0 function restore DUMP append",
    "0 function restore DUMP replace",
    "0 function restore DUMP foo",
    "0 function restore DUMP flush x",
    "0 function foo",
    "0 function",
    "0 fcall f 0",
    "0 fcall_ro f 1 k",
];

#[test]
fn the_set_of_libraries_is_empty() {
    let mut dump = vec![10, 0];
    dump.extend(EMPTY_CHECKSUM);
    let dump: String = dump.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    let script: Vec<String> = FUNCTIONS
        .iter()
        .map(|line| line.replace("DUMP", &dump))
        .collect();
    let script: Vec<&str> = script.iter().map(String::as_str).collect();
    compare(true, 1, &[], &script);
}

/// What ends the payload that FUNCTION DUMP of redis-server 7.0.15 returns without libraries.
const EMPTY_CHECKSUM: [u8; 8] = [0x5d, 0x9b, 0x5c, 0x40, 0x0f, 0x7f, 0xa2, 0xda];
