//! What a client does next: one operation of the mix, on a key that chance picks.

use std::collections::HashMap;
use std::rc::Rc;

use super::Run;
use super::keys::{self, GROUP_KEYS, Keys, Named, OfShard};
use crate::check::Entry;
use crate::check::bank::ACCOUNTS;
use crate::history::Token;
use crate::resp;

const SWAP_SCRIPT: &[u8] = b"if redis.call('GET',KEYS[1])==ARGV[1] then \
    redis.call('SET',KEYS[1],ARGV[2]) return {1,redis.call('INCR',KEYS[2])} \
    else return {0,redis.call('GET',KEYS[1])} end";
/// Keys of one MGET or MSET.
const KEYS_AT_ONCE: usize = 10;
const RANGE_LEN: usize = 50;

/// An operation, as much as is needed to judge its reply.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    Get(u32),
    Set(u32, Token),
    MultiGet(Vec<u32>),
    MultiSet(Vec<(u32, Token)>),
    OwnGet,
    OwnSet(Token),
    TinyGet,
    TinySet(u64),
    Push(u32, Token),
    Range(u32, usize, usize),
    Count(u32),
    Swap(u32, Token, Token),
    Transfer(u32, Entry),
}

impl Work {
    pub(crate) fn writes(&self) -> bool {
        !matches!(
            self,
            Self::Get(_) | Self::MultiGet(_) | Self::OwnGet | Self::TinyGet | Self::Range(..)
        )
    }

    pub(crate) fn command(&self) -> &'static str {
        match self {
            Self::Get(_) | Self::OwnGet | Self::TinyGet => "GET",
            Self::Set(..) | Self::OwnSet(_) | Self::TinySet(_) => "SET",
            Self::MultiGet(_) => "MGET",
            Self::MultiSet(_) => "MSET",
            Self::Push(..) => "RPUSH",
            Self::Range(..) => "LRANGE",
            Self::Count(_) => "INCR",
            Self::Swap(..) => "EVAL",
            Self::Transfer(..) => "EXEC",
        }
    }

    pub(crate) fn replies(&self) -> usize {
        if matches!(self, Self::Transfer(..)) {
            6
        } else {
            1
        }
    }
}

/// The kinds of work, with how many in a hundred; the same for all clients that do them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Get,
    OwnGet,
    TinyGet,
    TagGet,
    Range,
    Set,
    OwnSet,
    TinySet,
    TagSet,
    Push,
    Count,
    Swap,
    Transfer,
    AcrossGet,
    AcrossSet,
}

/// kind | in a hundred | the word that leaves it out
const OF_SHARD: [(Kind, u64, &str); 13] = [
    (Kind::Get, 36, "get"),
    (Kind::OwnGet, 2, "own"),
    (Kind::TinyGet, 1, "tiny"),
    (Kind::TagGet, 3, "tags"),
    (Kind::Range, 3, "range"),
    (Kind::Set, 29, "set"),
    (Kind::OwnSet, 2, "own"),
    (Kind::TinySet, 1, "tiny"),
    (Kind::TagSet, 3, "tags"),
    (Kind::Push, 5, "push"),
    (Kind::Count, 5, "count"),
    (Kind::Swap, 2, "eval"),
    (Kind::Transfer, 2, "multi"),
];
const ACROSS: [(Kind, u64, &str); 2] = [
    (Kind::AcrossGet, 4, "across"),
    (Kind::AcrossSet, 2, "across"),
];

/// How many of so many clients work across all shards.
pub(crate) fn roaming(clients: u16, without: &[String]) -> u16 {
    if without.iter().any(|word| word == "across") {
        return 0;
    }
    (clients * 6).div_ceil(100).min(clients)
}

/// Chooses one client's operations.
#[derive(Debug)]
pub(crate) struct Planner {
    run: Rc<Run>,
    client: u16,
    /// The shard whose keys it uses; without one it works across all.
    pub(crate) shard: Option<u8>,
    kinds: Vec<(Kind, u64)>,
    random: Random,
    sequence: u64,
    /// What was last seen at keys that are swapped.
    pub(crate) seen: HashMap<u32, Token>,
    /// How long lists were when this client pushed last.
    pub(crate) lengths: HashMap<u32, usize>,
}

impl Planner {
    pub(crate) fn new(run: &Rc<Run>, client: u16) -> Self {
        let arguments = &run.arguments;
        let across = client >= arguments.clients - roaming(arguments.clients, &arguments.without);
        let shard = usize::from(client) % run.keys.shards;
        let all: &[(Kind, u64, &str)] = if across { &ACROSS } else { &OF_SHARD };
        let kept = |word: &str| !arguments.without.iter().any(|without| without == word);
        Self {
            run: Rc::clone(run),
            client,
            shard: u8::try_from(shard).ok().filter(|_| !across),
            kinds: all
                .iter()
                .filter(|kind| kept(kind.2))
                .map(|kind| (kind.0, kind.1))
                .collect(),
            random: Random::new(arguments.seed, client),
            sequence: 0,
            seen: HashMap::new(),
            lengths: HashMap::new(),
        }
    }

