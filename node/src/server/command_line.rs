//! The command line of the program: a file, `-` for the standard input, and directives.

use crate::config::words::{quoted, split};

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    Version,
    Help,
    /// A whole cluster, with these arguments.
    CreateCluster(Vec<String>),
    Run(Sources),
}

/// Where the settings come from; what comes later counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    pub file: Option<String>,
    pub stdin: bool,
    /// The options as lines of a redis.conf.
    pub options: String,
}

impl CommandLine {
    /// `arguments` are those after the program's name. An option begins with `--` and has a value
    /// at least, in the same argument or after it.
    pub fn parse(arguments: &[String]) -> Self {
        match arguments.first().map(String::as_str) {
            Some("-v" | "--version") => return Self::Version,
            Some("-h" | "--help") => return Self::Help,
            Some("create-cluster") => return Self::CreateCluster(arguments[1..].to_vec()),
            _ => {}
        }
        let mut sources = Sources::default();
        let mut rest = arguments;
        if let Some((file, after)) = rest.split_first()
            && !file.starts_with('-')
        {
            sources.file = Some(file.clone());
            rest = after;
        }
        let mut has_value = true;
        for (index, argument) in rest.iter().enumerate() {
            let is_first = index == 0 && sources.file.is_none();
            let next = rest.get(index + 1);
            if argument == "-" && (is_first || next.is_none()) {
                sources.stdin = true;
            } else if let Some(option) = argument.strip_prefix("--")
                && has_value
            {
                has_value = sources.add_option(option, next);
            } else {
                sources.options.push_str(&quoted(argument));
                sources.options.push(' ');
                has_value = true;
            }
        }
        Self::Run(sources)
    }
}

impl Sources {
    /// Begins a line; says whether it has a value already. `--save` without one means none.
    fn add_option(&mut self, option: &str, next: Option<&String>) -> bool {
        if !self.options.is_empty() {
            self.options.push('\n');
        }
        self.options.push_str(option);
        self.options.push(' ');
        if split(option).is_none_or(|words| words.len() != 1) {
            return true;
        }
        let is_save = option.eq_ignore_ascii_case("save");
        let is_last = next.is_none_or(|next| next.starts_with("--"));
        if is_save && is_last {
            self.options.push_str("\"\"");
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_lines() {
        for (arguments, file, stdin, options) in [
            (&[][..], None, false, ""),
            (&["a.conf"], Some("a.conf"), false, ""),
            (&["-"], None, true, ""),
            (
                &["a.conf", "--port", "1", "-"],
                Some("a.conf"),
                true,
                "port \"1\" ",
            ),
            (&["--port", "-"], None, true, "port "),
            (
                &["--bind", "a", "b", "--port 7"],
                None,
                false,
                "bind \"a\" \"b\" \nport 7 ",
            ),
            (
                &["--save", "--port", "1"],
                None,
                false,
                "save \"\"\nport \"1\" ",
            ),
            (
                &["--port", "1", "--save"],
                None,
                false,
                "port \"1\" \nsave \"\"",
            ),
            (
                &["--requirepass", "--x y"],
                None,
                false,
                "requirepass \"--x y\" ",
            ),
        ] {
            let arguments: Vec<String> = arguments.iter().map(|&it| it.to_owned()).collect();
            let expected = CommandLine::Run(Sources {
                file: file.map(str::to_owned),
                stdin,
                options: options.to_owned(),
            });
            assert_eq!(CommandLine::parse(&arguments), expected, "{arguments:?}");
        }
    }

    #[test]
    fn version_and_help_come_first_or_not_at_all() {
        let parse = |argument: &str| CommandLine::parse(&[argument.to_owned()]);
        assert_eq!(parse("-v"), CommandLine::Version);
        assert_eq!(parse("--help"), CommandLine::Help);
        let cluster = CommandLine::CreateCluster(Vec::new());
        assert_eq!(parse("create-cluster"), cluster);
    }
}
