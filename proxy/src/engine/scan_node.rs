//! What SCAN has to know of a node: which run of which server it is, how its cursors are made, and
//! which slots it says are its own.

use slotway_protocol::cluster::nodes::{NodeLine, parse_nodes};
use slotway_protocol::cluster::{SLOTS, Slot};
use slotway_protocol::engine::Address;

use super::scan_cursor::FINGERPRINTS;

/// What must be the same from the beginning to the end of a unit of the walk. With its epoch, since
/// a node takes a new one when it takes over a slot or its primary's place: it then has keys that a
/// walk has passed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    process: Process,
    epoch: u32,
}

/// One run of a server's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    /// A hash of its id, of 31 bits.
    id: u32,
    /// The low bits of its cursors are a slot, since its keys are kept by slot.
    by_slot: bool,
}

impl Process {
    /// Reads the section "Server" of INFO.
    pub(super) fn parse(info: &[u8]) -> Option<Self> {
        let info = String::from_utf8_lossy(info);
        let field = |name: &str| {
            let mut lines = info.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        };
        let is_from = |name: &str, first: (u32, u32)| {
            field(name).is_some_and(|version| version_of(version) >= first)
        };
        let id = hash(field("run_id")?.trim().as_bytes());
        Some(Self {
            id: (id >> 33) as u32,
            by_slot: is_from("redis_version", (7, 4))
                || is_from("valkey_version", (8, 0))
                || is_from("slotway_version", (0, 0)),
        })
    }
}

impl Run {
    pub(super) fn new(process: Process, epoch: u64) -> Self {
        Self {
            process,
            epoch: epoch as u32,
        }
    }

    pub(super) fn process(self) -> Process {
        self.process
    }

    pub(super) fn is_by_slot(self) -> bool {
        self.process.by_slot
    }

    /// As a number, to be noted for the node.
    pub(super) fn number(self) -> u64 {
        let process = u64::from(self.process.id) << 1 | u64::from(self.process.by_slot);
        process << 32 | u64::from(self.epoch)
    }

    pub(super) fn of_number(number: u64) -> Self {
        let process = (number >> 32) as u32;
        Self {
            process: Process {
                id: process >> 1,
                by_slot: process & 1 == 1,
            },
            epoch: number as u32,
        }
    }

    /// What a cursor carries to be told from one of another run, or of other slots: 1 to 1,023.
    /// Where keys are kept by slot it does not matter which other slots are the node's, too.
    pub(super) fn fingerprint(self, first: u16, last: u16) -> u16 {
        let mut bytes = self.number().to_le_bytes().to_vec();
        if !self.process.by_slot {
            bytes.extend(first.to_le_bytes());
            bytes.extend(last.to_le_bytes());
        }
        (hash(&bytes) % FINGERPRINTS + 1) as u16
    }
}

/// What a node says of itself in CLUSTER NODES. Of its own slots nobody knows better, unless it
/// does not reach the majority of the primaries: its replica may have taken over, and it answers
/// SCAN all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) epoch: u64,
    owned: Vec<(Slot, Slot)>,
    /// Slots whose keys are leaving, and where to if that is known.
    leaving: Vec<(Slot, Option<Address>)>,
}

impl View {
    pub(super) fn parse(text: &[u8], origin: &Address) -> Option<Self> {
        let lines = parse_nodes(&String::from_utf8_lossy(text), origin).ok()?;
        let myself = lines.iter().find(|line| line.is_myself)?;
        let address = |id| {
            let node = lines.iter().find(|line| line.id == id)?;
            (!node.is_unreachable).then(|| node.address.clone())
        };
        let leaving = myself.migrating.iter();
        Some(Self {
            epoch: myself.config_epoch,
            owned: match reaches_majority(&lines) {
                true => myself.slots.clone(),
                false => Vec::new(),
            },
            leaving: leaving.map(|(slot, id)| (*slot, address(*id))).collect(),
        })
    }

    pub(super) fn owns(&self, slot: Slot) -> bool {
        self.last_from(slot).is_some()
    }

    /// The last slot of those without a gap that it owns from `first` on.
    pub(super) fn last_from(&self, first: Slot) -> Option<Slot> {
        let mut last = None;
        let mut next = first;
        // The ranges are in order, but neighbours need not be joined.
        for (from, to) in &self.owned {
            if (*from..=*to).contains(&next) {
                last = Some(*to);
                match Slot::new(u64::from(to.number()) + 1) {
                    Some(after) => next = after,
                    None => break,
                }
            }
        }
        last
    }

