//! How the replies of all shards to one command about the servers become one reply. Each of these
//! gives `None` for replies that are not of the command's form.

use std::collections::BTreeMap;

use slotway_protocol::resp::value::{Token, TokenReader};
use slotway_protocol::resp::{Protocol, encode};

/// SLOWLOG GET: the newest entries of all nodes. Their ids are each node's own, so they are
/// numbered again, the oldest one that is shown with 0.
pub(super) fn slow_log(replies: &[&[u8]], limit: usize) -> Option<Vec<u8>> {
    let mut entries: Vec<(i64, &[u8], usize)> = Vec::new();
    for reply in replies {
        let mut reader = TokenReader::new(reply);
        for _ in 0..array(&mut reader)? {
            let entry = reader.next_value().ok()?;
            let mut fields = TokenReader::new(entry);
            let len = array(&mut fields)?;
            integer(&mut fields)?;
            let rest = fields.rest();
            entries.push((integer(&mut fields)?, rest, len));
        }
    }
    entries.sort_by_key(|(time, ..)| core::cmp::Reverse(*time));
    entries.truncate(limit);
    let mut out = Vec::new();
    encode::array(&mut out, entries.len());
    for (number, (_, rest, len)) in entries.iter().enumerate() {
        encode::array(&mut out, *len);
        encode::integer(&mut out, (entries.len() - 1 - number) as i64);
        out.extend_from_slice(rest);
    }
    Some(out)
}

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
    fn the_newest_slow_commands_come_first() {
        let one = b"*2\r\n*3\r\n:9\r\n:50\r\n$1\r\na\r\n*3\r\n:8\r\n:10\r\n$1\r\nb\r\n";
        let other = b"*1\r\n*3\r\n:4\r\n:30\r\n$1\r\nc\r\n";
        let replies = [&one[..], &other[..]];
        assert_eq!(
            shown(slow_log(&replies, 2)),
            "*2 *3 :1 :50 $1 a *3 :0 :30 $1 c "
        );
        assert!(shown(slow_log(&replies, 9)).starts_with("*3 *3 :2 :50"));
        assert_eq!(slow_log(&[b"+OK\r\n"], 2), None);
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
