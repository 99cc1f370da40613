//! Settings from redis.conf, the standard input and the command line, with all that reading them
//! does to the process.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::command_line::Sources;
use super::log;
use crate::config::{Config, FileError, Loader, Surroundings};

/// The settings of a program, and where they came from.
#[derive(Debug)]
pub struct Settings {
    pub config: Config,
    /// The redis.conf, for CONFIG REWRITE.
    pub file: Option<PathBuf>,
    /// What came from the standard input.
    pub input: String,
    /// Directives that were set, though they have no effect yet.
    pub without_effect: Vec<&'static str>,
}

impl Settings {
    /// Reads all sources. What `dir` names is the current directory after that.
    ///
    /// # Errors
    /// When a file can't be read, or a line is wrong.
    pub fn read(sources: &Sources) -> Result<Self, FileError> {
        let file = sources.file.as_ref().map(|path| absolute(Path::new(path)));
        let (mut text, mut input) = (String::new(), String::new());
        if let Some(path) = &file {
            for part in Process.include(&path.to_string_lossy())? {
                text.push_str(&part);
            }
        }
        if sources.stdin {
            log::say("Reading config from stdin");
            let read = io::stdin().read_to_string(&mut input);
            read.map_err(|error| open_error("-", &error))?;
            text.push_str(&input);
        }
        if !sources.options.is_empty() {
            text.push('\n');
            text.push_str(&sources.options);
        }
        let mut config = Config::default();
        let mut loader = Loader::new(&mut config);
        loader.load(&text, &Process)?;
        let without_effect = loader.without_effect();
        if let Ok(directory) = env::current_dir() {
            config.dir = directory.to_string_lossy().into_owned();
        }
        Ok(Self {
            config,
            file,
            input,
            without_effect,
        })
    }
}

/// The process, whose current directory changes.
struct Process;

impl Surroundings for Process {
    fn include(&self, path: &str) -> Result<Vec<String>, FileError> {
        let text = |path: &Path| {
            let bytes = fs::read(path).map_err(|error| open_error(&path.to_string_lossy(), &error));
            bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        if !path.contains(['*', '?', '[']) {
            return Ok(vec![text(Path::new(path))?]);
        }
        found(Path::new(path))
            .iter()
            .map(|path| text(path))
            .collect()
    }

    fn enter(&self, directory: &str) -> Result<String, String> {
        let entered = env::set_current_dir(directory).and_then(|()| env::current_dir());
        let directory = entered.map_err(|error| reason(&error))?;
        Ok(directory.to_string_lossy().into_owned())
    }

    /// A folder of the log that is not there is made: no package does it for us.
    fn try_log(&self, path: &str) -> Result<(), String> {
        let open = || OpenOptions::new().append(true).create(true).open(path);
        let opened = open().or_else(|error| match Path::new(path).parent() {
            Some(folder) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(folder)?;
                open()
            }
            _ => Err(error),
        });
        opened.map(drop).map_err(|error| reason(&error))
    }
}

/// The files that a path with patterns means, sorted.
fn found(pattern: &Path) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::new()];
    for part in pattern.components() {
        let part = part.as_os_str().to_string_lossy().into_owned();
        if !part.contains(['*', '?', '[']) {
            for path in &mut paths {
                path.push(&part);
            }
            continue;
        }
        let mut next = Vec::new();
        for folder in &paths {
            let shown = if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            };
            let entries = fs::read_dir(shown).into_iter().flatten().flatten();
            for name in entries.map(|entry| entry.file_name()) {
                let text = name.to_string_lossy();
                // As in a shell, a pattern does not find what is hidden.
                let is_shown = part.starts_with('.') || !text.starts_with('.');
                if is_shown && slotway_protocol::glob::matches(part.as_bytes(), text.as_bytes()) {
                    next.push(folder.join(&name));
                }
            }
        }
        next.sort();
        paths = next;
    }
    paths.retain(|path| path.exists());
    paths
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn open_error(path: &str, error: &io::Error) -> FileError {
    FileError::Open {
        path: path.to_owned(),
        error: reason(error),
    }
}

/// What the system says of an error, without its number.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}
