//! How long a blocking command waits: where it says so, and in which unit.

use core::time::Duration;

use slotway_protocol::command::Command;
use slotway_protocol::resp::Request;

use super::answer;

/// Where a command has its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The last argument, seconds with decimals.
    Last,
    /// The first argument, seconds with decimals.
    First,
    /// Behind BLOCK, which comes before STREAMS: whole milliseconds.
    AfterBlock,
}

/// The commands that wait for elements. WAIT is none of them: it waits for replicas.
const PLACES: [(&str, Place); 10] = [
    ("blmove", Place::Last),
    ("blmpop", Place::First),
    ("blpop", Place::Last),
    ("brpop", Place::Last),
    ("brpoplpush", Place::Last),
    ("bzmpop", Place::First),
    ("bzpopmax", Place::Last),
    ("bzpopmin", Place::Last),
    ("xread", Place::AfterBlock),
    ("xreadgroup", Place::AfterBlock),
];

/// Whether such a request may wait at all: XREAD does not unless told to.
pub(crate) fn may_wait(command: &Command, request: &Request<'_>) -> bool {
    place(command.name) != Some(Place::AfterBlock)
        || (1..request.len())
            .take_while(|at| !request.is_arg(*at, b"streams"))
            .any(|at| request.is_arg(at, b"block"))
}

/// How long it waits: `Some(None)` for without end, `None` when that can't be read.
pub(crate) fn read(name: &str, words: &[Vec<u8>]) -> Option<Option<Duration>> {
    let place = place(name)?;
    let text = core::str::from_utf8(words.get(position(place, words)?)?).ok()?;
    let time = match place {
        Place::AfterBlock => Duration::from_millis(text.parse().ok()?),
        Place::First | Place::Last => Duration::try_from_secs_f64(text.parse().ok()?).ok()?,
    };
    Some((!time.is_zero()).then_some(time))
}

/// What the server says of a time that [`read`] can't read.
pub(crate) fn refuse(name: &str, words: &[Vec<u8>]) -> Vec<u8> {
    let place = place(name);
    let at = place.and_then(|place| position(place, words));
    let text = at.and_then(|at| core::str::from_utf8(words.get(at)?).ok());
    let number = text.and_then(|text| text.parse::<f64>().ok());
    let is_negative = number.is_some_and(|number| number < 0.0);
    answer::error(match place {
        _ if is_negative => b"ERR timeout is negative",
        Some(Place::AfterBlock) => b"ERR timeout is not an integer or out of range",
        _ if number.is_some_and(f64::is_finite) => b"ERR timeout is out of range",
        _ => b"ERR timeout is not a float or out of range",
    })
}

/// Makes it wait that long, and not for ever.
pub(crate) fn write(name: &str, words: &mut [Vec<u8>], time: Duration) {
    let Some(place) = place(name) else { return };
    let Some(position) = position(place, words) else {
        return;
    };
    let millis = time.as_millis().max(1);
    words[position] = match place {
        Place::AfterBlock => millis.to_string().into_bytes(),
        Place::First | Place::Last => {
            format!("{}.{:03}", millis / 1000, millis % 1000).into_bytes()
        }
    };
}

fn place(name: &str) -> Option<Place> {
    let found = PLACES.iter().find(|(known, _)| *known == name);
    found.map(|(_, place)| *place)
}

fn position(place: Place, words: &[Vec<u8>]) -> Option<usize> {
    match place {
        Place::Last => words.len().checked_sub(1),
        Place::First => (words.len() > 1).then_some(1),
        Place::AfterBlock => {
            let is = |word: &Vec<u8>, name: &[u8]| word.eq_ignore_ascii_case(name);
            let streams = words.iter().position(|word| is(word, b"streams"))?;
            let block = words[..streams]
                .iter()
                .position(|word| is(word, b"block"))?;
            Some(block + 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Vec<u8>> {
        line.split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect()
    }

    #[test]
    fn the_time_is_read_where_it_is() {
        let millis = |millis| Some(Some(Duration::from_millis(millis)));
        for (line, expected) in [
            ("blpop a b 0", Some(None)),
            ("blpop a b 0.25", millis(250)),
            ("brpoplpush a b 3", millis(3000)),
            ("blmpop 1.5 1 a left", millis(1500)),
            ("xread count 1 block 20 streams a 0", millis(20)),
            ("xread block 0 streams a 0", Some(None)),
            ("xread streams block 0", None),
            ("blpop a x", None),
            ("blpop a -1", None),
        ] {
            let words = words(line);
            let name = core::str::from_utf8(&words[0]).unwrap();
            assert_eq!(read(name, &words), expected, "{line}");
        }
    }

    #[test]
    fn the_time_that_is_left_takes_its_place() {
        for (line, expected) in [
            ("blpop a 5", "blpop a 1.002"),
            ("blmpop 5 1 a left", "blmpop 1.002 1 a left"),
            (
                "xread block 5000 streams a 0",
                "xread block 1002 streams a 0",
            ),
        ] {
            let mut words = words(line);
            let name = String::from_utf8(words[0].clone()).unwrap();
            write(&name, &mut words, Duration::from_micros(1_002_900));
            let joined = words.join(&b' ');
            assert_eq!(core::str::from_utf8(&joined).unwrap(), expected);
        }
    }
}
