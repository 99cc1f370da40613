//! What has happened, in words for the log: who has taken over from whom and how long that took,
//! which slots have moved, which requests were held.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

use slotway::engine::HoldStory;
use slotway_protocol::cluster::{Slot, Topology};
use slotway_protocol::engine::Address;
use tokio::sync::mpsc;

/// Nodes to which connections were lost: when that began, and when it was so last.
#[derive(Debug, Clone, Default)]
pub(super) struct Losses(Rc<RefCell<HashMap<Address, (Instant, Instant)>>>);

impl Losses {
    pub(super) fn note(&self, node: &Address, now: Instant) {
        let mut losses = self.0.borrow_mut();
        if losses.len() >= LOSSES_MAX {
            losses.retain(|_, (_, last)| now.duration_since(*last) < CONNECTED);
        }
        if losses.len() < LOSSES_MAX || losses.contains_key(node) {
            let (began, last) = losses.entry(node.clone()).or_insert((now, now));
            if now.duration_since(*last) >= CONNECTED {
                *began = now;
            }
            *last = now;
        }
    }

    /// How long the node has been lost by now, in milliseconds, if it was so lately.
    fn take(&self, node: &Address, now: Instant) -> Option<u64> {
        let (began, last) = self.0.borrow_mut().remove(node)?;
        let is_of_now = now.duration_since(last) < CONNECTED;
        is_of_now.then(|| now.duration_since(began).as_millis() as u64)
    }
}

/// Something that a new topology tells.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    /// A replica has its primary's slots.
    Failover {
        from: Address,
        to: Address,
    },
    Moved {
        from: Address,
        to: Address,
    },
    /// There is nobody for slots of this node.
    Lost {
        from: Address,
    },
    /// There was nobody for them before.
    Found {
        to: Address,
    },
}

/// What is different, and for how many slots.
fn changes(before: &Topology, after: &Topology) -> BTreeMap<Change, usize> {
    let mut changes: BTreeMap<(Option<usize>, Option<usize>), usize> = BTreeMap::new();
    for slot in Slot::all() {
        let owners = (before.owner(slot), after.owner(slot));
        let addresses = (
            owners.0.map(|shard| &before.shards()[shard].primary),
            owners.1.map(|shard| &after.shards()[shard].primary),
        );
        if addresses.0 != addresses.1 {
            *changes.entry(owners).or_default() += 1;
        }
    }
    let mut told = BTreeMap::new();
    for ((old, new), slots) in changes {
        let old = old.map(|shard| &before.shards()[shard]);
        let new = new.map(|shard| after.shards()[shard].primary.clone());
        let change = match (old, new) {
            (Some(old), Some(to)) if old.replicas.contains(&to) => Change::Failover {
                from: old.primary.clone(),
                to,
            },
            (Some(old), Some(to)) => Change::Moved {
                from: old.primary.clone(),
                to,
            },
            (Some(old), None) => Change::Lost {
                from: old.primary.clone(),
            },
            (None, Some(to)) => Change::Found { to },
            (None, None) => continue,
        };
        *told.entry(change).or_default() += slots;
    }
    told
}

/// Logs a line for each thing that a new topology tells.
pub(super) fn tell_changes(before: &Topology, after: &Topology, losses: &Losses) {
    let now = Instant::now();
    for (change, slots) in changes(before, after) {
        match change {
            Change::Failover { from, to } => {
                let noticed_ms_ago = losses.take(&from, now);
                tracing::warn!(%from, %to, slots, noticed_ms_ago, "failover: a replica took over");
            }
            Change::Moved { from, to } => tracing::info!(%from, %to, slots, "slots moved"),
            Change::Lost { from } => tracing::warn!(%from, slots, "slots are without a node"),
            Change::Found { to } => tracing::info!(%to, slots, "slots have a node again"),
        }
    }
}

/// Logs what the workers tell of requests that had to wait: one line for all that tell of the same.
pub(super) async fn tell_holds(mut stories: mpsc::Receiver<HoldStory>) {
    while let Some(mut story) = stories.recv().await {
        let until = tokio::time::Instant::now() + SAME_STORY;
        while let Ok(Some(more)) = tokio::time::timeout_at(until, stories.recv()).await {
            add(&mut story, more);
        }
        let HoldStory {
            nodes,
            slots,
            time,
            requests,
            expired,
            refused,
            unknown,
        } = story;
        let (from, to) = in_words(&nodes);
        let for_ms = time.as_millis() as u64;
        tracing::warn!(
            %from, %to, slots, for_ms, requests, expired, refused, unknown,
            "requests were held"
        );
    }
}

