//! One entry of a node's reply to COMMAND: ten elements from Redis 7, fewer from older servers.

use super::LearnError;
use super::pool::{self, Draft};
use crate::command::keys::{BeginSearch, FindKeys, KeyRule, KeySpec, RANGES_MAX};
use crate::command::table::mended;
use crate::command::{Command, Flags, Group, KeyFlags, RequestPolicy, ResponsePolicy};
use crate::resp::value::{Token, TokenReader};

/// An entry as it was read. What it is to become is decided later.
#[derive(Debug, Default)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    arity: i64,
    flags: Flags,
    first_key: i64,
    last_key: i64,
    key_step: i64,
    categories: Vec<&'a str>,
    tips: Vec<&'a str>,
    specs: Vec<KeySpec>,
    /// From a server that does not tell key specs.
    is_short: bool,
    /// Each an entry of its own.
    pub(super) subcommands: Vec<&'a [u8]>,
}

impl<'a> Entry<'a> {
    pub(super) fn read(value: &'a [u8]) -> Result<Self, LearnError> {
        let mut reader = TokenReader::new(value);
        let len = list_len(&mut reader)?;
        if len < SHORT_ENTRY {
            return Err(LearnError::Malformed);
        }
        let mut entry = Self {
            is_short: len < LONG_ENTRY,
            name: text(&mut reader)?,
            arity: integer(&mut reader)?,
            ..Self::default()
        };
        each(&mut reader, |reader| {
            entry.flags = entry.flags.union(Flags::of_word(text(reader)?));
            Ok(())
        })?;
        entry.first_key = integer(&mut reader)?;
        entry.last_key = integer(&mut reader)?;
        entry.key_step = integer(&mut reader)?;
        if len > SHORT_ENTRY {
            entry.categories = texts(&mut reader)?;
        }
        if entry.is_short {
            entry.specs.extend(entry.only_range());
            return Ok(entry);
        }
        entry.tips = texts(&mut reader)?;
        each(&mut reader, |reader| {
            entry.specs.push(key_spec(reader)?);
            Ok(())
        })?;
        each(&mut reader, |reader| {
            entry.subcommands.push(reader.next_value()?);
            Ok(())
        })?;
        Ok(entry)
    }

    /// The command that this entry describes, kept for as long as the process lives. A
    /// subcommand without a group of its own is in its container's.
    pub(super) fn keep(&self, container: Option<Group>) -> Result<&'static Command, LearnError> {
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX {
            return Err(LearnError::Malformed);
        }
        let (key_specs, key_rule) = match mended(&self.name.to_ascii_lowercase()) {
            Some(specs) => (specs.to_vec(), KeyRule::Specs),
            None if self.tells_keys() => (self.specs.clone(), KeyRule::Specs),
            None => {
                let known = self.specs.iter().filter(|spec| is_located(spec));
                (known.take(RANGES_MAX).copied().collect(), KeyRule::Hidden)
            }
        };
        let arity = small(self.arity)?;
        if arity == 0 {
            return Err(LearnError::Malformed);
        }
        let (tips, categories) = (words(&self.tips)?, words(&self.categories)?);
        let command = Command {
            arity,
            flags: self.flags,
            first_key: small(self.first_key)?,
            last_key: small(self.last_key)?,
            key_step: small(self.key_step)?,
            request_policy: RequestPolicy::of(&tips),
            response_policy: ResponsePolicy::of(&tips),
            group: container.unwrap_or_else(|| self.group()),
            key_rule,
            single_key: self.single_key(&key_specs, key_rule),
            own_name: own_name(self.name),
            ..Command::EMPTY
        };
        let draft = Draft {
            command,
            name: self.name,
            key_specs,
            tips,
            categories,
        };
        pool::keep(&draft).ok_or(LearnError::Full)
    }

    /// Whether the specs, taken together, find every key.
    fn tells_keys(&self) -> bool {
        let complete =
            |spec: &KeySpec| is_located(spec) && !spec.flags.contains(KeyFlags::INCOMPLETE);
        if self.specs.len() > RANGES_MAX || !self.specs.iter().all(complete) {
            return false;
        }
        // What a plain range says is all there is, unless a function that belongs to the command
        // is asked on the server. Of commands of its own the server tells more in the specs.
        let has_function = self.flags.contains(Flags::MOVABLEKEYS)
            && (self.is_short || self.flags.contains(Flags::MODULE) || self.specs.is_empty());
        !(has_function && self.specs.iter().all(is_plain))
    }

    /// The spec that the legacy range stands for.
    fn only_range(&self) -> Option<KeySpec> {
        if self.first_key <= 0 {
            return None;
        }
        let last = if self.last_key < 0 {
            self.last_key
        } else {
            self.last_key - self.first_key
        };
        let flags = if self.flags.contains(Flags::WRITE) {
            KeyFlags::of("RW access update")
        } else {
            KeyFlags::of("RO access")
        };
        Some(KeySpec {
            flags,
            begin: begin_at(self.first_key),
            find: range(last, self.key_step, 0),
        })
    }

    fn single_key(&self, specs: &[KeySpec], rule: KeyRule) -> u8 {
        match (rule, specs) {
            (
                KeyRule::Specs,
                [
                    KeySpec {
                        begin: BeginSearch::Index(index),
                        find: FindKeys::Range { last: 0, .. },
                        ..
                    },
                ],
            ) if self.arity.unsigned_abs() > u64::from(*index) => *index,
            _ => 0,
        }
    }

    /// COMMAND does not tell the group; for commands that need care the categories do.
    fn group(&self) -> Group {
        if self.flags.contains(Flags::MODULE) {
            return Group::Module;
        }
        let found = GROUPS.iter().find(|(category, _)| {
            let mut categories = self.categories.iter();
            categories.any(|known| known.eq_ignore_ascii_case(category))
        });
        found.map_or(Group::Generic, |(_, group)| *group)
    }
}

