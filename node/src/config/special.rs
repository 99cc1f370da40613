//! The directives whose values are several words, each with rules of its own, and what the texts of
//! others have to be like.

use super::kind::{ConfigError, Words, in_units, read_memory};
use crate::number;

/// All keys are saved once so many changes were made and the last save is so long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavePoint {
    pub seconds: u64,
    pub changes: u64,
}

/// How much may wait for a client of each class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLimits {
    pub normal: OutputLimit,
    pub replica: OutputLimit,
    pub pubsub: OutputLimit,
}

/// A client is closed once the hard limit is passed, or the soft one for so long; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLimit {
    pub hard_bytes: u64,
    pub soft_bytes: u64,
    pub soft_seconds: u64,
}

pub(super) const OUTPUT_LIMITS: OutputLimits = OutputLimits {
    normal: OutputLimit {
        hard_bytes: 0,
        soft_bytes: 0,
        soft_seconds: 0,
    },
    replica: OutputLimit {
        hard_bytes: 256 << 20,
        soft_bytes: 64 << 20,
        soft_seconds: 60,
    },
    pubsub: OutputLimit {
        hard_bytes: 32 << 20,
        soft_bytes: 8 << 20,
        soft_seconds: 60,
    },
};

pub(super) const SAVE_POINTS: [SavePoint; 3] = [
    SavePoint {
        seconds: 3600,
        changes: 1,
    },
    SavePoint {
        seconds: 300,
        changes: 100,
    },
    SavePoint {
        seconds: 60,
        changes: 10_000,
    },
];

/// Pairs of seconds and changes.
pub(super) const SAVE: Words = Words {
    accumulates: true,
    change: |given, mut old| {
        if matches!(given, [""]) {
            return Ok(Vec::new());
        }
        if !given.len().is_multiple_of(2) {
            return Err(NO_SAVE_POINT);
        }
        for (index, word) in given.iter().enumerate() {
            let least = if index.is_multiple_of(2) { 1 } else { 0 };
            let number = c_integer(word).filter(|number| *number >= least);
            old.push(number.ok_or(NO_SAVE_POINT)?.to_string());
        }
        Ok(old)
    },
    lines: |value, _| {
        if value.is_empty() {
            return vec![("\"\"".to_owned(), true)];
        }
        let pairs = value.chunks(2);
        pairs.map(|pair| (pair.join(" "), true)).collect()
    },
};

const NO_SAVE_POINT: ConfigError = ConfigError::text("Invalid save parameters");

/// Four words for each class that changes.
pub(super) const CLIENT_OUTPUT_BUFFER_LIMIT: Words = Words {
    accumulates: false,
    change: |given, mut old| {
        if !given.len().is_multiple_of(4) {
            return Err(ConfigError::text(
                "Wrong number of arguments in buffer limit configuration.",
            ));
        }
        for four in given.chunks_exact(4) {
            let is = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(four[0]));
            let place = [&["normal"][..], &["slave", "replica"], &["pubsub"]]
                .iter()
                .position(|names| is(names))
                .ok_or(ConfigError::text(
                    "Invalid client class specified in buffer limit configuration.",
                ))?;
            let wrong = ConfigError::text(
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
            );
            let seconds = c_integer(four[3]).filter(|seconds| *seconds >= 0);
            let (Some(hard), Some(soft), Some(seconds)) =
                (read_memory(four[1]), read_memory(four[2]), seconds)
            else {
                return Err(wrong);
            };
            old[place * 4 + 1] = (hard as u64).to_string();
            old[place * 4 + 2] = (soft as u64).to_string();
            old[place * 4 + 3] = seconds.to_string();
        }
        Ok(old)
    },
    lines: |value, default| {
        let classes = value.chunks(4).zip(default.chunks(4));
        let lines = classes.map(|(four, default)| {
            let name = if four[0] == "slave" {
                "replica"
            } else {
                &four[0]
            };
            let in_units = |word: &str| in_units(word.parse::<u64>().unwrap_or(0) as i64);
            let (hard, soft) = (in_units(&four[1]), in_units(&four[2]));
            (format!("{name} {hard} {soft} {}", four[3]), four != default)
        });
        lines.collect()
    },
};

pub(super) const OOM_SCORE_ADJ_VALUES: Words = Words {
    accumulates: false,
    change: |given, _| {
        if given.len() != 3 {
            return Err(ConfigError::WrongCount);
        }
        let numbers = given.iter().map(|word| {
            let number = c_integer(word).filter(|number| (-2000..=2000).contains(number));
            number
                .map(|number| number.to_string())
                .ok_or(ConfigError::text(
                    "Invalid oom-score-adj-values, elements must be between -2000 and 2000.",
                ))
        });
        numbers.collect()
    },
    lines: |value, default| vec![(value.join(" "), value != default)],
};

