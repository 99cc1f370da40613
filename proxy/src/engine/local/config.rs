//! `CONFIG`: the proxy's own settings, by their names in the config file and, where redis-server
//! has the same, by its names.

use slotway_protocol::command::matches_any_case;
use slotway_protocol::resp::{Protocol, Request, encode};

use super::{After, Surroundings};
use crate::engine::settings::{Agreed, Changes, NAMES_OF_REDIS, SETTINGS, Setting, setting};

/// `CONFIG GET parameter [parameter ...]`, each a pattern.
pub(super) fn get(
    request: &Request<'_>,
    protocol: Protocol,
    around: &Surroundings<'_>,
    out: &mut Vec<u8>,
) {
    let all = parameters(around);
    let mut found: Vec<(&[u8], &str)> = Vec::new();
    for asked in request.args(2) {
        let is_pattern = asked.iter().any(|byte| b"*?[".contains(byte));
        let matching = all.iter().filter(|(name, _)| {
            let name = name.as_bytes();
            if is_pattern {
                matches_any_case(asked, name)
            } else {
                name.eq_ignore_ascii_case(asked)
            }
        });
        for (name, value) in matching {
            let name = name.as_bytes();
            if !found
                .iter()
                .any(|(known, _)| known.eq_ignore_ascii_case(name))
            {
                // A name without wildcards comes back as it was written.
                found.push((if is_pattern { name } else { asked }, value));
            }
        }
    }
    encode::map(out, protocol, found.len());
    for (name, value) in found {
        encode::bulk(out, name);
        encode::bulk(out, value.as_bytes());
    }
}

/// Every parameter with its value.
fn parameters(around: &Surroundings<'_>) -> Vec<(&'static str, String)> {
    let options = around.options;
    let program = &options.program;
    let yes_or_no = |is: bool| if is { "yes" } else { "no" };
    let mut all: Vec<_> = SETTINGS
        .iter()
        .map(|setting| (setting.name, (setting.read)(options).to_string()))
        .collect();
    all.extend(NAMES_OF_REDIS.iter().filter_map(|(theirs, ours)| {
        let setting = setting(ours.as_bytes())?;
        Some((*theirs, (setting.read)(options).to_string()))
    }));
    all.extend(program.settings.iter().cloned());
    all.extend(FIXED.map(|(name, value)| (name, value.to_owned())));
    all.extend([
        ("bind", program.host.clone()),
        (
            "cluster-enabled",
            yes_or_no(options.cluster.is_some()).to_owned(),
        ),
        ("databases", around.databases.to_string()),
        ("maxclients", program.clients_max.value().to_string()),
        ("port", program.port.to_string()),
    ]);
    all
}

/// `CONFIG SET parameter value [parameter value ...]`: all of them, or none.
pub(super) fn set(request: &Request<'_>, around: &Surroundings<'_>, out: &mut Vec<u8>) -> After {
    match changes(request, around) {
        Ok(changes) => {
            encode::simple(out, b"OK");
            After::Agree(Agreed {
                changes,
                baseline: None,
            })
        }
        Err(text) => {
            encode::error(out, &text);
            After::Nothing
        }
    }
}

fn changes(request: &Request<'_>, around: &Surroundings<'_>) -> Result<Changes, Vec<u8>> {
    if !request.len().is_multiple_of(2) {
        return Err(b"ERR syntax error".to_vec());
    }
    let pairs: Vec<(&[u8], &[u8])> = (2..request.len())
        .step_by(2)
        .map(|at| (request.arg(at), request.arg(at + 1)))
        .collect();
    let known = parameters(around);
    let is_known = |name: &[u8]| {
        let same = |(known, _): &(&str, _)| known.as_bytes().eq_ignore_ascii_case(name);
        known.iter().any(same)
    };
    // Names before values: an unknown name later on says more than a bad value before it.
    let mut settings: Vec<(&'static Setting, &[u8])> = Vec::new();
    for (name, value) in pairs {
        if !is_known(name) {
            return Err(unknown(name));
        }
        let Some(setting) = setting(name) else {
            return Err(failed(name, "can't set immutable config"));
        };
        if settings
            .iter()
            .any(|(before, _)| before.name == setting.name)
        {
            return Err(failed(name, "duplicate parameter"));
        }
        settings.push((setting, value));
    }
    let mut changes = Changes::default();
    for ((setting, value), at) in settings.into_iter().zip((2..).step_by(2)) {
        let name = request.arg(at).to_ascii_lowercase();
        let value = parse(setting, value).map_err(|problem| failed(&name, &problem))?;
        changes.set(setting, value);
    }
    let checked = changes.check(around.options);
    checked.map_err(|(name, problem)| failed(name.as_bytes(), problem))?;
    Ok(changes)
}

fn parse(setting: &Setting, value: &[u8]) -> Result<u64, String> {
    let number = if setting.is_bytes() {
        Some(parse_bytes(value).ok_or("argument must be a memory value")?)
    } else {
        let number = super::parse_integer(value);
        let number = number.ok_or("argument couldn't be parsed into an integer")?;
        u64::try_from(number).ok()
    };
    let range = &setting.range;
    number
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            format!("argument must be between {least} and {most} inclusive")
        })
}

