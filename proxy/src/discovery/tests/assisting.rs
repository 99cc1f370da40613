//! The assisted failover between scripted nodes.

use super::*;

/// The nodes 1 to 3 as in `thirds`, and node 4, a replica of the first.
fn with_a_replica(me: u16) -> String {
    let myself = if me == 4 { "myself," } else { "" };
    let replica = format!(
        "{:040x} 127.0.0.1:4@14 {myself}slave {:040x} 0 0 1 connected\n",
        4, 1
    );
    thirds(me) + &replica
}

/// What a node answers when it is asked for its standing after the death of node 1.
fn standing(me: u16) -> String {
    let nodes = with_a_replica(me).replacen("connected", "disconnected", 1);
    let replication = if me == 4 {
        "role:slave\r\nmaster_link_status:down\r\nmaster_sync_in_progress:0\r\n\
         slave_repl_offset:77\r\nmaster_link_down_since_seconds:0\r\n"
    } else {
        "role:master\r\n"
    };
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let timeout = "*2\r\n$20\r\ncluster-node-timeout\r\n$5\r\n15000\r\n";
    let (info, replication) = (bulk("cluster_current_epoch:3\r\n"), bulk(replication));
    info + &replication + timeout + &bulk(&nodes)
}

impl Bench {
    fn is_ordered(&self) -> bool {
        let mut connecting = self.discovery.connecting.values();
        connecting.any(|(_, subject)| *subject == Subject::Order)
    }

    /// Answers whoever is asked for its standing, and refuses connections to node 1, until somebody
    /// is told to take over.
    fn serve_assist(&mut self) {
        while !self.wanted.is_empty() && !self.is_ordered() {
            for port in self.asked() {
                match port {
                    1 => self.refuse(1),
                    _ => self.reply(port, &standing(port)),
                }
            }
        }
    }

    fn with_a_replica() -> Self {
        let mut bench = Self::new(&[1]);
        bench.discovery.options.assist_failover = true;
        bench.begin();
        bench.answer(1, &with_a_replica(1));
        bench.wanted.clear();
        bench
    }

    fn lose(&mut self, port: u16) {
        self.call(|it, now| it.handle_event(Event::Lost(node(port)), now));
    }

    /// What is to be written to a connection.
    fn written(&mut self, connection: ConnectionId) -> String {
        let output = self.discovery.output(connection);
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        let used = output.slices(&mut slices);
        let bytes: Vec<u8> = slices[..used].iter().flat_map(|it| it.to_vec()).collect();
        String::from_utf8(bytes).unwrap()
    }
}

#[test]
fn a_replica_of_a_dead_primary_is_told_to_take_over_and_watched() {
    let mut bench = Bench::with_a_replica();
    bench.lose(1);
    let died = bench.now;
    let connection = loop {
        bench.serve_assist();
        if bench.is_ordered() {
            break bench.connect(4);
        }
        bench.wait();
        assert!(bench.now.since(died) < Duration::from_millis(150));
    };
    assert_eq!(
        bench.written(connection),
        "*3\r\n$7\r\nCLUSTER\r\n$8\r\nFAILOVER\r\n$5\r\nFORCE\r\n"
    );
    assert_eq!((bench.assisting, bench.stories.len()), (1, 0));
    let mut input = BytesMut::from("+OK\r\n");
    bench.call(|it, now| it.handle_input(connection, &mut input, now));
    // Until the topology is a new one, it is asked for every 20 ms, of the replica first.
    for _ in 0..10 {
        assert!(bench.wait() <= Duration::from_millis(20));
        assert_eq!(bench.wanted[0].1.port, 4);
        for port in bench.asked() {
            match port {
                1 => bench.refuse(1),
                _ => bench.answer(port, &with_a_replica(port)),
            }
        }
    }
    bench.wait();
    let after = |me| {
        let lines = [
            primary(1, 1, 1, &[], false),
            primary(2, 2, 2, &[1], me == 2),
            primary(3, 3, 3, &[2], me == 3),
            primary(4, 4, 4, &[0], me == 4),
        ];
        lines.concat()
    };
    for port in bench.asked() {
        match port {
            1 => bench.refuse(1),
            _ => bench.answer(port, &after(port)),
        }
    }
    assert_eq!(bench.owners(), [4, 2, 3]);
    assert!(
        bench.stories[0].contains("; it is primary; "),
        "{:?}",
        bench.stories
    );
    assert!(bench.wait() >= REFRESH, "nothing is expected any more");
}

#[test]
fn a_refused_question_is_a_sign_too_but_not_when_nobody_is_to_help() {
    for is_on in [true, false] {
        let mut bench = Bench::with_a_replica();
        bench.discovery.options.assist_failover = is_on;
        bench.begin();
        bench.refuse(1);
        let probed = bench.asked().contains(&1);
        assert_eq!(probed, is_on);
    }
    // Nor is a replica helped, nor a stranger.
    let mut bench = Bench::with_a_replica();
    bench.lose(4);
    bench.lose(9);
    assert_eq!(bench.asked(), NOBODY);
}

#[test]
fn a_node_that_answers_anything_is_alive() {
    for reply in [
        "+PONG\r\n",
        "-NOAUTH Authentication required.\r\n",
        "-LOADING\r\n",
    ] {
        let mut bench = Bench::with_a_replica();
        bench.lose(1);
        assert_eq!(bench.asked(), [1]);
        bench.reply(1, reply);
        assert_eq!(bench.asked(), NOBODY);
        // One that takes the connection and ends it is not.
        bench.pass(Duration::from_millis(50));
        bench.lose(1);
        let connection = bench.connect(1);
        bench.call(|it, now| it.handle_close(connection, now));
        assert_eq!(bench.asked(), [2, 3, 4]);
    }
    for error in [
        ConnectError::TimedOut,
        ConnectError::Other("no route".to_owned()),
    ] {
        let mut bench = Bench::with_a_replica();
        bench.lose(1);
        let (token, _) = bench.wanted.remove(0);
        bench.call(|it, now| it.handle_connect_failed(token, error, now));
        assert_eq!(bench.asked(), NOBODY);
    }
}