fn add(story: &mut HoldStory, more: HoldStory) {
    story.nodes.extend(more.nodes);
    story.slots = story.slots.max(more.slots);
    story.time = story.time.max(more.time);
    story.requests += more.requests;
    story.expired += more.expired;
    story.refused += more.refused;
    story.unknown += more.unknown;
}

/// Whom requests were for, and who served them in the end.
fn in_words(nodes: &[(Option<Address>, Option<Address>)]) -> (String, String) {
    let name = |node: &Option<Address>| match node {
        Some(address) => address.to_string(),
        None => "nobody".to_owned(),
    };
    let joined = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(",");
    (
        joined(nodes.iter().map(|(from, _)| name(from)).collect()),
        joined(nodes.iter().map(|(_, to)| name(to)).collect()),
    )
}

/// A node to which no connection was lost for this long is there again: what happens to it next is
/// another story. One that is down is tried about once a second.
const CONNECTED: Duration = Duration::from_secs(5);

const LOSSES_MAX: usize = 1_000;

/// Workers that tell of a hold within this time tell of the same.
const SAME_STORY: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use slotway_protocol::cluster::{SLOTS, Shard};

    use super::*;

    fn node(port: u16) -> Address {
        Address::new("h", port)
    }

    /// Shards with their first slots; all of them have one replica, ten ports above.
    fn topology(shards: &[(u64, u64, u16)]) -> Topology {
        let mut topology = Topology::empty();
        for (first, last, port) in shards {
            let shard = Shard {
                primary: node(*port),
                replicas: vec![node(port % 10 + if *port > 10 { 0 } else { 10 })],
            };
            let (first, last) = (Slot::new(*first).unwrap(), Slot::new(*last).unwrap());
            topology.assign(first, last, shard);
        }
        topology
    }

    #[test]
    fn a_new_topology_is_told_in_changes() {
        let last = SLOTS as u64 - 1;
        let before = topology(&[(0, 99, 1), (100, 199, 2), (300, last, 3)]);
        let after = topology(&[
            (0, 99, 11),
            (100, 189, 2),
            (190, 199, 3),
            (250, last - 5, 3),
        ]);
        let expected = [
            (
                Change::Failover {
                    from: node(1),
                    to: node(11),
                },
                100,
            ),
            (
                Change::Moved {
                    from: node(2),
                    to: node(3),
                },
                10,
            ),
            (Change::Lost { from: node(3) }, 5),
            (Change::Found { to: node(3) }, 50),
        ];
        assert_eq!(changes(&before, &after), expected.into());
        assert!(changes(&after, &after).is_empty());
    }

    #[test]
    fn a_loss_counts_from_its_beginning() {
        let losses = Losses::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        losses.note(&node(1), at(0));
        // That was another story.
        for seconds in [100, 102, 104] {
            losses.note(&node(1), at(seconds));
        }
        assert_eq!(losses.take(&node(1), at(106)), Some(6_000));
        assert_eq!(losses.take(&node(1), at(106)), None);
        losses.note(&node(2), at(0));
        assert_eq!(
            losses.take(&node(2), at(50)),
            None,
            "a failover that was planned"
        );
    }

    #[test]
    fn workers_tell_one_story() {
        let story = |port, requests| HoldStory {
            nodes: vec![(Some(node(port)), Some(node(11))), (None, Some(node(2)))],
            slots: requests as usize,
            time: Duration::from_millis(requests),
            requests,
            expired: 1,
            refused: 0,
            unknown: 2,
        };
        let mut one = story(1, 5);
        add(&mut one, story(1, 7));
        assert_eq!(
            (one.slots, one.requests, one.expired, one.unknown),
            (7, 12, 2, 4)
        );
        assert_eq!(one.time, Duration::from_millis(7));
        assert_eq!(
            in_words(&one.nodes),
            ("h:1,nobody".to_owned(), "h:11,h:2".to_owned())
        );
    }
}
