//! Messages of the cluster bus, whole and with bytes altered, on links to a node that is part of a
//! cluster: it takes them or closes the link, and goes on, and can read the cluster file that it
//! writes. From the top of the repository:
//! `mkdir -p fuzz/corpus/bus_link && cargo +nightly fuzz run --sanitizer none bus_link
//! fuzz/corpus/bus_link -- -max_len=600`.

#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use slotway_fuzz::{Bench, NODES_CONF};
use slotway_node::bus::{Body, Flags, Gossip, GossipEntry, Header, Heartbeat, Packet, SlotSet};
use slotway_protocol::cluster::Slot;

fuzz_target!(|data: &[u8]| {
    let mut bench = Bench::new(Some(NODES_CONF)).expect("the cluster file is whole");
    let mut source = Unstructured::new(data);
    let mut links = 0;
    while !source.is_empty() && play(&mut bench, &mut source, &mut links).is_ok() {}
    bench.pass(3_000);
    bench.ask(&[b"CLUSTER", b"NODES"]);
    bench.ask(&[b"CLUSTER", b"SLOTS"]);
    bench.ask(&[b"CLUSTER", b"SAVECONFIG"]);
    let file = bench.saved.take();
    let file = file.expect("the file is written when asked for");
    assert!(Bench::new(Some(&file)).is_some(), "{file}");
});

fn play(bench: &mut Bench, source: &mut Unstructured<'_>, links: &mut u32) -> Result<()> {
    if *links == 0 || source.ratio(1, 8)? {
        *links += 1;
        bench.open_bus_link(*links);
    }
    if source.ratio(1, 3)? {
        bench.pass(u64::from(source.arbitrary::<u16>()? % 2_000));
    }
    let mut bytes = Vec::new();
    packet(source)?.encode(&mut bytes);
    for _ in 0..source.int_in_range(0..=3)? {
        let place = source.choose_index(bytes.len())?;
        bytes[place] = source.arbitrary()?;
    }
    let cut = source.ratio(1, 16)?;
    let len = if cut {
        source.choose_index(bytes.len())?
    } else {
        bytes.len()
    };
    bench.bus_input(source.int_in_range(1..=*links)?, &bytes[..len]);
    Ok(())
}

fn packet(source: &mut Unstructured<'_>) -> Result<Packet> {
    let header = Header {
        port: 7000,
        bus_port: source.choose(&[17_000, 0, 7])?.to_owned(),
        current_epoch: epoch(source)?,
        config_epoch: epoch(source)?,
        offset: source.arbitrary()?,
        sender: id(source)?,
        slots: slots(source)?,
        primary: if source.arbitrary()? {
            Some(id(source)?)
        } else {
            None
        },
        host: host(source)?,
        flags: Flags(source.int_in_range(0..=1023)?),
        is_down: source.arbitrary()?,
        is_paused: source.arbitrary()?,
        forces_vote: source.arbitrary()?,
    };
    let body = body(source)?;
    Ok(Packet { header, body })
}

fn body(source: &mut Unstructured<'_>) -> Result<Body> {
    Ok(match source.int_in_range(0..=9)? {
        0 => Body::Heartbeat(Heartbeat::Ping, gossip(source)?),
        1 => Body::Heartbeat(Heartbeat::Pong, gossip(source)?),
        2 => Body::Heartbeat(Heartbeat::Meet, gossip(source)?),
        3 => Body::Fail(id(source)?),
        4 => Body::Publish {
            channel: source.arbitrary()?,
            message: source.arbitrary()?,
            sharded: source.arbitrary()?,
        },
        5 => Body::AuthRequest,
        6 => Body::AuthAck,
        7 => Body::Update {
            epoch: epoch(source)?,
            id: id(source)?,
            slots: slots(source)?,
        },
        8 => Body::ManualFailoverStart,
        _ => Body::Module,
    })
}

fn gossip(source: &mut Unstructured<'_>) -> Result<Gossip> {
    let mut gossip = Gossip::default();
    for _ in 0..source.int_in_range(0..=3)? {
        gossip.entries.push(GossipEntry {
            id: id(source)?,
            ping_sent: source.arbitrary()?,
            pong_received: source.arbitrary()?,
            host: host(source)?,
            port: source.arbitrary()?,
            bus_port: source.arbitrary()?,
            flags: Flags(source.int_in_range(0..=1023)?),
        });
    }
    if source.ratio(1, 4)? {
        gossip.hostname = source.choose(&["host-1", "a.example"])?.to_string();
    }
    Ok(gossip)
}

/// Mostly what is near to the epochs that are known.
fn epoch(source: &mut Unstructured<'_>) -> Result<u64> {
    if source.ratio(1, 16)? {
        return source.arbitrary();
    }
    source.int_in_range(0..=12)
}

/// This node, those that it knows, and some that it does not.
fn id(source: &mut Unstructured<'_>) -> Result<String> {
    let last: u8 = source.int_in_range(0..=7)?;
    Ok(format!("22bbf0a1a0c5f9c0c2ac8eb5c1fd0d4b9e5f{last:04}"))
}

fn host(source: &mut Unstructured<'_>) -> Result<String> {
    Ok(source
        .choose(&["", "10.0.0.1", "10.0.0.2", "10.0.0.9", "::1"])?
        .to_string())
}

fn slots(source: &mut Unstructured<'_>) -> Result<SlotSet> {
    let mut slots = SlotSet::default();
    let first = *source.choose(&[0, 5_461, 10_923, 16_000])?;
    let count = *source.choose(&[0, 1, 100, 5_461])?;
    for slot in Slot::all().skip(first).take(count) {
        slots.insert(slot);
    }
    Ok(slots)
}
