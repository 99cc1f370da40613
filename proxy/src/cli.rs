//! The command line: reads the arguments, all mistakes said exactly; starts nothing.

use core::net::SocketAddr;
use core::time::Duration;
use std::ffi::OsString;
use std::path::PathBuf;

use slotway_protocol::engine::Address;

use crate::config::{self, Config, WORKERS};
use crate::console::{self, What};

/// What the user asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Version,
    /// Read the file, say what is wrong with it, start nothing.
    Check(PathBuf),
    /// Show how a running proxy is.
    Show(console::Options),
    ShowHelp,
    Run(Flags),
}

/// What the flags of a run say; each wins over the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Flags {
    pub(crate) config: Option<PathBuf>,
    /// Start nodes inside this process although there is a file.
    pub(crate) embedded: bool,
    /// The port of the first embedded node; the others follow it.
    pub(crate) node_port: Option<u16>,
    /// Where the embedded nodes keep their files.
    data: Option<PathBuf>,
    seeds: Vec<Address>,
    listen: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    workers: Option<usize>,
}

/// What is wrong with the arguments.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UsageError {
    #[error("unknown option '{option}'{suggestion}")]
    UnknownOption { option: String, suggestion: String },
    #[error("unexpected argument '{0}'")]
    Superfluous(String),
    #[error("unexpected argument '{0}'; a configuration file is given with --config {0}")]
    UnexpectedArgument(String),
    #[error("{option} needs a value: {option} {placeholder}")]
    MissingValue {
        option: &'static str,
        placeholder: &'static str,
    },
    #[error("{0} takes no value")]
    SuperfluousValue(&'static str),
    #[error("{option} {problem}")]
    BadValue {
        option: &'static str,
        problem: String,
    },
    #[error("{0} is given twice")]
    Twice(&'static str),
    #[error("{0} and {1} exclude each other")]
    Exclusive(&'static str, &'static str),
    #[error("check needs the file to check: slotway check --config FILE")]
    CheckWithoutFile,
    #[error("check takes --config FILE and no other option, got {0}")]
    CheckWithOption(&'static str),
}

/// Reads the arguments, the program's own name not among them.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut arguments = arguments.into_iter().peekable();
    for (name, what) in SHOWN {
        if arguments.next_if(|first| first == name).is_some() {
            let options = console::parse(what, arguments)?;
            return Ok(options.map_or(Command::ShowHelp, Command::Show));
        }
    }
    let check = arguments.next_if(|first| first == "check").is_some();
    let mut parser = Parser::default();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy().into_owned();
        let (name, value) = match text.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (text.as_str(), None),
        };
        match find_option(name)? {
            Known::Help => return Ok(Command::Help),
            Known::Version => return Ok(Command::Version),
            Known::Embedded if value.is_some() => {
                return Err(UsageError::SuperfluousValue("--embedded"));
            }
            Known::Embedded => parser.embedded()?,
            Known::WithValue(option) => {
                let value = value.map(OsString::from).or_else(|| arguments.next());
                let value = value.ok_or(UsageError::MissingValue {
                    option: option.name,
                    placeholder: option.placeholder,
                })?;
                parser.with_value(option.name, value)?;
            }
        }
    }
    parser.finish(check)
}

/// How an option is recognised.
enum Known {
    Help,
    Version,
    Embedded,
    WithValue(&'static ValueOption),
}

struct ValueOption {
    name: &'static str,
    placeholder: &'static str,
}

fn find_option(name: &str) -> Result<Known, UsageError> {
    match name {
        "--help" | "-h" => return Ok(Known::Help),
        "--version" | "-V" => return Ok(Known::Version),
        "--embedded" => return Ok(Known::Embedded),
        _ => {}
    }
    if let Some(option) = VALUE_OPTIONS.iter().find(|option| option.name == name) {
        return Ok(Known::WithValue(option));
    }
    if !name.starts_with('-') {
        return Err(UsageError::UnexpectedArgument(name.to_owned()));
    }
    let known = VALUE_OPTIONS.iter().map(|option| option.name);
    let others = ["--help", "--version", "--embedded"];
    Err(UsageError::UnknownOption {
        option: name.to_owned(),
        suggestion: config::suggestion(name, known.chain(others)),
    })
}

/// The flags so far, and the names of the options that were given.
#[derive(Default)]
struct Parser {
    flags: Flags,
    given: Vec<&'static str>,
}

impl Parser {
    fn embedded(&mut self) -> Result<(), UsageError> {
        self.give("--embedded")?;
        self.flags.embedded = true;
        Ok(())
    }

