//! Does what takes long with files of the append-only file, on a thread of its own: brings them to
//! the disk and removes them.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use tokio::sync::mpsc::UnboundedSender;

use crate::engine::{AofEvent, Event};

/// The thread, which ends when this is dropped and all is done.
#[derive(Debug)]
pub(super) struct Syncer {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Job {
    /// Answered.
    Sync(Arc<File>),
    /// Answered only when it fails.
    Close(Arc<File>),
    Remove(PathBuf),
}

impl Syncer {
    pub(super) fn start(events: UnboundedSender<Event>) -> io::Result<Self> {
        let (jobs, inbox) = channel::<Job>();
        let thread = std::thread::Builder::new()
            .name("aof-sync".to_owned())
            .spawn(move || {
                for job in inbox {
                    if let Some(event) = job.run() {
                        // A node that is stopping does not listen any more.
                        let _ = events.send(Event::Aof(event));
                    }
                }
            })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    pub(super) fn sync(&self, file: &Arc<File>) {
        self.send(Job::Sync(Arc::clone(file)));
    }

    pub(super) fn close(&self, file: Arc<File>) {
        self.send(Job::Close(file));
    }

    pub(super) fn remove(&self, path: PathBuf) {
        self.send(Job::Remove(path));
    }

    fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The thread ends only after this is dropped.
            let _ = jobs.send(job);
        }
    }
}

impl Job {
    fn run(self) -> Option<AofEvent> {
        let (file, is_answered) = match self {
            Self::Sync(file) => (file, true),
            Self::Close(file) => (file, false),
            Self::Remove(path) => {
                if let Err(error) = fs::remove_file(&path) {
                    tracing::warn!(path = %path.display(), %error, "can't remove an old file");
                }
                return None;
            }
        };
        match file.sync_data() {
            Ok(()) => is_answered.then_some(AofEvent::Synced),
            Err(error) => {
                tracing::error!("Fail to fsync the AOF file: {error}");
                Some(AofEvent::SyncFailed(super::reason(&error)))
            }
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported; nothing can be done about it here.
            let _ = thread.join();
        }
    }
}
