//! Reading a redis.conf: line by line, with other files in it, and up to the first mistake.

use super::directive::Directive;
use super::kind::ConfigError;
use super::sha256;
use super::table::Config;
use super::words::split;
use crate::REDIS_VERSION;

/// A file that is being read into settings.
#[derive(Debug)]
pub struct Loader<'a> {
    config: &'a mut Config,
    /// The directives that a line has set already.
    seen: Vec<&'static str>,
    /// The digests of passwords in `user` lines.
    digests: Vec<String>,
    depth: usize,
}

/// Why a file could not be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// A line is wrong; the number counts from 1.
    #[error(
        "\n*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***\n\
         Reading the configuration file, at line {number}\n>>> '{line}'\n{error}"
    )]
    Line {
        number: usize,
        line: String,
        error: ConfigError,
    },
    /// What the lines say does not go together.
    #[error("\n*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***\n{0}")]
    Whole(ConfigError),
    #[error("Fatal error, can't open config file '{path}': {error}")]
    Open { path: String, error: String },
}

/// What a redis.conf can have done while it is read.
pub trait Surroundings {
    /// The texts of the files that an `include` means; there may be none for a pattern.
    fn include(&self, path: &str) -> Result<Vec<String>, FileError>;

    /// Makes the directory the current one, and returns its whole path, or why it can't.
    fn enter(&self, directory: &str) -> Result<String, String>;

    /// Says why the log can't be written to that file, if so.
    fn try_log(&self, path: &str) -> Result<(), String>;
}

/// Where there are no files: directories are taken as they are written.
struct Nowhere;

impl Surroundings for Nowhere {
    fn include(&self, path: &str) -> Result<Vec<String>, FileError> {
        Err(FileError::Open {
            path: path.to_owned(),
            error: "there are no files here".to_owned(),
        })
    }

    fn enter(&self, directory: &str) -> Result<String, String> {
        Ok(directory.to_owned())
    }

    fn try_log(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

impl<'a> Loader<'a> {
    pub fn new(config: &'a mut Config) -> Self {
        Self {
            config,
            seen: Vec::new(),
            digests: Vec::new(),
            depth: 0,
        }
    }

    /// Applies a text. Every line is `directive value...`, a comment or empty.
    pub fn load(&mut self, text: &str, outside: &dyn Surroundings) -> Result<(), FileError> {
        for (index, line) in text.split('\n').enumerate() {
            let line = line.trim_matches([' ', '\t', '\r']);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |error| FileError::Line {
                number: index + 1,
                line: line.to_owned(),
                error,
            };
            let words = split(line).ok_or_else(|| wrong(ConfigError::UnbalancedQuotes))?;
            match &words[..] {
                [] => {}
                [name, path] if name.eq_ignore_ascii_case("include") => {
                    self.include(path, outside, &wrong)?;
                }
                [name, values @ ..] => self.apply(name, values, outside).map_err(wrong)?,
            }
        }
        self.check(outside).map_err(FileError::Whole)
    }

    fn include(
        &mut self,
        path: &str,
        outside: &dyn Surroundings,
        wrong: &dyn Fn(ConfigError) -> FileError,
    ) -> Result<(), FileError> {
        if self.depth == INCLUDE_DEPTH_MAX {
            return Err(wrong(ConfigError::text("files include each other")));
        }
        self.depth += 1;
        // Several files of one pattern count as one text.
        self.load(&outside.include(path)?.concat(), outside)?;
        self.depth -= 1;
        Ok(())
    }

    fn apply(
        &mut self,
        name: &str,
        values: &[String],
        outside: &dyn Surroundings,
    ) -> Result<(), ConfigError> {
        let Some((directive, _)) = Directive::find(name) else {
            let digests = other(name, values)?;
            self.digests.extend(digests);
            return Ok(());
        };
        let split_again;
        let mut values = values;
        if !directive.takes_words() {
            if values.len() != 1 {
                return Err(ConfigError::WrongCount);
            }
        } else if let [value] = values
            && !value.is_empty()
        {
            // One quoted word stands for several.
            split_again = split(value).unwrap_or_default();
            values = &split_again;
        }
        let words: Vec<&str> = values.iter().map(String::as_str).collect();
        let afresh = !self.seen.contains(&directive.name);
        if afresh {
            self.seen.push(directive.name);
        }
        directive.set_words(self.config, &words, afresh)?;
        if directive.name == "dir" {
            let entered = outside.enter(&self.config.dir);
            self.config.dir = entered.map_err(|error| ConfigError::Other(error.into()))?;
        }
        Ok(())
    }

    /// Says what in the settings so far does not go together, or with the world.
    fn check(&self, outside: &dyn Surroundings) -> Result<(), ConfigError> {
        if self.depth == 0 && !self.digests.is_empty() {
            let digest = sha256::hexadecimal(self.config.requirepass.as_bytes());
            // Without the password itself nobody could be let in, or everybody would be.
            if self.config.requirepass.is_empty() || !self.digests.contains(&digest) {
                return Err(ConfigError::text(
                    "the password of the user 'default' has to stand in 'requirepass', too",
                ));
            }
        }
        if !self.config.logfile.is_empty() {
            outside.try_log(&self.config.logfile).map_err(|error| {
                ConfigError::Other(format!("Can't open the log file: {error}").into())
            })?;
        }
        if self.config.cluster_enabled && self.config.replicaof.is_some() {
            return Err(ConfigError::text(
                "replicaof directive not allowed in cluster mode",
            ));
        }
        Ok(())
    }

    /// The directives that lines have given other values than usual, though they have no effect.
    pub fn without_effect(&self) -> Vec<&'static str> {
        let defaults = Config::default();
        let kept = self.seen.iter().copied().filter(|name| {
            Directive::find(name).is_some_and(|(directive, _)| {
                directive.traits.kept && directive.show(self.config) != directive.show(&defaults)
            })
        });
        kept.collect()
    }
}

impl Config {
    /// Applies the text of a redis.conf that includes no others.
    pub fn apply_file(&mut self, text: &str) -> Result<(), FileError> {
        Loader::new(self).load(text, &Nowhere)
    }

