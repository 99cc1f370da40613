//! The commands that the proxy answers by itself: about the client's own connection, about the
//! proxy, and about what looks like one server.

mod acl;
mod client;
mod cluster;
mod config;
mod hello;
mod help;
mod info;
mod keyspace;
mod refusals;
mod server;

use std::sync::Arc;

use slotway_protocol::command::{self, Learned};
use slotway_protocol::engine::Now;
use slotway_protocol::resp::{Request, encode};

use super::options::Options;
use super::plan::Plans;
use super::session::Session;
use super::settings::Agreed;
use super::stats::Stats;
use super::totals::Totals;

pub(crate) use self::cluster::Topic;
pub(crate) use self::hello::{database_number, says_password};
#[allow(unused_imports, reason = "for the fan-out that asks the nodes")]
pub(crate) use self::info::{info, needs_nodes};
#[allow(unused_imports, reason = "for the fan-out that asks the nodes")]
pub(crate) use self::keyspace::{Database, add_keyspace, keyspace_section};
pub(crate) use self::refusals::{ONE_PROCESS, reason};

/// A command answered by the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Local {
    AclCat,
    AclDryRun,
    AclGetUser,
    AclList,
    AclUsers,
    AclWhoAmI,
    Auth,
    ClientCaching,
    ClientGetName,
    ClientGetRedir,
    ClientId,
    ClientInfo,
    ClientNoEvict,
    ClientReply,
    ClientSetInfo,
    ClientSetName,
    ClientTracking,
    ClientTrackingInfo,
    Cluster(Topic),
    Command,
    ConfigGet,
    ConfigResetStat,
    ConfigRewrite,
    ConfigSet,
    Echo,
    Hello,
    Help,
    Info,
    Lolwut,
    ModuleList,
    /// Nothing to do: any node serves any slot.
    Ok,
    Ping,
    Quit,
    Reset,
    Role,
    Select,
    Time,
}

impl Local {
    /// The local command of that name in the table.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let (container, subcommand) = name.split_once('|').unwrap_or((name, ""));
        match (container, subcommand) {
            ("command", _) => return Some(Self::Command),
            (_, "help") => return Some(Self::Help),
            _ => {}
        }
        NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, local)| *local)
    }
}

impl Local {
    /// Whether it can be queued between MULTI and EXEC: it neither ends nor changes the session,
    /// and it has a reply.
    pub(crate) fn fits_transaction(self) -> bool {
        !matches!(
            self,
            Self::Auth | Self::ClientReply | Self::Hello | Self::Quit | Self::Reset
        )
    }
}

/// What the engine is to do besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum After {
    Nothing,
    /// Close the connection once the reply is out.
    Close,
    /// Go by this from now on, and tell the other workers.
    Agree(Agreed),
}

/// What local commands tell of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) now: Now,
    pub(crate) uptime_s: u64,
    pub(crate) options: &'a Options,
    pub(crate) plans: &'a Plans,
    pub(crate) learned: Option<&'a Learned>,
    /// How many databases a client can choose of.
    pub(crate) databases: u16,
    pub(crate) agreed: &'a Agreed,
}

impl Surroundings<'_> {
    fn workers(&self) -> &[Arc<Stats>] {
        &self.options.workers
    }

    /// What was counted since the start.
    fn counted(&self) -> Totals {
        Totals::of(self.workers(), &self.options.program)
    }

    /// What was counted since the last CONFIG RESETSTAT.
    fn totals(&self) -> Totals {
        match &self.agreed.baseline {
            Some(baseline) => self.counted().since(baseline),
            None => self.counted(),
        }
    }

    /// What the proxy looks like to a client.
    fn mode(&self) -> &'static str {
        match self.options.cluster {
            Some(_) => "cluster",
            None => "standalone",
        }
    }
}

