//! The commands that took longest lately, as SLOWLOG shows them.

use std::collections::VecDeque;

use slotway_protocol::resp::Request;

/// The latest commands that took longer than `slowlog-log-slower-than`, newest first.
#[derive(Debug, Default)]
pub(crate) struct SlowLog {
    entries: VecDeque<SlowCall>,
    next_id: u64,
}

/// One command that took long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlowCall {
    pub(crate) id: u64,
    pub(crate) unix_seconds: u64,
    pub(crate) micros: u64,
    /// Cut where they are many or long.
    pub(crate) arguments: Vec<Box<[u8]>>,
    pub(crate) caller: Caller,
}

/// Whose command it was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Caller {
    pub(crate) address: String,
    pub(crate) name: Vec<u8>,
}

impl SlowLog {
    /// Adds a command, and forgets the oldest ones beyond `len_max`.
    pub(crate) fn add(
        &mut self,
        request: &Request<'_>,
        (micros, unix_seconds): (u64, u64),
        caller: Caller,
        len_max: u64,
    ) {
        self.entries.push_front(SlowCall {
            id: self.next_id,
            unix_seconds,
            micros,
            arguments: shortened(request),
            caller,
        });
        self.next_id += 1;
        self.entries
            .truncate(usize::try_from(len_max).unwrap_or(usize::MAX));
    }

    pub(crate) fn entries(&self) -> impl ExactSizeIterator<Item = &SlowCall> {
        self.entries.iter()
    }

    /// How many were ever added.
    pub(crate) fn added(&self) -> u64 {
        self.next_id
    }

    /// Forgets all; numbers go on.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

/// The arguments as far as they are shown.
fn shortened(request: &Request<'_>) -> Vec<Box<[u8]>> {
    let count = request.len();
    let shown = if count > ARGUMENTS_MAX {
        ARGUMENTS_MAX - 1
    } else {
        count
    };
    let mut arguments: Vec<Box<[u8]>> = (0..shown)
        .map(|index| shown_argument(request, index))
        .collect();
    if shown < count {
        let left = count - shown;
        let note = format!("... ({left} more arguments)");
        arguments.push(note.into_bytes().into());
    }
    arguments
}

fn shown_argument(request: &Request<'_>, index: usize) -> Box<[u8]> {
    let argument = request.arg(index);
    if is_secret(request, index) {
        return b"(redacted)"[..].into();
    }
    if argument.len() <= ARGUMENT_BYTES_MAX {
        return argument.into();
    }
    let left = argument.len() - ARGUMENT_BYTES_MAX;
    let note = format!("... ({left} more bytes)");
    [&argument[..ARGUMENT_BYTES_MAX], note.as_bytes()]
        .concat()
        .into()
}

/// Passwords are not for those who look for slow commands.
fn is_secret(request: &Request<'_>, index: usize) -> bool {
    let is = |index: usize, word: &str| {
        request.len() > index && request.arg(index).eq_ignore_ascii_case(word.as_bytes())
    };
    if is(0, "auth") {
        return index > 0;
    }
    if is(0, "hello") {
        return (index > 1 && is(index - 1, "auth")) || (index > 2 && is(index - 2, "auth"));
    }
    if is(0, "migrate") {
        let of_pair = index > 7 && is(index - 2, "auth2");
        return index > 5 && (is(index - 1, "auth") || is(index - 1, "auth2") || of_pair);
    }
    let is_setting = is(0, "config") && is(1, "set") && index > 2 && index % 2 == 1;
    is_setting && SECRET_SETTINGS.iter().any(|name| is(index - 1, name))
}

const SECRET_SETTINGS: [&str; 3] = ["requirepass", "masterauth", "masteruser"];

/// As redis-server has them.
const ARGUMENTS_MAX: usize = 32;
const ARGUMENT_BYTES_MAX: usize = 128;