    /// Applies one directive, also one that can't be changed later.
    pub fn apply(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let (directive, _) = Directive::find(name).ok_or(ConfigError::UnknownDirective)?;
        directive.set(self, value)
    }
}

/// What is no directive with a setting. Returns the digests of passwords in it.
fn other(name: &str, values: &[String]) -> Result<Vec<String>, ConfigError> {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    // They have lost their meaning, but old files still have them.
    let obsolete = [
        "list-max-ziplist-entries",
        "list-max-ziplist-value",
        "lua-replicate-commands",
    ];
    if values.len() == 1 && obsolete.into_iter().any(is) {
        return Ok(Vec::new());
    }
    if is("user") && !values.is_empty() {
        return check_user(values);
    }
    Err(ConfigError::UnknownDirective)
}

/// There is one user, who may do all; CONFIG REWRITE writes that down. Taking a line that says
/// less than that would give more away than it says.
fn check_user(words: &[String]) -> Result<Vec<String>, ConfigError> {
    let is_known = |word: &String| {
        let word = word.as_str();
        let all = [
            "on",
            "nopass",
            "~*",
            "&*",
            "+@all",
            "allkeys",
            "allchannels",
            "allcommands",
        ];
        all.contains(&word) || word.starts_with('#') || word.starts_with("sanitize-payload")
    };
    if words[0] == "default" && words[1..].iter().all(is_known) {
        let digests = words.iter().filter_map(|word| word.strip_prefix('#'));
        return Ok(digests.map(str::to_owned).collect());
    }
    Err(ConfigError::text(
        "this node has no user but 'default' yet, who may do everything",
    ))
}

const INCLUDE_DEPTH_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::special::SavePoint;
    use super::*;

