//! Finds a command by its name: a hash table that the compiler fills. Called once a request.

use super::Command;
use super::table::COMMANDS;

/// The command of that name, in any case.
#[inline]
pub(super) fn find(name: &[u8]) -> Option<&'static Command> {
    let (first, last) = (*name.first()?, *name.last()?);
    let len = name.len();
    let second = name[(len > 1) as usize];
    let mut slot = slot([first, second, name[len / 2], last], len);
    loop {
        // No command is at the place that stands for an empty slot, so that ends the search.
        let command = COMMANDS.get(usize::from(SLOTS[slot]))?;
        if command.name.len() == len && command.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(command);
        }
        slot = (slot + 1) % SLOT_COUNT;
    }
}

/// Where the search for a name begins. Upper and lower case of a letter differ in one bit only,
/// which is ignored; for other bytes that costs a comparison at most.
#[inline]
const fn slot(bytes: [u8; 4], len: usize) -> usize {
    let folded = (u32::from_le_bytes(bytes) | 0x2020_2020).wrapping_add((len as u32) << 3);
    (folded.wrapping_mul(MULTIPLIER) >> (u32::BITS - SLOT_BITS)) as usize
}

/// Each slot holds a command's place in the table. A name that finds its slot taken is in one of
/// the next ones.
static SLOTS: [u8; SLOT_COUNT] = {
    assert!(COMMANDS.len() < EMPTY as usize);
    let mut slots = [EMPTY; SLOT_COUNT];
    let mut command = 0;
    while command < COMMANDS.len() {
        let name = COMMANDS[command].name.as_bytes();
        let len = name.len();
        let mut at = slot(
            [
                name[0],
                name[(len > 1) as usize],
                name[len / 2],
                name[len - 1],
            ],
            len,
        );
        while slots[at] != EMPTY {
            at = (at + 1) % SLOT_COUNT;
        }
        slots[at] = command as u8;
        command += 1;
    }
    slots
};

const SLOT_BITS: u32 = 10;
const SLOT_COUNT: usize = 1 << SLOT_BITS;
const EMPTY: u8 = u8::MAX;

/// Found by trying: with it 228 of the 240 names have a slot for themselves.
const MULTIPLIER: u32 = 1_532_524_907;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for command in &COMMANDS {
            let upper = command.name.to_uppercase();
            let mixed = format!("{}{}", &upper[..1], &command.name[1..]);
            for name in [command.name, &upper, &mixed] {
                assert!(
                    core::ptr::eq(find(name.as_bytes()).unwrap(), command),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn other_names_are_not_found() {
        for name in [
            "",
            "g",
            "ge",
            "gett",
            "get ",
            "get\0",
            "GE\x14",
            "client|list",
            "_",
            "hget_",
        ] {
            assert!(find(name.as_bytes()).is_none(), "{name:?}");
        }
        for byte in 0..=255 {
            assert!(find(&[byte]).is_none(), "{byte}");
            assert!(find(&[byte; 300]).is_none(), "{byte}");
        }
    }

    #[test]
    fn searches_are_short() {
        let steps = |command: &Command| {
            let name = command.name.as_bytes();
            let len = name.len();
            let bytes = [name[0], name[1], name[len / 2], name[len - 1]];
            let place = SLOTS
                .iter()
                .position(|&slot| u16::from(slot) == command.id.0);
            (place.unwrap() + SLOT_COUNT - slot(bytes, len)) % SLOT_COUNT
        };
        let longest = COMMANDS.iter().map(steps).max();
        assert!(longest <= Some(3), "{longest:?}");
    }
}
