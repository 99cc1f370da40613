//! The cursor of SCAN: a place in the walk over all slots. It says all that there is to know, so
//! any proxy of the same cluster can go on with it.

use slotway_protocol::cluster::{SLOTS, Slot};

/// All keys of the slots below `slot` are done, and some of its unit: of the slot itself, or of
/// the range of slots that begins with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// At most [`SLOTS`], which is the end.
    slot: u16,
    /// The node's own cursor in the unit; 0 at its beginning.
    bucket: u32,
    /// Of what the node and the unit were when the cursor was made; below 1,024. What is 0 was
    /// not made by a proxy.
    fingerprint: u16,
}

impl Place {
    /// The beginning of a slot, or the end behind the last one.
    pub(super) fn at(slot: u16) -> Self {
        Self {
            slot: slot.min(SLOTS as u16),
            bucket: 0,
            fingerprint: 1,
        }
    }

    /// Inside of the unit that begins with the slot; `None` when the bucket has too many bits.
    pub(super) fn inside(slot: u16, bucket: u64, fingerprint: u16) -> Option<Self> {
        let bucket = u32::try_from(bucket).ok()?;
        (bucket < 1 << BUCKET_BITS).then_some(Self {
            slot,
            bucket,
            fingerprint,
        })
    }

    pub(super) const END: Self = Self {
        slot: SLOTS as u16,
        bucket: 0,
        fingerprint: 1,
    };

    /// Reads what a client sent, as redis-server reads it; `None` when it is no number. One that
    /// no proxy has made is where its slot begins: too much is found, and not too little.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let number = parse_number(text)?;
        let slot = (number & SLOT_MASK) as u16;
        let fingerprint = (number >> SLOT_BITS & FINGERPRINT_MASK) as u16;
        let bucket = number >> (SLOT_BITS + FINGERPRINT_BITS);
        let made_here = fingerprint != 0;
        let place = Self::inside(slot, bucket, fingerprint).filter(|_| made_here);
        Some(place.unwrap_or_else(|| Self::at(slot)))
    }

    /// What a client gets: less than 2 to the power of 53, 0 only at the end.
    pub(super) fn number(self) -> u64 {
        if self.slot().is_none() {
            return 0;
        }
        let bucket = u64::from(self.bucket) << (SLOT_BITS + FINGERPRINT_BITS);
        bucket | u64::from(self.fingerprint) << SLOT_BITS | u64::from(self.slot)
    }

    /// `None` at the end.
    pub(super) fn slot(self) -> Option<Slot> {
        Slot::new(self.slot.into())
    }

    pub(super) fn slot_number(self) -> u16 {
        self.slot
    }

    pub(super) fn bucket(self) -> u64 {
        self.bucket.into()
    }

    pub(super) fn fingerprint(self) -> u16 {
        self.fingerprint
    }
}

/// A number as C reads it: with a sign, and only up to a NUL.
fn parse_number(text: &[u8]) -> Option<u64> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or(text);
    let (negative, digits) = match text {
        [] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })?;
    Some(if negative {
        number.wrapping_neg()
    } else {
        number
    })
}

/// How many different fingerprints there are.
pub(super) const FINGERPRINTS: u64 = FINGERPRINT_MASK;

const SLOT_BITS: u32 = SLOTS.trailing_zeros();
const SLOT_MASK: u64 = SLOTS as u64 - 1;
const FINGERPRINT_BITS: u32 = 10;
const FINGERPRINT_MASK: u64 = (1 << FINGERPRINT_BITS) - 1;
const BUCKET_BITS: u32 = 29;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_as_a_number() {
        for place in [
            Place::at(0),
            Place::at(16_383),
            Place::inside(0, 1, 1).unwrap(),
            Place::inside(16_383, (1 << 29) - 1, 1023).unwrap(),
        ] {
            let number = place.number();
            assert!((1..1 << 53).contains(&number));
            assert_eq!(Place::parse(number.to_string().as_bytes()), Some(place));
        }
        assert_eq!(Place::inside(0, 1 << 29, 1), None);
        assert_eq!(Place::END.number(), 0);
    }

    #[test]
    fn numbers_are_read_as_the_server_reads_them() {
        for (text, place) in [
            ("", Some(Place::at(0))),
            ("0", Some(Place::at(0))),
            ("+5", Some(Place::at(5))),
            ("-1", Some(Place::at(16_383))),
            ("7\0x", Some(Place::at(7))),
            ("18446744073709551615", Some(Place::at(16_383))),
            ("9007199254740993", Some(Place::at(1))),
            ("18446744073709551616", None),
            ("-", None),
            (" 1", None),
            ("1 ", None),
            ("x", None),
        ] {
            assert_eq!(Place::parse(text.as_bytes()), place, "{text:?}");
        }
    }
}
