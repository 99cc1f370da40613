//! What commands become for replicas and the append-only file; as redis-server writes it, but for
//! options that have done their work.

use bytes::BytesMut;
use slotway_protocol::engine::{ConnectionId, Engine, Instant, Now, Origin, Peer};

use super::*;
use crate::config::NodeConfig;
use crate::engine::Node;

/// Without SELECT at the beginning.
fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let words = text
        .split("\r\n")
        .filter(|word| !word.starts_with(['*', '$']));
    let words = words.collect::<Vec<_>>().join(" ");
    let words = words.trim();
    words.strip_prefix("SELECT 0 ").unwrap_or(words).to_owned()
}

#[test]
fn a_unit_of_several_requests_is_a_transaction() {
    let mut propagation = Propagation::default();
    assert!(!propagation.is_heard());
    propagation.listen(Listener::AppendOnlyFile, true);
    propagation.add(0, &["SET", "a", "1"]);
    assert_eq!(propagation.finish_unit(), 23 + 27);
    propagation.add(0, &["SET", "b", "1"]);
    propagation.add(3, &["SET", "c", "1"]);
    propagation.finish_unit();
    assert_eq!(propagation.finish_unit(), 0);
    propagation.add(3, &["SET", "d", "1"]);
    propagation.finish_unit();
    let expected = "SET a 1 MULTI SET b 1 SELECT 3 SET c 1 EXEC SET d 1";
    assert_eq!(words(&propagation.take()), expected);
    propagation.add(3, &["SET", "e", "1"]);
    propagation.finish_unit();
    assert_eq!(words(&propagation.take()), "SET e 1");
    propagation.select_again();
    propagation.add(3, &["SET", "f", "1"]);
    propagation.finish_unit();
    assert_eq!(words(&propagation.take()), "SELECT 3 SET f 1");
}

/// A node, and what it propagates.
struct Fixture {
    node: Node,
    now: Now,
}

const CLIENT: ConnectionId = ConnectionId {
    index: 0,
    generation: 0,
};

impl Fixture {
    fn new() -> Self {
        let now = Now {
            instant: Instant::from_micros(0),
            unix_ms: 1_000_000,
        };
        let mut config = NodeConfig::default();
        config.config.databases = 16;
        let mut node = Node::new(config, now);
        let address = "127.0.0.1:9".parse().unwrap();
        let peer = Peer {
            remote: address,
            local: address,
            origin: Origin::Accepted(0),
        };
        node.handle_open(CLIENT, peer, now);
        node.state
            .server
            .propagation
            .listen(Listener::Replicas, true);
        node.state.keyspace.expiry = crate::keyspace::ExpiryRule::RemoveAndTell;
        Self { node, now }
    }

    fn run(&mut self, line: &str) -> String {
        self.node.state.keyspace.set_now(self.now.unix_ms);
        let mut input = BytesMut::new();
        for command in line.split(" ; ") {
            let mut request = Vec::new();
            encode::request(&mut request, &command.split(' ').collect::<Vec<_>>());
            input.extend_from_slice(&request);
        }
        // All in one call, whose stream is looked at before it is handed over.
        self.node.run_for_test(CLIENT, &mut input, self.now);
        words(&self.node.state.server.propagation.take())
    }
}

