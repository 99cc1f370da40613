//! Who the client is and how it wants to be spoken to: `AUTH`, `HELLO` and `SELECT`.

use slotway_protocol::resp::{Protocol, Request, encode};

use super::client::{BAD_CLIENT_NAME, is_client_word, keep_name};
use super::{Local, REDIS_VERSION, parse_integer};
use crate::engine::options::{DEFAULT_USER, Login};
use crate::engine::session::Session;

/// `AUTH [username] password`
pub(super) fn auth(
    request: &Request<'_>,
    session: &mut Session,
    login: Option<&Login>,
    out: &mut Vec<u8>,
) {
    if let Some(login) = login {
        let accepted = match request.len() {
            2 => login.accepts(DEFAULT_USER.as_bytes(), request.arg(1)),
            3 => login.accepts(request.arg(1), request.arg(2)),
            _ => return encode::error(out, b"ERR syntax error"),
        };
        if !accepted {
            return encode::error(out, WRONG_PASSWORD);
        }
        session.is_newcomer = false;
        return encode::simple(out, b"OK");
    }
    match request.len() {
        2 => encode::error(out, AUTH_WITHOUT_PASSWORD),
        3 if request.arg(1) == b"default" => encode::simple(out, b"OK"),
        3 => encode::error(out, WRONG_PASSWORD),
        _ => encode::error(out, b"ERR syntax error"),
    }
}

/// `HELLO [protover [AUTH username password] [SETNAME clientname]]`
pub(super) fn hello(
    request: &Request<'_>,
    session: &mut Session,
    login: Option<&Login>,
    mode: &'static str,
    out: &mut Vec<u8>,
) {
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
            let (username, password) = (request.arg(next + 1), request.arg(next + 2));
            let accepted = match login {
                Some(login) => login.accepts(username, password),
                None => username == DEFAULT_USER.as_bytes(),
            };
            if !accepted {
                return encode::error(out, WRONG_PASSWORD);
            }
            session.is_newcomer = false;
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
    if session.is_newcomer {
        return encode::error(out, HELLO_WITHOUT_LOGIN);
    }
    session.protocol = protocol;
    write_hello(session, mode, out);
}

/// Whether the request says a password, be it right or wrong.
pub(crate) fn says_password(local: Local, request: &Request<'_>) -> bool {
    let mut next = 2;
    match local {
        Local::Auth => return true,
        Local::Hello => {}
        _ => return false,
    }
    while next < request.len() && request.is_arg(next, b"setname") {
        next += 2;
    }
    request.is_arg(next, b"auth")
}

fn write_hello(session: &Session, mode: &str, out: &mut Vec<u8>) {
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
    for (field, value) in [("mode", mode), ("role", "master")] {
        encode::bulk(out, field.as_bytes());
        encode::bulk(out, value.as_bytes());
    }
    encode::bulk(out, b"modules");
    encode::array(out, 0);
}

const AUTH_WITHOUT_PASSWORD: &[u8] = b"ERR AUTH <password> called without any password configured \
for the default user. Are you sure your configuration is correct?";

const WRONG_PASSWORD: &[u8] = b"WRONGPASS invalid username-password pair or user is disabled.";

const HELLO_WITHOUT_LOGIN: &[u8] = b"NOAUTH HELLO must be called with the client already \
authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate \
the client and select the RESP protocol version at the same time";

const HELLO_NOT_A_NUMBER: &[u8] = b"ERR Protocol version is not an integer or out of range";

/// The nodes have that many databases; a cluster may have number 0 only.
pub(super) fn select(
    request: &Request<'_>,
    session: &mut Session,
    databases: u16,
    out: &mut Vec<u8>,
) {
    let number = match parse_integer(request.arg(1)).map(i32::try_from) {
        Some(Ok(number)) => number,
        Some(Err(_)) => return encode::error(out, OUT_OF_RANGE),
        None => return encode::error(out, b"ERR value is not an integer or out of range"),
    };
    match u16::try_from(number) {
        Ok(database) if database < databases => {
            if session.watch.is_some() && database != session.database {
                return encode::error(out, SELECT_WHILE_WATCHING);
            }
            session.database = database;
            encode::simple(out, b"OK");
        }
        _ if databases == 1 => encode::error(out, b"ERR SELECT is not allowed in cluster mode"),
        _ => encode::error(out, b"ERR DB index is out of range"),
    }
}

/// The number that a SELECT names, if it is one.
pub(crate) fn database_number(request: &Request<'_>) -> Option<i32> {
    i32::try_from(parse_integer(request.arg(1))?).ok()
}

const SELECT_WHILE_WATCHING: &[u8] =
    b"ERR proxy: another database can't be selected while keys are watched; UNWATCH first";

const OUT_OF_RANGE: &[u8] =
    b"ERR value is out of range, value must between -2147483648 and 2147483647";

