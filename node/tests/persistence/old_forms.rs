//! The forms that values had in older and have in newer versions of Redis, built by hand.

use super::{both, bulk, contents, request, sealed};

/// A string whose length fits into two bytes.
fn string(bytes: &[u8]) -> Vec<u8> {
    let len = (0x4000 | u16::try_from(bytes.len()).unwrap()).to_be_bytes();
    [&len, bytes].concat()
}

fn ziplist(entries: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    let (mut before, mut tail) = (0, 10);
    for entry in entries {
        tail = 10 + body.len();
        let start = body.len();
        if before < 254 {
            body.push(before as u8);
        } else {
            body.push(254);
            body.extend_from_slice(&(before as u32).to_le_bytes());
        }
        body.extend_from_slice(entry);
        before = body.len() - start;
    }
    let mut list = (11 + body.len() as u32).to_le_bytes().to_vec();
    list.extend_from_slice(&(tail as u32).to_le_bytes());
    list.extend_from_slice(&(entries.len() as u16).to_le_bytes());
    list.extend_from_slice(&body);
    list.push(255);
    list
}

/// One entry of every coding that a ziplist has.
fn every_ziplist_entry() -> Vec<Vec<u8>> {
    let long = [&[0x41, 0x2c][..], &[b'm'; 300]].concat();
    let longest = [&[0x80, 0, 0, 0x50, 0][..], &[b'l'; 0x5000]].concat();
    vec![
        b"\x00".to_vec(),
        b"\x03abc".to_vec(),
        long,
        longest,
        vec![0xf1],
        vec![0xfd],
        vec![0xfe, 0x80],
        vec![0xc0, 0xff, 0x7f],
        vec![0xf0, 0, 0, 0x80],
        vec![0xd0, 0, 0, 0, 0x80],
        vec![0xe0, 1, 2, 3, 4, 5, 6, 7, 0x88],
    ]
}

fn zipmap() -> Vec<u8> {
    let mut map = vec![2];
    map.extend_from_slice(b"\x05field\x05\x02valueXX");
    map.extend_from_slice(b"\xfe\x2c\x01\x00\x00");
    map.extend_from_slice(&[b'f'; 300]);
    map.extend_from_slice(b"\x01\x001\xff");
    map
}

/// Values in forms without ziplists, by their name.
fn plain_forms() -> Vec<(&'static str, Vec<u8>)> {
    let list = |parts: &[&[u8]]| parts.concat();
    vec![
        (
            "list",
            list(&[&[1, 3], b"\x01a", &[0xc0, 5], &[0xc1, 0, 0x80]]),
        ),
        (
            "list, compressed",
            list(&[&[1, 1, 0xc3, 4, 30], b"\0a\xe0\x14\0"]),
        ),
        ("set", list(&[&[2, 2], b"\x01a", &[0xc2, 1, 2, 3, 4]])),
        ("set of integers", vec![2, 2, 0xc0, 7, 0xc0, 3]),
        (
            "sorted set, text",
            list(&[&[3, 4], b"\x01a\x031.5\x01b\xfe\x01c\xff\x01d\x05-1e-9"]),
        ),
        (
            "sorted set, binary",
            list(&[&[5, 1], b"\x01a", &2.5f64.to_le_bytes()]),
        ),
        (
            "negative zero",
            list(&[&[5, 1], b"\x01a", &(-0.0f64).to_le_bytes()]),
        ),
        ("hash", list(&[&[4, 2], b"\x01f\x01v\x01g\xc0\x09"])),
        ("zipmap", list(&[&[9], &string(&zipmap())])),
        (
            "intset of 16",
            list(&[&[11], &string(b"\x02\0\0\0\x02\0\0\0\xfe\xff\x05\0")]),
        ),
        (
            "intset of 32",
            list(&[&[11], &string(b"\x04\0\0\0\x01\0\0\0\0\0\0\x80")]),
        ),
        (
            "intset of 64",
            list(&[&[11], &string(b"\x08\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\x80")]),
        ),
        (
            "hash listpack",
            list(&[&[16], &string(b"\x0d\0\0\0\x02\0\x81f\x02\x07\x01\xff")]),
        ),
        (
            "quicklist 2, plain",
            list(&[
                &[18, 2, 1],
                &string(b"plain"),
                &[2],
                &string(b"\x0a\0\0\0\x01\0\x81p\x02\xff"),
            ]),
        ),
        ("empty list", vec![1, 0]),
        ("empty set", vec![2, 0]),
        ("empty hash", vec![4, 0]),
        ("empty sorted set", vec![5, 0]),
        ("empty quicklist", vec![14, 0]),
        ("module", vec![7, 0]),
        ("type 8", vec![8, 0]),
    ]
}

/// Values in ziplists.
fn ziplist_forms() -> Vec<(&'static str, Vec<u8>)> {
    let all = every_ziplist_entry();
    let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    let few = ziplist(&[
        b"\x01a",
        b"\xf2",
        b"\x01b",
        b"\x041.25",
        b"\x01c",
        b"\xfe\x7f",
        b"\x01d",
        b"\x03inf",
    ]);
    let even = ziplist(&all[1..]);
    let list = |parts: &[&[u8]]| parts.concat();
    vec![
        ("list ziplist", list(&[&[10], &string(&[]), &[]])),
        (
            "list ziplist of all",
            list(&[
                &[10, 0x80],
                &(ziplist(&all).len() as u32).to_be_bytes(),
                &ziplist(&all),
            ]),
        ),
        ("sorted set ziplist", list(&[&[12], &string(&few)])),
        ("hash ziplist", list(&[&[13], &string(&few)])),
        (
            "hash ziplist, long",
            list(&[&[13, 0x80], &(even.len() as u32).to_be_bytes(), &even]),
        ),
        (
            "quicklist",
            list(&[&[14, 2], &string(&few), &string(&ziplist(&[b"\x01z"]))]),
        ),
        ("empty ziplist", list(&[&[10], &string(&ziplist(&[]))])),
    ]
}

