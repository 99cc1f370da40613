//! The file with all keys of a node, written by a thread of its own beside the old one until it is
//! complete.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::mpsc::UnboundedSender;

use crate::config::Config;
use crate::engine::{Event, SavePart};
use crate::persistence::saving::SaveId;

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

impl Begun {
    /// Leaves the file where it is, complete.
    fn keep(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        self.path = PathBuf::new();
        Ok(())
    }
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
            SavePart::BeginBase => {
                begun = None;
                begin_base(path).map(|file| {
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
            SavePart::EndBase => match begun.take() {
                Some(begun) => begun.keep().map(|()| Some(Event::SaveEnded(id, true))),
                None => Ok(None),
            },
            SavePart::GiveUp => {
                begun = None;
                tracing::warn!("saving was given up");
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

fn begin_base(path: &Path) -> io::Result<Begun> {
    let path = base_beside(path);
    let file = File::create(&path)?;
    Ok(Begun { file, path })
}

/// Where the base of the append-only file is written until it is complete.
pub(super) fn base_beside(path: &Path) -> PathBuf {
    path.with_file_name(format!("temp-rewriteaof-bg-{}.aof", std::process::id()))
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

pub(super) fn path(config: &Config) -> PathBuf {
    Path::new(&config.dir).join(&config.dbfilename)
}