    /// The slots of that range whose keys are leaving.
    pub(super) fn leaving(&self, first: u16, last: u16) -> Vec<(Slot, Option<Address>)> {
        let leaving = self.leaving.iter();
        let inside = leaving.filter(|(slot, _)| (first..=last).contains(&slot.number()));
        inside.cloned().collect()
    }
}

/// Whether the node that said this reaches most of those that have slots. Only then it serves any
/// keys by itself.
fn reaches_majority(lines: &[NodeLine]) -> bool {
    let owners = lines.iter().filter(|line| !line.slots.is_empty());
    let reached = owners
        .clone()
        .filter(|line| !line.is_failed && !line.is_suspected && !line.is_unreachable);
    2 * reached.count() > owners.count()
}

/// Major and minor number of a version.
fn version_of(text: &str) -> (u32, u32) {
    let mut numbers = text
        .trim()
        .split('.')
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// FNV-1a, with its high bits mixed into the low ones: every proxy must get the same.
fn hash(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ hash >> 29
}

const _: () = assert!(SLOTS <= 1 << 16, "the number of a slot has 16 bits");

#[cfg(test)]
mod tests {
    use super::*;

    fn process(lines: &str) -> Process {
        Process::parse(format!("# Server\r\n{lines}\r\nrun_id:abc\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn versions_tell_how_cursors_are_made() {
        for (lines, by_slot) in [
            ("redis_version:7.0.15", false),
            ("redis_version:7.2.4\r\nvalkey_version:7.2.5", false),
            (
                "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0",
                true,
            ),
            ("redis_version:7.4.0", true),
            ("redis_version:8.0.2", true),
            ("redis_version:7.0.15\r\nslotway_version:0.1.0", true),
        ] {
            assert_eq!(process(lines).by_slot, by_slot, "{lines}");
        }
        assert_eq!(Process::parse(b"# Server\r\nredis_version:7.4.0\r\n"), None);
    }

    #[test]
    fn a_run_survives_as_a_number() {
        for lines in ["redis_version:7.4.0", "redis_version:7.0.15"] {
            let run = Run::new(process(lines), 7);
            assert_eq!(Run::of_number(run.number()), run);
            assert_ne!(
                run.fingerprint(0, 5),
                Run::new(process(lines), 8).fingerprint(0, 5)
            );
            assert!((1..1024).contains(&run.fingerprint(0, 5)));
        }
    }

    #[test]
    fn a_view_knows_its_slots() {
        let (me, other) = ("a".repeat(40), "b".repeat(40));
        let text = format!(
            "{me} :1@2 myself,master - 0 0 3 connected 0-5 6 8-16383 [3->-{other}] [9->-{me}]\n\
             {other} h:7@8 master - 0 0 1 connected 7\n"
        );
        let view = View::parse(text.as_bytes(), &Address::new("o", 1)).unwrap();
        let slot = |number| Slot::new(number).unwrap();
        assert_eq!(view.last_from(slot(2)), Some(slot(6)));
        assert_eq!(view.last_from(slot(7)), None);
        assert_eq!(view.last_from(slot(8)), Some(slot(16_383)));
        assert_eq!(view.leaving(0, 8), [(slot(3), Some(Address::new("h", 7)))]);
        assert_eq!(view.epoch, 3);
    }

    #[test]
    fn who_is_cut_off_owns_nothing() {
        let [me, one, other] = ["a", "b", "c"].map(|id| id.repeat(40));
        for (flag, other_flag, owns) in [
            ("", "", true),
            (",fail", "", true),
            ("", ",fail?", true),
            (",fail?", ",fail?", false),
            (",fail", ",fail?", false),
        ] {
            let text = format!(
                "{me} :1@2 myself,master - 0 0 3 connected 0-5\n\
                 {one} h:7@8 master{flag} - 0 0 1 connected 6\n\
                 {other} h:9@10 master{other_flag} - 0 0 2 connected 7\n"
            );
            let view = View::parse(text.as_bytes(), &Address::new("o", 1)).unwrap();
            assert_eq!(
                view.owns(Slot::new(0).unwrap()),
                owns,
                "{flag} {other_flag}"
            );
        }
    }
}
