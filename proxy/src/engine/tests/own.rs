//! What the proxy answers by itself, as far as it reaches beyond one client.

use super::*;
use crate::engine::Emulation;

#[test]
fn a_changed_setting_holds_for_all_workers() {
    let mut one = Bench::with_two_nodes();
    let mut other = Bench::with_two_nodes();
    let client = one.client();
    one.input(
        client,
        "config set hold_timeout_ms 100 bulk_bytes_max 1kb\r\n",
    );
    assert_eq!(one.written(client), "+OK\r\n");
    let agreed = Arc::new(one.agreed.pop().expect("a notice"));
    other.call(|proxy, now| proxy.handle_event(Event::Agreed(agreed), now));
    assert!(other.agreed.is_empty(), "who is told tells nobody");
    for bench in [&mut one, &mut other] {
        let client = bench.client();
        bench.topology(&[(0, 8191, 1)]);
        bench.input(client, &request(&["get", UPPER]));
        bench.wait(Duration::from_millis(300));
        assert_eq!(
            bench.written(client),
            "-CLUSTERDOWN Hash slot not served\r\n"
        );
        bench.input(client, "config get bulk_bytes_m*\r\n");
        assert_eq!(
            bench.written(client),
            "*2\r\n$14\r\nbulk_bytes_max\r\n$4\r\n1024\r\n"
        );
        bench.input(client, "*2\r\n$4\r\necho\r\n$1025\r\n");
        assert_eq!(
            bench.written(client),
            "-ERR Protocol error: invalid bulk length\r\n"
        );
    }
}

#[test]
fn the_program_runs_for_longer_than_its_first_client_is_there() {
    let program = crate::engine::Program {
        started_unix_ms: 1_000,
        ..Default::default()
    };
    let mut bench = Bench::new(Options {
        program: Arc::new(program),
        ..Options::default()
    });
    let client = bench.client();
    let mut input = BytesMut::from("info server\r\n");
    let now = Now {
        instant: bench.now,
        unix_ms: 8_500,
    };
    bench.call(|proxy, _| proxy.handle_input(client, &mut input, now));
    let text = bench.written(client);
    assert!(text.contains("\r\nuptime_in_seconds:7\r\n"), "{text}");
    assert!(text.contains("\r\nserver_time_usec:8500000\r\n"), "{text}");
}

#[test]
fn a_refused_setting_is_told_to_nobody() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, "config set hold_timeout_ms 100 redirects_max 0\r\n");
    assert!(bench.written(client).starts_with("-ERR CONFIG SET failed"));
    bench.input(client, "config get hold_timeout_ms\r\n");
    assert!(bench.written(client).contains("\r\n10000\r\n"));
    assert!(bench.agreed.is_empty());
}

#[test]
fn what_is_counted_anew_is_told_to_the_other_workers() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(
        client,
        "ping\r\nnosuch\r\nconfig resetstat\r\ninfo stats\r\n",
    );
    let text = bench.written(client);
    // The reset itself is the first that counts.
    assert!(
        text.contains("\r\ntotal_commands_processed:1\r\n"),
        "{text}"
    );
    assert!(
        text.contains("\r\ntotal_connections_received:0\r\n"),
        "{text}"
    );
    assert!(bench.agreed.pop().expect("a notice").baseline.is_some());
}

#[test]
fn without_emulation_there_is_no_cluster() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    for line in [
        "cluster slots",
        "cluster keyslot k",
        "cluster countkeysinslot 1",
        "cluster help",
        "readonly",
        "readwrite",
        "asking",
    ] {
        bench.input(client, &format!("{line}\r\n"));
        let refused = "-ERR This instance has cluster support disabled\r\n";
        assert_eq!(bench.written(client), refused, "{line}");
    }
}

#[test]
fn the_owner_of_a_slot_is_asked_for_its_keys() {
    let mut bench = Bench::new(Options {
        cluster: Some(Emulation { announce: None }),
        ..Options::default()
    });
    bench.topology(&[(0, 8191, 1), (8192, 16383, 2)]);
    let client = bench.client();
    let upper = request(&["cluster", "getkeysinslot", "8192", "5"]);
    bench.input(client, &upper);
    assert_eq!((bench.sent(1), bench.sent(2)), (String::new(), upper));
    bench.reply(2, "*0\r\n");
    assert_eq!(bench.written(client), "*0\r\n");
    let lower = request(&["cluster", "countkeysinslot", "8191"]);
    bench.input(client, &lower);
    assert_eq!((bench.sent(1), bench.sent(2)), (lower, String::new()));
    bench.reply(1, ":3\r\n");
    assert_eq!(bench.written(client), ":3\r\n");
    // Some node says what is wrong with these.
    let wrong = request(&["cluster", "countkeysinslot", "16384"]);
    bench.input(client, &wrong);
    assert_eq!(bench.sent(1), wrong);
    bench.reply(1, "-ERR Invalid slot\r\n");
    assert_eq!(bench.written(client), "-ERR Invalid slot\r\n");
    bench.input(
        client,
        "readonly\r\nreadwrite\r\nasking\r\ncluster addslots 1\r\n",
    );
    let written = bench.written(client);
    assert!(
        written.starts_with("+OK\r\n+OK\r\n+OK\r\n-ERR proxy: the cluster is"),
        "{written}"
    );
}

#[test]
fn what_is_never_served_says_why() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    for line in [
        "save",
        "shutdown nosave",
        "migrate h 1 k 0 1",
        "debug sleep 0",
        "swapdb 0 1",
    ] {
        bench.input(client, &format!("{line}\r\n"));
        let reply = bench.written(client);
        assert!(
            reply.starts_with("-ERR ") && !reply.contains("yet"),
            "{line}: {reply}"
        );
    }
    assert_eq!(bench.sent(1) + &bench.sent(2), "");
}