    #[test]
    fn reads_a_file() {
        let mut config = Config::default();
        let text = "# comment\n\nport 7001\r\n  BIND 127.0.0.1 ::1\nrequirepass \"a \\\"b\"\n\
                    cluster-enabled yes\nproto-max-bulk-len 2mb\nsave 900 1\nsave '300 10'\n\
                    slave-priority 7\nuser default on nopass ~* &* +@all\n";
        config.apply_file(text).unwrap();
        assert_eq!(config.port, 7001);
        assert_eq!(config.bind, ["127.0.0.1", "::1"]);
        assert_eq!(config.requirepass, "a \"b");
        assert!(config.cluster_enabled);
        assert_eq!(config.proto_max_bulk_len, 2 * 1024 * 1024);
        assert_eq!(config.replica_priority, 7);
        let points = [(900, 1), (300, 10)];
        let points = points.map(|(seconds, changes)| SavePoint { seconds, changes });
        assert_eq!(config.save, points);
    }

    #[test]
    fn later_lines_count() {
        let mut config = Config::default();
        config
            .apply_file("save 900 1\nsave \"\"\nport 1\nport 2")
            .unwrap();
        assert_eq!((config.save.len(), config.port), (0, 2));
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        for (text, line, number, error) in [
            (
                "port x",
                "port x",
                1,
                "argument couldn't be parsed into an integer",
            ),
            (
                "\nport 70000",
                "port 70000",
                2,
                "argument must be between 0 and 65535 inclusive",
            ),
            ("port 1 2", "port 1 2", 1, "wrong number of arguments"),
            (
                "foo bar ",
                "foo bar",
                1,
                "Bad directive or wrong number of arguments",
            ),
            (
                "cluster-enabled 1",
                "cluster-enabled 1",
                1,
                "argument must be 'yes' or 'no'",
            ),
            (
                "dir \"a",
                "dir \"a",
                1,
                "Unbalanced quotes in configuration line",
            ),
            ("save 1", "save 1", 1, "Invalid save parameters"),
            (
                "dbfilename a/b",
                "dbfilename a/b",
                1,
                "dbfilename can't be a path, just a filename",
            ),
            (
                "user default off",
                "user default off",
                1,
                "this node has no user but 'default' yet, who may do everything",
            ),
        ] {
            let expected = format!(
                "\n*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***\n\
                 Reading the configuration file, at line {number}\n>>> '{line}'\n{error}"
            );
            let shown = Config::default().apply_file(text).unwrap_err().to_string();
            assert_eq!(shown, expected);
        }
    }

    #[test]
    fn files_may_include_others_but_not_themselves() {
        let mut config = Config::default();
        let mut loader = Loader::new(&mut config);
        loader.load("include a\nhz 20", &Folder).unwrap();
        assert_eq!(loader.without_effect(), ["hz"]);
        let error = loader.load("include b", &Folder).unwrap_err().to_string();
        assert!(error.ends_with("files include each other"), "{error}");
        let error = loader.load("dir nowhere", &Folder).unwrap_err().to_string();
        assert!(
            error.ends_with(">>> 'dir nowhere'\nno such folder"),
            "{error}"
        );
        assert_eq!((config.port, config.timeout, config.hz), (1, 5, 20));
    }

    /// Has the file `a`, and a file `b` that includes itself.
    struct Folder;

    impl Surroundings for Folder {
        fn include(&self, path: &str) -> Result<Vec<String>, FileError> {
            match path {
                "a" => Ok(vec!["port 1\n".to_owned(), "timeout 5".to_owned()]),
                _ => Ok(vec!["include b".to_owned()]),
            }
        }

        fn enter(&self, _: &str) -> Result<String, String> {
            Err("no such folder".to_owned())
        }

        fn try_log(&self, _: &str) -> Result<(), String> {
            Ok(())
        }
    }

    #[test]
    fn a_password_must_be_known_to_be_checked() {
        let digest = sha256::hexadecimal(b"x");
        let user = format!("user default on #{digest} ~* &* +@all\n");
        for (password, is_fine) in [
            ("requirepass x", true),
            ("requirepass y", false),
            ("", false),
        ] {
            let outcome = Config::default().apply_file(&format!("{user}{password}"));
            assert_eq!(outcome.is_ok(), is_fine, "{password}");
        }
    }

    #[test]
    fn a_node_of_a_cluster_is_not_told_whom_to_follow() {
        let text = "cluster-enabled yes\nreplicaof a 1";
        let error = Config::default().apply_file(text).unwrap_err().to_string();
        assert_eq!(
            error,
            "\n*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***\n\
             replicaof directive not allowed in cluster mode"
        );
    }
}
