//! The commands that the proxy answers by itself: those about the client's own connection.

use slotway_protocol::command;
use slotway_protocol::resp::{Protocol, Request, encode};

use super::session::{About, Session};

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
        Local::Auth => auth(request, out),
        Local::ClientCaching => encode::error(out, CACHING_WITHOUT_TRACKING),
        Local::ClientGetName => client_get_name(session, out),
        Local::ClientGetRedir => encode::integer(out, NO_REDIRECT),
        Local::ClientId => encode::integer(out, session.client_id as i64),
        Local::ClientNoEvict => client_no_evict(request.arg(2), out),
        Local::ClientSetInfo => client_set_info(request, session, out),
        Local::ClientSetName => client_set_name(request.arg(2), session, out),
        Local::ClientTrackingInfo => client_tracking_info(session.protocol, out),
        Local::Command => command::reply::reply(request, session.protocol, out),
        Local::ConfigGet => config_get(request, session.protocol, out),
        Local::Echo => encode::bulk(out, request.arg(1)),
        Local::Hello => hello(request, session, out),
        Local::Info => info(request, session.protocol, facts, out),
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

fn auth(request: &Request<'_>, out: &mut Vec<u8>) {
    match request.len() {
        2 => encode::error(out, AUTH_WITHOUT_PASSWORD),
        3 if request.arg(1) == b"default" => encode::simple(out, b"OK"),
        3 => encode::error(out, WRONG_PASSWORD),
        _ => encode::error(out, b"ERR syntax error"),
    }
}

/// `HELLO [protover [AUTH username password] [SETNAME clientname]]`
fn hello(request: &Request<'_>, session: &mut Session, out: &mut Vec<u8>) {
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
            set_name(name, session);
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

/// `CLIENT NO-EVICT <ON | OFF>`: the proxy closes no client to save memory.
fn client_no_evict(choice: &[u8], out: &mut Vec<u8>) {
    if choice.eq_ignore_ascii_case(b"on") || choice.eq_ignore_ascii_case(b"off") {
        encode::simple(out, b"OK");
    } else {
        encode::error(out, b"ERR syntax error");
    }
}

/// `CLIENT TRACKINGINFO` of a client without tracking.
fn client_tracking_info(protocol: Protocol, out: &mut Vec<u8>) {
    encode::map(out, protocol, 3);
    encode::bulk(out, b"flags");
    encode::set(out, protocol, 1);
    encode::bulk(out, b"off");
    encode::bulk(out, b"redirect");
    encode::integer(out, NO_REDIRECT);
    encode::bulk(out, b"prefixes");
    encode::array(out, 0);
}

fn client_get_name(session: &Session, out: &mut Vec<u8>) {
    match session
        .about
        .as_ref()
        .filter(|about| !about.name.is_empty())
    {
        Some(about) => encode::bulk(out, &about.name),
        None => encode::null(out, session.protocol),
    }
}

fn client_set_name(name: &[u8], session: &mut Session, out: &mut Vec<u8>) {
    if !is_client_word(name) {
        return encode::error(out, BAD_CLIENT_NAME);
    }
    set_name(name, session);
    encode::simple(out, b"OK");
}

fn set_name(name: &[u8], session: &mut Session) {
    session.about.get_or_insert_with(Box::<About>::default).name = name.to_vec();
}

/// `CLIENT SETINFO <LIB-NAME libname | LIB-VER libver>`, which Redis has from 7.2 on.
fn client_set_info(request: &Request<'_>, session: &mut Session, out: &mut Vec<u8>) {
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

/// The proxy's own settings under the names that redis-benchmark and clients ask for.
fn config_get(request: &Request<'_>, protocol: Protocol, out: &mut Vec<u8>) {
    let asked = |name: &str| {
        request
            .args(2)
            .any(|pattern| pattern.eq_ignore_ascii_case(name.as_bytes()))
    };
    let known: Vec<_> = CONFIG.iter().filter(|(name, _)| asked(name)).collect();
    encode::map(out, protocol, known.len());
    for (name, value) in known {
        encode::bulk(out, name.as_bytes());
        encode::bulk(out, value.as_bytes());
    }
}

/// `INFO [section ...]`: the sections that clients read when they connect.
fn info(request: &Request<'_>, protocol: Protocol, facts: Facts, out: &mut Vec<u8>) {
    let everything = |section: &[u8]| {
        [&b"default"[..], b"all", b"everything"]
            .iter()
            .any(|all| section.eq_ignore_ascii_case(all))
    };
    let wanted = |name: &str| {
        request.len() == 1
            || request
                .args(1)
                .any(|section| everything(section) || section.eq_ignore_ascii_case(name.as_bytes()))
    };
    let sections = [
        ("Server", server_section(facts)),
        (
            "Clients",
            format!("connected_clients:{}\r\n", facts.clients),
        ),
        ("Persistence", "loading:0\r\n".to_owned()),
        (
            "Stats",
            format!("total_commands_processed:{}\r\n", facts.requests),
        ),
        (
            "Replication",
            "role:master\r\nconnected_slaves:0\r\n".to_owned(),
        ),
        ("Cluster", "cluster_enabled:0\r\n".to_owned()),
    ];
    let mut text = String::new();
    for (name, body) in sections.iter().filter(|(name, _)| wanted(name)) {
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        text.push_str(&format!("# {name}\r\n{body}"));
    }
    encode::verbatim(out, protocol, text.as_bytes());
}

fn server_section(facts: Facts) -> String {
    format!(
        "redis_version:{REDIS_VERSION}\r\nredis_mode:standalone\r\nslotway_version:{}\r\n\
         process_id:{}\r\nuptime_in_seconds:{}\r\nuptime_in_days:{}\r\n",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        facts.uptime_s,
        facts.uptime_s / 86_400,
    )
}

/// Whether the word may be shown in CLIENT LIST: printable, without spaces.
fn is_client_word(word: &[u8]) -> bool {
    word.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// The number, if it is written in the one form that redis-server takes: no plus, no needless zero.
fn parse_integer(bytes: &[u8]) -> Option<i64> {
    let text = core::str::from_utf8(bytes).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The version of Redis whose commands and replies the proxy speaks; clients choose features by
/// it.
const REDIS_VERSION: &str = "7.0.15";

/// Setting names of redis-server that are true of the proxy: it stores nothing.
const CONFIG: [(&str, &str); 3] = [("save", ""), ("appendonly", "no"), ("databases", "1")];

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

/// Where invalidation messages go when a client has no tracking.
const NO_REDIRECT: i64 = -1;

const OUT_OF_RANGE: &[u8] =
    b"ERR value is out of range, value must between -2147483648 and 2147483647";

/// Nobody can switch tracking on here.
const CACHING_WITHOUT_TRACKING: &[u8] = b"ERR CLIENT CACHING can be called only when the client \
is in tracking mode with OPTIN or OPTOUT mode enabled";

const AUTH_WITHOUT_PASSWORD: &[u8] = b"ERR AUTH <password> called without any password configured \
for the default user. Are you sure your configuration is correct?";

const WRONG_PASSWORD: &[u8] = b"WRONGPASS invalid username-password pair or user is disabled.";

const HELLO_NOT_A_NUMBER: &[u8] = b"ERR Protocol version is not an integer or out of range";

const BAD_CLIENT_NAME: &[u8] =
    b"ERR Client names cannot contain spaces, newlines or special characters.";

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
