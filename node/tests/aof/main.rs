//! The append-only file between the node and a real redis-server 7.0, both ways; files that are
//! cut or wrong; and what is left after a crash.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod appending;
mod crash;
mod disk;
#[path = "../collections/generator.rs"]
mod generator;
#[path = "../collections/lines.rs"]
mod lines;
mod loading;
#[path = "../ports/mod.rs"]
mod ports;
mod promises;
mod servers;

use generator::Generator;
use lines::{GROUPS, HASH, LEX, LIST, SET, SORTED_SET, STREAM};
use servers::{Client, Line, line};

/// Random writes of all types, some in transactions and in other databases, the same for a seed.
struct Writes {
    generator: Generator,
    patterns: Vec<&'static str>,
}

impl Writes {
    fn new(seed: u64) -> Self {
        Self {
            generator: Generator::new(seed),
            patterns: [HASH, LIST, SET, SORTED_SET, LEX, STREAM, GROUPS, STRING].concat(),
        }
    }

    fn next(&mut self) -> Line {
        let pattern = self.patterns[self.generator.below(self.patterns.len())];
        self.generator.line(pattern)
    }

    /// Sends that many, in pieces that are answered each.
    fn send(&mut self, client: &mut Client, count: usize) {
        for _ in 0..count / 20 {
            if self.generator.below(4) == 0 {
                let database = self.generator.below(4);
                client.run(&line(&format!("SELECT {database}")));
            }
            let is_transaction = self.generator.below(6) == 0;
            let mut sent = 20;
            if is_transaction {
                client.send(&line("MULTI"));
                sent += 2;
            }
            (0..20).for_each(|_| client.send(&self.next()));
            if is_transaction {
                client.send(&line("EXEC"));
            }
            for _ in 0..sent {
                client.receive().expect("a reply");
            }
        }
        client.run(&line("SELECT 0"));
    }
}

/// Strings, and what there is for keys of all types.
const STRING: &[&str] = &[
    "SET Ks V",
    "SET Kt V",
    "SET Kt V EX 1000",
    "SET Kt V PXAT 4102444800123",
    "SET Kt V KEEPTTL",
    "SETEX Kt 1000 V",
    "APPEND Kt V",
    "SETRANGE Kt 3 V",
    "INCRBY Kn N",
    "INCRBYFLOAT Kn 1.5",
    "GETDEL Kt",
    "GETEX Kt PERSIST",
    "GETSET Kt V",
    "MSET Kt V Kt V",
    "DEL Kt Kh",
    "UNLINK Kl",
    "EXPIRE Kh|Kl|Ks|Kt 10000",
    "PEXPIREAT Kt 4102444800999",
    "PERSIST Kh|Kl|Ks|Kt",
    "RENAME Kt Kt",
    "COPY Kt Ku REPLACE",
];
