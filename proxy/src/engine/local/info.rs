//! `INFO`: the proxy's own text, with the sections and names that clients and exporters of
//! redis-server look for. What the proxy does not know it leaves out.

use core::fmt::{self, Write};

use slotway_protocol::command::{Command, CommandId};
use slotway_protocol::resp::{Protocol, Request, encode};

use super::keyspace::{Database, keyspace_section};
use super::{REDIS_VERSION, Surroundings};
use crate::engine::stats::ERROR_CODES;
use crate::engine::totals::Totals;

/// `INFO [section ...]`. The databases are those of all nodes together; a section of them is left
/// out when nobody has asked the nodes.
pub(crate) fn info(
    request: &Request<'_>,
    protocol: Protocol,
    around: &Surroundings<'_>,
    databases: Option<&[Database]>,
    out: &mut Vec<u8>,
) {
    let told = Told {
        around,
        totals: around.totals(),
        databases,
    };
    let mut text = String::new();
    for section in &SECTIONS {
        if !section.is_wanted(request) || section.needs_nodes() && databases.is_none() {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        line(&mut text, format_args!("# {}", section.name));
        (section.write)(&told, &mut text);
    }
    encode::verbatim(out, protocol, text.as_bytes());
}

/// Whether the nodes must be asked before INFO can be answered in full.
#[allow(dead_code, reason = "for the fan-out that asks the nodes")]
pub(crate) fn needs_nodes(request: &Request<'_>) -> bool {
    let mut wanted = SECTIONS.iter().filter(|section| section.is_wanted(request));
    wanted.any(Section::needs_nodes)
}

/// What the sections tell of.
struct Told<'a> {
    around: &'a Surroundings<'a>,
    totals: Totals,
    databases: Option<&'a [Database]>,
}

struct Section {
    name: &'static str,
    /// Whether it belongs to what is told when nothing is asked for by name.
    by_default: bool,
    write: fn(&Told<'_>, &mut String),
}

impl Section {
    fn is_wanted(&self, request: &Request<'_>) -> bool {
        if request.len() == 1 {
            return self.by_default;
        }
        request.args(1).any(|asked| {
            let is = |word: &str| asked.eq_ignore_ascii_case(word.as_bytes());
            is(self.name) || is("default") && self.by_default || is("all") || is("everything")
        })
    }

    fn needs_nodes(&self) -> bool {
        self.name == KEYSPACE
    }
}

const KEYSPACE: &str = "Keyspace";

/// In the server's order.
const SECTIONS: [Section; 12] = [
    section("Server", server),
    section("Clients", clients),
    section("Memory", memory),
    section("Persistence", persistence),
    section("Stats", stats),
    section("Replication", replication),
    section("CPU", cpu),
    section("Modules", |_, _| {}),
    Section {
        by_default: false,
        ..section("Commandstats", command_stats)
    },
    section("Errorstats", error_stats),
    section("Cluster", cluster),
    section(KEYSPACE, |told, text| {
        keyspace_section(told.databases.unwrap_or_default(), text);
    }),
];

const fn section(name: &'static str, write: fn(&Told<'_>, &mut String)) -> Section {
    Section {
        name,
        by_default: true,
        write,
    }
}

fn server(told: &Told<'_>, text: &mut String) {
    let around = told.around;
    let program = &around.options.program;
    let uptime_s = around.uptime_s;
    let mode = around.mode();
    let version = env!("CARGO_PKG_VERSION");
    line(text, format_args!("redis_version:{REDIS_VERSION}"));
    line(text, format_args!("slotway_version:{version}"));
    line(text, format_args!("redis_mode:{mode}"));
    line(text, format_args!("os:{}", program.system));
    line(text, format_args!("arch_bits:{}", usize::BITS));
    line(text, format_args!("process_id:{}", program.process_id));
    line(text, format_args!("run_id:{}", program.run_id));
    line(text, format_args!("tcp_port:{}", program.port));
    let micros = around.now.unix_ms * 1000;
    line(text, format_args!("server_time_usec:{micros}"));
    line(text, format_args!("uptime_in_seconds:{uptime_s}"));
    line(text, format_args!("uptime_in_days:{}", uptime_s / 86_400));
    line(text, format_args!("executable:{}", program.executable));
    line(text, format_args!("config_file:{}", program.config_file));
}

