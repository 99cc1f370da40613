//! `CLIENT`: what a client says and asks about its own connection.

use slotway_protocol::resp::{Protocol, Request, encode};

use crate::engine::session::{About, Session};

/// `CLIENT NO-EVICT <ON | OFF>`: the proxy closes no client to save memory.
pub(super) fn no_evict(choice: &[u8], out: &mut Vec<u8>) {
    if choice.eq_ignore_ascii_case(b"on") || choice.eq_ignore_ascii_case(b"off") {
        encode::simple(out, b"OK");
    } else {
        encode::error(out, b"ERR syntax error");
    }
}

/// `CLIENT TRACKINGINFO` of a client without tracking.
pub(super) fn tracking_info(protocol: Protocol, out: &mut Vec<u8>) {
    encode::map(out, protocol, 3);
    encode::bulk(out, b"flags");
    encode::set(out, protocol, 1);
    encode::bulk(out, b"off");
    encode::bulk(out, b"redirect");
    encode::integer(out, NO_REDIRECT);
    encode::bulk(out, b"prefixes");
    encode::array(out, 0);
}

pub(super) fn name(session: &Session, out: &mut Vec<u8>) {
    match session
        .about
        .as_ref()
        .filter(|about| !about.name.is_empty())
    {
        Some(about) => encode::bulk(out, &about.name),
        None => encode::null(out, session.protocol),
    }
}

pub(super) fn set_name(name: &[u8], session: &mut Session, out: &mut Vec<u8>) {
    if !is_client_word(name) {
        return encode::error(out, BAD_CLIENT_NAME);
    }
    keep_name(name, session);
    encode::simple(out, b"OK");
}

pub(super) fn keep_name(name: &[u8], session: &mut Session) {
    session.about.get_or_insert_with(Box::<About>::default).name = name.to_vec();
}

/// `CLIENT SETINFO <LIB-NAME libname | LIB-VER libver>`, which Redis has from 7.2 on.
pub(super) fn set_info(request: &Request<'_>, session: &mut Session, out: &mut Vec<u8>) {
    if request.len() != 4 {
        let text = b"ERR wrong number of arguments for 'client|setinfo' command";
        return encode::error(out, text);
    }
    let (attribute, value) = (request.arg(2), request.arg(3));
    let about = session.about.get_or_insert_with(Box::<About>::default);
    let (field, name) = if attribute.eq_ignore_ascii_case(b"lib-name") {
        (&mut about.library, "lib-name")
    } else if attribute.eq_ignore_ascii_case(b"lib-ver") {
        (&mut about.library_version, "lib-ver")
    } else {
        let attribute = String::from_utf8_lossy(attribute);
        let text = format!("ERR Unrecognized option '{attribute}'");
        return encode::error(out, text.as_bytes());
    };
    if !is_client_word(value) {
        let text = format!("ERR {name} cannot contain spaces, newlines or special characters.");
        return encode::error(out, text.as_bytes());
    }
    *field = value.to_vec();
    encode::simple(out, b"OK");
}

/// Whether the word may be shown in CLIENT LIST: printable, without spaces.
pub(super) fn is_client_word(word: &[u8]) -> bool {
    word.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// Where invalidation messages go when a client has no tracking.
pub(super) const NO_REDIRECT: i64 = -1;

/// Nobody can switch tracking on here.
pub(super) const CACHING_WITHOUT_TRACKING: &[u8] =
    b"ERR CLIENT CACHING can be called only when the client \
is in tracking mode with OPTIN or OPTOUT mode enabled";

pub(super) const BAD_CLIENT_NAME: &[u8] =
    b"ERR Client names cannot contain spaces, newlines or special characters.";

#[cfg(test)]
mod tests {
    use super::super::tests::{reply, session};
    use super::*;

    #[test]
    fn nobody_has_tracking() {
        let mut session = session();
        assert_eq!(reply(&mut session, "CLIENT GETREDIR"), ":-1\r\n");
        assert!(reply(&mut session, "CLIENT CACHING YES").starts_with("-ERR CLIENT CACHING can"));
        let resp2 = reply(&mut session, "CLIENT TRACKINGINFO");
        assert!(
            resp2.starts_with("*6\r\n$5\r\nflags\r\n*1\r\n$3\r\noff\r\n"),
            "{resp2}"
        );
        session.protocol = Protocol::Resp3;
        let resp3 = reply(&mut session, "CLIENT TRACKINGINFO");
        assert!(
            resp3.starts_with("%3\r\n$5\r\nflags\r\n~1\r\n$3\r\noff\r\n"),
            "{resp3}"
        );
    }

    #[test]
    fn no_evict_takes_on_and_off() {
        for (choice, expected) in [
            ("on", "+OK\r\n"),
            ("OFF", "+OK\r\n"),
            ("maybe", "-ERR syntax error\r\n"),
        ] {
            let got = reply(&mut session(), &format!("CLIENT NO-EVICT {choice}"));
            assert_eq!(got, expected, "{choice}");
        }
    }
}
