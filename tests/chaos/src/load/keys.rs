//! The keys of a run: which there are, how they begin, and what they hold at the end.

use std::io;

use super::arguments::Arguments;
use super::connection::Asking;
use crate::check::Entry;
use crate::check::bank::{ACCOUNTS, OPENING};
use crate::history::Token;
use crate::resp::Reply;
use crate::slots::Shards;
use crate::values::{PREPARER, Values};

/// Keys of each kind in one shard.
const PLAIN: usize = 200;
const GROUPS: usize = 10;
pub(crate) const GROUP_KEYS: usize = 10;
const LISTS: usize = 16;
const COUNTERS: usize = 16;
const SWAPS: usize = 16;
const BANKS: usize = 16;
/// The lengths of plain values, by turns.
const BYTES: [usize; 8] = [1, 20, 40, 64, 100, 200, 1000, 4000];
const READ_AT_ONCE: usize = 1000;

/// A key, or the tag of several, and the shard that had it in the beginning.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) name: Vec<u8>,
    pub(crate) shard: u8,
}

/// A key that is written whole.
#[derive(Clone, Debug)]
pub(crate) struct Register {
    pub(crate) key: Named,
    pub(crate) bytes: usize,
}

/// The keys of one shard, as places in those of all.
#[derive(Clone, Debug, Default)]
pub(crate) struct OfShard {
    pub(crate) plain: Vec<u32>,
    pub(crate) big: Vec<u32>,
    pub(crate) groups: Vec<Vec<u32>>,
    pub(crate) lists: Vec<u32>,
    pub(crate) counters: Vec<u32>,
    pub(crate) swaps: Vec<u32>,
    pub(crate) banks: Vec<u32>,
}

/// All keys.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) shards: usize,
    pub(crate) of_shard: Vec<OfShard>,
    pub(crate) registers: Vec<Register>,
    /// The register that each client has for itself, and its key with a value of one byte.
    pub(crate) own: Vec<u32>,
    pub(crate) tiny: Vec<Named>,
    pub(crate) lists: Vec<Named>,
    pub(crate) counters: Vec<Named>,
    pub(crate) swaps: Vec<Named>,
    pub(crate) banks: Vec<Named>,
    pub(crate) values: Values,
}

/// What one of them holds at the end, or what is odd about it.
pub(crate) type Held<T> = Result<T, String>;

/// What the keys hold at the end.
#[derive(Debug, Default)]
pub(crate) struct Finals {
    pub(crate) registers: Vec<Held<Token>>,
    pub(crate) lists: Vec<Held<Vec<Token>>>,
    pub(crate) counters: Vec<Held<u64>>,
    pub(crate) swaps: Vec<Held<(Token, u64)>>,
    pub(crate) banks: Vec<Held<(Vec<Entry>, Vec<i64>)>>,
}

impl Keys {
    pub(crate) fn new(arguments: &Arguments, shards: &Shards) -> Self {
        let mut keys = Self {
            shards: shards.count,
            of_shard: vec![OfShard::default(); shards.count],
            registers: Vec::new(),
            own: Vec::new(),
            tiny: Vec::new(),
            lists: Vec::new(),
            counters: Vec::new(),
            swaps: Vec::new(),
            banks: Vec::new(),
            values: Values::new(arguments.big_bytes.max(BYTES[BYTES.len() - 1])),
        };
        let mut namer = Namer {
            prefix: &arguments.prefix,
            shards,
            next: 0,
        };
        for shard in 0..shards.count {
            keys.add_registers(shard, &mut namer, arguments.big_bytes);
            let of = &mut keys.of_shard[shard];
            of.lists = add(&mut keys.lists, LISTS, |_| namer.name("list", shard));
            of.counters = add(&mut keys.counters, COUNTERS, |_| {
                namer.name("counter", shard)
            });
            of.swaps = add(&mut keys.swaps, SWAPS, |_| namer.name("swap", shard));
            of.banks = add(&mut keys.banks, BANKS, |_| namer.name("bank", shard));
        }
        for client in 0..usize::from(arguments.clients) {
            let shard = client % shards.count;
            let key = namer.name("own", shard);
            keys.own.push(keys.registers.len() as u32);
            keys.registers.push(Register { key, bytes: 100 });
            keys.tiny.push(namer.name("tiny", shard));
        }
        keys
    }