/// Digits and perhaps a unit: `512`, `64k`, `1MB`. As in redis-server no digits are nought.
fn parse_bytes(value: &[u8]) -> Option<u64> {
    let digits = value
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let unit = match value[digits..].to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let number = value[..digits].iter().fold(0u64, |number, digit| {
        let digit = u64::from(digit - b'0');
        number.saturating_mul(10).saturating_add(digit)
    });
    Some(number.saturating_mul(unit))
}

fn unknown(name: &[u8]) -> Vec<u8> {
    let before = b"ERR Unknown option or number of arguments for CONFIG SET - '";
    [&before[..], name, b"'"].concat()
}

fn failed(name: &[u8], problem: &str) -> Vec<u8> {
    let before = b"ERR CONFIG SET failed (possibly related to argument '";
    [&before[..], name, b"') - ", problem.as_bytes()].concat()
}

/// `CONFIG RESETSTAT`: INFO counts from now on. What Prometheus scrapes goes on, since there a
/// counter that falls means a restart.
pub(super) fn reset_stat(around: &Surroundings<'_>, out: &mut Vec<u8>) -> After {
    encode::simple(out, b"OK");
    After::Agree(Agreed {
        changes: Changes::default(),
        baseline: Some(std::sync::Arc::new(around.counted())),
    })
}

/// `CONFIG REWRITE`: an engine writes no file, and the file is somebody's own.
pub(super) fn rewrite(around: &Surroundings<'_>, out: &mut Vec<u8>) {
    if around.options.program.config_file.is_empty() {
        return encode::error(out, b"ERR The server is running without a config file");
    }
    encode::error(
        out,
        b"ERR proxy: the config file is changed by hand; what CONFIG SET changes lasts until the \
          proxy stops",
    );
}

/// What is true of every proxy under names that redis-server has: it stores nothing, so it saves
/// and evicts nothing; it has no passwords, notifies of no keys, and does not
/// close idle clients.
const FIXED: [(&str, &str); 18] = [
    ("aclfile", ""),
    ("activedefrag", "no"),
    ("appendonly", "no"),
    ("daemonize", "no"),
    ("logfile", ""),
    ("masterauth", ""),
    ("maxmemory", "0"),
    ("maxmemory-policy", "noeviction"),
    ("notify-keyspace-events", ""),
    ("protected-mode", "no"),
    ("replicaof", ""),
    ("requirepass", ""),
    ("save", ""),
    ("slaveof", ""),
    ("tcp-keepalive", "300"),
    ("timeout", "0"),
    ("tls-port", "0"),
    ("unixsocket", ""),
];

#[cfg(test)]
mod tests {
    use super::super::tests::{World, reply, session};
    use super::*;

