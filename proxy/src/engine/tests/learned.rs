//! Commands that a node taught: where they go, and which are refused.

use slotway_protocol::command::{Command, CommandId, Learned};

use super::*;

/// An entry of COMMAND: name, arity, flags, tips, and the first, last and step of each range of
/// keys. A last of 99 stands for keys that nobody knows.
fn entry(name: &str, arity: i8, flags: &str, tips: &[&str], ranges: &[(u8, i8, u8)]) -> String {
    let words = |words: &[&str]| {
        let bulks = words.iter().map(|word| format!("+{word}\r\n"));
        format!("*{}\r\n{}", words.len(), bulks.collect::<String>())
    };
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let specs: String = ranges
        .iter()
        .map(|(first, last, step)| {
            let find = match last {
                99 => "*4\r\n+type\r\n+unknown\r\n+spec\r\n*0\r\n".to_owned(),
                _ => format!(
                    "*4\r\n+type\r\n+range\r\n+spec\r\n*6\r\n+lastkey\r\n:{last}\r\n\
                     +keystep\r\n:{step}\r\n+limit\r\n:0\r\n"
                ),
            };
            format!(
                "*6\r\n+flags\r\n*1\r\n+RW\r\n+begin_search\r\n*4\r\n+type\r\n+index\r\n\
                 +spec\r\n*2\r\n+index\r\n:{first}\r\n+find_keys\r\n{find}"
            )
        })
        .collect();
    format!(
        "*10\r\n+{name}\r\n:{arity}\r\n{}:0\r\n:0\r\n:0\r\n*0\r\n{}*{}\r\n{specs}*0\r\n",
        words(&flags),
        words(tips),
        ranges.len()
    )
}

/// A container of the table with a subcommand that the table lacks.
fn client(subcommands: &[String]) -> String {
    format!(
        "*10\r\n+client\r\n:-2\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*{}\r\n{}",
        subcommands.len(),
        subcommands.concat()
    )
}

fn teach(bench: &mut Bench, entries: &[String]) {
    let reply = format!("*{}\r\n{}", entries.len(), entries.concat());
    let learned = Learned::parse(reply.as_bytes()).unwrap();
    assert_eq!(learned.left_out(), 0);
    bench.call(|proxy, now| proxy.handle_event(Event::Commands(Arc::new(learned)), now));
}

/// Two nodes that have a module, and whose server is newer than the table.
fn taught() -> Bench {
    let mut bench = Bench::with_two_nodes();
    let split = ["request_policy:multi_shard", "response_policy:agg_sum"];
    let all = ["request_policy:all_shards", "response_policy:agg_sum"];
    let special = ["request_policy:special", "response_policy:special"];
    teach(
        &mut bench,
        &[
            entry("My.Get", -1, "readonly module", &[], &[(1, 0, 1)]),
            entry("new.get", 2, "readonly", &[], &[(1, 0, 1)]),
            entry("my.set2", -3, "write module", &[], &[(1, 0, 1), (2, 0, 1)]),
            entry("my.del", -2, "write module", &split, &[(1, -1, 1)]),
            entry("my.odd", -2, "write module", &split, &[(1, -2, 1)]),
            entry("my.list", -1, "readonly module", &[], &[]),
            entry("my.create", -1, "write module", &[], &[]),
            entry("new.size", 1, "readonly", &all, &[]),
            entry("new.write", 1, "write", &[], &[]),
            entry("my.where", -1, "write module movablekeys", &[], &[]),
            entry("my.some", -2, "write", &[], &[(1, 0, 1), (2, 99, 1)]),
            entry("my.peek", -2, "readonly", &[], &[(1, 0, 1), (2, 99, 1)]),
            entry("my.listen", -2, "readonly pubsub", &[], &[(1, 0, 1)]),
            entry("my.admin", -1, "admin module", &[], &[]),
            entry("my.walk", -1, "readonly", &special, &[]),
            client(&[
                entry("client|no-touch", 3, "noscript", &[], &[]),
                entry("client|setinfo", 4, "noscript", &[], &[]),
            ]),
        ],
    );
    bench
}

fn ask(bench: &mut Bench, words: &[&str]) -> String {
    let client = bench.client();
    bench.input(client, &request(words));
    bench.written(client)
}

#[test]
fn learned_commands_go_where_their_keys_are() {
    let mut bench = taught();
    for (words, node) in [
        (&["my.get", LOWER, "x"][..], 1),
        (&["MY.GET", UPPER], 2),
        (&["new.get", LOWER], 1),
        (&["my.set2", UPPER, UPPER], 2),
        (&["my.peek", LOWER, "a"], 1),
        (&["my.del", LOWER, LOWER], 1),
        (&["my.list"], 1),
        (&["my.create", UPPER], 1),
        // The node says what is wrong with it.
        (&["my.get"], 1),
    ] {
        assert_eq!(ask(&mut bench, words), "", "{words:?}");
        assert_eq!(bench.sent(node), request(words), "{words:?}");
        assert_eq!(bench.sent(3 - node), "", "{words:?}");
        bench.reply(node, "+OK\r\n");
    }
}

