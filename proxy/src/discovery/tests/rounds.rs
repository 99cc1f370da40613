//! When rounds of questions begin and end, and whom they ask.

use super::*;

#[test]
fn a_blank_node_does_not_wipe_the_topology() {
    let mut bench = Bench::with_three_nodes();
    bench.begin();
    assert_eq!(bench.asked(), [1, 2, 3]);
    // Node 2 has lost its files; the others do not answer in time.
    bench.answer(2, &primary(9, 2, 0, &[], true));
    bench.refuse(1);
    bench.wait();
    assert_eq!(bench.refreshed, [true, false], "it is no answer");
    assert!(
        bench
            .unreachable
            .contains(&"it knows of no slots".to_owned())
    );
    assert_eq!((bench.topologies.len(), bench.owners()), (1, [1, 2, 3]));
    // All nodes are still known, and asked again soon.
    bench.begin();
    assert_eq!(bench.asked(), [1, 2, 3]);
    bench.answer(2, &primary(9, 2, 0, &[], true));
    bench.answer(1, &thirds(1));
    bench.answer(3, &thirds(3));
    assert_eq!((bench.topologies.len(), bench.owners()), (1, [1, 2, 3]));
    assert_eq!(bench.refreshed, [true, false, true]);
}

#[test]
fn a_blank_node_is_a_cluster_to_begin_with() {
    let mut bench = Bench::new(&[1, 2]);
    bench.begin();
    bench.answer(1, &primary(1, 1, 0, &[], true));
    assert_eq!(bench.topologies.len(), 0, "the other may know more");
    bench.answer(2, &primary(2, 2, 0, &[], true));
    assert_eq!(bench.topologies[0].covered(), 0);
    assert_eq!(bench.refreshed, [true]);
    // The first answer with slots is good at once, while the other is still awaited.
    bench.begin();
    bench.answer(1, &thirds(1));
    assert_eq!(bench.owners(), [1, 2, 3]);
    assert_eq!(bench.refreshed, [true]);
}

#[test]
fn a_doubt_during_a_round_begins_another() {
    let mut bench = Bench::with_three_nodes();
    bench.begin();
    bench.call(|it, now| it.handle_event(Event::Stale, now));
    assert_eq!(bench.asked(), [1, 2, 3], "one round at a time");
    for port in 1..=3 {
        bench.answer(port, &thirds(port));
    }
    assert_eq!(bench.wait(), Duration::from_millis(50));
    assert_eq!(bench.asked(), [1, 2, 3]);
    // The doubt is heeded once.
    for port in 1..=3 {
        bench.answer(port, &thirds(port));
    }
    assert!(bench.wait() >= REFRESH);
}

#[test]
fn a_doubt_during_a_long_round_begins_another_at_once() {
    let mut bench = Bench::with_three_nodes();
    bench.begin();
    bench.call(|it, now| it.handle_event(Event::Stale, now));
    bench.pass(Duration::from_millis(80));
    for port in 1..=3 {
        bench.answer(port, &thirds(port));
    }
    assert_eq!(bench.wait(), Duration::ZERO);
    assert_eq!(bench.asked(), [1, 2, 3]);
}

#[test]
fn a_silent_node_is_not_waited_for_once_another_has_answered() {
    let mut bench = Bench::with_three_nodes();
    bench.begin();
    bench.pass(Duration::from_millis(10));
    bench.answer(1, &after_failover(1));
    bench.pass(Duration::from_millis(60));
    bench.answer(2, &after_failover(2));
    assert_eq!(bench.wait(), Duration::from_millis(40));
    assert_eq!(bench.refreshed, [true, true]);
    assert_eq!(bench.owners(), [1, 2, 4]);
    // Without any answer the whole time is theirs, and no longer than that.
    bench.begin();
    bench.refuse(bench.asked()[0]);
    assert_eq!(bench.wait(), ANSWER);
    bench.begin();
    bench.pass(ANSWER - Duration::from_millis(1));
    let port = bench.asked()[0];
    bench.answer(port, &after_failover(port));
    assert_eq!(bench.wait(), Duration::from_millis(1));
}

#[test]
fn a_primary_that_is_said_to_be_down_is_watched() {
    let mut bench = Bench::with_three_nodes();
    let pauses = |bench: &mut Bench, flags: &str| {
        bench.begin();
        for port in bench.asked() {
            let suspected = thirds(port).replace("master", flags);
            let own = suspected.replace(&format!("myself,{flags}"), "myself,master");
            bench.answer(port, &own);
        }
        bench.discovery.next_round.since(bench.now).as_millis()
    };
    assert!(pauses(&mut bench, "master") >= REFRESH.as_millis());
    assert_eq!(pauses(&mut bench, "master,fail?"), 100);
    assert_eq!(pauses(&mut bench, "master,fail"), 100);
    bench.pass(Duration::from_secs(61));
    assert_eq!(pauses(&mut bench, "master,fail"), 500, "it lasts");
    assert!(pauses(&mut bench, "master") >= REFRESH.as_millis());
    assert_eq!(pauses(&mut bench, "master,fail"), 100, "it is another time");
}
