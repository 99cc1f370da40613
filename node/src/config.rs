//! The settings of a node: what redis.conf, the command line and CONFIG SET say, as one table of
//! directives.

use crate::cluster::ClusterConfig;

/// All that a node needs to start.
#[derive(Debug, Clone, Default)]
pub struct NodeConfig {
    pub config: Config,
    /// `None` for a node that is not part of a cluster.
    pub cluster: Option<ClusterConfig>,
    /// For all that is left to chance: the same seed and the same input give the same output.
    pub seed: u64,
}

/// The settings that have a directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub port: u16,
    pub bind: Vec<String>,
    pub cluster_enabled: bool,
    pub cluster_announce_ip: String,
    /// The number of databases of a node that is not part of a cluster, and of one that is.
    pub databases: u32,
    pub cluster_databases: u32,
    pub requirepass: String,
    pub maxclients: u32,
    pub proto_max_bulk_len: u64,
    /// After so many seconds an idle client is closed; 0 for never.
    pub timeout: u64,
    /// In seconds; 0 leaves it to the kernel.
    pub tcp_keepalive: u32,
    pub tcp_backlog: u32,
    /// Where the node's files are, and the name of the one with all keys.
    pub dir: String,
    pub dbfilename: String,
    pub rdbcompression: bool,
    pub rdbchecksum: bool,
    /// How many bytes may wait to be written while the keys are saved and change meanwhile.
    pub save_buffer_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 6379,
            bind: vec!["127.0.0.1".to_owned(), "-::1".to_owned()],
            cluster_enabled: false,
            cluster_announce_ip: String::new(),
            databases: 1,
            cluster_databases: 1,
            requirepass: String::new(),
            maxclients: 10_000,
            proto_max_bulk_len: 512 * 1024 * 1024,
            timeout: 0,
            tcp_keepalive: 300,
            tcp_backlog: 511,
            dir: "./".to_owned(),
            dbfilename: "dump.rdb".to_owned(),
            rdbcompression: true,
            rdbchecksum: true,
            save_buffer_max: 256 * 1024 * 1024,
        }
    }
}

/// Why a setting is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("Bad directive or wrong number of arguments")]
    UnknownDirective,
    #[error("can't set immutable config")]
    Immutable,
    #[error("argument must be 'yes' or 'no'")]
    NotABool,
    #[error("argument couldn't be parsed into an integer")]
    NotAnInteger,
    #[error("argument must be a memory value")]
    NotAMemoryValue,
    #[error("argument must be between {0} and {1} inclusive")]
    OutOfRange(u64, u64),
    #[error("dbfilename can't be a path, just a filename")]
    IsPath,
    #[error("this node does not support another value than '{0}' yet")]
    Unsupported(&'static str),
    #[error("line {line}: {error}: '{text}'")]
    InLine {
        line: usize,
        text: String,
        error: Box<Self>,
    },
}

/// One directive: its name, whether CONFIG SET may change it, and how it is read and written.
pub(crate) struct Directive {
    pub(crate) name: &'static str,
    pub(crate) mutable: bool,
    read: fn(&Config) -> String,
    write: fn(&mut Config, &str) -> Result<(), ConfigError>,
}

impl Directive {
    pub(crate) fn find(name: &[u8]) -> Option<&'static Self> {
        DIRECTIVES
            .iter()
            .find(|directive| directive.name.as_bytes().eq_ignore_ascii_case(name))
    }

    pub(crate) fn all() -> &'static [Self] {
        DIRECTIVES
    }

    pub(crate) fn value(&self, config: &Config) -> String {
        (self.read)(config)
    }

    pub(crate) fn set(&self, config: &mut Config, value: &str) -> Result<(), ConfigError> {
        (self.write)(config, value)
    }
}

impl Config {
    /// Applies the text of a redis.conf. Every line is `directive value...`, a comment or empty.
    pub fn apply_file(&mut self, text: &str) -> Result<(), ConfigError> {
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            self.apply(name, unquoted(value.trim()))
                .map_err(|error| ConfigError::InLine {
                    line: index + 1,
                    text: line.to_owned(),
                    error: Box::new(error),
                })?;
        }
        Ok(())
    }

    /// Applies one directive, also one that can't be changed later.
    pub fn apply(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        Directive::find(name.as_bytes())
            .ok_or(ConfigError::UnknownDirective)?
            .set(self, value)
    }
}

