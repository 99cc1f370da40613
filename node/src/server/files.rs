//! The file with all keys of a node: read at the start, and written by a thread of its own, beside
//! the old one until it is complete.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::mpsc::UnboundedSender;

use crate::config::Config;
use crate::engine::{Event, Node, SavePart};
use crate::persistence::rdb::RdbError;
use crate::persistence::saving::SaveId;

/// Why the file could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("Can't chdir to '{path}': {error}")]
    Directory { path: String, error: io::Error },
    #[error("Fatal error: can't open the RDB file {path} for reading: {error}")]
    Io { path: String, error: io::Error },
    #[error("{path}: {error}")]
    Format { path: String, error: RdbError },
}

/// Loads the file that the settings name, if there is one.
pub(super) fn load(node: &mut Node) -> Result<(), LoadError> {
    let directory = &node.config().dir;
    fs::read_dir(directory).map_err(|error| LoadError::Directory {
        path: directory.clone(),
        error,
    })?;
    let path = path(node.config());
    let io_error = |error| LoadError::Io {
        path: path.display().to_string(),
        error,
    };
    let format_error = |error| LoadError::Format {
        path: path.display().to_string(),
        error,
    };
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error(error)),
    };
    let len = file.metadata().map_err(io_error)?.len();
    let mut loading = node.begin_loading(len);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = file.read(&mut buffer).map_err(io_error)?;
        if count == 0 {
            break;
        }
        node.load(&mut loading, &buffer[..count])
            .map_err(format_error)?;
    }
    node.end_loading(loading).map_err(format_error)?;
    tracing::info!(path = %path.display(), keys = node.len(), "loaded");
    Ok(())
}

/// Writes what a node saves. A save that is not complete when this is dropped leaves nothing.
#[derive(Debug)]
pub(super) struct FileWriter {
    parts: Option<mpsc::Sender<(SaveId, SavePart)>>,
    thread: Option<JoinHandle<()>>,
}

impl FileWriter {
    pub(super) fn start(config: &Config, events: UnboundedSender<Event>) -> io::Result<Self> {
        let path = path(config);
        let (parts, inbox) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(format!("file-{}", config.port))
            .spawn(move || write_all(&path, &inbox, &events))?;
        Ok(Self {
            parts: Some(parts),
            thread: Some(thread),
        })
    }

    /// Hands over the next part. The node waits for an answer to each, so few are ever kept.
    pub(super) fn write(&self, id: SaveId, part: SavePart) {
        if let Some(parts) = &self.parts {
            // The thread ends only after this is dropped.
            let _ = parts.send((id, part));
        }
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        drop(self.parts.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported; nothing can be done about it here.
            let _ = thread.join();
        }
    }
}

/// A file that is being written beside the one it is to replace.
#[derive(Debug)]
struct Begun {
    file: File,
    path: PathBuf,
}

impl Drop for Begun {
    fn drop(&mut self) {
        // Once it is in its place, there is none of that name any more.
        let _ = fs::remove_file(&self.path);
    }
}

fn write_all(
    path: &Path,
    inbox: &mpsc::Receiver<(SaveId, SavePart)>,
    events: &UnboundedSender<Event>,
) {
    let mut begun: Option<Begun> = None;
    for (id, part) in inbox {
        let outcome = match part {
            SavePart::Begin => {
                // One that is given up has the same name, so it has to go first.
                begun = None;
                begin(path).map(|file| {
                    begun = Some(file);
                    None
                })
            }
            SavePart::Bytes(bytes) => match &mut begun {
                Some(begun) => {
                    let written = begun.file.write_all(&bytes);
                    written.map(|()| Some(Event::SaveWritten(id)))
                }
                None => Ok(None),
            },
            SavePart::End => match begun.take() {
                Some(begun) => end(&begun, path).map(|()| Some(Event::SaveEnded(id, true))),
                None => Ok(None),
            },
            SavePart::GiveUp => {
                begun = None;
                tracing::warn!("saving was given up: too much was changed meanwhile");
                Ok(None)
            }
        };
        let event = outcome.unwrap_or_else(|error| {
            begun = None;
            tracing::error!(path = %path.display(), %error, "can't save the keys");
            Some(Event::SaveEnded(id, false))
        });
        if let Some(event) = event {
            // A node that is stopping does not listen any more.
            let _ = events.send(event);
        }
    }
}

fn begin(path: &Path) -> io::Result<Begun> {
    let path = path.with_file_name(format!("temp-{}.rdb", std::process::id()));
    let file = File::create(&path)?;
    Ok(Begun { file, path })
}

/// Puts the file into its place in such a way that a crash leaves the old one or the new one.
fn end(begun: &Begun, path: &Path) -> io::Result<()> {
    begun.file.sync_all()?;
    fs::rename(&begun.path, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    tracing::info!(path = %path.display(), "DB saved on disk");
    Ok(())
}

fn path(config: &Config) -> PathBuf {
    Path::new(&config.dir).join(&config.dbfilename)
}

const READ_BYTES: usize = 1024 * 1024;
