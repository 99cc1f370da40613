//! The error replies by which a node sends a request elsewhere.

use super::slot::Slot;
use crate::engine::Address;

/// Where to send a request instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirect {
    /// The slot lives there now, for good.
    Moved { slot: Slot, address: Address },
    /// This one request goes there, after an ASKING.
    Ask { slot: Slot, address: Address },
}

impl Redirect {
    /// Reads `MOVED 3999 127.0.0.1:6381` or `ASK ...`, without the leading `-` and the line end.
    /// No host, and `?` (`cluster-preferred-endpoint-type unknown-endpoint`), stand for the host of
    /// the node that answered, `origin`.
    pub fn parse(error: &[u8], origin: &Address) -> Option<Self> {
        let error = core::str::from_utf8(error).ok()?;
        let mut words = error.split(' ');
        let (kind, slot, endpoint) = (words.next()?, words.next()?, words.next()?);
        let slot = Slot::new(slot.parse().ok()?)?;
        let (host, port) = endpoint.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let host = if host.is_empty() || host == "?" {
            origin.host.clone()
        } else {
            host.into()
        };
        let address = Address { host, port };
        match kind {
            "MOVED" => Some(Self::Moved { slot, address }),
            "ASK" => Some(Self::Ask { slot, address }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_send() {
        let origin = Address::new("10.0.0.9", 7000);
        let slot = Slot::new(3999).unwrap();
        for (error, host, port) in [
            ("MOVED 3999 127.0.0.1:6381", "127.0.0.1", 6381),
            ("MOVED 3999 :6381", "10.0.0.9", 6381),
            ("MOVED 3999 ?:6381", "10.0.0.9", 6381),
            ("MOVED 3999 ::1:6381", "::1", 6381),
            ("MOVED 3999 node-1.example:6381", "node-1.example", 6381),
        ] {
            let address = Address::new(host, port);
            let expected = Some(Redirect::Moved { slot, address });
            assert_eq!(
                Redirect::parse(error.as_bytes(), &origin),
                expected,
                "{error}"
            );
        }
        let ask = Redirect::parse(b"ASK 3999 127.0.0.1:1", &origin);
        assert_eq!(
            ask,
            Some(Redirect::Ask {
                slot,
                address: Address::new("127.0.0.1", 1)
            })
        );
    }

    #[test]
    fn refuses_everything_else() {
        let origin = Address::new("h", 1);
        for error in [
            "",
            "MOVED",
            "MOVED 16384 a:1",
            "MOVED x a:1",
            "MOVED 1 a",
            "MOVED 1 a:70000",
            "ERR 1 a:1",
        ] {
            assert_eq!(Redirect::parse(error.as_bytes(), &origin), None, "{error}");
        }
    }
}