fn clients(told: &Told<'_>, text: &mut String) {
    let around = told.around;
    let workers = around.workers().iter();
    let connected: i64 = workers.map(|stats| stats.clients.value()).sum();
    let most = around.options.program.clients_max.value();
    line(text, format_args!("connected_clients:{connected}"));
    line(text, format_args!("maxclients:{most}"));
}

/// The system knows of the whole process only; what its allocator thinks it does not say.
fn memory(told: &Told<'_>, text: &mut String) {
    let program = &told.around.options.program;
    let used = program.resident_bytes.value().unsigned_abs();
    let peak = program.resident_bytes_peak.value().unsigned_abs().max(used);
    for (name, bytes) in [
        ("used_memory", used),
        ("used_memory_rss", used),
        ("used_memory_peak", peak),
        ("maxmemory", 0),
    ] {
        line(text, format_args!("{name}:{bytes}"));
        line(text, format_args!("{name}_human:{}", Human(bytes)));
    }
    line(text, format_args!("maxmemory_policy:noeviction"));
}

/// Nothing is kept that could be saved or loaded.
fn persistence(_: &Told<'_>, text: &mut String) {
    for name in [
        "loading",
        "async_loading",
        "rdb_bgsave_in_progress",
        "aof_enabled",
        "aof_rewrite_in_progress",
    ] {
        line(text, format_args!("{name}:0"));
    }
}

fn stats(told: &Told<'_>, text: &mut String) {
    let totals = &told.totals;
    let program = &told.around.options.program;
    let kilobytes = |bytes: i64| bytes as f64 / 1024.0;
    let (input, output) = (
        kilobytes(program.input_bytes_per_second.value()),
        kilobytes(program.output_bytes_per_second.value()),
    );
    let errors: u64 = totals.errors.iter().sum();
    for (name, number) in [
        ("total_connections_received", totals.connections),
        ("total_commands_processed", totals.requests),
        (
            "instantaneous_ops_per_sec",
            program.requests_per_second.value().unsigned_abs(),
        ),
        ("total_net_input_bytes", totals.input_bytes),
        ("total_net_output_bytes", totals.output_bytes),
    ] {
        line(text, format_args!("{name}:{number}"));
    }
    line(text, format_args!("instantaneous_input_kbps:{input:.2}"));
    line(text, format_args!("instantaneous_output_kbps:{output:.2}"));
    line(
        text,
        format_args!("rejected_connections:{}", totals.rejected),
    );
    line(text, format_args!("total_error_replies:{errors}"));
}

fn replication(_: &Told<'_>, text: &mut String) {
    line(text, format_args!("role:master"));
    line(text, format_args!("connected_slaves:0"));
    line(text, format_args!("master_failover_state:no-failover"));
    line(text, format_args!("master_repl_offset:0"));
}

fn cpu(told: &Told<'_>, text: &mut String) {
    let program = &told.around.options.program;
    for (name, gauge) in [
        ("sys", &program.system_micros),
        ("user", &program.user_micros),
    ] {
        let micros = gauge.value().unsigned_abs();
        let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
        line(text, format_args!("used_cpu_{name}:{seconds}.{rest:06}"));
    }
}

/// A call takes from the request's arrival to its reply, nodes included. What is refused for its
/// form is no call.
fn command_stats(told: &Told<'_>, text: &mut String) {
    for (id, [ok, failed, micros]) in (0..).zip(&told.totals.commands) {
        let calls = ok + failed;
        if calls == 0 {
            continue;
        }
        let name = Command::by_id(CommandId(id)).name;
        let each = *micros as f64 / calls as f64;
        line(
            text,
            format_args!(
                "cmdstat_{name}:calls={calls},usec={micros},usec_per_call={each:.2},\
                 rejected_calls=0,failed_calls={failed}"
            ),
        );
    }
}

fn error_stats(told: &Told<'_>, text: &mut String) {
    for (code, count) in ERROR_CODES.iter().zip(&told.totals.errors) {
        if *count > 0 {
            line(text, format_args!("errorstat_{code}:count={count}"));
        }
    }
}

fn cluster(told: &Told<'_>, text: &mut String) {
    let enabled = u8::from(told.around.options.cluster.is_some());
    line(text, format_args!("cluster_enabled:{enabled}"));
}

fn line(text: &mut String, content: fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = text.write_fmt(content);
    text.push_str("\r\n");
}

