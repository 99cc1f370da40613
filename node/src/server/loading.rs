//! Loads files at the start: reads them on a thread of its own and hands the bytes to the node,
//! which serves clients meanwhile.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use super::aof::AofFiles;
use crate::config::Config;
use crate::engine::{AofSizes, Event, FileKind, LoadCut, LoadFailure, LoadPart, LoadReply};
use crate::persistence::aof::manifest::ManifestError;
use crate::persistence::rdb::RdbError;

/// Why files could not be loaded, in the server's words where it has some.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("Can't chdir to '{path}': {error}")]
    Directory { path: String, error: io::Error },
    #[error("Fatal error: can't open the RDB file {path} for reading: {error}")]
    Io { path: String, error: io::Error },
    #[error("{path}: {error}")]
    Format { path: String, error: RdbError },
    #[error("{0}")]
    Manifest(String),
    #[error("Fatal error: can't open the AOF manifest file {path} for reading: {error}")]
    OpenManifest { path: String, error: io::Error },
    #[error("Error trying to move the old AOF file {name} into dir {folder}: {error}")]
    Upgrade {
        name: String,
        folder: String,
        error: io::Error,
    },
    #[error("Unable to obtain the AOF file {name} length. stat: {error}")]
    Missing { name: String, error: io::Error },
    #[error("Fatal error: can't open the append log file {name} for reading: {error}")]
    OpenAof { name: String, error: io::Error },
    #[error("Unrecoverable error reading the append only file {name}: {error}")]
    ReadAof { name: String, error: io::Error },
    #[error("Error reading the RDB base file {name}, AOF loading aborted: {error}")]
    AofBase { name: String, error: RdbError },
    #[error(
        "Bad file format reading the append only file {0}: make a backup of your AOF file, then \
         use ./redis-check-aof --fix <filename.manifest>"
    )]
    AofFormat(String),
    #[error("Unknown command '{command}' reading the append only file {name}")]
    AofCommand { name: String, command: String },
    #[error(
        "Unexpected end of file reading the append only file {0}. You can: 1) Make a backup of \
         your AOF file, then use ./redis-check-aof --fix <filename.manifest>. 2) Alternatively \
         you can set the 'aof-load-truncated' configuration option to yes and restart the server."
    )]
    AofEnd(String),
    #[error("Error truncating the AOF file {name}: {error}")]
    Truncate { name: String, error: io::Error },
    #[error("Fatal error: the truncated file is not the last file")]
    NotLast,
    #[error("Can't open or create the append-only file: {0}")]
    Append(io::Error),
    /// The node stopped before it had all.
    #[error("the node was stopped while it loaded its files")]
    Stopped,
}

impl From<ManifestError> for LoadError {
    fn from(error: ManifestError) -> Self {
        Self::Manifest(error.to_string())
    }
}

/// What is to be loaded.
#[derive(Debug)]
pub(super) struct Plan {
    files: Vec<Planned>,
    /// The files of the append-only file, whether it is on or not.
    pub(super) aof: AofFiles,
    pub(super) is_aof: bool,
    loads_truncated: bool,
}

#[derive(Debug)]
struct Planned {
    path: PathBuf,
    /// As messages have it.
    name: String,
    bytes: u64,
    part: PlannedPart,
}

/// Which of the files it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlannedPart {
    Rdb,
    Base,
    /// A base from before there were manifests.
    OldBase,
    Increment,
}

impl Plan {
    /// Looks what there is: with the append-only file on, nothing else is loaded.
    pub(super) fn new(config: &Config) -> Result<Self, LoadError> {
        fs::read_dir(&config.dir).map_err(|error| LoadError::Directory {
            path: config.dir.clone(),
            error,
        })?;
        let mut plan = Self {
            files: Vec::new(),
            aof: AofFiles::read(config)?,
            is_aof: config.appendonly,
            loads_truncated: config.aof_load_truncated,
        };
        if config.appendonly {
            plan.aof.upgrade()?;
            plan.plan_aof()?;
        } else {
            plan.plan_rdb(&super::files::path(config))?;
        }
        Ok(plan)
    }