fn unquoted(value: &str) -> &str {
    let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    quoted('"').or_else(|| quoted('\'')).unwrap_or(value)
}

fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

fn parse_bool(value: &str) -> Result<bool, ConfigError> {
    if value.eq_ignore_ascii_case("yes") {
        Ok(true)
    } else if value.eq_ignore_ascii_case("no") {
        Ok(false)
    } else {
        Err(ConfigError::NotABool)
    }
}

fn parse_number(value: &str, least: u64, most: u64) -> Result<u64, ConfigError> {
    let number: i64 = value.parse().map_err(|_| ConfigError::NotAnInteger)?;
    let number = u64::try_from(number).map_err(|_| ConfigError::OutOfRange(least, most))?;
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(ConfigError::OutOfRange(least, most))
    }
}

/// A number of bytes with an optional unit: `k` is 1000, `kb` is 1024, and so on.
fn parse_memory(value: &str) -> Result<u64, ConfigError> {
    let end = value
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(value.len());
    let (digits, unit) = value.split_at(end);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return Err(ConfigError::NotAMemoryValue),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .ok_or(ConfigError::NotAMemoryValue)
}

/// Accepts only the value that this node has anyway.
fn only(value: &str, supported: &'static str) -> Result<(), ConfigError> {
    if value.eq_ignore_ascii_case(supported) {
        Ok(())
    } else {
        Err(ConfigError::Unsupported(supported))
    }
}

/// A setting that may be changed while the node runs.
macro_rules! mutable {
    ($name:literal, $read:expr, $write:expr) => {
        Directive {
            name: $name,
            mutable: true,
            read: $read,
            write: $write,
        }
    };
}

/// A setting that is fixed once the node runs.
macro_rules! immutable {
    ($name:literal, $read:expr, $write:expr) => {
        Directive {
            name: $name,
            mutable: false,
            read: $read,
            write: $write,
        }
    };
}

/// Something this node can do in one way only; the directive exists to say so.
macro_rules! fixed {
    ($name:literal, $value:literal) => {
        Directive {
            name: $name,
            mutable: true,
            read: |_| $value.to_owned(),
            write: |_, value| only(value, $value),
        }
    };
}

