//! Finds a command by its name: a hash table that the compiler fills. Called once a request, so
//! names are hashed and compared as two numbers, not byte by byte.

use super::Command;
use super::table::COMMANDS;

/// The command of that name, in any case.
#[inline]
pub(super) fn find(name: &[u8]) -> Option<&'static Command> {
    let ends = Ends::of(name)?;
    let mut slot = ends.slot();
    loop {
        // No command is at the place that stands for an empty slot, so that ends the search.
        let index = usize::from(SLOTS[slot]);
        let known = NAMES.get(index)?;
        if known.matches(ends, name) {
            return Some(&COMMANDS[index]);
        }
        slot = (slot + 1) % SLOT_COUNT;
    }
}

/// The bytes of a name as two numbers: its first and its last eight, which overlap in a name of
/// up to 16 bytes. All bytes of such a name are in them.
#[derive(Debug, Clone, Copy)]
struct Ends {
    first: u64,
    last: u64,
}

impl Ends {
    #[inline]
    const fn of(name: &[u8]) -> Option<Self> {
        if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
            return Some(Self {
                first: u64::from_le_bytes(*first),
                last: u64::from_le_bytes(*last),
            });
        }
        if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            return Some(Self {
                first: first as u64 | (last as u64) << 32,
                last: 0,
            });
        }
        if name.is_empty() {
            return None;
        }
        let bytes = [name[0], name[name.len() / 2], name[name.len() - 1], 0];
        Some(Self {
            first: u32::from_le_bytes(bytes) as u64,
            last: 0,
        })
    }

    /// Where the search begins. The bit in which upper and lower case of a letter differ is
    /// ignored; for other bytes that costs a comparison at most.
    #[inline]
    const fn slot(self) -> usize {
        let (first, last) = (self.first | CASE_BITS, self.last | CASE_BITS);
        let hash = first
            .wrapping_add(last.rotate_left(29))
            .wrapping_mul(MULTIPLIER);
        (hash >> (u64::BITS - SLOT_BITS)) as usize
    }
}

/// A command's name, ready to be compared.
#[derive(Debug, Clone, Copy)]
struct Name {
    ends: Ends,
    /// The case bit of each letter in `ends`. Other bytes have to be the same in all bits.
    case: Ends,
    text: &'static [u8],
}

impl Name {
    const fn of(text: &'static str) -> Self {
        let text = text.as_bytes();
        let Some(ends) = Ends::of(text) else {
            panic!("a command has a name");
        };
        Self {
            case: Ends {
                first: letters(ends.first),
                last: letters(ends.last),
            },
            ends,
            text,
        }
    }

    #[inline]
    fn matches(&self, ends: Ends, name: &[u8]) -> bool {
        name.len() == self.text.len()
            && ends.first | self.case.first == self.ends.first
            && ends.last | self.case.last == self.ends.last
            && (name.len() <= 16 || name.eq_ignore_ascii_case(self.text))
    }
}

/// The case bit of every byte that is a lower case letter.
const fn letters(bytes: u64) -> u64 {
    let (mut bits, mut at) = (0, 0);
    while at < u64::BITS {
        if ((bytes >> at) as u8).is_ascii_lowercase() {
            bits |= (CASE_BITS & 0xff) << at;
        }
        at += 8;
    }
    bits
}

/// The names of the commands in the order of the table.
static NAMES: [Name; COMMANDS.len()] = {
    let mut names = [Name::of("-"); COMMANDS.len()];
    let mut command = 0;
    while command < COMMANDS.len() {
        names[command] = Name::of(COMMANDS[command].name);
        command += 1;
    }
    names
};

/// Each slot holds a command's place in the table. A name that finds its slot taken is in one of
/// the next ones.
static SLOTS: [u8; SLOT_COUNT] = {
    assert!(COMMANDS.len() < EMPTY as usize);
    let mut slots = [EMPTY; SLOT_COUNT];
    let mut command = 0;
    while command < COMMANDS.len() {
        let mut at = NAMES[command].ends.slot();
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
const CASE_BITS: u64 = 0x2020_2020_2020_2020;

/// Found by trying: with it 232 of the 240 names have a slot for themselves.
const MULTIPLIER: u64 = 0xe39b_35e0_2c9e_c7ed;

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
    fn a_change_of_any_bit_but_the_case_is_another_name() {
        for command in &COMMANDS {
            for at in 0..command.name.len() {
                for bit in 0..8 {
                    let mut name = command.name.as_bytes().to_vec();
                    name[at] ^= 1 << bit;
                    let same = name.eq_ignore_ascii_case(command.name.as_bytes());
                    let found = find(&name).is_some_and(|found| core::ptr::eq(found, command));
                    assert_eq!(found, same, "{}", name.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn searches_are_short() {
        let steps = |index: usize| {
            let place = SLOTS.iter().position(|&slot| usize::from(slot) == index);
            (place.unwrap() + SLOT_COUNT - NAMES[index].ends.slot()) % SLOT_COUNT
        };
        let longest = (0..COMMANDS.len()).map(steps).max();
        assert!(longest <= Some(2), "{longest:?}");
    }
}
