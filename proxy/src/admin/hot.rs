//! The answer of `/hot`: hot keys, hot slots and large values, as JSON.

use std::sync::Arc;

use serde::Serialize;
use slotway::engine::{HotKey, LargeValue, Program, Stats, hot_of};
use slotway_protocol::cluster::{Slot, Topology};

#[derive(Serialize)]
struct HotAnswer {
    /// Requests to nodes for all slots, and over how many seconds slots were counted.
    per_second: f64,
    seconds: f64,
    keys: Vec<KeyAnswer>,
    slots: Vec<SlotAnswer>,
    large: Vec<LargeAnswer>,
    /// Requests of each of the 16,384 slots within these seconds, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    slot_requests: Option<Vec<u32>>,
}

#[derive(Serialize)]
struct KeyAnswer {
    /// Bytes that are no printable ASCII as `\xNN`.
    key: String,
    key_bytes: usize,
    slot: u16,
    node: Option<String>,
    command: &'static str,
    per_second: f64,
    over_per_second: f64,
    writes_per_second: f64,
}

#[derive(Serialize)]
struct SlotAnswer {
    slot: u16,
    node: Option<String>,
    per_second: f64,
}

#[derive(Serialize)]
struct LargeAnswer {
    key: String,
    slot: u16,
    node: Option<String>,
    command: &'static str,
    direction: &'static str,
    bytes: usize,
    count: u64,
    last_unix_ms: u64,
}

/// `query` may have `count=N` and `slots=all`.
pub(super) fn hot_json(
    query: &str,
    workers: &[Arc<Stats>],
    program: &Program,
    topology: Option<&Topology>,
) -> serde_json::Result<String> {
    let options = || query.split('&').filter_map(|option| option.split_once('='));
    let count = options().find(|(name, _)| *name == "count");
    let count = count.and_then(|(_, count)| count.parse().ok());
    let count = count.unwrap_or(COUNT).min(COUNT_MAX);
    let node = |slot: u16| {
        let topology = topology?;
        let owner = topology.owner(Slot::new(slot.into())?)?;
        Some(topology.shards()[owner].primary.to_string())
    };
    let (hot, heat) = (hot_of(workers), program.heat.load());
    let key = |key: HotKey| KeyAnswer {
        key: printable(&key.key),
        key_bytes: key.key_len,
        slot: key.slot,
        node: node(key.slot),
        command: key.command,
        per_second: key.per_second,
        over_per_second: key.over_per_second,
        writes_per_second: key.writes_per_second,
    };
    let large = |value: LargeValue| LargeAnswer {
        key: printable(&value.key),
        slot: value.slot,
        node: node(value.slot),
        command: value.command,
        direction: if value.is_reply { "reply" } else { "request" },
        bytes: value.bytes,
        count: value.count,
        last_unix_ms: value.unix_ms,
    };
    let slots = heat.hottest(count).into_iter();
    let answer = HotAnswer {
        per_second: heat.per_second(),
        seconds: heat.seconds,
        keys: hot.keys.into_iter().take(count).map(key).collect(),
        slots: slots
            .map(|(slot, per_second)| SlotAnswer {
                slot,
                node: node(slot),
                per_second,
            })
            .collect(),
        large: hot.large.into_iter().take(count).map(large).collect(),
        slot_requests: options()
            .any(|option| option == ("slots", "all"))
            .then(|| heat.requests.clone()),
    };
    Ok(serde_json::to_string(&answer)? + "\n")
}

fn printable(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

const COUNT: usize = 20;
const COUNT_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use slotway::engine::{Heat, Hot};
    use slotway_protocol::cluster::Shard;
    use slotway_protocol::engine::Address;

    use super::*;

    #[test]
    fn what_is_hot_is_shown_with_its_node() {
        let stats = Arc::new(Stats::new());
        let key = HotKey {
            key: b"a\n\xff".to_vec(),
            key_len: 3,
            slot: 5,
            command: "get",
            per_second: 10.0,
            over_per_second: 0.0,
            writes_per_second: 0.0,
        };
        stats.hot.store(Arc::new(Hot {
            keys: vec![key],
            large: Vec::new(),
        }));
        let program = Program::default();
        let mut requests = vec![0; 16_384];
        requests[5] = 20;
        program.heat.store(Arc::new(Heat {
            seconds: 2.0,
            requests,
        }));
        let mut topology = Topology::empty();
        let slot = Slot::new(5).unwrap();
        let primary = Address::new("h", 1);
        topology.assign(
            slot,
            slot,
            Shard {
                primary,
                replicas: Vec::new(),
            },
        );
        let both = [Arc::clone(&stats), stats];
        let shown = hot_json("count=3", &both, &program, Some(&topology)).unwrap();
        assert_eq!(
            shown,
            "{\"per_second\":10.0,\"seconds\":2.0,\"keys\":[{\"key\":\"a\\\\n\\\\xff\",\
             \"key_bytes\":3,\"slot\":5,\"node\":\"h:1\",\"command\":\"get\",\"per_second\":20.0,\
             \"over_per_second\":0.0,\"writes_per_second\":0.0}],\
             \"slots\":[{\"slot\":5,\"node\":\"h:1\",\"per_second\":10.0}],\"large\":[]}\n"
        );
        let all = hot_json("slots=all", &both, &program, None).unwrap();
        assert!(all.contains("\"slot_requests\":[0,0,0,0,0,20,0,"), "{all}");
    }
}
