//! Puts back what a node took out of a key for a client that was gone by then.

use slotway_protocol::command::{CommandId, lookup};
use slotway_protocol::resp::encode;
use slotway_protocol::resp::value::{Token, TokenReader};

/// The request that undoes a pop.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Restore {
    pub(crate) key: Vec<u8>,
    pub(crate) command: CommandId,
    pub(crate) frame: Vec<u8>,
    /// How many elements it puts back.
    pub(crate) elements: u64,
}

/// What undoes the pop that gave this reply; `None` when nothing was taken, or what was taken is
/// not lost: another list has it, or the group remembers it.
pub(crate) fn restore(name: &str, words: &[Vec<u8>], reply: &[u8]) -> Option<Restore> {
    let mut reader = TokenReader::new(reply);
    let Ok(Some(Token::Array(2 | 3))) = reader.next_token() else {
        return None;
    };
    let key = text(&mut reader)?;
    let is_right = |word: &Vec<u8>| word.eq_ignore_ascii_case(b"right");
    match name {
        "blpop" => push("LPUSH", key, vec![text(&mut reader)?]),
        "brpop" => push("RPUSH", key, vec![text(&mut reader)?]),
        "blmpop" | "lmpop" => {
            let Ok(Some(Token::Array(count))) = reader.next_token() else {
                return None;
            };
            let taken: Option<Vec<_>> = (0..count).map(|_| text(&mut reader)).collect();
            let mut taken = taken?;
            // The one that was taken last goes back first.
            taken.reverse();
            // Keys may be called anything; the direction is behind them, before COUNT.
            let keys_at = if name == "blmpop" { 2 } else { 1 };
            let keys: usize = core::str::from_utf8(words.get(keys_at)?)
                .ok()?
                .parse()
                .ok()?;
            let direction = words.get(keys_at + keys + 1)?;
            push(
                if is_right(direction) {
                    "RPUSH"
                } else {
                    "LPUSH"
                },
                key,
                taken,
            )
        }
        "bzpopmin" | "bzpopmax" => {
            let member = text(&mut reader)?;
            let score = text(&mut reader)?;
            add(key, vec![(score, member)])
        }
        "bzmpop" | "zmpop" => {
            let Ok(Some(Token::Array(count))) = reader.next_token() else {
                return None;
            };
            let mut taken = Vec::new();
            for _ in 0..count {
                let Ok(Some(Token::Array(2))) = reader.next_token() else {
                    return None;
                };
                let member = text(&mut reader)?;
                taken.push((text(&mut reader)?, member));
            }
            add(key, taken)
        }
        _ => None,
    }
}

fn push(name: &str, key: &[u8], elements: Vec<&[u8]>) -> Option<Restore> {
    let count = elements.len() as u64;
    let mut words = vec![name.as_bytes(), key];
    words.extend(elements);
    request(name, key, &words, count)
}

/// A member that was added again meanwhile keeps its new score.
fn add(key: &[u8], members: Vec<(&[u8], &[u8])>) -> Option<Restore> {
    let count = members.len() as u64;
    let mut words = vec![&b"ZADD"[..], key, b"NX"];
    words.extend(
        members
            .into_iter()
            .flat_map(|(score, member)| [score, member]),
    );
    request("ZADD", key, &words, count)
}

fn request(name: &str, key: &[u8], words: &[&[u8]], elements: u64) -> Option<Restore> {
    let mut frame = Vec::new();
    encode::request(&mut frame, words);
    Some(Restore {
        key: key.to_vec(),
        command: lookup(name.as_bytes())?.id,
        frame,
        elements,
    })
}

fn text<'a>(reader: &mut TokenReader<'a>) -> Option<&'a [u8]> {
    match reader.next_token() {
        Ok(Some(Token::Bulk(text) | Token::Double(text))) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restored(line: &str, reply: &str) -> Option<String> {
        let words: Vec<_> = line
            .split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect();
        let name = line.split(' ').next().unwrap();
        let restore = restore(name, &words, reply.as_bytes())?;
        let frame = String::from_utf8(restore.frame).unwrap();
        let words = frame.split("\r\n").skip(2).step_by(2);
        Some(words.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_was_taken_goes_back_where_it_was() {
        let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
        let pair = format!("*2\r\n{}{}", bulk("k"), bulk("e"));
        let many = format!("*2\r\n{}*2\r\n{}{}", bulk("k"), bulk("a"), bulk("b"));
        let scored = format!("*3\r\n{}{}{}", bulk("k"), bulk("m"), bulk("1.5"));
        let scored3 = format!("*3\r\n{}{},1.5\r\n", bulk("k"), bulk("m"));
        let nested = format!("*2\r\n{}*1\r\n*2\r\n{}{}", bulk("k"), bulk("m"), bulk("2"));
        for (line, reply, expected) in [
            ("blpop k 0", &pair, "LPUSH k e"),
            ("brpop k 0", &pair, "RPUSH k e"),
            ("blmpop 0 1 k left count 2", &many, "LPUSH k b a"),
            ("blmpop 0 2 left k right count 2", &many, "RPUSH k b a"),
            ("bzpopmin k 0", &scored, "ZADD k NX 1.5 m"),
            ("bzpopmax k 0", &scored3, "ZADD k NX 1.5 m"),
            ("bzmpop 0 1 k min", &nested, "ZADD k NX 2 m"),
        ] {
            assert_eq!(restored(line, reply).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn what_was_not_taken_stays() {
        for (line, reply) in [
            ("blpop k 0", "*-1\r\n"),
            ("blpop k 0", "_\r\n"),
            ("blpop k 0", "-MOVED 1 a:1\r\n"),
            ("blmove a b left right 0", "$1\r\nx\r\n"),
            ("xread block 0 streams k 0", "*1\r\n*2\r\n$1\r\nk\r\n*0\r\n"),
        ] {
            assert_eq!(restored(line, reply), None, "{line}");
        }
    }
}
