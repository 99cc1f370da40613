//! What is believed of what the nodes say.

use super::*;

#[test]
fn nodes_that_lag_behind_do_not_bring_an_old_map_back() {
    let mut bench = Bench::with_three_nodes();
    bench.begin();
    bench.answer(1, &after_failover(1));
    bench.wait();
    assert_eq!(bench.owners(), [1, 2, 4]);
    // Three of four are asked, and none of them has heard of it.
    bench.begin();
    for port in bench.asked() {
        if port != 1 && port != 4 {
            bench.answer(port, &thirds(port));
        }
    }
    while bench.refreshed.len() < 3 {
        bench.wait();
    }
    assert_eq!((bench.topologies.len(), bench.owners()), (2, [1, 2, 4]));
}

#[test]
fn an_old_answer_is_not_believed_for_ever() {
    let mut bench = Bench::with_three_nodes();
    bench.begin();
    // Node 1 alone says so, and never again.
    bench.answer(1, &after_failover(1));
    bench.wait();
    let begun = bench.now;
    while bench.owners() == [1, 2, 4] {
        bench.begin();
        for port in bench.asked() {
            if port == 2 || port == 3 {
                bench.answer(port, &thirds(port));
            }
        }
        let since = bench.now.since(begun);
        assert!(since < 4 * REFRESH, "still believed after {since:?}");
    }
    assert!(bench.now.since(begun) >= 2 * REFRESH);
    assert_eq!(bench.owners(), [1, 2, 3]);
}

#[test]
fn a_node_is_believed_about_itself() {
    let mut bench = Bench::with_three_nodes();
    bench.begin();
    // The slots were taken from node 3 and given to node 2, without a new epoch.
    let moved = [
        primary(1, 1, 1, &[0], false),
        primary(2, 2, 2, &[1, 2], false),
        primary(3, 3, 3, &[], true),
    ];
    bench.answer(3, &moved.concat());
    bench.wait();
    assert_eq!(bench.owners(), [1, 2, 2]);
}

#[test]
fn a_node_that_has_given_slots_away_is_believed_more_than_one_that_missed_it() {
    let mut bench = Bench::with_three_nodes();
    bench.begin();
    // Node 1 gave the first third to node 2, and then got the last one and a new epoch with it.
    let says_1 = [
        primary(1, 1, 5, &[2], true),
        primary(2, 2, 4, &[0, 1], false),
        primary(3, 3, 3, &[], false),
    ];
    let says_2 = [
        primary(1, 1, 1, &[], false),
        primary(2, 2, 4, &[0, 1], true),
        primary(3, 3, 3, &[2], false),
    ];
    let says_3 = [
        primary(1, 1, 5, &[0, 2], false),
        primary(2, 2, 2, &[1], false),
        primary(3, 3, 3, &[], true),
    ];
    for (port, lines) in [(2, says_2), (1, says_1), (3, says_3)] {
        bench.answer(port, &lines.concat());
    }
    bench.wait();
    assert_eq!(bench.owners(), [2, 2, 1]);
}

#[test]
fn a_cluster_made_anew_at_the_same_addresses_is_believed() {
    let mut bench = Bench::new(&[1]);
    bench.begin();
    let high = |me| {
        [
            primary(1, 1, 11, &[0], me == 1),
            primary(2, 2, 12, &[1], me == 2),
            primary(3, 3, 13, &[2], me == 3),
        ]
        .concat()
    };
    bench.answer(1, &high(1));
    assert_eq!(bench.owners(), [1, 2, 3]);
    // Reset: new ids, low epochs, other slots.
    bench.begin();
    for port in [1, 2, 3] {
        let lines = [
            primary(21, 1, 1, &[2], port == 1),
            primary(22, 2, 2, &[0], port == 2),
            primary(23, 3, 3, &[1], port == 3),
        ];
        bench.answer(port, &lines.concat());
    }
    assert_eq!(bench.owners(), [2, 3, 1]);
    assert_eq!(bench.topologies.last().unwrap().covered(), SLOTS);
}

#[test]
fn among_equal_epochs_the_newest_answer_wins() {
    let mut bench = Bench::new(&[1]);
    bench.begin();
    bench.answer(1, &thirds(1));
    bench.begin();
    // Node 3 has moved to another address: same id, same epoch.
    let moved = [
        primary(1, 1, 1, &[0], false),
        primary(2, 2, 2, &[1], true),
        primary(3, 5, 3, &[2], false),
    ];
    bench.answer(2, &moved.concat());
    bench.wait();
    assert_eq!(bench.owners(), [1, 2, 5]);
    assert_eq!(bench.topologies.last().unwrap().shards().len(), 3);
}