/// The group of a command in that category, the telling ones first.
const GROUPS: [(&str, Group); 14] = [
    ("@connection", Group::Connection),
    ("@transaction", Group::Transactions),
    ("@scripting", Group::Scripting),
    ("@pubsub", Group::Pubsub),
    ("@bitmap", Group::Bitmap),
    ("@geo", Group::Geo),
    ("@hash", Group::Hash),
    ("@hyperloglog", Group::Hyperloglog),
    ("@list", Group::List),
    ("@set", Group::Set),
    ("@sortedset", Group::SortedSet),
    ("@stream", Group::Stream),
    ("@string", Group::String),
    ("@admin", Group::Server),
];

fn is_located(spec: &KeySpec) -> bool {
    spec.begin != BeginSearch::Unknown && spec.find != FindKeys::Unknown
}

fn is_plain(spec: &KeySpec) -> bool {
    matches!(spec.begin, BeginSearch::Index(_)) && matches!(spec.find, FindKeys::Range { .. })
}

fn key_spec(reader: &mut TokenReader<'_>) -> Result<KeySpec, LearnError> {
    let mut spec = KeySpec {
        flags: KeyFlags::default(),
        begin: BeginSearch::Unknown,
        find: FindKeys::Unknown,
    };
    each_pair(reader, |name, reader| {
        match name {
            "flags" => each(reader, |reader| {
                spec.flags = spec.flags.union(KeyFlags::of_word(text(reader)?));
                Ok(())
            })?,
            "begin_search" => spec.begin = Search::read(reader)?.begin(),
            "find_keys" => spec.find = Search::read(reader)?.find(),
            _ => reader.skip_value()?,
        }
        Ok(())
    })?;
    Ok(spec)
}

/// One of the two halves of a key spec. What of it can't be used is as good as unknown.
#[derive(Debug, Default)]
struct Search<'a> {
    kind: &'a str,
    keyword: &'a str,
    numbers: Vec<(&'a str, i64)>,
}

impl<'a> Search<'a> {
    fn read(reader: &mut TokenReader<'a>) -> Result<Self, LearnError> {
        let mut search = Self::default();
        each_pair(reader, |name, reader| {
            match name {
                "type" => search.kind = text(reader)?,
                "spec" => each_pair(reader, |name, reader| search.read_field(name, reader))?,
                _ => reader.skip_value()?,
            }
            Ok(())
        })?;
        Ok(search)
    }