    fn add_registers(&mut self, shard: usize, namer: &mut Namer<'_>, big_bytes: usize) {
        let registers = &mut self.registers;
        let of = &mut self.of_shard[shard];
        of.plain = add(registers, PLAIN, |number| Register {
            key: namer.name("plain", shard),
            bytes: BYTES[number % BYTES.len()],
        });
        // Of ten big ones six have 10 KB, three 100 KB and one 1 MB.
        of.big = add(registers, 10, |number| Register {
            key: namer.name("big", shard),
            bytes: match number {
                0 => big_bytes,
                1..=3 => big_bytes / 10,
                _ => big_bytes / 100,
            },
        });
        for _ in 0..GROUPS {
            let tag = namer.name("group", shard);
            of.groups
                .push(add(registers, GROUP_KEYS, |number| Register {
                    key: member(&tag, &number.to_string()),
                    bytes: BYTES[number % BYTES.len()],
                }));
        }
    }

    pub(crate) fn register(&self, register: u32) -> &Register {
        &self.registers[register as usize]
    }

    /// Makes all keys what they are in the beginning, whatever they were.
    pub(crate) async fn prepare(&self, asking: &mut Asking) -> io::Result<()> {
        for (number, register) in self.registers.iter().enumerate() {
            let name = &register.key.name;
            let value = self.values.make(name, initial(number), register.bytes);
            asking.must(&[b"SET", name, &value]).await?;
        }
        for tiny in &self.tiny {
            asking.must(&[b"SET", &tiny.name, &[tiny_value(0)]]).await?;
        }
        for key in self.lists.iter().chain(&self.counters) {
            asking.must(&[b"DEL", &key.name]).await?;
        }
        for (number, swap) in self.swaps.iter().enumerate() {
            let [value, count] = ["value", "count"].map(|what| member(swap, what).name);
            let token = initial(number).to_string();
            asking
                .must(&[b"MSET", &value, token.as_bytes(), &count, b"0"])
                .await?;
        }
        for bank in &self.banks {
            asking.must(&[b"DEL", &member(bank, "log").name]).await?;
            for account in accounts(bank) {
                asking
                    .must(&[b"SET", &account, OPENING.to_string().as_bytes()])
                    .await?;
            }
        }
        Ok(())
    }

    /// Reads all keys, once everything that the clients have sent was answered.
    pub(crate) async fn read_all(&self, asking: &mut Asking) -> io::Result<Finals> {
        let mut finals = Finals::default();
        for register in &self.registers {
            let name = &register.key.name;
            let reply = asking.patiently(&[b"GET", name]).await?;
            let token =
                bulk(&reply).and_then(|value| self.values.take(name, register.bytes, value));
            finals.registers.push(found(name, &reply, token));
        }
        for list in &self.lists {
            let items = read_list(asking, &list.name, Token::parse).await?;
            finals.lists.push(items);
        }
        for counter in &self.counters {
            let reply = asking.patiently(&[b"GET", &counter.name]).await?;
            let empty = reply == Reply::Bulk(None);
            let held = if empty { Some(0) } else { number(&reply) };
            finals.counters.push(found(&counter.name, &reply, held));
        }
        for swap in &self.swaps {
            let [value, count] = ["value", "count"].map(|what| member(swap, what).name);
            let reply = asking.patiently(&[b"MGET", &value, &count]).await?;
            let held = match &reply {
                Reply::Array(Some(items)) => items
                    .first()
                    .and_then(bulk)
                    .and_then(Token::parse)
                    .zip(items.get(1).and_then(number)),
                _ => None,
            };
            finals.swaps.push(found(&swap.name, &reply, held));
        }
        for bank in &self.banks {
            let entries = read_list(asking, &member(bank, "log").name, Entry::parse).await?;
            let names = accounts(bank);
            let mut words: Vec<&[u8]> = vec![b"MGET"];
            words.extend(names.iter().map(Vec::as_slice));
            let reply = asking.patiently(&words).await?;
            let held = found(&bank.name, &reply, balances(&reply));
            finals
                .banks
                .push(entries.and_then(|entries| held.map(|held| (entries, held))));
        }
        Ok(finals)
    }
}