const DIRECTIVES: &[Directive] = &[
    immutable!("port", |config| config.port.to_string(), |config, value| {
        config.port = parse_number(value, 0, 65_535)? as u16;
        Ok(())
    }),
    immutable!("bind", |config| config.bind.join(" "), |config, value| {
        config.bind = value.split_whitespace().map(str::to_owned).collect();
        Ok(())
    }),
    immutable!(
        "cluster-enabled",
        |config| yes_no(config.cluster_enabled),
        |config, value| {
            config.cluster_enabled = parse_bool(value)?;
            Ok(())
        }
    ),
    immutable!(
        "cluster-announce-ip",
        |config| config.cluster_announce_ip.clone(),
        |config, value| {
            config.cluster_announce_ip = value.to_owned();
            Ok(())
        }
    ),
    immutable!(
        "tcp-backlog",
        |config| config.tcp_backlog.to_string(),
        |config, value| {
            config.tcp_backlog = parse_number(value, 0, i32::MAX as u64)? as u32;
            Ok(())
        }
    ),
    mutable!(
        "requirepass",
        |config| config.requirepass.clone(),
        |config, value| {
            config.requirepass = value.to_owned();
            Ok(())
        }
    ),
    mutable!(
        "maxclients",
        |config| config.maxclients.to_string(),
        |config, value| {
            config.maxclients = parse_number(value, 1, u64::from(u32::MAX))? as u32;
            Ok(())
        }
    ),
    mutable!(
        "proto-max-bulk-len",
        |config| config.proto_max_bulk_len.to_string(),
        |config, value| {
            let bytes = parse_memory(value)?;
            if !(MIN_BULK_BYTES..=MAX_BULK_BYTES).contains(&bytes) {
                return Err(ConfigError::OutOfRange(MIN_BULK_BYTES, MAX_BULK_BYTES));
            }
            config.proto_max_bulk_len = bytes;
            Ok(())
        }
    ),
    mutable!(
        "timeout",
        |config| config.timeout.to_string(),
        |config, value| {
            config.timeout = parse_number(value, 0, i32::MAX as u64)?;
            Ok(())
        }
    ),
    immutable!(
        "tcp-keepalive",
        |config| config.tcp_keepalive.to_string(),
        |config, value| {
            config.tcp_keepalive = parse_number(value, 0, i32::MAX as u64)? as u32;
            Ok(())
        }
    ),
    immutable!(
        "databases",
        |config| config.databases.to_string(),
        |config, value| {
            config.databases = parse_number(value, 1, DATABASES_MAX)? as u32;
            Ok(())
        }
    ),
    immutable!(
        "cluster-databases",
        |config| config.cluster_databases.to_string(),
        |config, value| {
            config.cluster_databases = parse_number(value, 1, DATABASES_MAX)? as u32;
            Ok(())
        }
    ),
    immutable!("dir", |config| config.dir.clone(), |config, value| {
        config.dir = value.to_owned();
        Ok(())
    }),
    immutable!(
        "dbfilename",
        |config| config.dbfilename.clone(),
        |config, value| {
            if value.contains('/') {
                return Err(ConfigError::IsPath);
            }
            config.dbfilename = value.to_owned();
            Ok(())
        }
    ),
    mutable!(
        "rdbcompression",
        |config| yes_no(config.rdbcompression),
        |config, value| {
            config.rdbcompression = parse_bool(value)?;
            Ok(())
        }
    ),
    immutable!(
        "rdbchecksum",
        |config| yes_no(config.rdbchecksum),
        |config, value| {
            config.rdbchecksum = parse_bool(value)?;
            Ok(())
        }
    ),
    mutable!(
        "save-buffer-max",
        |config| config.save_buffer_max.to_string(),
        |config, value| {
            config.save_buffer_max = parse_memory(value)?;
            Ok(())
        }
    ),
    fixed!("save", ""),
    fixed!("appendonly", "no"),
    fixed!("maxmemory", "0"),
    fixed!("maxmemory-policy", "noeviction"),
];

/// What the server allows. A database takes memory once it is used.
const DATABASES_MAX: u64 = i32::MAX as u64;

const MIN_BULK_BYTES: u64 = 1024 * 1024;

/// What the server allows; the scanner takes no request of more than 4 GiB all the same.
const MAX_BULK_BYTES: u64 = i64::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_file() {
        let mut config = Config::default();
        let text = "# comment\n\nport 7001\nBIND 127.0.0.1 ::1\nrequirepass \"a b\"\n\
                    cluster-enabled yes\nproto-max-bulk-len 2mb\nsave \"\"\n";
        config.apply_file(text).unwrap();
        assert_eq!(config.port, 7001);
        assert_eq!(config.bind, ["127.0.0.1", "::1"]);
        assert_eq!(config.requirepass, "a b");
        assert!(config.cluster_enabled);
        assert_eq!(config.proto_max_bulk_len, 2 * 1024 * 1024);
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        for (text, expected) in [
            (
                "port x",
                "line 1: argument couldn't be parsed into an integer: 'port x'",
            ),
            (
                "\nport 70000",
                "line 2: argument must be between 0 and 65535 inclusive: 'port 70000'",
            ),
            (
                "foo 1",
                "line 1: Bad directive or wrong number of arguments: 'foo 1'",
            ),
            (
                "cluster-enabled 1",
                "line 1: argument must be 'yes' or 'no': 'cluster-enabled 1'",
            ),
            (
                "dbfilename a/b",
                "line 1: dbfilename can't be a path, just a filename: 'dbfilename a/b'",
            ),
            (
                "appendonly yes",
                "line 1: this node does not support another value than 'no' yet: 'appendonly yes'",
            ),
        ] {
            let error = Config::default().apply_file(text).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn every_directive_reads_back_what_it_writes() {
        let config = Config::default();
        for directive in Directive::all() {
            let mut copy = config.clone();
            directive.set(&mut copy, &directive.value(&config)).unwrap();
            assert_eq!(copy, config, "{}", directive.name);
        }
    }
}
