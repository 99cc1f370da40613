//! Who the client is and how it wants to be spoken to: AUTH and HELLO.

use slotway_protocol::resp::{Protocol, Request, encode};

use super::client::{BAD_CLIENT_NAME, is_client_word, keep_name};
use super::{REDIS_VERSION, parse_integer};
use crate::engine::session::Session;

pub(super) fn auth(request: &Request<'_>, out: &mut Vec<u8>) {
    match request.len() {
        2 => encode::error(out, AUTH_WITHOUT_PASSWORD),
        3 if request.arg(1) == b"default" => encode::simple(out, b"OK"),
        3 => encode::error(out, WRONG_PASSWORD),
        _ => encode::error(out, b"ERR syntax error"),
    }
}

/// `HELLO [protover [AUTH username password] [SETNAME clientname]]`
pub(super) fn hello(request: &Request<'_>, session: &mut Session, out: &mut Vec<u8>) {
    let mut protocol = session.protocol;
    if request.len() > 1 {
        protocol = match parse_integer(request.arg(1)) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return encode::error(out, b"NOPROTO unsupported protocol version"),
            None => return encode::error(out, HELLO_NOT_A_NUMBER),
        };
    }
    let mut next = 2;
    while next < request.len() {
        let (option, left) = (request.arg(next), request.len() - next - 1);
        if option.eq_ignore_ascii_case(b"auth") && left >= 2 {
            if request.arg(next + 1) != b"default" {
                return encode::error(out, WRONG_PASSWORD);
            }
            next += 3;
        } else if option.eq_ignore_ascii_case(b"setname") && left >= 1 {
            // A name stays although a later option is refused.
            let name = request.arg(next + 1);
            if !is_client_word(name) {
                return encode::error(out, BAD_CLIENT_NAME);
            }
            keep_name(name, session);
            next += 2;
        } else {
            // To the server it is a C string.
            let shown = option.split(|byte| *byte == 0).next().unwrap_or_default();
            let text = [&b"ERR Syntax error in HELLO option '"[..], shown, b"'"].concat();
            return encode::error(out, &text);
        }
    }
    session.protocol = protocol;
    write_hello(session, out);
}

fn write_hello(session: &Session, out: &mut Vec<u8>) {
    encode::map(out, session.protocol, 7);
    for (field, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        encode::bulk(out, field.as_bytes());
        encode::bulk(out, value.as_bytes());
    }
    encode::bulk(out, b"proto");
    encode::integer(
        out,
        if session.protocol == Protocol::Resp3 {
            3
        } else {
            2
        },
    );
    encode::bulk(out, b"id");
    encode::integer(out, session.client_id as i64);
    for (field, value) in [("mode", "standalone"), ("role", "master")] {
        encode::bulk(out, field.as_bytes());
        encode::bulk(out, value.as_bytes());
    }
    encode::bulk(out, b"modules");
    encode::array(out, 0);
}

const AUTH_WITHOUT_PASSWORD: &[u8] = b"ERR AUTH <password> called without any password configured \
for the default user. Are you sure your configuration is correct?";

const WRONG_PASSWORD: &[u8] = b"WRONGPASS invalid username-password pair or user is disabled.";

const HELLO_NOT_A_NUMBER: &[u8] = b"ERR Protocol version is not an integer or out of range";