    #[test]
    fn parameters_are_found_by_names_and_patterns() {
        for (request, expected) in [
            ("CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
            ("CONFIG GET SAVE", "*2\r\n$4\r\nSAVE\r\n$0\r\n\r\n"),
            ("CONFIG GET nosuch", "*0\r\n"),
            (
                "CONFIG GET s[a]ve save hold_tim*",
                "*4\r\n$4\r\nsave\r\n$0\r\n\r\n$15\r\nhold_timeout_ms\r\n$5\r\n10000\r\n",
            ),
            (
                "CONFIG GET proto-max-* PROTO-max-bulk-len",
                "*2\r\n$18\r\nproto-max-bulk-len\r\n$9\r\n536870912\r\n",
            ),
            ("CONFIG GET workers", "*2\r\n$7\r\nworkers\r\n$1\r\n3\r\n"),
            (
                "CONFIG GET cluster-enabled",
                "*2\r\n$15\r\ncluster-enabled\r\n$2\r\nno\r\n",
            ),
        ] {
            assert_eq!(reply(&mut session(), request), expected, "{request}");
        }
        let all = reply(&mut session(), "CONFIG GET *");
        let settings = SETTINGS.iter().map(|setting| setting.name);
        let fixed = FIXED.iter().map(|(name, _)| *name);
        for name in settings.chain(fixed).chain(["databases", "port"]) {
            assert!(all.contains(&format!("\r\n{name}\r\n")), "{name}");
        }
    }

    #[test]
    fn settings_are_changed_together_or_not_at_all() {
        let mut world = World::default();
        let (mut session, before) = (session(), world.options.clone());
        for (request, expected) in [
            (
                "x y",
                "Unknown option or number of arguments for CONFIG SET - 'x'",
            ),
            (
                "hold_timeout_ms 1 x y",
                "Unknown option or number of arguments for CONFIG SET - 'x'",
            ),
            ("hold_timeout_ms 1 redirects_max", "syntax error"),
            ("databases 2", "databases') - can't set immutable config"),
            ("DATABASES 2", "DATABASES') - can't set immutable config"),
            ("workers 2", "workers') - can't set immutable config"),
            (
                "hold_timeout_ms 1 HOLD_TIMEOUT_MS 2",
                "HOLD_TIMEOUT_MS') - duplicate parameter",
            ),
            (
                "hold_timeout_ms x workers 2",
                "workers') - can't set immutable config",
            ),
            (
                "hold_timeout_ms 1 redirects_max x",
                "redirects_max') - argument couldn't be parsed into an integer",
            ),
            (
                "Redirects_Max 65",
                "redirects_max') - argument must be between 1 and 64 inclusive",
            ),
            (
                "private_idle_max -1",
                "private_idle_max') - argument must be between 0 and 65536 inclusive",
            ),
            (
                "redirects_max -1",
                "redirects_max') - argument must be between 1 and 64 inclusive",
            ),
            (
                "proto-max-bulk-len x",
                "proto-max-bulk-len') - argument must be a memory value",
            ),
            (
                "proto-max-bulk-len 1kb client-query-buffer-limit mb",
                "client-query-buffer-limit') - argument must be between 1024 and 4294967295 \
                 inclusive",
            ),
            (
                "request_bytes_max 1mb",
                "bulk_bytes_max') - must not exceed request_bytes_max",
            ),
        ] {
            let got = world.reply(&mut session, &format!("CONFIG SET {request}"));
            assert!(got.starts_with("-ERR "), "{request}: {got}");
            assert!(
                got.ends_with(&format!("{expected}\r\n")),
                "{request}: {got}"
            );
            assert_eq!(
                format!("{before:?}"),
                format!("{:?}", world.options),
                "{request}"
            );
        }
        let request = "CONFIG SET hold_timeout_ms 7 proto-max-bulk-len 64kb redirects_max 3";
        assert_eq!(world.reply(&mut session, request), "+OK\r\n");
        assert_eq!(world.options.hold_timeout.as_millis(), 7);
        assert_eq!(world.options.request.bulk_bytes_max, 65_536);
        assert_eq!(world.options.redirects_max, 3);
    }

    #[test]
    fn bytes_may_have_a_unit() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("2b", Some(2)),
            ("2k", Some(2000)),
            ("2Kb", Some(2048)),
            ("3M", Some(3_000_000)),
            ("3mb", Some(3 << 20)),
            ("1g", Some(1_000_000_000)),
            ("1GB", Some(1 << 30)),
            ("", Some(0)),
            ("mb", Some(0)),
            ("99999999999999999999gb", Some(u64::MAX)),
            ("-1", None),
            (" 1", None),
            ("1tb", None),
        ] {
            assert_eq!(parse_bytes(text.as_bytes()), bytes, "{text}");
        }
    }

    #[test]
    fn a_file_is_needed_to_write_it() {
        let mut world = World::default();
        let got = world.reply(&mut session(), "CONFIG REWRITE");
        assert_eq!(got, "-ERR The server is running without a config file\r\n");
        world.program().config_file = "/etc/slotway.toml".to_owned();
        let got = world.reply(&mut session(), "CONFIG REWRITE");
        assert!(
            got.starts_with("-ERR proxy: the config file is changed by hand"),
            "{got}"
        );
    }
}