    /// Appends the next operation's requests to `output`.
    pub(crate) fn next(&mut self, output: &mut Vec<u8>) -> Work {
        let run = Rc::clone(&self.run);
        let keys = &run.keys;
        let shard = usize::from(self.shard.unwrap_or(0));
        let of = &keys.of_shard[shard];
        match self.kind() {
            Kind::Get => self.get(keys, of, output),
            Kind::Set => self.set(keys, of, output),
            Kind::OwnGet => {
                let register = keys.register(keys.own[usize::from(self.client)]);
                resp::request(&[b"GET", &register.key.name], output);
                Work::OwnGet
            }
            Kind::OwnSet => {
                let token = self.token();
                let own = keys.own[usize::from(self.client)];
                write_set(keys, own, token, output);
                Work::OwnSet(token)
            }
            Kind::TinyGet => {
                resp::request(&[b"GET", &keys.tiny[usize::from(self.client)].name], output);
                Work::TinyGet
            }
            Kind::TinySet => {
                let sequence = self.token().sequence();
                let name = &keys.tiny[usize::from(self.client)].name;
                resp::request(&[b"SET", name, &[keys::tiny_value(sequence)]], output);
                Work::TinySet(sequence)
            }
            Kind::TagGet => multi_get(keys, self.group(of), output),
            Kind::AcrossGet => multi_get(keys, self.any(keys), output),
            kind @ (Kind::TagSet | Kind::AcrossSet) => {
                let across = kind == Kind::AcrossSet;
                let registers = if across {
                    self.any(keys)
                } else {
                    self.group(of)
                };
                self.multi_set(keys, registers, output)
            }
            Kind::Push => self.push(keys, of, output),
            Kind::Range => self.range(keys, of, output),
            Kind::Count => {
                let counter = self.random.one_of(&of.counters);
                resp::request(&[b"INCR", &keys.counters[counter as usize].name], output);
                Work::Count(counter)
            }
            Kind::Swap => self.swap(keys, of, output),
            Kind::Transfer => self.transfer(keys, of, output),
        }
    }

    fn kind(&mut self) -> Kind {
        let sum = self.kinds.iter().map(|kind| kind.1).sum::<u64>();
        let mut left = self.random.below(sum.max(1));
        for (kind, weight) in &self.kinds {
            if left < *weight {
                return *kind;
            }
            left -= weight;
        }
        // With everything left out.
        Kind::OwnGet
    }

    fn token(&mut self) -> Token {
        self.sequence += 1;
        Token::new(self.client, self.sequence)
    }

    fn get(&mut self, keys: &Keys, of: &OfShard, output: &mut Vec<u8>) -> Work {
        let register = self.plain(of);
        resp::request(&[b"GET", &keys.register(register).key.name], output);
        Work::Get(register)
    }

    fn set(&mut self, keys: &Keys, of: &OfShard, output: &mut Vec<u8>) -> Work {
        let (register, token) = (self.plain(of), self.token());
        write_set(keys, register, token, output);
        Work::Set(register, token)
    }

    fn plain(&mut self, of: &OfShard) -> u32 {
        let every = self.run.arguments.big_every;
        let big = every > 0 && self.random.below(every) == 0;
        self.random.one_of(if big { &of.big } else { &of.plain })
    }

    fn group(&mut self, of: &OfShard) -> Vec<u32> {
        let group = self.random.below(of.groups.len() as u64);
        of.groups[group as usize][..GROUP_KEYS].to_vec()
    }

    /// Plain keys of all shards, by turns; none twice, as which of two values of one MSET wins is
    /// nobody's promise.
    fn any(&mut self, keys: &Keys) -> Vec<u32> {
        let mut some: Vec<u32> = Vec::with_capacity(KEYS_AT_ONCE);
        while some.len() < KEYS_AT_ONCE {
            let register = self
                .random
                .one_of(&keys.of_shard[some.len() % keys.shards].plain);
            if !some.contains(&register) {
                some.push(register);
            }
        }
        some
    }

