//! Appends to the append-only file on a thread of its own, and puts new files in the place of old
//! ones. What can't be written is kept and tried again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::syncer::Syncer;
use super::{AofFiles, create, reason};
use crate::engine::{AofEvent, AofPart, AofSizes, Event};
use crate::persistence::aof::manifest::Manifest;
use crate::persistence::saving::SaveId;

/// The file that is appended to.
#[derive(Debug)]
pub(in crate::server) struct Appender {
    files: AofFiles,
    /// Where the keys for a new base are written.
    base_beside: PathBuf,
    open: Option<OpenFile>,
    /// The open file has a name for the time being, and counts for nothing.
    starts: bool,
    unwritten: Unwritten,
    syncer: Syncer,
    events: UnboundedSender<Event>,
}

#[derive(Debug)]
struct OpenFile {
    file: Arc<File>,
    /// How long it is without what was written in part.
    len: u64,
}

/// What could not be written yet.
#[derive(Debug, Default)]
struct Unwritten {
    bytes: Vec<u8>,
    /// What the node counts: in how many pieces it came, and how many bytes of them are written.
    pieces: u32,
    written: u64,
    sync: bool,
    /// The node knows that something is wrong.
    told: bool,
}

impl Appender {
    pub(in crate::server) fn start(
        files: AofFiles,
        base_beside: PathBuf,
        events: UnboundedSender<Event>,
    ) -> io::Result<Self> {
        Ok(Self {
            files,
            base_beside,
            open: None,
            starts: false,
            unwritten: Unwritten::default(),
            syncer: Syncer::start(events.clone())?,
            events,
        })
    }

    /// Opens what is appended to from the start of the node on: the last increment, or the first
    /// one, behind an empty base.
    pub(in crate::server) fn open(&mut self, empty_base: &[u8]) -> io::Result<()> {
        self.files.create_folder()?;
        let mut manifest = self.files.manifest.clone();
        let prefix = self.files.prefix().to_owned();
        if manifest.is_empty() {
            let name = manifest.replace_base(&prefix);
            let mut file = create(&self.files.path(&name))?;
            file.write_all(empty_base)?;
            file.sync_all()?;
            log_file("Creating AOF base file", &name);
        }
        let last = manifest.increments.last().map(|file| file.name.clone());
        let (name, verb) = match last {
            Some(name) => (name, "Opening AOF incr file"),
            None => (manifest.add_increment(&prefix), "Creating AOF incr file"),
        };
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        let file = options.open(self.files.path(&name))?;
        let len = file.metadata()?.len();
        let history = std::mem::take(&mut manifest.history);
        if manifest != self.files.manifest {
            self.files.persist(&manifest)?;
            self.files.manifest = manifest;
        }
        for old in history {
            self.remove(&old.name);
        }
        log_file(verb, &name);
        let file = Arc::new(file);
        self.open = Some(OpenFile { file, len });
        Ok(())
    }