#[test]
fn are_read_as_the_server_reads_them() {
    let (mut ours, mut theirs) = both();
    for (name, value) in plain_forms().into_iter().chain(ziplist_forms()) {
        let line = request(&[b"RESTORE", name.as_bytes(), b"0", &sealed(&value, 9)]);
        let (got, expected) = (ours.run(&line), theirs.run(&line));
        if name == "module" {
            assert_eq!(
                got,
                b"-ERR values of modules are not supported by this node yet\r\n"
            );
            continue;
        }
        super::assert_same(&got, &expected, name);
        if expected == b"+OK\r\n" {
            let key = name.as_bytes();
            let mut seen = [
                contents(|line| ours.run(line), key),
                contents(|line| theirs.run(line), key),
            ];
            if name == "hash ziplist, long" {
                // The server does not look how long the elements of an old form are.
                seen.iter_mut().for_each(|seen| drop(seen.remove(1)));
            }
            assert!(seen[0] == seen[1], "{name}");
        }
    }
}

/// A stream of two entries, `a 1` twice, with one group that has one of them.
fn stream(kind: u8) -> Vec<u8> {
    let node = b"\x22\0\0\0\x0f\0\x02\x01\0\x01\x01\x01\x81a\x02\0\x01\
        \x02\x01\0\x01\0\x01\x01\x01\x04\x01";
    let node = [&node[..], b"\x02\x01\0\x01\x01\x01\x01\x01\x04\x01\xff"].concat();
    let mut node = node;
    let size = (node.len() as u32).to_le_bytes();
    node[..4].copy_from_slice(&size);
    let id = |ms: u64, sequence: u64| [ms.to_be_bytes(), sequence.to_be_bytes()].concat();
    let mut value = vec![kind, 1];
    value.extend(string(&id(5, 1)));
    value.extend(string(&node));
    // How many, and the last ID.
    value.extend([2, 5, 2]);
    if kind != 15 {
        // The first ID, the greatest that was deleted, and how many there were.
        value.extend([5, 1, 0, 0, 2]);
    }
    value.extend(b"\x01\x01g\x05\x01");
    if kind != 15 {
        value.push(1);
    }
    // What is pending, and the consumer that has it.
    value.push(1);
    value.extend(id(5, 1));
    value.extend(1_000u64.to_le_bytes());
    value.extend(b"\x03\x01\x01c");
    value.extend(2_000u64.to_le_bytes());
    if kind == 21 {
        value.extend(1_000u64.to_le_bytes());
    }
    value.push(1);
    value.extend(id(5, 1));
    value
}

/// The three forms that streams have had, the last of which redis-server 7.0 does not know.
#[test]
fn streams_are_read_in_all_forms() {
    let (mut ours, mut theirs) = both();
    for (kind, version) in [(15u8, 9), (19, 10), (21, 11)] {
        let key = [kind];
        let payload = sealed(&stream(kind), version);
        let line = request(&[b"RESTORE", &key, b"0", &payload]);
        assert_eq!(ours.run(&line), b"+OK\r\n", "{kind}");
        if kind != 21 {
            assert_eq!(theirs.run(&line), b"+OK\r\n", "{kind}");
        }
        let like = if kind == 21 { [19] } else { key };
        assert_eq!(
            contents(|line| ours.run(line), &key),
            contents(|line| theirs.run(line), &like),
            "{kind}"
        );
    }
}

/// What would surprise later is refused: each byte of a stream that is another one.
#[test]
fn streams_that_contradict_themselves_are_refused() {
    let (mut ours, _) = both();
    let value = stream(19);
    let mut refused = 0;
    for place in 1..value.len() {
        for byte in [0, 1, 0x7f, 0x80, 0xff] {
            let mut other = value.clone();
            other[place] = byte;
            let payload = sealed(&other, 10);
            let line = request(&[b"RESTORE", b"s", b"0", &payload, b"REPLACE"]);
            if ours.run(&line) != b"+OK\r\n" {
                refused += 1;
                continue;
            }
            for text in [
                "XADD s * a 1",
                "XREADGROUP GROUP g c STREAMS s 0",
                "XAUTOCLAIM s g d 0 0",
                "XDEL s 5-1 5-2",
                "XTRIM s MAXLEN 0",
                "XINFO STREAM s FULL",
            ] {
                assert!(!ours.run(&super::line(text)).is_empty(), "{text}");
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

/// Sets in listpacks came with 7.2; this node has no such form, but takes the members.
#[test]
fn newer_forms_are_read() {
    let (mut ours, _) = both();
    let listpack = |size: u8| [&[size], &b"\0\0\0\x02\0\x81m\x02\x05\x01\xff"[..]].concat();
    let value = [&[20][..], &string(&listpack(11))].concat();
    let payload = sealed(&value, 11);
    let restored = ours.run(&request(&[b"RESTORE", b"s", b"0", &payload]));
    assert_eq!(
        restored, b"-ERR Bad data format\r\n",
        "its size is one too few"
    );
    let value = [&[20][..], &string(&listpack(12))].concat();
    let restored = ours.run(&request(&[b"RESTORE", b"s", b"0", &sealed(&value, 11)]));
    assert_eq!(restored, b"+OK\r\n");
    assert_eq!(ours.run(&request(&[b"SCARD", b"s"])), b":2\r\n");
    assert!(!bulk(&ours.run(&request(&[b"DUMP", b"s"]))).is_empty());
}