/// Bytes as people read them.
struct Human(u64);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut amount, mut units) = (self.0 as f64, "KMGTPE".chars());
        let mut unit = None;
        while amount >= 1024.0
            && let Some(next) = units.next()
        {
            amount /= 1024.0;
            unit = Some(next);
        }
        match unit {
            None => write!(f, "{}B", self.0),
            Some(unit) => write!(f, "{amount:.2}{unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use slotway_protocol::command::lookup;

    use super::super::tests::{World, session};
    use super::*;

    fn headings(text: &str) -> Vec<&str> {
        text.lines()
            .filter_map(|line| line.strip_prefix("# "))
            .collect()
    }

    #[test]
    fn sections_are_chosen_as_by_the_server() {
        let mut world = World::default();
        let all = [
            "Server",
            "Clients",
            "Memory",
            "Persistence",
            "Stats",
            "Replication",
            "CPU",
            "Modules",
            "Commandstats",
            "Errorstats",
            "Cluster",
        ];
        let without = |left_out: &str| -> Vec<&str> {
            let kept = all.iter().filter(|name| **name != left_out);
            kept.copied().collect()
        };
        for (request, expected) in [
            ("INFO", without("Commandstats")),
            ("INFO default", without("Commandstats")),
            ("INFO ALL", all.to_vec()),
            ("INFO everything", all.to_vec()),
            ("INFO nosuch", vec![]),
            ("INFO cluster Server nosuch", vec!["Server", "Cluster"]),
            ("INFO default commandstats", all.to_vec()),
        ] {
            let text = world.reply(&mut session(), request);
            assert_eq!(headings(&text), expected, "{request}");
        }
        let text = world.reply(&mut session(), "INFO cluster modules");
        assert_eq!(
            text,
            "$43\r\n# Modules\r\n\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n"
        );
        assert_eq!(world.reply(&mut session(), "INFO nosuch"), "$0\r\n\r\n");
    }

    #[test]
    fn every_worker_counts_until_the_count_is_reset() {
        let mut world = World::default();
        let get = lookup(b"get").unwrap().id;
        for stats in world.options.workers.iter() {
            stats.clients.add(2);
            stats.clients_accepted.add(3);
            stats.count_request(get, false, 10);
            stats.count_request(get, true, 5);
            stats.count_error(b"-WRONGTYPE x\r\n");
        }
        let mut session = session();
        let text = world.reply(&mut session, "INFO all");
        for expected in [
            "connected_clients:4",
            "total_connections_received:6",
            "total_commands_processed:4",
            "cmdstat_get:calls=4,usec=30,usec_per_call=7.50,rejected_calls=0,failed_calls=2",
            "errorstat_WRONGTYPE:count=2",
            "total_error_replies:2",
        ] {
            assert!(
                text.contains(&format!("\r\n{expected}\r\n")),
                "{expected}: {text}"
            );
        }
        assert_eq!(world.reply(&mut session, "CONFIG RESETSTAT"), "+OK\r\n");
        let text = world.reply(&mut session, "INFO all");
        for expected in [
            "connected_clients:4",
            "total_connections_received:0",
            "total_commands_processed:0",
        ] {
            assert!(
                text.contains(&format!("\r\n{expected}\r\n")),
                "{expected}: {text}"
            );
        }
        assert!(
            !text.contains("cmdstat_") && !text.contains("errorstat_"),
            "{text}"
        );
    }

    #[test]
    fn facts_of_the_program_are_told() {
        let mut world = World::default();
        let program = world.program();
        program.process_id = 77;
        program.run_id = "ab".repeat(20);
        program.resident_bytes.set(3 << 20);
        program.system_micros.set(1_000_002);
        program.rejected.set(9);
        let text = world.reply(&mut session(), "INFO");
        for expected in [
            "redis_version:7.0.15",
            "redis_mode:standalone",
            "process_id:77",
            "run_id:abababababababababababababababababababab",
            "uptime_in_seconds:90061",
            "uptime_in_days:1",
            "used_memory:3145728",
            "used_memory_human:3.00M",
            "maxmemory_human:0B",
            "used_cpu_sys:1.000002",
            "rejected_connections:9",
            "role:master",
            "loading:0",
        ] {
            assert!(
                text.contains(&format!("\r\n{expected}\r\n")),
                "{expected}: {text}"
            );
        }
    }

    #[test]
    fn bytes_are_rounded_for_people() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1_804_976, "1.72M"),
            (25_276_502_016, "23.54G"),
            (u64::MAX, "16.00E"),
        ] {
            assert_eq!(Human(bytes).to_string(), text);
        }
    }
}