#[cfg(test)]
mod tests {
    use slotway_protocol::resp::{RequestBuffers, RequestLimits, RequestScanner, Scan};

    use super::super::tests::{World, reply, session};
    use super::*;

    #[test]
    fn select_takes_numbers_as_the_server_does() {
        for (number, expected) in [
            ("0", "+OK\r\n"),
            ("1", "-ERR SELECT is not allowed in cluster mode\r\n"),
            ("-1", "-ERR SELECT is not allowed in cluster mode\r\n"),
            ("00", "-ERR value is not an integer or out of range\r\n"),
            ("-0", "-ERR value is not an integer or out of range\r\n"),
            ("+0", "-ERR value is not an integer or out of range\r\n"),
            ("x", "-ERR value is not an integer or out of range\r\n"),
            (
                "2147483648",
                "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n",
            ),
        ] {
            let got = reply(&mut session(), &format!("SELECT {number}"));
            assert_eq!(got, expected, "{number}");
        }
    }

    #[test]
    fn select_goes_by_the_number_of_databases() {
        let mut world = World::default();
        world.databases = 16;
        let mut session = session();
        for (number, expected, database) in [
            ("15", "+OK\r\n", 15),
            ("16", "-ERR DB index is out of range\r\n", 15),
            ("-1", "-ERR DB index is out of range\r\n", 15),
            ("70000", "-ERR DB index is out of range\r\n", 15),
            ("0", "+OK\r\n", 0),
        ] {
            let got = world.reply(&mut session, &format!("SELECT {number}"));
            assert_eq!(
                (&got[..], session.database),
                (expected, database),
                "{number}"
            );
        }
        world.reply(&mut session, "SELECT 2");
        world.reply(&mut session, "HELLO 3");
        assert_eq!(session.database, 2, "as in redis-server");
        world.reply(&mut session, "RESET");
        assert_eq!(session.database, 0);
        let got = world.reply(&mut session, "CONFIG GET databases");
        assert_eq!(got, "*2\r\n$9\r\ndatabases\r\n$2\r\n16\r\n");
    }

    #[test]
    fn a_refused_hello_changes_the_name_but_not_the_protocol() {
        let mut session = session();
        let got = reply(&mut session, r#"HELLO 3 SETNAME me "BO\r\x00GUS""#);
        assert_eq!(got, "-ERR Syntax error in HELLO option 'BO '\r\n");
        assert_eq!(session.protocol, Protocol::Resp2);
        assert_eq!(reply(&mut session, "CLIENT GETNAME"), "$2\r\nme\r\n");
        let got = reply(&mut session, r#"HELLO 3 SETNAME "two words""#);
        assert!(got.starts_with("-ERR Client names cannot"), "{got}");
        assert_eq!(reply(&mut session, "CLIENT GETNAME"), "$2\r\nme\r\n");
    }

    #[test]
    fn who_says_a_password_is_known_before_it_is_looked_at() {
        for (line, says) in [
            ("AUTH x", true),
            ("AUTH x y", true),
            ("HELLO", false),
            ("HELLO 3", false),
            ("HELLO 3 AUTH x y", true),
            ("HELLO x auth x y", true),
            ("HELLO 3 SETNAME auth", false),
            ("HELLO 3 SETNAME a setname b AUTH x y", true),
            ("HELLO 3 SETNAME a", false),
            ("PING auth", false),
        ] {
            let words: Vec<_> = line.split(' ').collect();
            let mut frame = Vec::new();
            encode::request(&mut frame, &words);
            let mut buffers = RequestBuffers::default();
            let limits = RequestLimits::default();
            let scan = RequestScanner::default().scan(&frame, &limits, &mut buffers);
            assert!(matches!(scan, Ok(Scan::Request { .. })));
            let local = Local::of(&words[0].to_lowercase()).unwrap();
            assert_eq!(
                says_password(local, &buffers.request(&frame)),
                says,
                "{line}"
            );
        }
    }

    #[test]
    fn reset_leaves_nothing_but_what_the_library_is() {
        let mut session = session();
        reply(&mut session, "HELLO 3 SETNAME me");
        session.about.as_mut().unwrap().library = b"lib".to_vec();
        assert_eq!(reply(&mut session, "RESET"), "+RESET\r\n");
        assert_eq!(session.protocol, Protocol::Resp2);
        assert_eq!(reply(&mut session, "CLIENT GETNAME"), "$-1\r\n");
        assert_eq!(session.about.unwrap().library, b"lib");
    }

    #[test]
    fn hello_tells_what_the_proxy_looks_like() {
        let mut world = World::default();
        let got = world.reply(&mut session(), "HELLO");
        assert!(
            got.contains("\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n"),
            "{got}"
        );
        world.options.cluster = Some(crate::engine::options::Emulation { announce: None });
        let got = world.reply(&mut session(), "HELLO 3");
        assert!(got.contains("\r\n$4\r\nmode\r\n$7\r\ncluster\r\n"), "{got}");
    }
}
