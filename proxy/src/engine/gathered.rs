//! How the replies of all shards to one command about the servers become one reply. Each of these
//! gives `None` for replies that are not of the command's form.

use std::collections::BTreeMap;

use slotway_protocol::resp::value::{Token, TokenReader};
use slotway_protocol::resp::{Protocol, encode};

/// LATENCY LATEST: of each event the newest time, and the worst one of all nodes.
pub(super) fn latency_latest(replies: &[&[u8]]) -> Option<Vec<u8>> {
    let mut events: BTreeMap<&[u8], (i64, i64, i64)> = BTreeMap::new();
    for reply in replies {
        let mut reader = TokenReader::new(reply);
        for _ in 0..array(&mut reader)? {
            let mut fields = TokenReader::new(reader.next_value().ok()?);
            array(&mut fields)?;
            let Ok(Some(Token::Bulk(name))) = fields.next_token() else {
                return None;
            };
            let (time, latest, worst) = (
                integer(&mut fields)?,
                integer(&mut fields)?,
                integer(&mut fields)?,
            );
            let known = events.entry(name).or_insert((time, latest, worst));
            let newest = (known.0, known.1).max((time, latest));
            *known = (newest.0, newest.1, known.2.max(worst));
        }
    }
    let mut out = Vec::new();
    encode::array(&mut out, events.len());
    for (name, (time, latest, worst)) in events {
        encode::array(&mut out, 4);
        encode::bulk(&mut out, name);
        [time, latest, worst]
            .iter()
            .for_each(|number| encode::integer(&mut out, *number));
    }
    Some(out)
}

/// LATENCY HISTOGRAM: of each command the sum of what all nodes counted. It has the order of the
/// names that were asked for, each as often as it was asked for, and a container's name stands for
/// all its subcommands; without names, of which a server has no order either, it is sorted.
pub(super) fn latency_histogram(
    replies: &[&[u8]],
    names: &[Vec<u8>],
    protocol: Protocol,
) -> Option<Vec<u8>> {
    let mut known: BTreeMap<Vec<u8>, Histogram<'_>> = BTreeMap::new();
    for reply in replies {
        let of_node = read_histograms(reply)?;
        for (name, histogram) in of_node {
            known.entry(name).or_default().add(&histogram);
        }
    }
    let mut shown: Vec<&Histogram<'_>> = Vec::new();
    for name in names {
        let name = name.to_ascii_lowercase();
        let first = [&name[..], b"|"].concat();
        let subcommands = known.range(first.clone()..);
        shown.extend(known.get(&name));
        let is_part = |(part, _): &(&Vec<u8>, _)| part.starts_with(&first);
        shown.extend(subcommands.take_while(is_part).map(|(_, found)| found));
    }
    if names.is_empty() {
        shown.extend(known.values());
    }
    let mut out = Vec::new();
    encode::map(&mut out, protocol, shown.len());
    for histogram in shown {
        histogram.write(protocol, &mut out);
    }
    Some(out)
}

/// What is known of one command.
#[derive(Debug, Default)]
struct Histogram<'a> {
    /// As the node writes it.
    name: &'a [u8],
    calls: i64,
    /// How many calls took so many microseconds, but more than the bucket before has.
    buckets: BTreeMap<i64, i64>,
}

