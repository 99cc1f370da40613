//! The files of the append-only file, in a folder of their own: which there are, and their
//! manifest, which is replaced as a whole.

mod appender;
mod syncer;

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::loading::LoadError;
use crate::config::Config;
use crate::persistence::aof::manifest::Manifest;
pub(super) use appender::Appender;

/// The files as they are, and where they are.
#[derive(Debug)]
pub(super) struct AofFiles {
    /// What contains the folder.
    parent: PathBuf,
    folder: PathBuf,
    /// What all names begin with.
    prefix: String,
    pub(super) manifest: Manifest,
}

impl AofFiles {
    /// Reads the manifest, if there is one.
    pub(super) fn read(config: &Config) -> Result<Self, LoadError> {
        let parent = PathBuf::from(&config.dir);
        let mut files = Self {
            folder: parent.join(&config.appenddirname),
            parent,
            prefix: config.appendfilename.clone(),
            manifest: Manifest::default(),
        };
        let path = files.manifest_path();
        match fs::read(&path) {
            Ok(text) => files.manifest = Manifest::parse(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let path = path.display().to_string();
                return Err(LoadError::OpenManifest { path, error });
            }
        }
        Ok(files)
    }

    /// Makes an old file, from before there were manifests, the base. Begun again after a crash,
    /// it goes on where it was.
    pub(super) fn upgrade(&mut self) -> Result<(), LoadError> {
        let old = self.parent.join(&self.prefix);
        let name = self.prefix.clone().into_bytes();
        let is_only_base = self.manifest.increments.is_empty()
            && self
                .manifest
                .base
                .as_ref()
                .is_some_and(|base| base.name == name);
        let was_begun = is_only_base && !self.path(&name).exists();
        if !old.is_file() || !(self.manifest.is_empty() || was_begun) {
            return Ok(());
        }
        let upgrade_error = |error| LoadError::Upgrade {
            name: self.prefix.clone(),
            folder: self.folder_name(),
            error,
        };
        create_folder(&self.folder).map_err(upgrade_error)?;
        let mut manifest = Manifest::default();
        manifest.adopt(&name);
        self.persist(&manifest).map_err(upgrade_error)?;
        fs::rename(&old, self.path(&name)).map_err(upgrade_error)?;
        tracing::info!(
            "Successfully migrated an old-style AOF file ({}) into the AOF directory ({}).",
            self.prefix,
            self.folder_name()
        );
        self.manifest = manifest;
        Ok(())
    }

    /// The folder, if it is not there yet.
    pub(super) fn create_folder(&self) -> io::Result<()> {
        create_folder(&self.folder)
    }

    /// Writes the manifest in such a way that a crash leaves the old one or the new one.
    pub(super) fn persist(&self, manifest: &Manifest) -> io::Result<()> {
        let path = self.manifest_path();
        let beside = self.folder.join(format!("temp-{}.manifest", self.prefix));
        let mut file = create(&beside)?;
        file.write_all(&manifest.format())?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        self.sync_folder()
    }

    pub(super) fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    pub(super) fn path(&self, name: &[u8]) -> PathBuf {
        self.folder.join(OsStr::from_bytes(name))
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    fn manifest_path(&self) -> PathBuf {
        self.folder.join(format!("{}.manifest", self.prefix))
    }

    fn folder_name(&self) -> String {
        let name = self.folder.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// A new, empty file.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o644);
    options.open(path)
}

fn create_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => path.parent().map_or(Ok(()), |parent| {
            let parent = if parent.as_os_str().is_empty() {
                Path::new(".")
            } else {
                parent
            };
            File::open(parent)?.sync_all()
        }),
    }
}

/// The error as a server says it, without the number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