#[test]
fn what_is_remembered_is_bounded_by_the_nodes_that_are_known() {
    let mut bench = Bench::new(&[1, 2]);
    bench.begin();
    bench.answer(1, &thirds(1));
    bench.answer(2, &thirds(2));
    // The cluster moves to new addresses again and again, faster than answers grow old.
    for generation in 1..20 {
        bench.call(|it, now| it.handle_event(Event::Stale, now));
        bench.begin();
        let base = generation * 10;
        let lines: String = (0..3)
            .map(|third| {
                let epoch = u64::from(base) + third as u64;
                let port = base + third;
                primary(port, port, epoch, &[usize::from(third)], false)
            })
            .collect();
        for port in bench.asked() {
            bench.answer(port, &lines);
        }
        assert_eq!(bench.owners(), [base, base + 1, base + 2]);
        assert!(bench.discovery.beliefs.len() <= 5);
    }
}

#[test]
fn replicas_follow_the_newest_answer() {
    let mut bench = Bench::new(&[1]);
    let replica = |of: u16, flags: &str| {
        format!(
            "{:040x} 127.0.0.1:8@18 {flags} {of:040x} 0 0 1 connected\n",
            8
        )
    };
    let replicas = |bench: &Bench| -> Vec<usize> {
        let topology = bench.topologies.last().unwrap();
        let shards = topology.shards().iter();
        shards.map(|shard| shard.replicas.len()).collect()
    };
    bench.begin();
    bench.answer(1, &(thirds(1) + &replica(1, "slave")));
    assert_eq!(replicas(&bench), [1, 0, 0]);
    bench.begin();
    bench.answer(2, &(thirds(2) + &replica(2, "slave")));
    bench.wait();
    assert_eq!(
        replicas(&bench),
        [0, 1, 0],
        "it follows another primary now"
    );
    bench.begin();
    let port = bench.asked()[0];
    bench.answer(port, &(thirds(port) + &replica(2, "slave,fail")));
    bench.wait();
    assert_eq!(replicas(&bench), [0, 0, 0]);
}

#[test]
fn scattered_slots_are_one_shard() {
    let mut bench = Bench::new(&[1]);
    bench.begin();
    let mut lines = [String::new(), String::new()];
    for (port, line) in [1_u16, 2].into_iter().zip(&mut lines) {
        *line = primary(port, port, port.into(), &[], port == 1);
        line.pop();
        for slot in (usize::from(port) - 1..SLOTS).step_by(2) {
            line.push_str(&format!(" {slot}"));
        }
        line.push('\n');
    }
    bench.answer(1, &lines.concat());
    let topology = bench.topologies.last().unwrap();
    assert_eq!((topology.shards().len(), topology.covered()), (2, SLOTS));
    for slot in Slot::all() {
        assert_eq!(topology.owner(slot), Some(slot.index() % 2));
    }
}

#[test]
fn while_most_primaries_are_silent_the_others_do_not_lead_back() {
    let mut bench = Bench::with_three_nodes();
    // A replica at port 4 has taken over from node 1, which is cut off and has not heard of it.
    let after = |me: u16| {
        [
            primary(1, 1, 1, &[], false),
            primary(2, 2, 2, &[1], me == 2),
            primary(3, 3, 3, &[2], me == 3),
            primary(4, 4, 4, &[0], me == 4),
        ]
        .concat()
    };
    bench.begin();
    for port in [2, 3] {
        bench.answer(port, &after(port));
    }
    bench.refuse(1);
    assert_eq!(bench.owners(), [4, 2, 3]);
    // Now only node 1 is reached.
    let begun = bench.now;
    let mut answers = 0;
    while bench.now.since(begun) < 6 * REFRESH {
        bench.wait();
        for port in bench.asked() {
            match port {
                1 => {
                    bench.answer(1, &thirds(1));
                    answers += 1;
                }
                _ => bench.refuse(port),
            }
        }
    }
    assert!(answers >= 3, "it was asked {answers} times");
    assert_eq!(bench.owners(), [4, 2, 3]);
    // What all of them say counts as always, and some day even what the few say.
    let forever = REFRESH * 100;
    while bench.now.since(begun) < forever {
        bench.wait();
        for port in bench.asked() {
            match port {
                1 => bench.answer(1, &thirds(1)),
                _ => bench.refuse(port),
            }
        }
    }
    assert_eq!(bench.owners(), [1, 2, 3]);
}

#[test]
fn a_translated_address_is_the_one_to_connect_to() {
    let mut bench = Bench::new(&[1]);
    let to = Address::new("gate", 7003);
    let map = [(Address::new("127.0.0.1", 3), to.clone())];
    bench.discovery.options.addresses.nodes = map.into();
    bench.begin();
    bench.answer(1, &thirds(1));
    let topology = bench.topologies.last().unwrap();
    assert!(topology.has_node(&to) && !topology.has_node(&Address::new("127.0.0.1", 3)));
    let aliases: Vec<_> = topology.aliases().collect();
    assert_eq!(aliases, [(&Address::new("127.0.0.1", 3), &to)]);
    bench.begin();
    assert_eq!(bench.asked(), [1, 2, 7003]);
}