    fn read_field(
        &mut self,
        name: &'a str,
        reader: &mut TokenReader<'a>,
    ) -> Result<(), LearnError> {
        let value = reader.next_value()?;
        match TokenReader::new(value).next_token()? {
            Some(Token::Integer(number)) => self.numbers.push((name, number)),
            Some(Token::Bulk(word) | Token::Simple(word)) if name == "keyword" => {
                self.keyword = core::str::from_utf8(word).unwrap_or_default();
            }
            _ => {}
        }
        Ok(())
    }

    fn number(&self, name: &str) -> i64 {
        let found = self.numbers.iter().find(|(known, _)| *known == name);
        found.map_or(0, |(_, number)| *number)
    }

    fn begin(&self) -> BeginSearch {
        match self.kind {
            "index" => begin_at(self.number("index")),
            "keyword" if !self.keyword.is_empty() => {
                let from = i8::try_from(self.number("startfrom")).ok();
                let word = pool::keep_word(self.keyword);
                match word.zip(from) {
                    Some((word, from)) if from != 0 => BeginSearch::Keyword { word, from },
                    _ => BeginSearch::Unknown,
                }
            }
            _ => BeginSearch::Unknown,
        }
    }

    fn find(&self) -> FindKeys {
        let step = self.number("keystep");
        match self.kind {
            "range" => range(self.number("lastkey"), step, self.number("limit")),
            "keynum" => {
                let numbers = [self.number("keynumidx"), self.number("firstkey"), step];
                match numbers.map(u8::try_from) {
                    [Ok(number), Ok(first), Ok(step)] if step > 0 => FindKeys::KeyNum {
                        number,
                        first,
                        step,
                    },
                    _ => FindKeys::Unknown,
                }
            }
            _ => FindKeys::Unknown,
        }
    }
}

fn begin_at(index: i64) -> BeginSearch {
    match u8::try_from(index) {
        Ok(index) if index > 0 => BeginSearch::Index(index),
        _ => BeginSearch::Unknown,
    }
}

fn range(last: i64, step: i64, limit: i64) -> FindKeys {
    // A single key has no step, and some modules say so.
    let step = if last == 0 { step.max(1) } else { step };
    match (i8::try_from(last), u8::try_from(step), u8::try_from(limit)) {
        (Ok(last), Ok(step), Ok(limit)) if step > 0 => FindKeys::Range { last, step, limit },
        _ => FindKeys::Unknown,
    }
}

/// The place after the bar in a subcommand's name.
fn own_name(name: &str) -> u8 {
    name.rfind('|').map_or(0, |bar| bar as u8 + 1)
}

fn small(number: i64) -> Result<i8, LearnError> {
    i8::try_from(number).map_err(|_| LearnError::Malformed)
}

fn words(texts: &[&str]) -> Result<Vec<&'static str>, LearnError> {
    if texts.len() > WORDS_MAX {
        return Err(LearnError::Malformed);
    }
    let words = texts.iter().map(|word| pool::keep_word(word));
    words.collect::<Option<_>>().ok_or(LearnError::Full)
}

fn list_len(reader: &mut TokenReader<'_>) -> Result<usize, LearnError> {
    match reader.next_token()? {
        Some(Token::Array(len) | Token::Set(len)) => Ok(len),
        Some(Token::Null) => Ok(0),
        _ => Err(LearnError::Malformed),
    }
}

fn each<'a>(
    reader: &mut TokenReader<'a>,
    mut visit: impl FnMut(&mut TokenReader<'a>) -> Result<(), LearnError>,
) -> Result<(), LearnError> {
    for _ in 0..list_len(reader)? {
        visit(reader)?;
    }
    Ok(())
}

/// Visits the pairs of a map, which before RESP3 is an array of twice as many elements.
fn each_pair<'a>(
    reader: &mut TokenReader<'a>,
    mut visit: impl FnMut(&'a str, &mut TokenReader<'a>) -> Result<(), LearnError>,
) -> Result<(), LearnError> {
    let pairs = match reader.next_token()? {
        Some(Token::Map(pairs)) => pairs,
        Some(Token::Array(len)) if len % 2 == 0 => len / 2,
        _ => return Err(LearnError::Malformed),
    };
    for _ in 0..pairs {
        let name = text(reader)?;
        visit(name, reader)?;
    }
    Ok(())
}

fn text<'a>(reader: &mut TokenReader<'a>) -> Result<&'a str, LearnError> {
    match reader.next_token()? {
        Some(Token::Bulk(text) | Token::Simple(text)) => {
            core::str::from_utf8(text).map_err(|_| LearnError::Malformed)
        }
        _ => Err(LearnError::Malformed),
    }
}

