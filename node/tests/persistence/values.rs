//! DUMP and RESTORE against redis-server: the same bytes, the same refusals, and each takes what
//! the other gives.

use super::{Line, assert_same, both, bulk, contents, line, request, sealed};

/// Requests that make values in an order that is the same everywhere.
fn making_ordered_values() -> Vec<Line> {
    let mut lines: Vec<Line> = [
        "SET k v",
        "SET k 0",
        "SET k 127",
        "SET k -128",
        "SET k 128",
        "SET k -32769",
        "SET k 32767",
        "SET k 2147483647",
        "SET k -2147483648",
        "SET k 2147483648",
        "SET k 9223372036854775807",
        "SET k 012",
        "SET k 12345678901",
        "APPEND n 12",
        "RPUSH l a b c 1 2 3 -1 127 128 -4096 4095 4096 -32768 32768 -8388608 8388607 8388608",
        "RPUSH l 2147483647 2147483648 -9223372036854775808 9223372036854775807 0012 1.5",
        "LPUSH l x",
        "SADD s 1 2 3",
        "SADD s 32767 -32768",
        "SADD s 32768",
        "SADD s -2147483649",
        "HSET h f v g 1 1 2 long-enough-to-be-compressed-aaaaaaaaaaaaaaaaaaaaaaaaaaaaa v",
        "ZADD z 1 a 2.5 b -inf c inf d 1e300 e 0.1 f -7 g 4611686018427387904 h",
        "ZADD z 9.3e18 i 1234567890123 j 3.0000000000000004 k 1e-7 l 5e-324 m",
    ]
    .iter()
    .map(|text| line(text))
    .collect();
    for len in [
        0, 1, 20, 21, 22, 44, 63, 64, 100, 123, 125, 126, 127, 1_000, 4_095, 4_096, 16_375, 16_376,
        16_377, 16_378, 16_379, 16_383, 16_384, 70_000,
    ] {
        let text: Vec<u8> = (0..len)
            .map(|at: usize| b"abcdefgh"[(at * at / 7) % 8])
            .collect();
        lines.push(request(&[b"SET", b"k", &text]));
        lines.push(request(&[b"SET", b"k", &vec![b'x'; len]]));
        lines.push(request(&[b"RPUSH", b"l", &text, &vec![b'y'; len]]));
        if len <= 64 {
            lines.push(request(&[b"HSET", b"h", &text, &text]));
            lines.push(request(&[b"ZADD", b"z", b"17", &text]));
        }
    }
    for index in 0..1_500u32 {
        let text = (index.wrapping_mul(2_654_435_761) >> 7)
            .to_string()
            .repeat(index as usize % 9);
        lines.push(request(&[b"RPUSH", b"l", text.as_bytes()]));
        lines.push(request(&[
            b"ZADD",
            b"z",
            (index % 50).to_string().as_bytes(),
            text.as_bytes(),
        ]));
        lines.push(request(&[b"APPEND", b"n", text.as_bytes()]));
        if index < 500 {
            lines.push(request(&[
                b"SADD",
                b"s",
                (index * 7).to_string().as_bytes(),
            ]));
        }
    }
    lines
}

/// What is kept in such an order is dumped to the same bytes.
#[test]
fn ordered_values_are_dumped_byte_for_byte() {
    let (mut ours, mut theirs) = both();
    let lines = making_ordered_values();
    for (at, line) in lines.iter().enumerate() {
        let context = format!("{at}: {}", line[0].escape_ascii());
        assert_same(&ours.run(line), &theirs.run(line), &context);
        if at < 100 || at % 100 == 0 || at + 5 > lines.len() {
            let dump = request(&[b"DUMP", &line[1]]);
            assert_same(&ours.run(&dump), &theirs.run(&dump), &context);
        }
    }
}

