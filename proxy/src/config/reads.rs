//! The settings on which nodes serve reads.

use core::ops::RangeInclusive;

use slotway::engine::{READ_RULES_MAX, ReadFrom, ReadOptions, ReadRule};

use super::HOUR_MS;
use super::reader::Section;

pub(super) fn read(section: &mut Section<'_>) -> ReadOptions {
    let default = ReadOptions::default();
    ReadOptions {
        read_from: section.choice("read_from", &ReadFrom::NAMES, default.read_from),
        rules: section.tables("read_rules", READ_RULES_MAX, rule),
        lag_max: section.millis("replica_lag_max_ms", LAG_MS, default.lag_max),
        lag_bytes_max: section.count("replica_lag_max_bytes", 0..=LAG_BYTES, 0) as u64,
        check_interval: section.millis(
            "replica_check_interval_ms",
            100..=60_000,
            default.check_interval,
        ),
        replica_timeout: section.millis(
            "replica_timeout_ms",
            10..=HOUR_MS,
            default.replica_timeout,
        ),
        your_writes: section.millis("read_your_writes_ms", 0..=HOUR_MS, default.your_writes),
    }
}

fn rule(section: &mut Section<'_>) -> ReadRule {
    let place = section.place("prefix");
    let prefix = section.text("prefix").unwrap_or_default();
    if prefix.is_empty() {
        section.refuse(
            place,
            "prefix",
            "must not be empty; read_from is for all other keys",
        );
    }
    if prefix.len() > PREFIX_BYTES_MAX {
        section.refuse(
            place,
            "prefix",
            &format!("is longer than {PREFIX_BYTES_MAX} bytes"),
        );
    }
    ReadRule {
        prefix: prefix.into(),
        read_from: section.choice("read_from", &ReadFrom::NAMES, ReadFrom::default()),
    }
}

/// The rules in one line, as in the file.
pub(super) fn shown(rules: &[ReadRule]) -> String {
    let rules = rules.iter().map(|rule| {
        let (prefix, from) = (&rule.prefix, rule.read_from.name());
        format!("{{ prefix = {prefix:?}, read_from = \"{from}\" }}")
    });
    rules.collect::<Vec<_>>().join(", ")
}

/// What is known of a primary's past has to reach as far.
const LAG_MS: RangeInclusive<usize> = 0..=600_000;
const LAG_BYTES: usize = 1 << 40;
const PREFIX_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::super::Config;
    use super::*;

    fn parse(text: &str) -> Result<ReadOptions, String> {
        let config = Config::parse("f", text);
        config
            .map(|config| config.cluster.reads)
            .map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn rules_are_read_in_both_ways_of_writing_them() {
        let rule = |prefix: &str, read_from| ReadRule {
            prefix: prefix.into(),
            read_from,
        };
        let expected = ReadOptions {
            read_from: ReadFrom::PreferReplica,
            rules: vec![
                rule("cache:", ReadFrom::Any),
                rule("a\"b", ReadFrom::Replica),
            ],
            lag_max: Duration::ZERO,
            ..ReadOptions::default()
        };
        let head = "[cluster]\nread_from = 'prefer_replica'\nreplica_lag_max_ms = 0\n";
        let tables = "[[cluster.read_rules]]\nprefix = 'cache:'\nread_from = 'any'\n\
                      [[cluster.read_rules]]\nprefix = 'a\"b'\nread_from = 'replica'\n";
        assert_eq!(parse(&format!("{head}{tables}")), Ok(expected.clone()));
        let inline = "{ prefix = \"cache:\", read_from = \"any\" }, \
                      { prefix = \"a\\\"b\", read_from = \"replica\" }";
        assert_eq!(shown(&expected.rules), inline);
        let inline = format!("{head}read_rules = [{inline}]\n");
        assert_eq!(parse(&inline), Ok(expected));
    }

    #[test]
    fn mistakes_in_rules_are_told_with_their_lines() {
        for (text, expected) in [
            (
                "read_from = 'replicas'",
                "f:2: 'read_from' must be one of primary, prefer_replica, replica, any, \
                 got \"replicas\"",
            ),
            (
                "read_rules = 1",
                "f:2: 'read_rules' must be a list of tables, got a number",
            ),
            (
                "read_rules = [1]",
                "f:2: 'read_rules' must be a table, got a number",
            ),
            (
                "[[cluster.read_rules]]\nread_from = 'any'",
                "f:2: 'prefix' must not be empty; read_from is for all other keys",
            ),
            (
                "[[cluster.read_rules]]\nprefix = 'a'\nread_frm = 'any'",
                "f:4: unknown key 'read_frm' in 'read_rules'; did you mean 'read_from'?",
            ),
        ] {
            let mistakes = parse(&format!("[cluster]\n{text}\n")).unwrap_err();
            assert_eq!(mistakes, expected);
        }
        let rule = "{ prefix = 'a', read_from = 'any' },";
        let many = format!(
            "[cluster]\nread_rules = [{}]",
            rule.repeat(READ_RULES_MAX + 1)
        );
        assert_eq!(
            parse(&many).unwrap_err(),
            "f:2: 'read_rules' has more than 64 entries"
        );
    }
}