#[test]
fn commands_are_propagated_in_a_form_that_always_does_the_same() {
    let mut fixture = Fixture::new();
    for (line, expected) in [
        ("SET a 1", "SET a 1"),
        ("GET a", ""),
        ("SET a 1 EX 100", "SET a 1 PXAT 1100000"),
        ("SET a 1 NX", ""),
        ("SET a 2 GET", "SET a 2"),
        ("SET a 3 XX PX 5000 GET", "SET a 3 PXAT 1005000"),
        ("SET a 4 KEEPTTL", "SET a 4 KEEPTTL"),
        ("SET a 1 EXAT 1", "DEL a"),
        ("SETEX b 100 v", "SET b v PXAT 1100000"),
        ("GETSET b w", "SET b w"),
        ("GETDEL b", "DEL b"),
        ("GETDEL b", ""),
        ("SET b 1", "SET b 1"),
        ("GETEX b EX 100", "PEXPIREAT b 1100000"),
        ("GETEX b PERSIST", "PERSIST b"),
        ("GETEX b PERSIST", ""),
        ("GETEX b EXAT 1", "DEL b"),
        ("INCRBYFLOAT c 1.5", "SET c 1.5 KEEPTTL"),
        ("EXPIRE c 1000 NX", "PEXPIREAT c 2000000"),
        ("EXPIRE c 1000 NX", ""),
        ("EXPIRE c -1", "DEL c"),
        ("HINCRBYFLOAT h f 1.5", "HSET h f 1.5"),
        ("HINCRBY h n 2", "HINCRBY h n 2"),
        ("RPUSH l a b c d", "RPUSH l a b c d"),
        ("LMPOP 2 none l LEFT COUNT 2", "LPOP l 2"),
        ("LTRIM l 0 9", ""),
        ("SADD s a", "SADD s a"),
        ("SADD s a", ""),
        ("SPOP s", "SREM s a"),
        ("SADD s a b", "SADD s a b"),
        ("SPOP s 2", "DEL s"),
        ("SPOP s 2", ""),
        ("ZADD z 1 a 2 b 3 c", "ZADD z 1 a 2 b 3 c"),
        ("ZMPOP 1 z MIN COUNT 2", "ZPOPMIN z 2"),
        ("MULTI ; SET q 1 ; EXEC", "SET q 1"),
        ("MULTI ; GET q ; EXEC", ""),
        (
            "MULTI ; SET q 1 ; INCR q ; GET q ; EXEC",
            "MULTI SET q 1 INCR q EXEC",
        ),
        (
            "MULTI ; SELECT 2 ; SET q 1 ; INCR q ; EXEC",
            "MULTI SELECT 2 SET q 1 INCR q EXEC",
        ),
        ("INCR q", "INCR q"),
        ("SELECT 0 ; DEL none", ""),
        ("MOVE q 3", "MOVE q 3"),
        ("FLUSHALL ASYNC", "FLUSHALL ASYNC"),
        ("FLUSHDB", "FLUSHDB"),
        ("LPUSH q x ; INCR q", "LPUSH q x"),
    ] {
        assert_eq!(fixture.run(line), expected, "{line}");
    }
}

#[test]
fn keys_that_have_expired_are_deleted_before_what_met_them() {
    let mut fixture = Fixture::new();
    fixture.run("SET a 1 PX 10 ; SET b 1 PX 10 ; SET c 1 PX 10 ; SET d 1 PX 10 ; SET e 1 PX 10");
    fixture.now.unix_ms += 20;
    for (line, expected) in [
        ("GET a", "DEL a"),
        ("INCR b", "MULTI DEL b INCR b EXEC"),
        ("SET c 2", "SET c 2"),
        ("SUNIONSTORE x d", "DEL d"),
        ("TTL none", ""),
    ] {
        assert_eq!(fixture.run(line), expected, "{line}");
    }
    fixture.node.state.keyspace.expire_some();
    fixture.node.state.propagate_expired();
    assert_eq!(
        words(&fixture.node.state.server.propagation.take()),
        "DEL e"
    );
}

#[test]
fn what_a_script_has_done_belongs_together() {
    let mut fixture = Fixture::new();
    // The first write of all says for which database it is.
    fixture.run("SET z 1");
    let library = "#!lua\tname=l\nredis.register_function('f',function()end)";
    for (line, expected) in [
        (
            "EVAL redis.call('SET','a','1')redis.call('INCR','a') 0",
            "MULTI SET a 1 INCR a EXEC",
        ),
        (
            "EVAL redis.call('SET','a','1','EX','100') 0",
            "SET a 1 PXAT 1100000",
        ),
        ("EVAL return(redis.call('GET','a')) 0", ""),
        ("EVAL redis.call('SET','a','1')error('x') 0", "SET a 1"),
        (
            "EVAL redis.set_repl(redis.REPL_NONE)redis.call('SET','a','1') 0",
            "",
        ),
        (
            "MULTI ; SET q 1 ; EVAL redis.call('INCR','q') 0 ; EXEC",
            "MULTI SET q 1 INCR q EXEC",
        ),
        (
            "EVAL redis.call('SELECT','2')redis.call('SET','a','1') 0 ; SET b 1",
            "SELECT 2 SET a 1 SELECT 0 SET b 1",
        ),
        ("SCRIPT LOAD return(1)", ""),
        ("SCRIPT FLUSH", ""),
        (
            &format!("FUNCTION LOAD {library}"),
            &format!("FUNCTION LOAD {library}"),
        ),
        ("FCALL f 0", ""),
        ("FUNCTION DELETE l", "FUNCTION DELETE l"),
        ("FUNCTION DELETE l", ""),
        ("FUNCTION FLUSH", "FUNCTION FLUSH"),
    ] {
        assert_eq!(fixture.run(line), expected, "{line}");
    }
}