    /// Does what it is asked, until nobody asks any more.
    pub(in crate::server) fn run(mut self, parts: &Receiver<AofPart>) {
        loop {
            let part = if self.unwritten.bytes.is_empty() {
                parts.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                parts.recv_timeout(RETRY_INTERVAL)
            };
            match part {
                Ok(part) => self.take(part),
                Err(RecvTimeoutError::Timeout) => self.write(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.close();
    }

    fn take(&mut self, part: AofPart) {
        match part {
            AofPart::Append { bytes, sync } => {
                let unwritten = &mut self.unwritten;
                unwritten.pieces += 1;
                unwritten.sync |= sync;
                if unwritten.bytes.is_empty() {
                    unwritten.bytes = bytes;
                } else {
                    unwritten.bytes.extend_from_slice(&bytes);
                }
                self.write();
            }
            AofPart::Sync => match &self.open {
                Some(open) => self.syncer.sync(&open.file),
                None => self.tell(AofEvent::Synced),
            },
            AofPart::Begin { id, starts } => {
                if let Err(error) = self.begin(starts) {
                    tracing::error!("Can't open the append-only file: {error}");
                    self.tell(AofEvent::BeginFailed(id));
                }
            }
            AofPart::Finish { id, keeps_history } => self.finish(id, keeps_history),
            AofPart::Close => {
                self.close();
                self.unwritten = Unwritten::default();
            }
        }
    }

    /// Writes what there is, and says what came of it.
    fn write(&mut self) {
        let unwritten = &mut self.unwritten;
        let written = match &mut self.open {
            Some(open) => open.append(unwritten),
            None => Ok(()),
        };
        if let Err(error) = written {
            if !std::mem::replace(&mut unwritten.told, true) {
                tracing::error!("Error writing to the AOF file: {error}");
                self.tell(AofEvent::WriteFailed(reason(&error)));
            }
            return;
        }
        let done = std::mem::take(unwritten);
        if done.told {
            tracing::warn!("AOF write error looks solved, Redis can write again.");
        }
        let mut synced = done.sync;
        if let Some(open) = self.open.as_ref().filter(|_| done.sync)
            && let Err(error) = open.file.sync_data()
        {
            tracing::error!("Can't persist AOF for fsync error: {error}");
            self.tell(AofEvent::SyncFailed(reason(&error)));
            synced = false;
        }
        self.tell(AofEvent::Written {
            pieces: done.pieces,
            bytes: done.written + done.bytes.len() as u64,
            synced,
        });
    }

    /// Opens a file for what comes next. When that fails, everything stays as it is.
    fn begin(&mut self, starts: bool) -> io::Result<()> {
        if !self.unwritten.bytes.is_empty() {
            self.write();
        }
        if !self.unwritten.bytes.is_empty() {
            return Err(io::Error::other("there is more to write to the one before"));
        }
        let file = if starts {
            self.files.create_folder()?;
            let name = self.starting_name();
            log_file("Creating AOF incr file", &name);
            create(&self.files.path(&name))?
        } else {
            let mut manifest = self.files.manifest.clone();
            let name = manifest.add_increment(self.files.prefix());
            let file = create(&self.files.path(&name))?;
            self.files.persist(&manifest)?;
            self.files.manifest = manifest;
            log_file("Creating AOF incr file", &name);
            file
        };
        let file = Arc::new(file);
        if let Some(old) = self.open.replace(OpenFile { file, len: 0 })
            && !self.starts
        {
            self.syncer.close(old.file);
        }
        self.starts = starts;
        Ok(())
    }

    /// Puts the base into its place, and the file that began with it behind it.
    fn finish(&mut self, id: SaveId, keeps_history: bool) {
        let mut manifest = self.files.manifest.clone();
        let placed = self.place(&mut manifest);
        let sizes = placed.and_then(|base| {
            self.files.persist(&manifest)?;
            let len = self.open.as_ref().map_or(0, |open| open.len);
            let total = base + len;
            Ok(AofSizes { base, total })
        });
        match &sizes {
            Ok(_) => {
                self.files.manifest = manifest;
                self.starts = false;
                if !keeps_history {
                    self.remove_history();
                }
                tracing::info!("Background AOF rewrite finished successfully");
            }
            Err(error) => {
                let _ = fs::remove_file(&self.base_beside);
                tracing::error!("Error trying to put the rewritten AOF into its place: {error}");
            }
        }
        self.tell(AofEvent::Finished(id, sizes.ok()));
    }

    /// The new files under their names, and the length of the base. Names that no manifest has
    /// count for nothing, and the next attempt takes the same ones.
    fn place(&self, manifest: &mut Manifest) -> io::Result<u64> {
        self.files.create_folder()?;
        let base = self.files.path(&manifest.replace_base(self.files.prefix()));
        fs::rename(&self.base_beside, &base)?;
        let len = fs::metadata(&base)?.len();
        let is_open = self.open.is_some();
        manifest.retire_increments(usize::from(is_open && !self.starts));
        if is_open && self.starts {
            let name = manifest.add_increment(self.files.prefix());
            let starting = self.files.path(&self.starting_name());
            fs::rename(starting, self.files.path(&name))?;
        }
        Ok(len)
    }

    fn remove_history(&mut self) {
        let history = std::mem::take(&mut self.files.manifest.history);
        for old in &history {
            self.remove(&old.name);
        }
        if !history.is_empty()
            && let Err(error) = self.files.persist(&self.files.manifest)
        {
            tracing::error!("Can't write the AOF manifest file: {error}");
            self.files.manifest.history = history;
        }
    }

    /// Removes a file, which may take long.
    fn remove(&self, name: &[u8]) {
        let shown = String::from_utf8_lossy(name);
        tracing::info!("Removing the history file {shown} in the background");
        self.syncer.remove(self.files.path(name));
    }

    /// Writes what is left, once more, and brings it to the disk.
    fn close(&mut self) {
        if !self.unwritten.bytes.is_empty() {
            self.write();
        }
        if let Some(open) = self.open.take() {
            if let Err(error) = open.file.sync_all() {
                tracing::error!("Fail to fsync the AOF file: {error}");
            }
            if self.starts {
                let starting = self.files.path(&self.starting_name());
                // It counts for nothing, and the next one has the same name.
                let _ = fs::remove_file(starting);
            }
        }
        self.starts = false;
    }

    fn starting_name(&self) -> Vec<u8> {
        format!("temp-{}.incr", self.files.prefix()).into_bytes()
    }

    fn tell(&self, event: AofEvent) {
        // A node that is stopping does not listen any more.
        let _ = self.events.send(Event::Aof(event));
    }
}

impl OpenFile {
    /// Appends all, or leaves the file without a part of a command if that can be done.
    fn append(&mut self, unwritten: &mut Unwritten) -> io::Result<()> {
        let mut file = &*self.file;
        let mut done = 0;
        let failed = loop {
            match file.write(&unwritten.bytes[done..]) {
                Ok(0) => break io::ErrorKind::WriteZero.into(),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break error,
            }
            if done == unwritten.bytes.len() {
                self.len += done as u64;
                return Ok(());
            }
        };
        if done == 0 {
            return Err(failed);
        }
        if self.cut(&mut file).is_err() {
            // It goes on behind the part, then.
            self.len += done as u64;
            unwritten.written += done as u64;
            unwritten.bytes.drain(..done);
        }
        // The server calls it so when only a part could be written.
        Err(io::Error::from_raw_os_error(NO_SPACE))
    }

    fn cut(&self, file: &mut &File) -> io::Result<()> {
        file.set_len(self.len)?;
        io::Seek::seek(file, io::SeekFrom::Start(self.len))?;
        Ok(())
    }
}

fn log_file(verb: &str, name: &[u8]) {
    tracing::info!("{verb} {}", String::from_utf8_lossy(name));
}

/// `ENOSPC`.
const NO_SPACE: i32 = 28;

const RETRY_INTERVAL: Duration = Duration::from_millis(100);
