//! What clients ask for, and how that is written as a request.

use super::resp;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    Push {
        key: String,
        items: Vec<String>,
    },
    Range {
        key: String,
    },
    Increment {
        key: String,
    },
    Set {
        key: String,
        value: String,
    },
    Get {
        key: String,
    },
    MultiSet {
        pairs: Vec<(String, String)>,
    },
    MultiGet {
        keys: Vec<String>,
    },
    Delete {
        keys: Vec<String>,
    },
    Exists {
        keys: Vec<String>,
    },
    Ping,
    Echo {
        text: String,
    },
    /// GET without a key.
    TooFew,
    Unknown {
        name: String,
    },
    Hello {
        version: u8,
    },
    /// MULTI.
    Begin,
    /// Something between MULTI and EXEC.
    Queue(Box<Self>),
    /// EXEC of what was queued.
    Execute {
        queued: Vec<Self>,
        /// A key is watched, so that nothing may come of it.
        watched: bool,
        /// Something was refused when it was to be queued.
        spoiled: bool,
    },
    Discard,
    Watch {
        key: String,
    },
    Unwatch,
    /// Sets a watched key that was read to be `base` to one more.
    Swap {
        key: String,
        base: u64,
    },
    /// DBSIZE.
    Size,
    /// KEYS with all keys that begin so.
    Keys {
        prefix: String,
    },
    RandomKey,
    Scan {
        cursor: u64,
        count: u64,
    },
}

impl Operation {
    /// The keys that it reads or writes.
    pub(super) fn keys(&self) -> Vec<&str> {
        match self {
            Self::Push { key, .. }
            | Self::Increment { key }
            | Self::Set { key, .. }
            | Self::Get { key }
            | Self::Range { key }
            | Self::Swap { key, .. } => vec![key],
            Self::MultiSet { pairs } => pairs.iter().map(|(key, _)| key.as_str()).collect(),
            Self::MultiGet { keys } | Self::Delete { keys } | Self::Exists { keys } => {
                keys.iter().map(String::as_str).collect()
            }
            Self::Execute { queued, .. } => queued.iter().flat_map(Self::keys).collect(),
            _ => Vec::new(),
        }
    }
}

/// Writes an operation as a request.
pub fn write(out: &mut Vec<u8>, operation: &Operation) {
    let mut request = |args: &[&str]| resp::write_request(out, args);
    match operation {
        Operation::Push { key, items } => {
            let items = items.iter().map(String::as_str);
            let args: Vec<&str> = ["RPUSH", key].into_iter().chain(items).collect();
            request(&args);
        }
        Operation::Range { key } => request(&["LRANGE", key, "0", "-1"]),
        Operation::Increment { key } => request(&["INCR", key]),
        Operation::Set { key, value } => request(&["SET", key, value]),
        Operation::Swap { key, base } => request(&["SET", key, &(base + 1).to_string()]),
        Operation::Get { key } => request(&["GET", key]),
        Operation::MultiSet { pairs } => {
            let flat = pairs.iter().flat_map(|(key, value)| [key.as_str(), value]);
            let args: Vec<&str> = std::iter::once("MSET").chain(flat).collect();
            request(&args);
        }
        Operation::MultiGet { keys } => write_keys(out, "MGET", keys),
        Operation::Delete { keys } => write_keys(out, "DEL", keys),
        Operation::Exists { keys } => write_keys(out, "EXISTS", keys),
        Operation::Ping => request(&["PING"]),
        Operation::Echo { text } => request(&["ECHO", text]),
        Operation::TooFew => request(&["GET"]),
        Operation::Unknown { name } => request(&[name]),
        Operation::Hello { version } => request(&["HELLO", &version.to_string()]),
        Operation::Begin => request(&["MULTI"]),
        Operation::Queue(operation) => write(out, operation),
        Operation::Execute { .. } => request(&["EXEC"]),
        Operation::Discard => request(&["DISCARD"]),
        Operation::Watch { key } => request(&["WATCH", key]),
        Operation::Unwatch => request(&["UNWATCH"]),
        Operation::Size => request(&["DBSIZE"]),
        Operation::Keys { prefix } => request(&["KEYS", &format!("{prefix}*")]),
        Operation::RandomKey => request(&["RANDOMKEY"]),
        Operation::Scan { cursor, count } => {
            request(&["SCAN", &cursor.to_string(), "COUNT", &count.to_string()]);
        }
    }
}

fn write_keys(out: &mut Vec<u8>, name: &str, keys: &[String]) {
    let args: Vec<&str> = std::iter::once(name)
        .chain(keys.iter().map(String::as_str))
        .collect();
    resp::write_request(out, &args);
}