#[test]
fn learned_commands_are_split_and_fanned_out_by_their_tips() {
    let mut bench = taught();
    for words in [&["my.del", UPPER, LOWER][..], &["new.size"]] {
        let client = bench.client();
        bench.input(client, &request(words));
        let parts = [bench.sent(1), bench.sent(2)];
        let expected = match words {
            [name, ..] if *name == "my.del" => [LOWER, UPPER].map(|key| request(&[name, key])),
            _ => [request(words), request(words)],
        };
        assert_eq!(parts, expected);
        bench.reply(1, ":1\r\n");
        bench.reply(2, ":2\r\n");
        assert_eq!(bench.written(client), ":3\r\n");
    }
}

#[test]
fn what_could_go_wrong_is_refused() {
    let mut bench = taught();
    let hidden = |name: &str| {
        format!(
            "-ERR proxy: the node does not tell where the keys of '{name}' are \
             (incomplete key specs)\r\n"
        )
    };
    let not_yet =
        |name: &str| format!("-ERR proxy: '{name}' is not supported through the proxy yet\r\n");
    let crossed = "-CROSSSLOT Keys in request don't hash to the same slot\r\n".to_owned();
    for (words, reply) in [
        (&["my.where", LOWER][..], hidden("my.where")),
        (&["my.some", LOWER, "a"], hidden("my.some")),
        (&["my.listen", LOWER], not_yet("my.listen")),
        (&["my.admin"], not_yet("my.admin")),
        (&["my.walk"], not_yet("my.walk")),
        (&["new.write"], not_yet("new.write")),
        (&["client", "no-touch", "on"], not_yet("client no-touch")),
        (&["my.set2", LOWER, UPPER], crossed.clone()),
        (&["my.odd", LOWER, UPPER, "x"], crossed),
        (
            &["new.get"],
            "-ERR wrong number of arguments for 'new.get' command\r\n".to_owned(),
        ),
        (
            &["my.nosuch", "a"],
            "-ERR unknown command 'my.nosuch', with args beginning with: 'a' \r\n".to_owned(),
        ),
    ] {
        assert_eq!(ask(&mut bench, words), reply, "{words:?}");
    }
    assert_eq!((bench.sent(1), bench.sent(2)), Default::default());
}

#[test]
fn client_setinfo_is_served_whoever_knows_it() {
    for mut bench in [Bench::with_two_nodes(), taught()] {
        let words = ["client", "setinfo", "lib-name", "x"];
        assert_eq!(ask(&mut bench, &words), "+OK\r\n");
    }
}

#[test]
fn what_is_learned_later_replaces_what_was_learned_before() {
    let mut bench = taught();
    teach(
        &mut bench,
        &[entry("my.get", -2, "readonly module", &[], &[(2, 0, 1)])],
    );
    assert_eq!(ask(&mut bench, &["my.get", LOWER, UPPER]), "");
    assert_eq!(bench.sent(2), request(&["my.get", LOWER, UPPER]));
    assert!(ask(&mut bench, &["my.list"]).starts_with("-ERR unknown command 'my.list'"));
    assert!(
        ask(&mut bench, &["command", "info", "my.get"]).starts_with("*1\r\n*10\r\n$6\r\nmy.get")
    );
    assert_eq!(ask(&mut bench, &["command", "count"]), ":241\r\n");
}

/// Redirects and lost connections ask for a command's flags by its id.
#[test]
fn learned_commands_are_redirected_and_repeated_like_others() {
    let mut bench = taught();
    let client = bench.client();
    bench.input(client, &request(&["my.get", LOWER]));
    assert_eq!(bench.sent(1), request(&["my.get", LOWER]));
    let slot = Slot::of(LOWER.as_bytes()).number();
    bench.reply(1, &format!("-MOVED {slot} node:2\r\n"));
    assert_eq!(bench.sent(2), request(&["my.get", LOWER]));
    bench.lose(2);
    bench.wait(Duration::from_millis(200));
    assert_eq!(bench.sent(2), request(&["my.get", LOWER]), "it only reads");
    bench.reply(2, "+late\r\n");
    assert_eq!(bench.written(client), "+late\r\n");

    bench.input(client, &request(&["my.set2", LOWER, LOWER]));
    bench.sent(2);
    bench.lose(2);
    let lost = "-ERR proxy: connection lost after sending, result unknown\r\n";
    assert_eq!(bench.written(client), lost);
    assert_eq!(bench.stats.requests(CommandId::OTHER), (1, 1));
    assert_eq!(Command::by_id(CommandId::OTHER).name, "other");
}