    fn plan_rdb(&mut self, path: &Path) -> Result<(), LoadError> {
        let name = path.display().to_string();
        match fs::metadata(path) {
            Ok(metadata) => self.files.push(Planned {
                path: path.to_owned(),
                name,
                bytes: metadata.len(),
                part: PlannedPart::Rdb,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(LoadError::Io { path: name, error }),
        }
        Ok(())
    }

    fn plan_aof(&mut self) -> Result<(), LoadError> {
        let aof = &self.aof;
        let manifest = &aof.manifest;
        for (index, file) in manifest.files().enumerate() {
            let path = aof.path(&file.name);
            let name = String::from_utf8_lossy(&file.name).into_owned();
            let part = match (&manifest.base, index) {
                (Some(_), 0) if name == aof.prefix() => PlannedPart::OldBase,
                (Some(_), 0) => PlannedPart::Base,
                _ => PlannedPart::Increment,
            };
            let metadata = fs::metadata(&path);
            let bytes = match metadata {
                Ok(metadata) => metadata.len(),
                Err(error) => return Err(LoadError::Missing { name, error }),
            };
            self.files.push(Planned {
                path,
                name,
                bytes,
                part,
            });
        }
        Ok(())
    }

    pub(super) fn total_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The length of the append-only file; growth is counted from that of its base.
    pub(super) fn sizes(&self) -> AofSizes {
        let base = self.files.first();
        let base = base.filter(|file| file.part != PlannedPart::Increment);
        AofSizes {
            base: base.map_or(0, |file| file.bytes),
            total: self.total_bytes(),
        }
    }

    /// Hands everything to the node and waits until it has taken it.
    pub(super) fn load(&self, link: &NodeLink<'_>) -> Result<(), LoadError> {
        for (index, file) in self.files.iter().enumerate() {
            let began = Instant::now();
            let is_last = index + 1 == self.files.len();
            if file.bytes > 0 || file.part == PlannedPart::Rdb {
                self.load_file(file, is_last, link)?;
            }
            let seconds = began.elapsed().as_secs_f64();
            let name = &file.name;
            match file.part {
                PlannedPart::Rdb => tracing::info!("DB loaded from disk: {seconds:.3} seconds"),
                PlannedPart::Base | PlannedPart::OldBase => {
                    tracing::info!("DB loaded from base file {name}: {seconds:.3} seconds");
                }
                PlannedPart::Increment => {
                    tracing::info!("DB loaded from incr file {name}: {seconds:.3} seconds");
                }
            }
        }
        Ok(())
    }

    fn load_file(
        &self,
        file: &Planned,
        is_last: bool,
        link: &NodeLink<'_>,
    ) -> Result<(), LoadError> {
        let mut source = File::open(&file.path).map_err(|error| file.open_error(error))?;
        let kind = file.kind(&mut source)?;
        let bytes = file.bytes;
        let mut replied = link.ask(LoadPart::File { bytes, kind })?;
        while let LoadReply::Taken = replied {
            let mut piece = Vec::new();
            let read = (&mut source).take(PIECE_BYTES).read_to_end(&mut piece);
            if read.map_err(|error| file.read_error(error))? == 0 {
                replied = link.ask(LoadPart::EndOfFile)?;
                break;
            }
            replied = link.ask(LoadPart::Bytes(piece))?;
        }
        match replied {
            LoadReply::Taken | LoadReply::Complete => Ok(()),
            LoadReply::Failed(failure) => Err(file.failed(failure)),
            LoadReply::Cut(cut) => self.cut(file, is_last, cut),
        }
    }

    /// Takes the end off that is not whole, if the settings allow that.
    fn cut(&self, file: &Planned, is_last: bool, cut: LoadCut) -> Result<(), LoadError> {
        let name = &file.name;
        if cut.in_transaction {
            tracing::warn!("Revert incomplete MULTI/EXEC transaction in AOF file {name}");
        }
        if !self.loads_truncated {
            return Err(LoadError::AofEnd(name.clone()));
        }
        if !is_last {
            return Err(LoadError::NotLast);
        }
        tracing::warn!("!!! Warning: short read while loading the AOF file {name}!!!");
        tracing::warn!(
            "!!! Truncating the AOF {name} at offset {} !!!",
            cut.valid_bytes
        );
        let truncated = OpenOptions::new()
            .write(true)
            .open(&file.path)
            .and_then(|file| file.set_len(cut.valid_bytes).and_then(|()| file.sync_all()));
        truncated.map_err(|error| LoadError::Truncate {
            name: name.clone(),
            error,
        })?;
        tracing::warn!("AOF {name} loaded anyway because aof-load-truncated is enabled");
        Ok(())
    }
}

impl Planned {
    /// What the file is, by what it begins with.
    fn kind(&self, source: &mut File) -> Result<FileKind, LoadError> {
        if self.part == PlannedPart::Rdb {
            return Ok(FileKind::Rdb);
        }
        let mut signature = Vec::new();
        let read = source.take(RDB_SIGNATURE.len() as u64);
        let read = { read }.read_to_end(&mut signature);
        read.and_then(|_| io::Seek::rewind(source))
            .map_err(|error| self.read_error(error))?;
        if signature != RDB_SIGNATURE {
            return Ok(FileKind::Aof);
        }
        if self.part == PlannedPart::OldBase {
            tracing::info!("Reading RDB preamble from AOF file...");
        } else {
            tracing::info!("Reading RDB base file on AOF loading...");
        }
        Ok(FileKind::AofWithRdb)
    }

    fn open_error(&self, error: io::Error) -> LoadError {
        match self.part {
            PlannedPart::Rdb => LoadError::Io {
                path: self.name.clone(),
                error,
            },
            _ => LoadError::OpenAof {
                name: self.name.clone(),
                error,
            },
        }
    }

    fn read_error(&self, error: io::Error) -> LoadError {
        match self.part {
            PlannedPart::Rdb => self.open_error(error),
            _ => LoadError::ReadAof {
                name: self.name.clone(),
                error,
            },
        }
    }

    fn failed(&self, failure: LoadFailure) -> LoadError {
        let name = self.name.clone();
        match failure {
            LoadFailure::Rdb(error) if self.part == PlannedPart::Rdb => {
                LoadError::Format { path: name, error }
            }
            LoadFailure::Rdb(error) => LoadError::AofBase { name, error },
            LoadFailure::Format => LoadError::AofFormat(name),
            LoadFailure::UnknownCommand(command) => LoadError::AofCommand { name, command },
        }
    }
}

/// The way to the node and back.
pub(super) struct NodeLink<'a> {
    pub(super) events: &'a UnboundedSender<Event>,
    pub(super) replies: &'a Receiver<LoadReply>,
}

impl NodeLink<'_> {
    /// Hands over a part and waits for what came of it, so that only one is ever on its way.
    pub(super) fn ask(&self, part: LoadPart) -> Result<LoadReply, LoadError> {
        let sent = self.events.send(Event::Load(part));
        sent.map_err(|_| LoadError::Stopped)?;
        self.replies.recv().map_err(|_| LoadError::Stopped)
    }
}

const RDB_SIGNATURE: &[u8] = b"REDIS";

/// How much is handed over in one go: a millisecond or two of loading, for which clients wait.
const PIECE_BYTES: u64 = 128 * 1024;