fn texts<'a>(reader: &mut TokenReader<'a>) -> Result<Vec<&'a str>, LearnError> {
    let mut texts = Vec::new();
    each(reader, |reader| {
        texts.push(text(reader)?);
        Ok(())
    })?;
    Ok(texts)
}

fn integer(reader: &mut TokenReader<'_>) -> Result<i64, LearnError> {
    match reader.next_token()? {
        Some(Token::Integer(number)) => Ok(number),
        _ => Err(LearnError::Malformed),
    }
}

/// The elements of an entry: name, arity, flags, and the legacy range of keys.
const SHORT_ENTRY: usize = 6;

/// Categories, tips, key specs and subcommands as well. Redis 6 has the categories only.
const LONG_ENTRY: usize = 10;

/// The longest name, a container's before it included.
pub(super) const NAME_BYTES_MAX: usize = 64;

/// The most tips of one command, and the most categories.
const WORDS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Learned, all, reply};
    use crate::resp::{Protocol, RequestBuffers, RequestLimits, RequestScanner, encode};

    /// What the table says of itself is understood as the table has it.
    #[test]
    fn the_tables_own_entries_are_read_back() {
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let reply = table_reply(protocol);
            let mut reader = TokenReader::new(&reply);
            assert_eq!(list_len(&mut reader), Ok(all().len()));
            for command in all() {
                let entry = Entry::read(reader.next_value().unwrap()).unwrap();
                check(&entry, command);
                assert_eq!(entry.subcommands.len(), command.subcommands.len());
                for (entry, subcommand) in entry.subcommands.iter().zip(command.subcommands) {
                    check(&Entry::read(entry).unwrap(), subcommand);
                }
            }
        }
    }

    fn check(entry: &Entry<'_>, command: &Command) {
        let name = command.name;
        let kept = entry.keep(Some(command.group)).unwrap();
        assert_eq!((kept.name, kept.arity), (name, command.arity));
        assert_eq!(
            (kept.flags, kept.group),
            (command.flags, command.group),
            "{name}"
        );
        assert_eq!(kept.tips, command.tips, "{name}");
        assert_eq!(kept.categories, command.categories, "{name}");
        assert_eq!(kept.request_policy, command.request_policy, "{name}");
        assert_eq!(kept.response_policy, command.response_policy, "{name}");
        assert_eq!(kept.own_name, command.own_name, "{name}");
        let range = |it: &Command| (it.first_key, it.last_key, it.key_step);
        assert_eq!(range(kept), range(command), "{name}");
        // What needs a rule of its own in the table is what only the server can tell.
        let incomplete = ["migrate", "sort", "sort_ro"].contains(&name);
        assert_eq!(kept.tells_keys(), !incomplete, "{name}");
        if !incomplete {
            assert_eq!(kept.key_specs, command.key_specs, "{name}");
            assert_eq!(kept.single_key(), command.single_key(), "{name}");
        }
    }

    /// The groups that matter for routing are those of the table wherever COMMAND tells enough.
    #[test]
    fn groups_follow_from_categories() {
        let reply = table_reply(Protocol::Resp2);
        let mut reader = TokenReader::new(&reply);
        list_len(&mut reader).unwrap();
        for command in all() {
            let entry = Entry::read(reader.next_value().unwrap()).unwrap();
            let told = [
                Group::Connection,
                Group::Transactions,
                Group::Scripting,
                Group::Pubsub,
            ];
            if told.contains(&command.group) && command.subcommands.is_empty() {
                assert_eq!(entry.group(), command.group, "{}", command.name);
            }
        }
        assert!(Learned::parse(&reply).unwrap().is_empty());
    }

    fn table_reply(protocol: Protocol) -> Vec<u8> {
        let (mut frame, mut out) = (Vec::new(), Vec::new());
        encode::request(&mut frame, &["command"]);
        let mut buffers = RequestBuffers::default();
        let limits = RequestLimits::default();
        let scan = RequestScanner::default().scan(&frame, &limits, &mut buffers);
        assert!(scan.is_ok());
        reply::reply(&buffers.request(&frame), protocol, &mut out);
        out
    }
}
