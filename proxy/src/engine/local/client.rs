//! `CLIENT`: what a client says and asks about its own connection.

use slotway_protocol::command::lookup;
use slotway_protocol::engine::Instant;
use slotway_protocol::resp::{Protocol, Request, encode};

use super::parse_integer;
use crate::engine::listing;
use crate::engine::session::{About, Replies, Session};

/// `CLIENT NO-EVICT <ON | OFF>`: the proxy closes no client to save memory.
pub(super) fn no_evict(choice: &[u8], session: &mut Session, out: &mut Vec<u8>) {
    let Some(chosen) = on_or_off(choice) else {
        return encode::error(out, SYNTAX);
    };
    session.no_evict = chosen;
    encode::simple(out, b"OK");
}

/// `CLIENT INFO`
pub(super) fn info(session: &mut Session, user: &str, now: Instant, out: &mut Vec<u8>) {
    session.last_command = lookup(b"client")
        .and_then(|client| client.subcommand(b"info"))
        .map(|command| command.id);
    let mut line = Vec::new();
    listing::write_line(session, user, now, &mut line);
    encode::verbatim(out, session.protocol, &line);
}

/// `CLIENT REPLY <ON | OFF | SKIP>`: only ON is replied to.
pub(super) fn choose_replies(choice: &[u8], session: &mut Session, out: &mut Vec<u8>) {
    if choice.eq_ignore_ascii_case(b"skip") {
        if session.replies != Replies::Off {
            session.replies = Replies::SkipTwo;
        }
        return;
    }
    match on_or_off(choice) {
        None => encode::error(out, SYNTAX),
        Some(true) => {
            session.replies = Replies::All;
            encode::simple(out, b"OK");
        }
        Some(false) => session.replies = Replies::Off,
    }
}

/// `CLIENT TRACKING <ON | OFF> [option ...]`: it can be off only. The options are checked all the
/// same, but what they say is not.
pub(super) fn tracking(request: &Request<'_>, out: &mut Vec<u8>) {
    let Some(wanted) = on_or_off(request.arg(2)) else {
        return encode::error(out, SYNTAX);
    };
    let mut next = 3;
    while next < request.len() {
        let takes = |word: &[u8]| request.is_arg(next, word) && next + 1 < request.len();
        let flags: [&[u8]; 4] = [b"bcast", b"optin", b"optout", b"noloop"];
        if takes(b"redirect") {
            if parse_integer(request.arg(next + 1)).is_none() {
                return encode::error(out, b"ERR value is not an integer or out of range");
            }
            next += 2;
        } else if takes(b"prefix") {
            next += 2;
        } else if flags.iter().any(|flag| request.is_arg(next, flag)) {
            next += 1;
        } else {
            return encode::error(out, SYNTAX);
        }
    }
    if wanted {
        encode::error(out, NO_TRACKING);
    } else {
        encode::simple(out, b"OK");
    }
}

fn on_or_off(choice: &[u8]) -> Option<bool> {
    if choice.eq_ignore_ascii_case(b"on") {
        Some(true)
    } else if choice.eq_ignore_ascii_case(b"off") {
        Some(false)
    } else {
        None
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

const NO_TRACKING: &[u8] = b"ERR proxy: CLIENT TRACKING is not supported, for what a client has \
read is not known to the nodes; leave it off";

const SYNTAX: &[u8] = b"ERR syntax error";

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
