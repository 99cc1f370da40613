//! Nodes that serve nobody just now, because they load their data or miss their cluster. However
//! many slots wait for such a node, one request at a time asks whether it serves again; the others
//! wait for what comes of that. So nobody waits much longer than the node does, and the node is not
//! asked thousands of times for thousands of slots.

use core::time::Duration;
use std::collections::BTreeMap;

use slotway_protocol::engine::Instant;

/// The gates that are shut in one worker, by backend.
#[derive(Debug, Default)]
pub(crate) struct Gates(BTreeMap<usize, Gate>);

#[derive(Debug)]
struct Gate {
    /// Nothing passes before this time.
    until: Instant,
    /// The request that was let through last has not been answered.
    asking: bool,
    /// How often the node has said no in a row.
    refusals: u32,
}

impl Gates {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the node serves nobody.
    pub(crate) fn is_shut(&self, backend: usize) -> bool {
        self.0.contains_key(&backend)
    }

    /// The node has said that it serves nobody. Gives the time at which it is asked again.
    pub(crate) fn shut(&mut self, backend: usize, now: Instant) -> Instant {
        let gate = self.0.entry(backend).or_insert(Gate {
            until: now,
            asking: false,
            refusals: 0,
        });
        // Others were under way when the first was refused: they say nothing new.
        if gate.until <= now || gate.asking {
            gate.until = now + pause(gate.refusals);
            gate.refusals = gate.refusals.saturating_add(1);
            gate.asking = false;
        }
        gate.until
    }

    /// Whether a request may go to the node: if not, when to ask again.
    pub(crate) fn admit(&mut self, backend: usize, now: Instant) -> Result<(), Instant> {
        let Some(gate) = self.0.get_mut(&backend) else {
            return Ok(());
        };
        if gate.until > now {
            return Err(gate.until);
        }
        gate.asking = true;
        gate.until = now + PATIENCE;
        Ok(())
    }

    /// The node serves, or its connection is gone; says whether that is news.
    pub(crate) fn open(&mut self, backend: usize) -> bool {
        self.0.remove(&backend).is_some()
    }
}

/// 1 ms, then twice as long each time.
fn pause(refusals: u32) -> Duration {
    Duration::from_millis((1 << refusals.min(5)).min(PAUSE_MAX_MS))
}

/// What a client may notice of the end of such a time at the most, in milliseconds.
const PAUSE_MAX_MS: u64 = 10;

/// How long the answer to the one request is waited for before another one asks.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    #[test]
    fn one_at_a_time_asks_ever_more_seldom() {
        let mut gates = Gates::default();
        assert_eq!(gates.admit(7, at(0)), Ok(()));
        assert_eq!(gates.shut(7, at(0)), at(1));
        assert_eq!(gates.shut(7, at(0)), at(1), "said by a request of before");
        assert_eq!(gates.admit(8, at(0)), Ok(()), "another node");
        assert_eq!(gates.admit(7, at(0)), Err(at(1)));
        let mut now = at(1);
        for expected in [2, 4, 8, 10, 10] {
            assert_eq!(gates.admit(7, now), Ok(()), "one asks");
            assert!(gates.admit(7, now).is_err(), "the next one waits");
            let until = gates.shut(7, now);
            assert_eq!(until, now + Duration::from_millis(expected));
            now = until;
        }
        assert!(gates.open(7) && !gates.open(7));
        assert_eq!(gates.admit(7, now), Ok(()));
        assert!(gates.is_empty());
    }

    #[test]
    fn a_lost_question_is_asked_again() {
        let mut gates = Gates::default();
        gates.shut(0, at(0));
        assert_eq!(gates.admit(0, at(5)), Ok(()));
        assert_eq!(gates.admit(0, at(900)), Err(at(1005)));
        assert_eq!(gates.admit(0, at(1005)), Ok(()));
    }
}