    fn with_value(&mut self, option: &'static str, value: OsString) -> Result<(), UsageError> {
        self.give(option)?;
        match option {
            "--config" => {
                self.flags.config = Some(value.into());
                return Ok(());
            }
            "--data" => {
                self.flags.data = Some(value.into());
                return Ok(());
            }
            _ => {}
        }
        let text = value.to_string_lossy();
        self.set(option, &text)
            .map_err(|problem| UsageError::BadValue { option, problem })
    }

    fn set(&mut self, option: &str, text: &str) -> Result<(), String> {
        match option {
            "--seed" => self.flags.seeds.push(config::parse_address(text)?),
            "--listen" => self.flags.listen = Some(config::parse_listen(text)?),
            "--admin" => self.flags.admin = Some(config::parse_listen(text)?),
            "--workers" => {
                let workers = text.parse().ok().filter(|n| WORKERS.contains(n));
                let problem = || config::out_of_range(&WORKERS, text);
                self.flags.workers = Some(workers.ok_or_else(problem)?);
            }
            _ => {
                assert_eq!(
                    option, "--node-port",
                    "every option of the table is handled"
                );
                // The nodes' bus ports are higher by 10,000, and the last node's must exist too.
                let range = 1..=usize::from(u16::MAX) - 10_000 - 5;
                let port = text.parse().ok().filter(|n| range.contains(n));
                let port = port.ok_or_else(|| config::out_of_range(&range, text))?;
                self.flags.node_port = u16::try_from(port).ok();
            }
        }
        Ok(())
    }

    /// Remembers an option; only `--seed` may be given again.
    fn give(&mut self, option: &'static str) -> Result<(), UsageError> {
        if option != "--seed" && self.given.contains(&option) {
            return Err(UsageError::Twice(option));
        }
        self.given.push(option);
        Ok(())
    }

