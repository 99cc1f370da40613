//! The arguments of `slotway status` and `slotway top`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use slotway_protocol::engine::Address;

use crate::cli::UsageError;
use crate::config;

/// What to show, and of which proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) what: What,
    pub(crate) admin: Option<Address>,
    /// Where to read the address if it is not given.
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Status { json: bool },
    Top { interval: Duration },
}

/// Reads what follows the command; `None` when help is wanted.
pub(crate) fn parse(
    mut what: What,
    arguments: impl Iterator<Item = OsString>,
) -> Result<Option<Options>, UsageError> {
    let mut arguments = arguments.peekable();
    let (mut admin, mut config) = (None, None);
    let mut given: Vec<&'static str> = Vec::new();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy().into_owned();
        let (name, value) = match text.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (text.as_str(), None),
        };
        if ["--help", "-h"].contains(&name) {
            return Ok(None);
        }
        let option = known(&what, name)?;
        if given.contains(&option) {
            return Err(UsageError::Twice(option));
        }
        given.push(option);
        if let What::Status { json } = &mut what
            && option == "--json"
        {
            if value.is_some() {
                return Err(UsageError::SuperfluousValue(option));
            }
            *json = true;
            continue;
        }
        let value = value.map(OsString::from).or_else(|| arguments.next());
        let placeholder = placeholder(option);
        let value = value.ok_or(UsageError::MissingValue {
            option,
            placeholder,
        })?;
        let text = value.to_string_lossy();
        let bad = |problem| UsageError::BadValue { option, problem };
        match (option, &mut what) {
            ("--config", _) => config = Some(value.into()),
            ("--admin", _) => admin = Some(config::parse_address(&text).map_err(bad)?),
            (_, What::Top { interval }) => *interval = seconds(&text).map_err(bad)?,
            (_, What::Status { .. }) => {}
        }
    }
    if admin.is_some() && config.is_some() {
        return Err(UsageError::Exclusive("--admin", "--config"));
    }
    Ok(Some(Options {
        what,
        admin,
        config,
    }))
}

fn known(what: &What, name: &str) -> Result<&'static str, UsageError> {
    let own = match what {
        What::Status { .. } => "--json",
        What::Top { .. } => "--interval",
    };
    let names = ["--admin", "--config", own];
    if let Some(known) = names.into_iter().find(|known| *known == name) {
        return Ok(known);
    }
    if !name.starts_with('-') {
        return Err(UsageError::Superfluous(name.to_owned()));
    }
    Err(UsageError::UnknownOption {
        option: name.to_owned(),
        suggestion: config::suggestion(name, names.into_iter().chain(["--help"])),
    })
}

fn placeholder(option: &str) -> &'static str {
    match option {
        "--admin" => "HOST:PORT",
        "--config" => "FILE",
        _ => "SECONDS",
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|n| INTERVAL.contains(n));
    let seconds = seconds.ok_or_else(|| config::out_of_range(&INTERVAL, text))?;
    Ok(Duration::from_secs(seconds as u64))
}

/// Seconds.
const INTERVAL: core::ops::RangeInclusive<usize> = 1..=60;

pub(crate) const HELP: &str = "\
How a running slotway is, as its admin port tells.

usage: slotway status [--json] [--admin HOST:PORT | --config FILE]
       slotway top [--interval SECONDS] [--admin HOST:PORT | --config FILE]

slotway status prints one screen: what is wrong and since when, then the numbers and the nodes.
slotway top shows that and the last 15 minutes until q is pressed; ? lists its keys.

options:
  --admin HOST:PORT   where the proxy tells of itself (default 127.0.0.1:9379)
  --config FILE       take that address from the proxy's configuration file
  --json              one line of JSON, which docs/monitoring.md describes
  --interval SECONDS  how often slotway top asks, 1 to 60 (default 1)
  -h, --help          print this

Colours only on a terminal, and not where NO_COLOR is set.

exit status of slotway status:
  0  all is well
  1  something is wrong
  2  nobody can say: the proxy cannot be reached, or the arguments are wrong

exit status of slotway top:
  0  ended as asked
  2  it cannot show anything: there is no terminal, or the arguments are wrong
";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(what: What, line: &str) -> Result<Option<Options>, UsageError> {
        parse(what, line.split_whitespace().map(OsString::from))
    }

    const STATUS: What = What::Status { json: false };
    const TOP: What = What::Top {
        interval: Duration::from_secs(1),
    };

    #[test]
    fn reads_what_is_documented() {
        let options = |what, admin, config: Option<&str>| {
            Some(Options {
                what,
                admin,
                config: config.map(PathBuf::from),
            })
        };
        let json = What::Status { json: true };
        let slow = What::Top {
            interval: Duration::from_secs(60),
        };
        let v6 = Some(Address::new("::1", 9379));
        for (what, line, expected) in [
            (STATUS, "", options(STATUS, None, None)),
            (STATUS, "--json", options(json.clone(), None, None)),
            (STATUS, "--admin=[::1]:9379 --json", options(json, v6, None)),
            (STATUS, "--config f", options(STATUS, None, Some("f"))),
            (TOP, "--interval 60", options(slow, None, None)),
            (TOP, "--interval=1 -h", None),
            (STATUS, "--help", None),
        ] {
            assert_eq!(parse_line(what, line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for (what, line, expected) in [
            (
                STATUS,
                "--jsn",
                "unknown option '--jsn'; did you mean '--json'?",
            ),
            (STATUS, "--interval 1", "unknown option '--interval'"),
            (TOP, "--json", "unknown option '--json'"),
            (TOP, "now", "unexpected argument 'now'"),
            (STATUS, "--json=1", "--json takes no value"),
            (
                STATUS,
                "--admin",
                "--admin needs a value: --admin HOST:PORT",
            ),
            (
                STATUS,
                "--admin a",
                "--admin must be host:port such as 10.0.0.1:7000, got \"a\"",
            ),
            (
                TOP,
                "--interval 0",
                "--interval must be between 1 and 60, got 0",
            ),
            (
                TOP,
                "--interval x",
                "--interval must be between 1 and 60, got x",
            ),
            (STATUS, "--json --json", "--json is given twice"),
            (
                TOP,
                "--config f --admin a:1",
                "--admin and --config exclude each other",
            ),
        ] {
            let error = parse_line(what, line).unwrap_err().to_string();
            assert_eq!(error, expected, "{line}");
        }
    }
}
