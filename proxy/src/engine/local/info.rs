//! `INFO`: what the proxy tells of itself.

use slotway_protocol::resp::{Protocol, Request, encode};

use super::{Facts, REDIS_VERSION};

/// `INFO [section ...]`: the sections that clients read when they connect.
pub(super) fn info(request: &Request<'_>, protocol: Protocol, facts: Facts, out: &mut Vec<u8>) {
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