pub(super) const BIND: Words = Words {
    accumulates: false,
    change: |given, _| {
        if given.len() > BIND_ADDRESSES_MAX {
            return Err(ConfigError::text("Too many bind addresses specified."));
        }
        if matches!(given, [""]) {
            return Ok(Vec::new());
        }
        Ok(given.iter().map(|word| (*word).to_owned()).collect())
    },
    lines: |value, default| {
        if value == default {
            return Vec::new();
        }
        let addresses = if value.is_empty() {
            "\"\"".to_owned()
        } else {
            value.join(" ")
        };
        vec![(addresses, true)]
    },
};

const BIND_ADDRESSES_MAX: usize = 16;

pub(super) const REPLICAOF: Words = Words {
    accumulates: false,
    change: |given, _| {
        let [host, port] = given else {
            return Err(ConfigError::WrongCount);
        };
        if host.eq_ignore_ascii_case("no") && port.eq_ignore_ascii_case("one") {
            return Ok(Vec::new());
        }
        let number = c_integer(port).filter(|port| (0..=65_535).contains(port));
        let number = number.ok_or(ConfigError::text("Invalid master port"))?;
        Ok(vec![(*host).to_owned(), number.to_string()])
    },
    lines: |value, _| {
        if value.is_empty() {
            Vec::new()
        } else {
            vec![(value.join(" "), true)]
        }
    },
};

pub(super) const PERCENTILES: Words = Words {
    accumulates: false,
    change: |given, _| {
        if matches!(given, [""]) {
            return Ok(Vec::new());
        }
        let shown = given.iter().map(|word| {
            let percentile = number::parse_f64(word.as_bytes()).ok_or(ConfigError::text(
                "Invalid latency-tracking-info-percentiles parameters",
            ))?;
            if !(0.0..=100.0).contains(&percentile) {
                return Err(ConfigError::text(
                    "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
                ));
            }
            let shown = format!("{percentile:.6}");
            Ok(shown.trim_end_matches('0').trim_end_matches('.').to_owned())
        });
        shown.collect()
    },
    lines: |value, _| {
        let text = if value.is_empty() {
            "\"\"".to_owned()
        } else {
            value.join(" ")
        };
        vec![(text, true)]
    },
};

/// An integer as the C library reads one: with spaces and a sign in front. An empty text is 0.
fn c_integer(text: &str) -> Option<i64> {
    let text = text.trim_start();
    if text.is_empty() {
        return Some(0);
    }
    text.parse().ok()
}

pub(super) fn any(_: &str) -> Result<(), ConfigError> {
    Ok(())
}

pub(super) fn is_dbfilename(text: &str) -> Result<(), ConfigError> {
    is_base_name(text, "dbfilename can't be a path, just a filename")
}

pub(super) fn is_appendfilename(text: &str) -> Result<(), ConfigError> {
    if text.is_empty() {
        return Err(ConfigError::text("appendfilename can't be empty"));
    }
    is_base_name(text, "appendfilename can't be a path, just a filename")
}

pub(super) fn is_appenddirname(text: &str) -> Result<(), ConfigError> {
    if text.is_empty() {
        return Err(ConfigError::text("appenddirname can't be empty"));
    }
    is_base_name(text, "appenddirname can't be a path, just a dirname")
}

fn is_base_name(text: &str, error: &'static str) -> Result<(), ConfigError> {
    if text.contains(['/', '\\']) {
        return Err(ConfigError::text(error));
    }
    Ok(())
}

pub(super) fn is_hostname(text: &str) -> Result<(), ConfigError> {
    if text.len() >= HOSTNAME_LEN_MAX {
        return Err(ConfigError::text(
            "Hostnames must be less than 256 characters",
        ));
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if !text.chars().all(is_allowed) {
        return Err(ConfigError::text(
            "Hostnames may only contain alphanumeric characters, hyphens or dots",
        ));
    }
    Ok(())
}

const HOSTNAME_LEN_MAX: usize = 256;

/// Names of variables stand in braces; `{{` is a brace.
pub(super) fn is_title_template(text: &str) -> Result<(), ConfigError> {
    const VARIABLES: [&str; 7] = [
        "title",
        "listen-addr",
        "server-mode",
        "port",
        "tls-port",
        "config-file",
        "unixsocket",
    ];
    let error = ConfigError::text("template format is invalid or contains unknown variables");
    let mut rest = text;
    let mut is_blank = true;
    while let Some((before, after)) = rest.split_once('{') {
        is_blank &= before.trim_matches(' ').is_empty();
        if let Some(after_brace) = after.strip_prefix('{') {
            is_blank = false;
            rest = after_brace;
            continue;
        }
        let Some((name, after)) = after.split_once('}') else {
            return Err(error);
        };
        if !VARIABLES.contains(&name) {
            return Err(error);
        }
        // The title itself is still unknown, and only it and the name of a file may be empty.
        is_blank &= ["title", "config-file", "unixsocket"].contains(&name);
        rest = after;
    }
    if is_blank && rest.trim_matches(' ').is_empty() {
        return Err(error);
    }
    Ok(())
}