/// Builds up keys of every type and size, and carries each over and back.
#[test]
fn each_takes_what_the_other_gives() {
    let (mut ours, mut theirs) = both();
    let mut keys = Vec::new();
    for len in [1usize, 100, 128, 129, 512, 513, 5_000] {
        for (kind, add) in [
            ("l", "RPUSH"),
            ("s", "SADD"),
            ("i", "SADD"),
            ("h", "HSET"),
            ("z", "ZADD"),
        ] {
            let key = format!("{kind}{len}").into_bytes();
            let mut line = request(&[add.as_bytes(), &key]);
            for index in 0..len {
                let number = (index * 7_919).to_string().into_bytes();
                let text = format!("{}-{index}", "member".repeat(index % 12)).into_bytes();
                match kind {
                    "l" | "s" => line.push(text),
                    "i" => line.push(number),
                    "h" => line.extend([text, number]),
                    _ => line.extend([format!("{}.5", index % 97).into_bytes(), text]),
                }
            }
            assert_same(&ours.run(&line), &theirs.run(&line), "filling");
            keys.push(key);
        }
    }
    for key in keys {
        let context = key.escape_ascii().to_string();
        let before = contents(|line| theirs.run(line), &key);
        assert_eq!(contents(|line| ours.run(line), &key), before, "{context}");
        let dump = request(&[b"DUMP", &key]);
        let (our_dump, their_dump) = (bulk(&ours.run(&dump)), bulk(&theirs.run(&dump)));
        let restore = |dump: &[u8]| request(&[b"RESTORE", &key, b"0", dump, b"REPLACE"]);
        assert_same(&ours.run(&restore(&their_dump)), b"+OK\r\n", &context);
        assert_same(&theirs.run(&restore(&our_dump)), b"+OK\r\n", &context);
        assert_eq!(contents(|line| ours.run(line), &key), before, "{context}");
        assert_eq!(contents(|line| theirs.run(line), &key), before, "{context}");
    }
}

/// Requests that make a stream with groups, in many nodes and with entries that are gone.
fn making_a_stream() -> Vec<Line> {
    let mut lines = vec![line("XGROUP CREATE s empty 0 MKSTREAM")];
    for index in 0..350 {
        let fields = [
            "a 1 b text",
            "a 1 b text",
            "other -70000",
            "a 1 b 12345678901234",
        ];
        let fields = fields[index * index % 4];
        lines.push(line(&format!(
            "XADD s {}-{} {fields}",
            1 + index / 7,
            index
        )));
    }
    let long = b"compressible ".repeat(500);
    lines.push(request(&[b"XADD", b"s", b"60-1", b"long", &long]));
    lines.push(request(&[b"XADD", b"s", b"61-1", &long, b"x"]));
    for text in [
        "XDEL s 3-15 3-16 20-139 60-1",
        "XTRIM s MAXLEN 320",
        "XGROUP CREATE s g 0",
        "XGROUP CREATE s known 5-30 ENTRIESREAD 31",
        "XREADGROUP GROUP g one COUNT 100 STREAMS s >",
        "XREADGROUP GROUP g two COUNT 50 STREAMS s >",
        "XREADGROUP GROUP known one COUNT 3 NOACK STREAMS s >",
        "XGROUP CREATECONSUMER s g idle",
        "XACK s g 5-33",
        "XCLAIM s g three 0 10-69 10-68 IDLE 1000 RETRYCOUNT 70000",
    ] {
        lines.push(line(text));
    }
    lines
}

/// Whoever made a stream: the other one has the same of it, and dumps it to the same bytes.
#[test]
fn streams_are_carried_over_and_back() {
    let (mut ours, mut theirs) = both();
    let dump = line("DUMP s");
    let restore = |dump: &[u8]| request(&[b"RESTORE", b"s", b"0", dump, b"REPLACE"]);
    for line in making_a_stream() {
        let context = line[1..].join(&b' ').escape_ascii().to_string();
        assert_same(&ours.run(&line), &theirs.run(&line), &context);
    }
    let before = contents(|line| theirs.run(line), b"s");
    let their_dump = bulk(&theirs.run(&dump));
    let our_dump = bulk(&ours.run(&dump));
    let our_own = contents(|line| ours.run(line), b"s");
    assert_same(&ours.run(&restore(&their_dump)), b"+OK\r\n", "ours");
    assert_eq!(contents(|line| ours.run(line), b"s"), before, "ours");
    assert_same(&bulk(&ours.run(&dump)), &their_dump, "ours");
    assert_same(&theirs.run(&restore(&our_dump)), b"+OK\r\n", "theirs");
    assert_eq!(contents(|line| theirs.run(line), b"s"), our_own, "theirs");
    assert_same(&bulk(&theirs.run(&dump)), &our_dump, "theirs");
    // Both go on from there alike.
    assert_same(&ours.run(&restore(&our_dump)), b"+OK\r\n", "ours");
    for text in [
        "XADD s 61-* a 1",
        "XTRIM s MAXLEN ~ 100",
        "XDEL s 61-1",
        "XREADGROUP GROUP g one COUNT 2 STREAMS s >",
        "XACK s g 10-69",
        "XPENDING s g",
        "XINFO GROUPS s",
    ] {
        let line = line(text);
        assert_same(&ours.run(&line), &theirs.run(&line), text);
    }
}