/// Writes the reply; the session changes where the command says so.
pub(crate) fn run(
    local: Local,
    request: &Request<'_>,
    session: &mut Session,
    around: &Surroundings<'_>,
    out: &mut Vec<u8>,
) -> After {
    let protocol = session.protocol;
    match local {
        Local::AclCat => acl::categories(request, out),
        Local::AclDryRun => acl::dry_run(request, around.options, out),
        Local::AclGetUser => acl::user(request.arg(2), around.options, protocol, out),
        Local::AclList => acl::list(around.options, out),
        Local::AclUsers => acl::users(around.options, out),
        Local::AclWhoAmI => acl::who_am_i(around.options, out),
        Local::Auth => hello::auth(request, session, around.options.login.as_ref(), out),
        Local::ClientCaching => encode::error(out, client::CACHING_WITHOUT_TRACKING),
        Local::ClientGetName => client::name(session, out),
        Local::ClientGetRedir => encode::integer(out, client::NO_REDIRECT),
        Local::ClientId => encode::integer(out, session.client_id as i64),
        Local::ClientInfo => client::info(session, around.options.user(), around.now.instant, out),
        Local::ClientNoEvict => client::no_evict(request.arg(2), session, out),
        Local::ClientReply => client::choose_replies(request.arg(2), session, out),
        Local::ClientSetInfo => client::set_info(request, session, out),
        Local::ClientSetName => client::set_name(request.arg(2), session, out),
        Local::ClientTracking => client::tracking(request, out),
        Local::ClientTrackingInfo => client::tracking_info(protocol, out),
        Local::Cluster(topic) => match &around.options.cluster {
            Some(emulation) => cluster::reply(topic, request, session, emulation, out),
            None => encode::error(out, super::answer::NO_CLUSTER),
        },
        Local::Command => {
            command::reply::reply_with(request, protocol, around.learned, out);
        }
        Local::ConfigGet => config::get(request, protocol, around, out),
        Local::ConfigResetStat => return config::reset_stat(around, out),
        Local::ConfigRewrite => config::rewrite(around, out),
        Local::ConfigSet => return config::set(request, around, out),
        Local::Echo => encode::bulk(out, request.arg(1)),
        Local::Hello => {
            let login = around.options.login.as_ref();
            hello::hello(request, session, login, around.mode(), out);
        }
        Local::Help => help::help(request.arg(0), around.plans, out),
        Local::Info => info::info(request, protocol, around, None, out),
        Local::Lolwut => server::lolwut(request, protocol, out),
        Local::ModuleList => server::module_list(out),
        Local::Ok => encode::simple(out, b"OK"),
        Local::Ping => ping(request, session, out),
        Local::Quit => {
            encode::simple(out, b"OK");
            return After::Close;
        }
        Local::Reset => {
            session.reset();
            session.is_newcomer = around.options.login.is_some();
            encode::simple(out, b"RESET");
        }
        Local::Role => server::role(out),
        Local::Select => hello::select(request, session, around.databases, out),
        Local::Time => server::time(around.now.unix_ms, out),
    }
    After::Nothing
}

fn ping(request: &Request<'_>, session: &Session, out: &mut Vec<u8>) {
    match request.len() {
        // One that expects messages is answered by something that looks like one.
        len @ 1..=2 if session.is_subscribing() => {
            encode::array(out, 2);
            encode::bulk(out, b"pong");
            encode::bulk(out, if len == 2 { request.arg(1) } else { b"" });
        }
        1 => encode::simple(out, b"PONG"),
        2 => encode::bulk(out, request.arg(1)),
        _ => encode::error(out, b"ERR wrong number of arguments for 'ping' command"),
    }
}

