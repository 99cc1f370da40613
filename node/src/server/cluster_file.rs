//! The file in which a node keeps who is in its cluster. It is locked as long as the node runs, and
//! replaced as a whole, so that a crash leaves the old one or the new one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::mpsc::UnboundedSender;

use crate::cluster::SavedCluster;
use crate::config::Config;
use crate::engine::Event;

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterFileError {
    #[error("Can't open {path} in order to acquire a lock: {error}")]
    Open { path: String, error: io::Error },
    #[error(
        "Sorry, the cluster configuration file {path} is already used by a different Redis Cluster \
         node. Please make sure that different nodes use different cluster configuration files."
    )]
    Locked { path: String },
    #[error(transparent)]
    Content(#[from] crate::cluster::NodesConfError),
}

/// The file, locked.
#[derive(Debug)]
pub(super) struct ClusterFile {
    path: PathBuf,
    file: File,
}

impl ClusterFile {
    /// Opens and locks the file, and creates it if there is none.
    pub(super) fn open(config: &Config) -> Result<Self, ClusterFileError> {
        let path = Path::new(&config.dir).join(&config.cluster_config_file);
        let shown = path.display().to_string();
        let open_error = |error| ClusterFileError::Open {
            path: path.display().to_string(),
            error,
        };
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let file = options.open(&path).map_err(open_error)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(ClusterFileError::Locked { path: shown });
                }
                Err(TryLockError::Error(error)) => return Err(open_error(error)),
            }
            // Another node may have replaced it in between, and have the lock of the new one.
            let locked = file.metadata().map_err(open_error)?;
            let named = fs::metadata(&path).map_err(open_error)?;
            if (locked.dev(), locked.ino()) == (named.dev(), named.ino()) {
                return Ok(Self { path, file });
            }
        }
    }

    /// What is in it; `None` when it is new.
    pub(super) fn read(&mut self) -> Result<Option<String>, ClusterFileError> {
        let mut bytes = Vec::new();
        let read = self.file.read_to_end(&mut bytes);
        read.map_err(|error| ClusterFileError::Open {
            path: self.path.display().to_string(),
            error,
        })?;
        // What is no text is no cluster file either, and refused as such.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok((!bytes.is_empty()).then_some(text))
    }

    /// Replaces the content; in place where no file can be put beside it.
    fn write(&mut self, text: &str, sync: bool) -> io::Result<()> {
        match self.replace(text, sync) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.overwrite(text, sync)
            }
            Err(error) => Err(error),
        }
    }

    fn replace(&mut self, text: &str, sync: bool) -> io::Result<()> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".tmp-{}", std::process::id()));
        let beside = self.path.with_file_name(name);
        let mut file = File::create(&beside)?;
        let written = file
            .lock()
            .and_then(|()| file.write_all(text.as_bytes()))
            .and_then(|()| if sync { file.sync_all() } else { Ok(()) })
            .and_then(|()| fs::rename(&beside, &self.path));
        if let Err(error) = written {
            let _ = fs::remove_file(&beside);
            return Err(error);
        }
        self.file = file;
        if sync && let Some(directory) = self.path.parent() {
            let directory = if directory.as_os_str().is_empty() {
                Path::new(".")
            } else {
                directory
            };
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    }

    /// One write of the new content, with empty lines over what is left of the old, and then cut.
    fn overwrite(&mut self, text: &str, sync: bool) -> io::Result<()> {
        let old = usize::try_from(self.file.metadata()?.len()).unwrap_or(0);
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(text.len().max(old), b'\n');
        self.file.seek(io::SeekFrom::Start(0))?;
        self.file.write_all(&bytes)?;
        self.file.set_len(text.len() as u64)?;
        if sync {
            self.file.sync_all()?;
        }
        Ok(())
    }
}

/// Writes the file on a thread of its own.
#[derive(Debug)]
pub(super) struct ClusterFileWriter {
    versions: Option<mpsc::Sender<SavedCluster>>,
    thread: Option<JoinHandle<()>>,
}

impl ClusterFileWriter {
    pub(super) fn start(
        mut file: ClusterFile,
        port: u16,
        events: UnboundedSender<Event>,
    ) -> io::Result<Self> {
        let (versions, inbox) = mpsc::channel::<SavedCluster>();
        let thread = std::thread::Builder::new()
            .name(format!("cluster-{port}"))
            .spawn(move || {
                for version in inbox {
                    if let Err(error) = file.write(&version.text, version.sync) {
                        // A node that forgets its votes could give one twice.
                        tracing::error!(%error, "Fatal: can't update cluster config file.");
                        std::process::exit(1);
                    }
                    // A node that is stopping does not listen any more.
                    let _ = events.send(Event::NodesConfSaved(version.number));
                }
            })?;
        Ok(Self {
            versions: Some(versions),
            thread: Some(thread),
        })
    }

    /// Hands over a version. The node waits for an answer to each, so there is one at most.
    pub(super) fn write(&self, version: SavedCluster) {
        if let Some(versions) = &self.versions {
            // The thread ends only after this is dropped.
            let _ = versions.send(version);
        }
    }
}

impl Drop for ClusterFileWriter {
    fn drop(&mut self) {
        drop(self.versions.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported; nothing can be done about it here.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(directory: &Path) -> Config {
        Config {
            dir: directory.display().to_string(),
            ..Config::default()
        }
    }

    #[test]
    fn the_file_is_locked_also_after_it_was_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path());
        let mut file = ClusterFile::open(&config).unwrap();
        assert_eq!(file.read().unwrap(), None);
        for text in ["one\n", "a longer one\n", "2\n"] {
            file.write(text, true).unwrap();
            let locked = ClusterFile::open(&config).unwrap_err();
            assert!(
                matches!(locked, ClusterFileError::Locked { .. }),
                "{locked}"
            );
        }
        file.overwrite("in place\n", true).unwrap();
        file.overwrite("3\n", false).unwrap();
        drop(file);
        let mut file = ClusterFile::open(&config).unwrap();
        assert_eq!(file.read().unwrap().as_deref(), Some("3\n"));
        let names = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(names, 1, "nothing is left beside it");
    }
}