/// Requests for all that RESTORE looks at, right and wrong, in all combinations.
fn restoring_all_ways() -> Vec<Line> {
    let good = sealed(b"\x00\x01v", 10);
    let mut flipped = good.clone();
    flipped[2] ^= 1;
    let payloads: [&[u8]; 9] = [
        &good,
        &flipped,
        b"",
        b"short",
        &good[..good.len() - 1],
        &sealed(b"", 10),
        &sealed(b"\x00\x30v", 10),
        &sealed(b"\x00\x01vMORE", 9),
        &sealed(b"\x02\x00", 10),
    ];
    let mut lines = vec![
        line("SET there v"),
        line("DUMP missing"),
        line("DUMP"),
        line("DUMP a b"),
    ];
    for payload in payloads {
        for key in [&b"there"[..], b"free"] {
            for ttl in [&b"0"[..], b"-1", b"x", b"9223372036854775807", b"1000000"] {
                for options in [
                    "",
                    "REPLACE",
                    "replace ABSTTL",
                    "IDLETIME 5",
                    "IDLETIME -1",
                    "IDLETIME x",
                    "IDLETIME",
                    "FREQ 255",
                    "FREQ 256",
                    "FREQ -1",
                    "IDLETIME 5 FREQ 5",
                    "FREQ 5 IDLETIME 5",
                    "IDLETIME 5 IDLETIME 6 REPLACE",
                    "NONSENSE",
                    "REPLACE REPLACE NONSENSE",
                ] {
                    let mut line = request(&[b"RESTORE", key, ttl, payload]);
                    line.extend(
                        options
                            .split_whitespace()
                            .map(|word| word.as_bytes().to_vec()),
                    );
                    lines.push(line);
                    lines.push(request(&[b"EXISTS", key]));
                    lines.push(request(&[b"DEL", b"free"]));
                    lines.push(request(&[b"SET", b"there", b"v"]));
                }
            }
        }
    }
    lines.push(request(&[b"RESTORE-ASKING", b"asked", b"0", &good]));
    lines.push(line("GET asked"));
    lines.push(request(&[b"RESTORE-ASKING", b"asked", b"0", &good]));
    lines.push(line("RESTORE k 0"));
    lines.push(line("RESTORE-ASKING k 0"));
    lines
}

#[test]
fn restore_refuses_in_the_same_words_and_order() {
    let (mut ours, mut theirs) = both();
    let lines = restoring_all_ways();
    for line in lines {
        let show: Vec<String> = line
            .iter()
            .map(|arg| arg.escape_ascii().to_string())
            .collect();
        assert_same(&ours.run(&line), &theirs.run(&line), &show.join(" "));
    }
    // This node also reads what newer servers write, up to version 12.
    for (version, expected) in [
        (12, &b"+OK\r\n"[..]),
        (13, b"-ERR DUMP payload version or checksum are wrong\r\n"),
    ] {
        let payload = sealed(b"\x00\x01v", version);
        let line = request(&[b"RESTORE", format!("v{version}").as_bytes(), b"0", &payload]);
        assert_same(&ours.run(&line), expected, "a version");
    }
}

#[test]
fn restore_sets_the_date() {
    let (mut ours, mut theirs) = both();
    let payload = sealed(b"\x00\x01v", 10);
    // Far ahead, because the two have different clocks.
    let far = b"4102444800000";
    for (ttl, option) in [
        (&far[..], &b"ABSTTL"[..]),
        (b"1", b"ABSTTL"),
        (b"0", b"ABSTTL"),
    ] {
        let restore = request(&[b"RESTORE", b"k", ttl, &payload, b"REPLACE", option]);
        assert_same(&ours.run(&restore), &theirs.run(&restore), "RESTORE");
        let date = line("PEXPIRETIME k");
        assert_same(&ours.run(&date), &theirs.run(&date), "PEXPIRETIME");
    }
    ours.run(&request(&[b"RESTORE", b"soon", b"5000", &payload]));
    assert_same(&ours.run(&line("PTTL soon")), b":5000\r\n", "PTTL");
}