/// The number, if it is written in the one form that redis-server takes: no plus, no needless zero.
pub(crate) fn parse_integer(bytes: &[u8]) -> Option<i64> {
    let text = core::str::from_utf8(bytes).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The version of Redis whose commands and replies the proxy speaks; clients choose features by
/// it.
const REDIS_VERSION: &str = "7.0.15";

const NAMES: &[(&str, Local)] = &[
    ("acl|cat", Local::AclCat),
    ("acl|dryrun", Local::AclDryRun),
    ("acl|getuser", Local::AclGetUser),
    ("acl|list", Local::AclList),
    ("acl|users", Local::AclUsers),
    ("acl|whoami", Local::AclWhoAmI),
    ("asking", Local::Ok),
    ("auth", Local::Auth),
    ("client|caching", Local::ClientCaching),
    ("client|getname", Local::ClientGetName),
    ("client|getredir", Local::ClientGetRedir),
    ("client|id", Local::ClientId),
    ("client|info", Local::ClientInfo),
    ("client|no-evict", Local::ClientNoEvict),
    ("client|reply", Local::ClientReply),
    ("client|setinfo", Local::ClientSetInfo),
    ("client|setname", Local::ClientSetName),
    ("client|tracking", Local::ClientTracking),
    ("client|trackinginfo", Local::ClientTrackingInfo),
    (
        "cluster|count-failure-reports",
        Local::Cluster(Topic::FailureReports),
    ),
    ("cluster|info", Local::Cluster(Topic::Info)),
    ("cluster|keyslot", Local::Cluster(Topic::KeySlot)),
    ("cluster|links", Local::Cluster(Topic::Links)),
    ("cluster|myid", Local::Cluster(Topic::MyId)),
    ("cluster|nodes", Local::Cluster(Topic::Nodes)),
    ("cluster|replicas", Local::Cluster(Topic::Replicas)),
    ("cluster|shards", Local::Cluster(Topic::Shards)),
    ("cluster|slaves", Local::Cluster(Topic::Replicas)),
    ("cluster|slots", Local::Cluster(Topic::Slots)),
    ("config|get", Local::ConfigGet),
    ("config|resetstat", Local::ConfigResetStat),
    ("config|rewrite", Local::ConfigRewrite),
    ("config|set", Local::ConfigSet),
    ("echo", Local::Echo),
    ("hello", Local::Hello),
    ("info", Local::Info),
    ("lolwut", Local::Lolwut),
    ("module|list", Local::ModuleList),
    ("ping", Local::Ping),
    ("quit", Local::Quit),
    ("readonly", Local::Ok),
    ("readwrite", Local::Ok),
    ("reset", Local::Reset),
    ("role", Local::Role),
    ("select", Local::Select),
    ("time", Local::Time),
];

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use slotway_protocol::engine::{ConnectionId, Instant};
    use slotway_protocol::resp::{RequestBuffers, RequestLimits, RequestScanner, Scan};

    use super::super::listing::Ends;
    use super::super::program::Program;
    use super::*;

    /// A proxy of two workers, as far as local commands see it.
    #[derive(Debug)]
    pub(super) struct World {
        pub(super) options: Options,
        pub(super) databases: u16,
        agreed: Agreed,
    }

    impl Default for World {
        fn default() -> Self {
            let program = Program {
                settings: vec![("workers", "3".to_owned())],
                ..Program::default()
            };
            let options = Options {
                workers: [Arc::default(), Arc::default()].into(),
                program: Arc::new(program),
                ..Options::default()
            };
            Self {
                options,
                databases: 1,
                agreed: Agreed::default(),
            }
        }
    }

    impl World {
        pub(super) fn program(&mut self) -> &mut Program {
            Arc::get_mut(&mut self.options.program).expect("one owner")
        }

        /// The reply to an inline command that the proxy answers.
        pub(super) fn reply(&mut self, session: &mut Session, line: &str) -> String {
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
            let uptime = Duration::from_secs(90_061);
            let around = Surroundings {
                now: Now {
                    instant: Instant::default() + uptime,
                    unix_ms: 1_002,
                },
                uptime_s: uptime.as_secs(),
                options: &self.options,
                plans: &Plans::new(self.options.cluster.is_some()),
                learned: None,
                databases: self.databases,
                agreed: &self.agreed,
            };
            let mut out = Vec::new();
            if let After::Agree(newer) = run(local, &request, session, &around, &mut out) {
                self.agreed.merge(&newer);
                newer.changes.apply(&mut self.options);
            }
            String::from_utf8(out).unwrap()
        }
    }

    pub(super) fn session() -> Session {
        let connection = ConnectionId {
            index: 0,
            generation: 0,
        };
        Session::new(connection, 7, Ends::NONE, Instant::default())
    }

    /// The reply to an inline command, of a proxy of which nothing is changed.
    pub(super) fn reply(session: &mut Session, line: &str) -> String {
        World::default().reply(session, line)
    }
}
