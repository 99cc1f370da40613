//! What a node tells of the commands it has run: how many, how long, and which ones were slow.

use crate::stage::{Kind, Stage};

/// Some that work, that fail, that are refused, that are none, and transactions.
const LINES: &[&str] = &[
    "set key value",
    "get key",
    "get key",
    "get",
    "lpush key x",
    "incr key",
    "nosuch a b",
    "config set nosuch x",
    "config get maxmemory",
    "config",
    "config nosuch",
    "hello 2 nosuch",
    "multi",
    "lpush key y",
    "get key",
    "get",
    "exec",
    "multi",
    "lpush key y",
    "get key",
    "exec",
    "exec",
    "object encoding nokey",
    "mset",
];

fn ask(stage: &mut Stage, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    String::from_utf8_lossy(&stage.ask(&words)).into_owned()
}

/// The lines of a section, in order of names, without what takes another time each time.
fn section(stage: &mut Stage, name: &str) -> Vec<String> {
    let text = ask(stage, &format!("info {name}"));
    let lines = text.lines().filter(|line| line.contains("stat_"));
    let mut lines: Vec<String> = lines.map(without_times).collect();
    lines.sort_unstable();
    lines
}

fn without_times(line: &str) -> String {
    let (name, values) = line.split_once(':').unwrap();
    let kept = values.split(',').map(|value| {
        let (what, _) = value.split_once('=').unwrap();
        if what.starts_with("usec") || what.starts_with('p') {
            what
        } else {
            value
        }
    });
    let kept: Vec<&str> = kept.collect();
    format!("{name}:{}", kept.join(","))
}

fn outcome(kind: Kind) -> Vec<Vec<String>> {
    let mut stage = Stage::start(kind, 0, &[("slowlog-log-slower-than", "-1")]);
    ask(&mut stage, "config resetstat");
    for line in LINES {
        ask(&mut stage, line);
    }
    let mut found = vec![
        section(&mut stage, "commandstats"),
        section(&mut stage, "errorstats"),
    ];
    let text = ask(&mut stage, "info latencystats");
    let lines = text.lines().filter(|line| line.starts_with("latency_"));
    let mut names: Vec<String> = lines.map(without_times).collect();
    names.sort_unstable();
    found.push(names);
    ask(&mut stage, "config resetstat");
    found.push(section(&mut stage, "commandstats"));
    found.push(section(&mut stage, "errorstats"));
    found
}

#[test]
fn counts_commands_as_a_real_server() {
    let (ours, theirs) = (outcome(Kind::Ours), outcome(Kind::Theirs));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    assert!(theirs[0].len() > 8, "something was counted: {theirs:?}");
}

/// What SLOWLOG GET says, without numbers that differ each time: its lines that have a `$` before
/// them, and how long the arrays are.
fn slow_words(stage: &mut Stage) -> Vec<String> {
    let reply = ask(stage, "slowlog get -1");
    let words = reply
        .lines()
        .filter(|line| !line.starts_with(['$', ':']) && !line.starts_with("127.0.0.1:"));
    words.map(str::to_owned).collect()
}

fn slow(kind: Kind) -> Vec<Vec<String>> {
    let settings = [("slowlog-log-slower-than", "0"), ("slowlog-max-len", "20")];
    let mut stage = Stage::start(kind, 0, &settings);
    let long = "x".repeat(200);
    let many = ["x"; 50].join(" ");
    ask(&mut stage, "client setname somebody");
    for line in LINES {
        ask(&mut stage, line);
    }
    let mut found = vec![slow_words(&mut stage)];
    found.push(vec![ask(&mut stage, "slowlog len")]);
    ask(&mut stage, "slowlog reset");
    for line in [
        &format!("set key {long}"),
        &format!("sadd set {many}"),
        "auth secret",
        "auth somebody secret",
        "hello 2 auth somebody secret setname a",
        "hello 2 setname a auth somebody secret",
        "config set masterauth secret",
        "config set timeout 0 masterauth secret",
        "migrate 127.0.0.1 1 a 0 1 copy auth secret keys k",
        "migrate 127.0.0.1 1 nokey 0 1 auth2 somebody secret",
    ] {
        ask(&mut stage, line);
    }
    found.push(slow_words(&mut stage));
    ask(&mut stage, "config set slowlog-max-len 2");
    ask(&mut stage, "ping");
    found.push(slow_words(&mut stage));
    ask(&mut stage, "config set slowlog-log-slower-than -1");
    ask(&mut stage, "slowlog reset");
    ask(&mut stage, "ping");
    found.push(slow_words(&mut stage));
    found
}

#[test]
fn keeps_slow_commands_as_a_real_server() {
    let (ours, theirs) = (slow(Kind::Ours), slow(Kind::Theirs));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    let secrets = ours.concat().join(" ");
    assert!(!secrets.contains("secret"), "{secrets}");
}

/// Bounds and counts of one command's distribution.
fn distribution(stage: &mut Stage, names: &str) -> Vec<String> {
    let reply = ask(stage, &format!("latency histogram {names}"));
    reply.lines().map(str::to_owned).collect()
}

#[test]
fn tells_how_long_commands_took() {
    for kind in [Kind::Ours, Kind::Theirs] {
        let mut stage = Stage::start(kind, 0, &[("enable-debug-command", "yes")]);
        ask(&mut stage, "config resetstat");
        ask(&mut stage, "debug sleep 0.05");
        let text = ask(&mut stage, "info commandstats");
        let line = text.lines().find(|line| line.starts_with("cmdstat_debug"));
        let micros = line.unwrap().split("usec=").nth(1).unwrap();
        let micros: u64 = micros.split(',').next().unwrap().parse().unwrap();
        assert!((50_000..5_000_000).contains(&micros), "{kind:?}: {micros}");
        let told = distribution(&mut stage, "debug nosuch");
        let head = [
            "*2",
            "$5",
            "debug",
            "*4",
            "$5",
            "calls",
            ":1",
            "$14",
            "histogram_usec",
            "*2",
        ];
        assert_eq!(told[..head.len()], head, "{kind:?}");
        let bound: u64 = told[head.len()][1..].parse().unwrap();
        // A power of two of 1,024 ns, to two digits.
        let exact = (0..21).map(|power| (1_024_u64 << power) / 1_000);
        let near = exact.filter(|exact| bound.abs_diff(*exact) * 100 <= *exact);
        assert_eq!(near.count(), 1, "{kind:?}: {bound}");
        assert!(bound >= 50_000, "{kind:?}: {bound}");
        assert_eq!(told[head.len() + 1], ":1", "{kind:?}");
        ask(&mut stage, "config get timeout");
        let told = distribution(&mut stage, "config");
        assert!(
            told.contains(&"config|get".to_owned()),
            "{kind:?}: {told:?}"
        );
        let told = distribution(&mut stage, "config|get");
        assert_eq!(told[2], "config|get", "{kind:?}: {told:?}");
    }
}