    fn multi_set(&mut self, keys: &Keys, registers: Vec<u32>, output: &mut Vec<u8>) -> Work {
        let sets: Vec<_> = registers
            .into_iter()
            .map(|one| (one, self.token()))
            .collect();
        let values: Vec<_> = sets
            .iter()
            .map(|(one, token)| value(keys, *one, *token))
            .collect();
        let mut words: Vec<&[u8]> = vec![b"MSET"];
        for ((register, _), value) in sets.iter().zip(&values) {
            words.push(&keys.register(*register).key.name);
            words.push(value);
        }
        resp::request(&words, output);
        Work::MultiSet(sets)
    }

    fn push(&mut self, keys: &Keys, of: &OfShard, output: &mut Vec<u8>) -> Work {
        let (list, token) = (self.random.one_of(&of.lists), self.token());
        let element = token.to_string();
        resp::request(
            &[
                b"RPUSH",
                &keys.lists[list as usize].name,
                element.as_bytes(),
            ],
            output,
        );
        Work::Push(list, token)
    }

    fn range(&mut self, keys: &Keys, of: &OfShard, output: &mut Vec<u8>) -> Work {
        let list = self.random.one_of(&of.lists);
        let first = self
            .lengths
            .get(&list)
            .copied()
            .unwrap_or(0)
            .saturating_sub(5);
        let last = first + RANGE_LEN - 1;
        let (from, to) = (first.to_string(), last.to_string());
        let name = &keys.lists[list as usize].name;
        resp::request(&[b"LRANGE", name, from.as_bytes(), to.as_bytes()], output);
        Work::Range(list, first, RANGE_LEN)
    }

    fn swap(&mut self, keys: &Keys, of: &OfShard, output: &mut Vec<u8>) -> Work {
        let (swap, new) = (self.random.one_of(&of.swaps), self.token());
        let expected = self.seen.get(&swap).copied();
        let expected = expected.unwrap_or_else(|| keys::initial(swap as usize));
        let tag = &keys.swaps[swap as usize];
        let [value, count] = ["value", "count"].map(|what| keys::member(tag, what).name);
        let (before, after) = (expected.to_string(), new.to_string());
        let words: [&[u8]; 7] = [
            b"EVAL",
            SWAP_SCRIPT,
            b"2",
            &value,
            &count,
            before.as_bytes(),
            after.as_bytes(),
        ];
        resp::request(&words, output);
        Work::Swap(swap, expected, new)
    }

    fn transfer(&mut self, keys: &Keys, of: &OfShard, output: &mut Vec<u8>) -> Work {
        let (bank, token) = (self.random.one_of(&of.banks), self.token());
        let from = self.random.below(ACCOUNTS as u64) as u8;
        let to = (from + 1 + self.random.below(ACCOUNTS as u64 - 1) as u8) % ACCOUNTS as u8;
        let amount = 1 + self.random.below(9) as u32;
        let entry = Entry {
            token,
            from,
            to,
            amount,
        };
        write_transfer(&keys.banks[bank as usize], &entry, output);
        Work::Transfer(bank, entry)
    }
}

fn multi_get(keys: &Keys, registers: Vec<u32>, output: &mut Vec<u8>) -> Work {
    let mut words: Vec<&[u8]> = vec![b"MGET"];
    words.extend(
        registers
            .iter()
            .map(|one| keys.register(*one).key.name.as_slice()),
    );
    resp::request(&words, output);
    Work::MultiGet(registers)
}

fn value(keys: &Keys, register: u32, token: Token) -> Vec<u8> {
    let register = keys.register(register);
    keys.values.make(&register.key.name, token, register.bytes)
}

fn write_set(keys: &Keys, register: u32, token: Token, output: &mut Vec<u8>) {
    let name = &keys.register(register).key.name;
    resp::request(&[b"SET", name, &value(keys, register, token)], output);
}

fn write_transfer(bank: &Named, entry: &Entry, output: &mut Vec<u8>) {
    let accounts = keys::accounts(bank);
    let (log, line) = (keys::member(bank, "log").name, entry.to_string());
    let amount = entry.amount.to_string();
    let (from, to) = (
        &accounts[usize::from(entry.from)],
        &accounts[usize::from(entry.to)],
    );
    resp::request(&[b"MULTI"], output);
    resp::request(&[b"DECRBY", from, amount.as_bytes()], output);
    resp::request(&[b"INCRBY", to, amount.as_bytes()], output);
    resp::request(&[b"RPUSH", &log, line.as_bytes()], output);
    let [first, second, third, fourth] = &accounts;
    resp::request(&[b"MGET", first, second, third, fourth], output);
    resp::request(&[b"EXEC"], output);
}

/// Xorshift: enough to choose by, and the same for the same seed.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn new(seed: u64, client: u16) -> Self {
        let mixed = (seed << 16 | u64::from(client)).wrapping_add(1);
        Self(mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    fn one_of(&mut self, all: &[u32]) -> u32 {
        all[self.below(all.len() as u64) as usize]
    }
}