/// What a key begins with.
pub(crate) fn initial(number: usize) -> Token {
    Token::new(PREPARER, number as u64)
}

/// A key with a tag, so that all that have it are in one slot.
pub(crate) fn member(tag: &Named, what: &str) -> Named {
    let mut name = b"{".to_vec();
    name.extend_from_slice(&tag.name);
    name.extend_from_slice(b"}");
    name.extend_from_slice(what.as_bytes());
    Named {
        name,
        shard: tag.shard,
    }
}

pub(crate) fn accounts(bank: &Named) -> [Vec<u8>; ACCOUNTS] {
    ["0", "1", "2", "3"].map(|account| member(bank, account).name)
}

/// The only byte that a client stores with its write of that number.
pub(crate) fn tiny_value(sequence: u64) -> u8 {
    b'A' + u8::try_from(sequence % 52).unwrap_or(0)
}

pub(crate) fn bulk(reply: &Reply) -> Option<&[u8]> {
    match reply {
        Reply::Bulk(Some(value)) => Some(value),
        _ => None,
    }
}

/// The balances in a reply to MGET.
pub(crate) fn balances(reply: &Reply) -> Option<Vec<i64>> {
    let Reply::Array(Some(items)) = reply else {
        return None;
    };
    let text = |item| str::from_utf8(bulk(item)?).ok();
    items.iter().map(|item| text(item)?.parse().ok()).collect()
}

fn number(reply: &Reply) -> Option<u64> {
    str::from_utf8(bulk(reply)?).ok()?.parse().ok()
}

fn found<T>(name: &[u8], reply: &Reply, value: Option<T>) -> Held<T> {
    value.ok_or_else(|| {
        let mut reply = format!("{reply:?}");
        reply.truncate(reply.floor_char_boundary(300));
        format!("{} holds {reply} at the end", name.escape_ascii())
    })
}

async fn read_list<T>(
    asking: &mut Asking,
    name: &[u8],
    parse: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<Held<Vec<T>>> {
    let mut items = Vec::new();
    loop {
        let first = items.len().to_string();
        let last = (items.len() + READ_AT_ONCE - 1).to_string();
        let words: [&[u8]; 4] = [b"LRANGE", name, first.as_bytes(), last.as_bytes()];
        let reply = asking.patiently(&words).await?;
        let part: Option<Vec<T>> = match &reply {
            Reply::Array(Some(part)) => part.iter().map(|item| parse(bulk(item)?)).collect(),
            _ => None,
        };
        match found(name, &reply, part) {
            Ok(part) if part.is_empty() => return Ok(Ok(items)),
            Ok(mut part) => items.append(&mut part),
            Err(why) => return Ok(Err(why)),
        }
    }
}

/// Appends what `make` gives and says at which places.
fn add<T>(all: &mut Vec<T>, count: usize, make: impl FnMut(usize) -> T) -> Vec<u32> {
    let first = all.len() as u32;
    all.extend((0..count).map(make));
    (first..all.len() as u32).collect()
}

/// Finds names whose slots are where they should be.
struct Namer<'run> {
    prefix: &'run str,
    shards: &'run Shards,
    next: usize,
}

impl Namer<'_> {
    fn name(&mut self, kind: &str, shard: usize) -> Named {
        loop {
            self.next += 1;
            let name = format!("{}:{kind}:{}", self.prefix, self.next).into_bytes();
            if self.shards.of_key(&name) == shard {
                let shard = u8::try_from(shard).unwrap_or(u8::MAX);
                return Named { name, shard };
            }
        }
    }
}
