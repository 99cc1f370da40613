//! A slot on its way from one node to another: two redis-servers that form a cluster, and two
//! nodes that believe the same.

use slotway_node::{ClusterConfig, ClusterView, NodeConfig, NodeInfo};
use slotway_protocol::cluster::Slot;

use crate::servers::{Mode, Ours, Theirs, config, equal, parse};

/// What is asked, of the first node or the second. The slot of `{foo}` is 12182.
const LINES: &[&str] = &[
    "1 set {foo}here 1",
    "1 set {foo}here2 1",
    "1 set bar 1",
    "2 get {foo}here",
    "2 set {foo}x 1",
    "2 get bar",
    "1 cluster setslot 12182 migrating SECOND",
    "2 cluster setslot 12182 importing FIRST",
    "1 cluster setslot 12182 importing FIRST",
    "2 cluster setslot 12182 migrating FIRST",
    "1 cluster setslot 5 migrating FIRSTX",
    // The owner: what is here is served, the rest is there.
    "1 get {foo}here",
    "1 get {foo}gone",
    "1 set {foo}gone 1",
    "1 mget {foo}here {foo}here2",
    "1 mget {foo}here {foo}gone",
    "1 mget {foo}gone {foo}gone2",
    "1 mset {foo}here 1 {foo}gone 2",
    "1 del {foo}here {foo}gone",
    "1 get bar",
    "1 mget {foo}here bar",
    // The other: only after ASKING.
    "2 get {foo}gone",
    "2 asking",
    "2 get {foo}gone",
    "2 get {foo}gone",
    "2 asking",
    "2 set {foo}new 1",
    "2 asking",
    "2 get {foo}new",
    "2 asking",
    "2 mget {foo}new {foo}missing",
    "2 asking",
    "2 mget {foo}new {foo}new",
    "2 asking",
    "2 mget {foo}missing {foo}missing",
    "2 asking",
    "2 mget {foo}missing {foo}missing2",
    "2 asking",
    "2 ping",
    "2 get {foo}new",
    "2 asking",
    "2 mget {foo}new bar",
    // Transactions.
    "1 multi",
    "1 get {foo}here",
    "1 get {foo}gone",
    "1 exec",
    "1 multi",
    "1 get {foo}here",
    "1 get {foo}here2",
    "1 exec",
    "1 multi",
    "1 get {foo}here",
    "1 get bar",
    "1 exec",
    "2 multi",
    "2 get {foo}new",
    "2 exec",
    // An ASKING before MULTI is for all up to EXEC, and for nothing after it.
    "2 asking",
    "2 multi",
    "2 get {foo}new",
    "2 set {foo}new 2",
    "2 exec",
    "2 get {foo}new",
    "2 asking",
    "2 multi",
    "2 get {foo}new",
    "2 discard",
    "2 get {foo}new",
    "2 multi",
    "2 asking",
    "2 get {foo}new",
    "2 exec",
    "2 get {foo}new",
    // What clients are told.
    "1 cluster countkeysinslot 12182",
    "2 cluster countkeysinslot 12182",
    "1 cluster nodes",
    "1 cluster slots",
    "1 cluster setslot 12182 node SECOND",
    "1 del {foo}here {foo}here2",
    "1 del {foo}here",
    "1 del {foo}here2",
    "1 cluster setslot 12182 node SECOND",
    "2 cluster setslot 12182 node SECOND",
    "1 get {foo}here",
    "2 get {foo}here",
    "2 get {foo}new",
    "1 cluster setslot 12182 stable",
    "1 cluster slots",
    "2 cluster slots",
    "2 cluster info",
];

#[test]
fn a_slot_moves_as_between_real_servers() {
    let mut theirs = [24_314, 24_315].map(|port| Theirs::start_process(Mode::Cluster, port));
    let ports = [theirs[0].port(), theirs[1].port()];
    let [first, second] = &mut theirs;
    let ids = [my_id(first), my_id(second)];
    first.ask(&parse("cluster addslotsrange 0 8000 8002 16383"));
    second.ask(&parse("cluster addslotsrange 8001 8001"));
    second.ask(&parse("cluster set-config-epoch 2"));
    first.ask(&parse("cluster set-config-epoch 1"));
    first.ask(&parse(&format!("cluster meet 127.0.0.1 {}", ports[1])));
    for server in [first, second] {
        server.wait_for("cluster info", "cluster_slots_assigned:16384");
        server.wait_for("cluster info", "cluster_state:ok");
        server.wait_for("cluster info", "cluster_current_epoch:2");
        for port in ports {
            server.wait_for("cluster slots", &format!("127.0.0.1\r\n:{port}\r\n"));
        }
    }
    let mut ours = [0, 1].map(|me| Ours::start(node(&ids, ports, me)));
    let mut differences = String::new();
    for line in LINES {
        let (number, rest) = line.split_once(' ').unwrap();
        let index = number.parse::<usize>().unwrap() - 1;
        let named = rest.replace("FIRST", &ids[0]).replace("SECOND", &ids[1]);
        let request = parse(&named);
        let expected = mask(rest, theirs[index].ask(&request));
        let actual = mask(rest, ours[index].ask(&request));
        if !equal(rest, &expected, &actual) {
            let (expected, actual) = (expected.escape_ascii(), actual.escape_ascii());
            differences += &format!("{line}\n  theirs: {expected}\n  ours:   {actual}\n");
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

fn my_id(server: &mut Theirs) -> String {
    let reply = String::from_utf8(server.ask(&parse("cluster myid"))).unwrap();
    reply.lines().nth(1).unwrap().to_owned()
}

fn node(ids: &[String; 2], ports: [u16; 2], me: usize) -> NodeConfig {
    let slot = |number| Slot::new(number).unwrap();
    let mut nodes = Vec::new();
    for index in 0..2 {
        let mut info = NodeInfo::primary(&ids[index], "127.0.0.1", ports[index]);
        info.epoch = index as u64 + 1;
        nodes.push(info);
    }
    let mut view = ClusterView::new(nodes);
    view.current_epoch = 2;
    view.assign(slot(0), slot(16_383), Some(&ids[0]));
    view.assign(slot(8_001), slot(8_001), Some(&ids[1]));
    NodeConfig {
        cluster: Some(ClusterConfig {
            me: ids[me].clone(),
            view,
        }),
        ..config(Mode::Cluster, ports[me])
    }
}

/// Takes out what depends on time and chance.
fn mask(line: &str, reply: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8(reply).unwrap();
    let masked = match line {
        "cluster nodes" => {
            let mut lines: Vec<String> = text.lines().skip(1).map(mask_node).collect();
            lines.sort();
            lines.join("\n")
        }
        "cluster info" => text
            .lines()
            .filter(|line| {
                line.contains("slots") || line.contains("epoch") || line.contains("size")
            })
            .collect(),
        _ => text,
    };
    masked.into_bytes()
}

/// One line of CLUSTER NODES without the times of pings and pongs.
fn mask_node(line: &str) -> String {
    let words = line.split(' ').enumerate();
    let kept = words.filter(|(index, _)| !(4..=5).contains(index));
    kept.map(|(_, word)| word).collect::<Vec<_>>().join(" ")
}