impl<'a> Histogram<'a> {
    fn add(&mut self, other: &Self) {
        self.name = other.name;
        self.calls = self.calls.saturating_add(other.calls);
        for (limit, count) in &other.buckets {
            let sum = self.buckets.entry(*limit).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    /// The nodes count in each bucket the calls of those below, too.
    fn read(name: &'a [u8], fields: &mut TokenReader<'_>) -> Option<Self> {
        let mut histogram = Self {
            name,
            ..Self::default()
        };
        for _ in 0..pairs(fields)? {
            match fields.next_token().ok()?? {
                Token::Bulk(b"calls") => histogram.calls = integer(fields)?,
                Token::Bulk(b"histogram_usec") => {
                    let mut below = 0;
                    for _ in 0..pairs(fields)? {
                        let (limit, count) = (integer(fields)?, integer(fields)?);
                        histogram.buckets.insert(limit, count.checked_sub(below)?);
                        below = count;
                    }
                }
                _ => return None,
            }
        }
        Some(histogram)
    }

    fn write(&self, protocol: Protocol, out: &mut Vec<u8>) {
        encode::bulk(out, self.name);
        encode::map(out, protocol, 2);
        encode::bulk(out, b"calls");
        encode::integer(out, self.calls);
        encode::bulk(out, b"histogram_usec");
        encode::map(out, protocol, self.buckets.len());
        let mut below = 0_i64;
        for (limit, count) in &self.buckets {
            below = below.saturating_add(*count);
            encode::integer(out, *limit);
            encode::integer(out, below);
        }
    }
}

/// One node's, by name in lower case. Who asks for one twice is given it twice, which is counted
/// once.
fn read_histograms(reply: &[u8]) -> Option<BTreeMap<Vec<u8>, Histogram<'_>>> {
    let mut reader = TokenReader::new(reply);
    let mut found = BTreeMap::new();
    for _ in 0..pairs(&mut reader)? {
        let Ok(Some(Token::Bulk(name))) = reader.next_token() else {
            return None;
        };
        let histogram = Histogram::read(name, &mut reader)?;
        found.insert(name.to_ascii_lowercase(), histogram);
    }
    Some(found)
}

/// LATENCY HISTORY: the samples of all nodes by their time.
pub(super) fn latency_history(replies: &[&[u8]]) -> Option<Vec<u8>> {
    let mut samples = Vec::new();
    for reply in replies {
        let mut reader = TokenReader::new(reply);
        for _ in 0..array(&mut reader)? {
            let mut fields = TokenReader::new(reader.next_value().ok()?);
            array(&mut fields)?;
            samples.push((integer(&mut fields)?, integer(&mut fields)?));
        }
    }
    samples.sort_unstable();
    let mut out = Vec::new();
    encode::array(&mut out, samples.len());
    for (time, latency) in samples {
        encode::array(&mut out, 2);
        encode::integer(&mut out, time);
        encode::integer(&mut out, latency);
    }
    Some(out)
}

/// MEMORY STATS: counts are added up, also those of each database; the mean size of a key is that
/// of all keys; of ratios and percentages the largest is shown.
pub(super) fn memory_stats(replies: &[&[u8]], protocol: Protocol) -> Option<Vec<u8>> {
    let mut total: Vec<(Vec<u8>, Stat)> = Vec::new();
    for reply in replies {
        add_stats(&mut total, read_stats(&mut TokenReader::new(reply))?);
    }
    let number = |name: &[u8]| {
        let found = total.iter().find(|(known, _)| known == name);
        match found {
            Some((_, Stat::Count(count))) => Some(*count),
            _ => None,
        }
    };
    let per_key = match (number(b"dataset.bytes"), number(b"keys.count")) {
        (Some(bytes), Some(keys)) => bytes.checked_div(keys),
        _ => None,
    };
    for (name, stat) in &mut total {
        if name == b"keys.bytes-per-key" {
            *stat = Stat::Count(per_key.unwrap_or(0));
        }
    }
    let mut out = Vec::new();
    write_stats(&total, protocol, &mut out);
    Some(out)
}

/// One value of MEMORY STATS.
#[derive(Debug)]
enum Stat {
    Count(i64),
    /// As written, and what it is worth.
    Ratio(Vec<u8>, f64),
    Database(Vec<(Vec<u8>, Self)>),
}

fn read_stats(reader: &mut TokenReader<'_>) -> Option<Vec<(Vec<u8>, Stat)>> {
    let mut stats = Vec::new();
    for _ in 0..pairs(reader)? {
        let Ok(Some(Token::Bulk(name))) = reader.next_token() else {
            return None;
        };
        let value = reader.next_value().ok()?;
        let mut inner = TokenReader::new(value);
        let stat = match inner.next_token().ok()?? {
            Token::Integer(count) => Stat::Count(count),
            Token::Bulk(text) | Token::Double(text) | Token::Simple(text) => {
                let worth = core::str::from_utf8(text).ok()?.parse().ok()?;
                Stat::Ratio(value.to_vec(), worth)
            }
            // Databases hold numbers only, so this goes no deeper than one level.
            _ => Stat::Database(read_database(&mut TokenReader::new(value))?),
        };
        stats.push((name.to_vec(), stat));
    }
    Some(stats)
}

fn read_database(reader: &mut TokenReader<'_>) -> Option<Vec<(Vec<u8>, Stat)>> {
    let mut counts = Vec::new();
    for _ in 0..pairs(reader)? {
        let Ok(Some(Token::Bulk(name))) = reader.next_token() else {
            return None;
        };
        counts.push((name.to_vec(), Stat::Count(integer(reader)?)));
    }
    Some(counts)
}

fn add_stats(total: &mut Vec<(Vec<u8>, Stat)>, more: Vec<(Vec<u8>, Stat)>) {
    for (name, stat) in more {
        let known = total.iter_mut().find(|(known, _)| *known == name);
        match (known.map(|(_, known)| known), stat) {
            (None, stat) => total.push((name, stat)),
            (Some(Stat::Count(sum)), Stat::Count(count)) => *sum = sum.saturating_add(count),
            (Some(Stat::Ratio(text, worst)), Stat::Ratio(other, worth)) if worth > *worst => {
                (*text, *worst) = (other, worth);
            }
            (Some(Stat::Database(sums)), Stat::Database(counts)) => add_stats(sums, counts),
            _ => {}
        }
    }
}

fn write_stats(stats: &[(Vec<u8>, Stat)], protocol: Protocol, out: &mut Vec<u8>) {
    encode::map(out, protocol, stats.len());
    for (name, stat) in stats {
        encode::bulk(out, name);
        match stat {
            Stat::Count(count) => encode::integer(out, *count),
            Stat::Ratio(text, _) => out.extend_from_slice(text),
            Stat::Database(counts) => write_stats(counts, protocol, out),
        }
    }
}

/// The text of a reply that is one.
pub(super) fn text(reply: &[u8]) -> Option<&[u8]> {
    match TokenReader::new(reply).next_token() {
        Ok(Some(Token::Bulk(text) | Token::Simple(text))) => Some(text),
        Ok(Some(Token::Verbatim(text))) => text.get(4..),
        _ => None,
    }
}

fn array(reader: &mut TokenReader<'_>) -> Option<usize> {
    match reader.next_token() {
        Ok(Some(Token::Array(len))) => Some(len),
        _ => None,
    }
}

/// The number of pairs in what is a map, or with RESP 2 an array.
fn pairs(reader: &mut TokenReader<'_>) -> Option<usize> {
    match reader.next_token() {
        Ok(Some(Token::Map(pairs))) => Some(pairs),
        Ok(Some(Token::Array(len))) if len.is_multiple_of(2) => Some(len / 2),
        _ => None,
    }
}

fn integer(reader: &mut TokenReader<'_>) -> Option<i64> {
    match reader.next_token() {
        Ok(Some(Token::Integer(number))) => Some(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(reply: Option<Vec<u8>>) -> String {
        String::from_utf8(reply.unwrap())
            .unwrap()
            .replace("\r\n", " ")
    }

    #[test]
    fn the_worst_latency_is_shown_with_the_newest() {
        let one = b"*1\r\n*4\r\n$1\r\na\r\n:5\r\n:7\r\n:90\r\n";
        let other = b"*2\r\n*4\r\n$1\r\na\r\n:6\r\n:3\r\n:8\r\n*4\r\n$1\r\nb\r\n:1\r\n:1\r\n:1\r\n";
        let merged = "*2 *4 $1 a :6 :3 :90 *4 $1 b :1 :1 :1 ";
        assert_eq!(shown(latency_latest(&[&one[..], &other[..]])), merged);
        assert_eq!(shown(latency_latest(&[&other[..], &one[..]])), merged);
    }

    #[test]
    fn samples_are_sorted_by_time() {
        let one = b"*2\r\n*2\r\n:5\r\n:1\r\n*2\r\n:9\r\n:2\r\n";
        let other = b"*1\r\n*2\r\n:7\r\n:3\r\n";
        assert_eq!(
            shown(latency_history(&[&one[..], &other[..]])),
            "*3 *2 :5 :1 *2 :7 :3 *2 :9 :2 "
        );
    }

    /// One command's, as a node tells it.
    fn histogram(name: &str, calls: i64, buckets: &[(i64, i64)]) -> String {
        let mut out = format!(
            "${}\r\n{name}\r\n*4\r\n$5\r\ncalls\r\n:{calls}\r\n",
            name.len()
        );
        out += &format!("$14\r\nhistogram_usec\r\n*{}\r\n", buckets.len() * 2);
        for (limit, count) in buckets {
            out += &format!(":{limit}\r\n:{count}\r\n");
        }
        out
    }

    #[test]
    fn histograms_are_added_up() {
        let get = histogram("get", 5, &[(8, 2), (33, 5)]);
        let one = format!("*4\r\n{get}{}", histogram("client|id", 1, &[(8, 1)]));
        let rest = histogram("client|list", 1, &[(264, 1)]) + &histogram("set", 2, &[(16, 2)]);
        let other = format!("*6\r\n{}{rest}", histogram("get", 7, &[(16, 3), (66, 7)]));
        let merged = |names: &[&str], protocol| {
            let names: Vec<_> = names.iter().map(|name| name.as_bytes().to_vec()).collect();
            let replies = [one.as_bytes(), other.as_bytes(), b"*0\r\n"];
            String::from_utf8(latency_histogram(&replies, &names, protocol).unwrap()).unwrap()
        };
        let get = histogram("get", 12, &[(8, 2), (16, 5), (33, 8), (66, 12)]);
        let id = histogram("client|id", 1, &[(8, 1)]);
        let list = histogram("client|list", 1, &[(264, 1)]);
        let set = histogram("set", 2, &[(16, 2)]);
        let two = Protocol::Resp2;
        assert_eq!(merged(&[], two), format!("*8\r\n{id}{list}{get}{set}"));
        assert_eq!(merged(&["set", "GET"], two), format!("*4\r\n{set}{get}"));
        assert_eq!(
            merged(&["client", "none"], two),
            format!("*4\r\n{id}{list}")
        );
        assert_eq!(
            merged(&["set"], Protocol::Resp3),
            "%1\r\n$3\r\nset\r\n%2\r\n$5\r\ncalls\r\n:2\r\n\
             $14\r\nhistogram_usec\r\n%1\r\n:16\r\n:2\r\n"
        );
        assert_eq!(merged(&["none"], Protocol::Resp3), "%0\r\n");
    }

    #[test]
    fn what_was_asked_for_twice_is_counted_once() {
        let twice = format!("*4\r\n{0}{0}", histogram("get", 5, &[(8, 2), (33, 5)]));
        let names = [b"get".to_vec(), b"get".to_vec()];
        let replies = [twice.as_bytes(), twice.as_bytes()];
        let merged = latency_histogram(&replies, &names, Protocol::Resp2).unwrap();
        let sum = histogram("get", 10, &[(8, 4), (33, 10)]);
        assert_eq!(merged, format!("*4\r\n{sum}{sum}").into_bytes());
        assert_eq!(
            latency_histogram(&[b"+OK\r\n"], &names, Protocol::Resp2),
            None
        );
    }

    #[test]
    fn memory_is_added_up() {
        let one = b"*10\r\n$10\r\nkeys.count\r\n:2\r\n$13\r\ndataset.bytes\r\n:10\r\n\
                    $18\r\nkeys.bytes-per-key\r\n:5\r\n$4\r\ndb.0\r\n*2\r\n$1\r\nx\r\n:3\r\n\
                    $5\r\nratio\r\n$3\r\n1.5\r\n";
        let other = b"*8\r\n$10\r\nkeys.count\r\n:1\r\n$13\r\ndataset.bytes\r\n:20\r\n\
                    $18\r\nkeys.bytes-per-key\r\n:20\r\n$5\r\nratio\r\n$3\r\n1.7\r\n";
        let expected = "*10 $10 keys.count :3 $13 dataset.bytes :30 $18 keys.bytes-per-key :10 \
                        $4 db.0 *2 $1 x :3 $5 ratio $3 1.7 ";
        assert_eq!(
            shown(memory_stats(&[&one[..], &other[..]], Protocol::Resp2)),
            expected
        );
    }
}