    fn finish(self, check: bool) -> Result<Command, UsageError> {
        if check {
            let other = self.given.iter().find(|option| **option != "--config");
            return match (other, self.flags.config) {
                (Some(option), _) => Err(UsageError::CheckWithOption(option)),
                (None, Some(file)) => Ok(Command::Check(file)),
                (None, None) => Err(UsageError::CheckWithoutFile),
            };
        }
        for embedded in ["--embedded", "--node-port", "--data"] {
            if self.given.contains(&embedded) && self.given.contains(&"--seed") {
                return Err(UsageError::Exclusive(embedded, "--seed"));
            }
        }
        Ok(Command::Run(self.flags))
    }
}

impl Flags {
    /// Lets what the flags say win over the file.
    pub(crate) fn apply(&self, config: &mut Config) {
        if !self.seeds.is_empty() {
            config.cluster.seeds.clone_from(&self.seeds);
        }
        if self.embedded {
            config.cluster.seeds.clear();
        }
        if let Some(data) = &self.data {
            config.embedded.data = Some(data.clone());
        }
        if let Some(listen) = self.listen {
            config.proxy.listen = listen;
        }
        if let Some(admin) = self.admin {
            config.admin.listen = Some(admin);
        }
        if let Some(workers) = self.workers {
            config.proxy.workers = workers;
        }
    }
}

pub(crate) const HELP: &str = "\
One address in front of a whole Redis Cluster.

usage: slotway [OPTIONS]
       slotway check --config FILE
       slotway status [--json] [--admin HOST:PORT]
       slotway top [--admin HOST:PORT]

With neither --config nor --seed, six cluster nodes are started inside this process, to try
things out: three primaries with a replica each, and nothing to install. Their data is gone when
it ends, unless --data says where to keep it.

options:
  --config FILE      read FILE; config/proxy.toml shows every key
  --seed HOST:PORT   a node of the cluster to serve; may be given again
  --listen IP:PORT   where clients connect (default 127.0.0.1:6379)
  --admin IP:PORT    where metrics and health are served (default 127.0.0.1:9379)
  --workers N        worker threads (default: one for each core)
  --embedded         start the six nodes although there is a --config
  --node-port PORT   the first of the six nodes' ports (default 7000)
  --data DIR         where the six nodes keep their data (default: nowhere)
  -h, --help         print this
  -V, --version      print the version

A flag wins over the file. slotway check reads the file, prints all its mistakes and starts
nothing. Ctrl-C or SIGTERM stops after the replies that clients still expect.

slotway status says how a running proxy is, for a reader or a script; slotway top shows it in the
terminal. slotway status --help has more on both.

exit status:
  0  stopped as asked, or the file is right
  1  the file is wrong, or the proxy could not start
  2  the arguments are wrong
";

/// The commands that show a running proxy, with what they do unless told otherwise.
const SHOWN: [(&str, What); 2] = [
    ("status", What::Status { json: false }),
    (
        "top",
        What::Top {
            interval: Duration::from_secs(1),
        },
    ),
];

const VALUE_OPTIONS: [ValueOption; 7] = [
    ValueOption::new("--config", "FILE"),
    ValueOption::new("--seed", "HOST:PORT"),
    ValueOption::new("--listen", "IP:PORT"),
    ValueOption::new("--admin", "IP:PORT"),
    ValueOption::new("--workers", "N"),
    ValueOption::new("--node-port", "PORT"),
    ValueOption::new("--data", "DIR"),
];

impl ValueOption {
    const fn new(name: &'static str, placeholder: &'static str) -> Self {
        Self { name, placeholder }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Command, UsageError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn reads_what_is_documented() {
        for (line, expected) in [
            ("", Command::Run(Flags::default())),
            ("--help", Command::Help),
            ("--seed a:1 -h", Command::Help),
            ("-V", Command::Version),
            ("check --config f", Command::Check("f".into())),
            ("check --config=f", Command::Check("f".into())),
            ("status --help", Command::ShowHelp),
            ("top -h", Command::ShowHelp),
        ] {
            assert_eq!(parse_line(line), Ok(expected), "{line}");
        }
        let line =
            "--config=f --seed a:1 --seed=b:2 --listen 0.0.0.0:1 --admin [::1]:2 --workers 3";
        let expected = Flags {
            config: Some("f".into()),
            seeds: vec![Address::new("a", 1), Address::new("b", 2)],
            listen: Some("0.0.0.0:1".parse().unwrap()),
            admin: Some("[::1]:2".parse().unwrap()),
            workers: Some(3),
            ..Flags::default()
        };
        assert_eq!(parse_line(line), Ok(Command::Run(expected)));
        let expected = Flags {
            embedded: true,
            node_port: Some(7100),
            data: Some("d".into()),
            ..Flags::default()
        };
        let line = "--embedded --node-port 7100 --data d";
        assert_eq!(parse_line(line), Ok(Command::Run(expected)));
    }

    #[test]
    fn refuses_everything_else() {
        for (line, expected) in [
            (
                "--sed a:1",
                "unknown option '--sed'; did you mean '--seed'?",
            ),
            ("-x", "unknown option '-x'"),
            (
                "proxy.toml",
                "unexpected argument 'proxy.toml'; \
                 a configuration file is given with --config proxy.toml",
            ),
            ("--seed", "--seed needs a value: --seed HOST:PORT"),
            (
                "--seed a",
                "--seed must be host:port such as 10.0.0.1:7000, got \"a\"",
            ),
            ("--workers 0", "--workers must be between 1 and 256, got 0"),
            ("--workers x", "--workers must be between 1 and 256, got x"),
            (
                "--node-port 60000",
                "--node-port must be between 1 and 55530, got 60000",
            ),
            (
                "--listen 6379",
                "--listen must be an IP address and a port such as 127.0.0.1:6379, got \"6379\"",
            ),
            ("--workers 1 --workers 2", "--workers is given twice"),
            ("--embedded=1", "--embedded takes no value"),
            (
                "--embedded --seed a:1",
                "--embedded and --seed exclude each other",
            ),
            (
                "--seed a:1 --node-port 7100",
                "--node-port and --seed exclude each other",
            ),
            ("top --seed a:1", "unknown option '--seed'"),
            (
                "--seed a:1 top",
                "unexpected argument 'top'; a configuration file is given with --config top",
            ),
            (
                "check",
                "check needs the file to check: slotway check --config FILE",
            ),
            (
                "check --config f --seed a:1",
                "check takes --config FILE and no other option, got --seed",
            ),
        ] {
            assert_eq!(
                parse_line(line).unwrap_err().to_string(),
                expected,
                "{line}"
            );
        }
    }

    #[test]
    fn flags_win_over_the_file() {
        let line = "--seed a:1 --listen 0.0.0.0:1 --admin 0.0.0.0:2 --workers 3";
        let Ok(Command::Run(flags)) = parse_line(line) else {
            panic!("{line} is a run");
        };
        let mut config = Config::default();
        config.cluster.seeds = vec![Address::new("b", 2)];
        flags.apply(&mut config);
        assert_eq!(config.cluster.seeds, [Address::new("a", 1)]);
        assert_eq!(config.proxy.listen.to_string(), "0.0.0.0:1");
        assert_eq!(
            config.admin.listen.map(|a| a.to_string()).as_deref(),
            Some("0.0.0.0:2")
        );
        assert_eq!(config.proxy.workers, 3);
        let untouched = config.clone();
        Flags::default().apply(&mut config);
        assert_eq!(config, untouched);
    }

    #[test]
    fn help_names_every_option() {
        for option in &VALUE_OPTIONS {
            let usage = format!("{} {}", option.name, option.placeholder);
            assert!(HELP.contains(&usage), "{usage}");
        }
    }
}
