//! The commands that the proxy answers by itself: those about the client's own connection.

mod client;
mod config;
mod hello;
mod info;

use slotway_protocol::command;
use slotway_protocol::resp::{Protocol, Request, encode};

use super::session::Session;

/// A command answered by the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Local {
    Auth,
    ClientCaching,
    ClientGetName,
    ClientGetRedir,
    ClientId,
    ClientNoEvict,
    ClientSetInfo,
    ClientSetName,
    ClientTrackingInfo,
    Command,
    ConfigGet,
    Echo,
    Hello,
    Info,
    Ping,
    Quit,
    Reset,
    Select,
}

impl Local {
    /// The local command of that name in the table.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let name = if name.starts_with("command|") {
            "command"
        } else {
            name
        };
        NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, local)| *local)
    }
}

impl Local {
    /// Whether it can be queued between MULTI and EXEC: it neither ends nor changes the session.
    pub(crate) fn fits_transaction(self) -> bool {
        !matches!(self, Self::Auth | Self::Hello | Self::Quit | Self::Reset)
    }
}

/// What the engine is to do besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Nothing,
    /// Close the connection once the reply is out.
    Close,
}

/// Numbers that local commands tell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) uptime_s: u64,
    pub(crate) clients: u64,
    pub(crate) requests: u64,
}

/// Writes the reply; the session changes where the command says so.
pub(crate) fn run(
    local: Local,
    request: &Request<'_>,
    session: &mut Session,
    facts: Facts,
    out: &mut Vec<u8>,
) -> After {
    match local {
        Local::Auth => hello::auth(request, out),
        Local::ClientCaching => encode::error(out, client::CACHING_WITHOUT_TRACKING),
        Local::ClientGetName => client::name(session, out),
        Local::ClientGetRedir => encode::integer(out, client::NO_REDIRECT),
        Local::ClientId => encode::integer(out, session.client_id as i64),
        Local::ClientNoEvict => client::no_evict(request.arg(2), out),
        Local::ClientSetInfo => client::set_info(request, session, out),
        Local::ClientSetName => client::set_name(request.arg(2), session, out),
        Local::ClientTrackingInfo => client::tracking_info(session.protocol, out),
        Local::Command => command::reply::reply(request, session.protocol, out),
        Local::ConfigGet => config::config_get(request, session.protocol, out),
        Local::Echo => encode::bulk(out, request.arg(1)),
        Local::Hello => hello::hello(request, session, out),
        Local::Info => info::info(request, session.protocol, facts, out),
        Local::Ping => ping(request, out),
        Local::Quit => {
            encode::simple(out, b"OK");
            return After::Close;
        }
        Local::Reset => {
            session.protocol = Protocol::Resp2;
            session.about = None;
            encode::simple(out, b"RESET");
        }
        Local::Select => select(request, out),
    }
    After::Nothing
}

fn ping(request: &Request<'_>, out: &mut Vec<u8>) {
    match request.len() {
        1 => encode::simple(out, b"PONG"),
        2 => encode::bulk(out, request.arg(1)),
        _ => encode::error(out, b"ERR wrong number of arguments for 'ping' command"),
    }
}

/// A cluster has database 0 only.
fn select(request: &Request<'_>, out: &mut Vec<u8>) {
    match parse_integer(request.arg(1)).map(i32::try_from) {
        Some(Ok(0)) => encode::simple(out, b"OK"),
        Some(Ok(_)) => encode::error(out, b"ERR SELECT is not allowed in cluster mode"),
        Some(Err(_)) => encode::error(out, OUT_OF_RANGE),
        None => encode::error(out, b"ERR value is not an integer or out of range"),
    }
}

/// The number, if it is written in the one form that redis-server takes: no plus, no needless zero.
pub(super) fn parse_integer(bytes: &[u8]) -> Option<i64> {
    let text = core::str::from_utf8(bytes).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The version of Redis whose commands and replies the proxy speaks; clients choose features by
/// it.
const REDIS_VERSION: &str = "7.0.15";

const NAMES: [(&str, Local); 18] = [
    ("auth", Local::Auth),
    ("client|caching", Local::ClientCaching),
    ("client|getname", Local::ClientGetName),
    ("client|getredir", Local::ClientGetRedir),
    ("client|id", Local::ClientId),
    ("client|no-evict", Local::ClientNoEvict),
    ("client|setinfo", Local::ClientSetInfo),
    ("client|setname", Local::ClientSetName),
    ("client|trackinginfo", Local::ClientTrackingInfo),
    ("command", Local::Command),
    ("config|get", Local::ConfigGet),
    ("echo", Local::Echo),
    ("hello", Local::Hello),
    ("info", Local::Info),
    ("ping", Local::Ping),
    ("quit", Local::Quit),
    ("reset", Local::Reset),
    ("select", Local::Select),
];

const OUT_OF_RANGE: &[u8] =
    b"ERR value is out of range, value must between -2147483648 and 2147483647";

#[cfg(test)]
mod tests {
    use slotway_protocol::engine::{ConnectionId, Instant};
    use slotway_protocol::resp::{RequestBuffers, RequestLimits, RequestScanner, Scan};

    use super::*;

    const FACTS: Facts = Facts {
        uptime_s: 0,
        clients: 1,
        requests: 1,
    };

    fn session() -> Session {
        let connection = ConnectionId {
            index: 0,
            generation: 0,
        };
        Session::new(connection, 7, Instant::default())
    }

    /// The reply to an inline command that the proxy answers.
    fn reply(session: &mut Session, line: &str) -> String {
        let input = format!("{line}\r\n");
        let mut buffers = RequestBuffers::default();
        let limits = RequestLimits::default();
        let scan = RequestScanner::default().scan(input.as_bytes(), &limits, &mut buffers);
        let Ok(Scan::Request { consumed }) = scan else {
            panic!("{line} is no request: {scan:?}");
        };
        let request = buffers.request(&input.as_bytes()[..consumed]);
        let command = command::resolve(&request).expect("a command");
        let local = Local::of(command.name).expect("a command that the proxy answers");
        let mut out = Vec::new();
        run(local, &request, session, FACTS, &mut out);
        String::from_utf8(out).unwrap()
    }

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
