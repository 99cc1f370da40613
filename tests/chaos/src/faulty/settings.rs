//! What is to happen to the bytes of one link.

use std::time::Duration;

/// One direction of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Flow {
    pub(super) latency: Duration,
    pub(super) jitter: Duration,
    /// Bytes in a second; 0 is no limit.
    pub(super) rate: u64,
    /// The longest piece that is written at once; 0 is no limit.
    pub(super) piece: usize,
    pub(super) stalled: bool,
    /// Counted from when it was said, or from a later connection's beginning.
    pub(super) cut_after: Option<u64>,
    pub(super) corrupt_after: Option<u64>,
    /// How often this has been changed; counts of bytes begin anew with each change.
    pub(super) changes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Accept {
    #[default]
    Pass,
    Blackhole,
    Refuse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To the target.
    Up,
    /// From the target.
    Down,
}

/// A whole link. What happens once to all connections is told by a count that has grown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Settings {
    up: Flow,
    down: Flow,
    pub(super) accept: Accept,
    pub(super) resets: u64,
    half_closes: [u64; 2],
}

impl Settings {
    pub(super) fn flow(&self, way: Way) -> &Flow {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }

    pub(super) fn half_closes(&self, way: Way) -> u64 {
        self.half_closes[usize::from(way == Way::Down)]
    }

    /// Does what a line says behind the link's name.
    pub(super) fn change(&mut self, what: &str, arguments: &[&str]) -> Result<(), String> {
        let (numbers, ways) = numbers_and_ways(arguments)?;
        match (what, numbers.as_slice()) {
            ("pass", []) => self.pass(),
            ("reset", []) => self.resets += 1,
            ("blackhole", []) => self.accept = Accept::Blackhole,
            ("refuse", []) => {
                self.accept = Accept::Refuse;
                self.resets += 1;
            }
            ("half-close", []) if ways.len() == 1 => {
                self.half_closes[usize::from(ways[0] == Way::Down)] += 1;
            }
            _ => return self.change_flows(what, &numbers, &ways),
        }
        if what == "blackhole" {
            return self.change_flows("stall", &[], &ways);
        }
        Ok(())
    }

    fn pass(&mut self) {
        let changes = self.up.changes.max(self.down.changes) + 1;
        self.up = Flow {
            changes,
            ..Flow::default()
        };
        self.down = self.up;
        self.accept = Accept::Pass;
    }

    fn change_flows(&mut self, what: &str, numbers: &[u64], ways: &[Way]) -> Result<(), String> {
        for way in ways {
            let flow = match way {
                Way::Up => &mut self.up,
                Way::Down => &mut self.down,
            };
            flow.changes += 1;
            match (what, numbers) {
                ("latency", [ms]) => flow.latency = Duration::from_millis(*ms),
                ("latency", [ms, jitter]) => {
                    flow.latency = Duration::from_millis(*ms);
                    flow.jitter = Duration::from_millis(*jitter);
                }
                ("rate", [bytes]) => flow.rate = *bytes,
                ("split", [bytes]) => flow.piece = usize::try_from(*bytes).unwrap_or(0),
                ("stall", []) => flow.stalled = true,
                ("cut", [bytes]) => flow.cut_after = Some(*bytes),
                ("corrupt", [bytes]) => flow.corrupt_after = Some(*bytes),
                _ => return Err(format!("not understood: {what} with {numbers:?}")),
            }
        }
        Ok(())
    }
}

/// Without a way both are meant.
fn numbers_and_ways(arguments: &[&str]) -> Result<(Vec<u64>, Vec<Way>), String> {
    let (mut numbers, mut ways) = (Vec::new(), Vec::new());
    for argument in arguments {
        match *argument {
            "up" => ways.push(Way::Up),
            "down" => ways.push(Way::Down),
            _ => numbers.push(
                argument
                    .parse()
                    .map_err(|_| format!("no number: {argument}"))?,
            ),
        }
    }
    if ways.is_empty() {
        ways = vec![Way::Up, Way::Down];
    }
    Ok((numbers, ways))
}
