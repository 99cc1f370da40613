//! Commands about the server that need no node: `TIME`, `ROLE`, `LOLWUT`, `MODULE LIST`.

use slotway_protocol::resp::{Protocol, Request, encode};

use super::{REDIS_VERSION, parse_integer};

/// The wall clock in whole milliseconds, in the seconds and microseconds of `TIME`.
pub(super) fn time(unix_ms: u64, out: &mut Vec<u8>) {
    encode::array(out, 2);
    for number in [unix_ms / 1000, unix_ms % 1000 * 1000] {
        encode::bulk(out, number.to_string().as_bytes());
    }
}

/// The proxy takes writes for all slots and has no replicas.
pub(super) fn role(out: &mut Vec<u8>) {
    encode::array(out, 3);
    encode::bulk(out, b"master");
    encode::integer(out, 0);
    encode::array(out, 0);
}

/// `LOLWUT [VERSION version]`: of all its pictures the proxy has only the caption.
pub(super) fn lolwut(request: &Request<'_>, protocol: Protocol, out: &mut Vec<u8>) {
    let asks_version = request.len() > 2 && request.arg(1).eq_ignore_ascii_case(b"version");
    if asks_version && parse_integer(request.arg(2)).is_none() {
        return encode::error(out, b"ERR value is not an integer or out of range");
    }
    let text = format!("Redis ver. {REDIS_VERSION}\n");
    encode::verbatim(out, protocol, text.as_bytes());
}

/// `MODULE LIST`: what modules the nodes have does not make any in the proxy.
pub(super) fn module_list(out: &mut Vec<u8>) {
    encode::array(out, 0);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{reply, session};

    #[test]
    fn what_needs_no_node_is_answered_as_by_a_server_alone() {
        for (request, expected) in [
            // The tests' clock stands at 1.002 s.
            ("TIME", "*2\r\n$1\r\n1\r\n$4\r\n2000\r\n"),
            ("ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"),
            ("LOLWUT", "$18\r\nRedis ver. 7.0.15\n\r\n"),
            ("LOLWUT VERSION 1", "$18\r\nRedis ver. 7.0.15\n\r\n"),
            ("LOLWUT VERSION", "$18\r\nRedis ver. 7.0.15\n\r\n"),
            (
                "LOLWUT version x",
                "-ERR value is not an integer or out of range\r\n",
            ),
            ("MODULE LIST", "*0\r\n"),
        ] {
            assert_eq!(reply(&mut session(), request), expected, "{request}");
        }
    }
}
