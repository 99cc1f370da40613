//! Writes replies and requests. Every function appends to `out` and does nothing else.

use super::Protocol;

/// `+text`. The text holds no line ends.
pub fn simple(out: &mut Vec<u8>, text: &[u8]) {
    let _ = (out, text);
    unimplemented!()
}

/// `-text`, with line ends replaced by spaces.
pub fn error(out: &mut Vec<u8>, text: &[u8]) {
    let _ = (out, text);
    unimplemented!()
}

/// `:number`
pub fn integer(out: &mut Vec<u8>, number: i64) {
    let _ = (out, number);
    unimplemented!()
}

/// `$len` and the bytes.
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    let _ = (out, bytes);
    unimplemented!()
}

/// `*len`; the elements follow.
pub fn array(out: &mut Vec<u8>, len: usize) {
    let _ = (out, len);
    unimplemented!()
}

/// `%pairs`, in RESP2 `*(2*pairs)`; keys and values follow.
pub fn map(out: &mut Vec<u8>, protocol: Protocol, pairs: usize) {
    let _ = (out, protocol, pairs);
    unimplemented!()
}

/// `~len`, in RESP2 `*len`; the elements follow.
pub fn set(out: &mut Vec<u8>, protocol: Protocol, len: usize) {
    let _ = (out, protocol, len);
    unimplemented!()
}

/// `_`, in RESP2 `$-1`.
pub fn null(out: &mut Vec<u8>, protocol: Protocol) {
    let _ = (out, protocol);
    unimplemented!()
}

/// `_`, in RESP2 `*-1`.
pub fn null_array(out: &mut Vec<u8>, protocol: Protocol) {
    let _ = (out, protocol);
    unimplemented!()
}

/// `,number`, in RESP2 a bulk string, both as redis-server 7.0 writes a double.
pub fn double(out: &mut Vec<u8>, protocol: Protocol, number: f64) {
    let _ = (out, protocol, number);
    unimplemented!()
}

/// `#t` or `#f`, in RESP2 `:1` or `:0`.
pub fn boolean(out: &mut Vec<u8>, protocol: Protocol, value: bool) {
    let _ = (out, protocol, value);
    unimplemented!()
}

/// `=len` with the three-letter format `txt`, in RESP2 a bulk string.
pub fn verbatim(out: &mut Vec<u8>, protocol: Protocol, text: &[u8]) {
    let _ = (out, protocol, text);
    unimplemented!()
}

/// A request: an array of bulk strings.
pub fn request<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    array(out, args.len());
    for arg in args {
        bulk(out, arg.as_ref());
    }
}
