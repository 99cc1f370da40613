//! What the program that starts the load tells it at the end: when what happened.

use std::str::FromStr;

use super::Clock;
use crate::history::Loss;

/// Times of day in seconds. One line each:
/// `window NAME FROM TO`: figures of this time are wanted on their own;
/// `window NAME FROM TO GONE`: and until when requests may still have met what failed at its start;
/// `loss SHARD FROM TO`: in this time a primary acknowledged what it may not have passed on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ending {
    pub(super) windows: Vec<Window>,
    losses: Vec<(u8, f64, f64)>,
}

/// A time of which figures are wanted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Window {
    pub(super) name: String,
    pub(super) from: f64,
    pub(super) to: f64,
    /// What failed at the start was gone for good then.
    pub(super) gone: f64,
}

impl FromStr for Ending {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut ending = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            ending
                .read(line)
                .ok_or_else(|| format!("not understood: {line}"))?;
        }
        Ok(ending)
    }
}

impl Ending {
    fn read(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [kind, name, from, to, gone @ ..] = words.as_slice() else {
            return None;
        };
        let (from, to) = (from.parse().ok()?, to.parse().ok()?);
        let gone = gone.first().map_or(Some(from), |gone| gone.parse().ok())?;
        match *kind {
            "window" => {
                let name = (*name).to_owned();
                self.windows.push(Window {
                    name,
                    from,
                    to,
                    gone,
                });
            }
            "loss" => self.losses.push((name.parse().ok()?, from, to)),
            _ => return None,
        }
        Some(())
    }

    pub(super) fn losses(&self, clock: &Clock) -> Vec<Loss> {
        let loss = |(shard, from, to): &(u8, f64, f64)| Loss {
            shard: *shard,
            from: clock.at(*from),
            to: clock.at(*to),
        };
        self.losses.iter().map(loss).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_or_refused() {
        let read: Ending = "window kill-1 10.5 12 10.6\n\nloss 2 9 10.6\n"
            .parse()
            .unwrap();
        let kill = Window {
            name: "kill-1".to_owned(),
            from: 10.5,
            to: 12.0,
            gone: 10.6,
        };
        assert_eq!(read.windows, [kill]);
        assert_eq!(read.losses, [(2, 9.0, 10.6)]);
        for line in ["window a 1", "loss x 1 2", "other a 1 2", "loss 0 a 2"] {
            assert!(line.parse::<Ending>().is_err(), "{line}");
        }
    }
}
