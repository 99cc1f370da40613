//! Does what the node can't do by itself when its settings change: listens elsewhere, and writes
//! redis.conf anew.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use slotway_runtime::DriverHandle;
use tokio::sync::mpsc::UnboundedReceiver;

use super::listeners::Listeners;
use super::settings::reason;
use super::{Surroundings, log};
use crate::config::Config;
use crate::engine::{ConfigOutcome, ConfigWork, Event, Node};

/// Does one thing after the other, on the node's thread where that takes no time.
pub(super) struct Configurator {
    surroundings: Surroundings,
    driver: DriverHandle<Node>,
    listeners: Listeners,
}

impl Configurator {
    pub(super) fn new(
        surroundings: Surroundings,
        driver: DriverHandle<Node>,
        listeners: Listeners,
    ) -> Self {
        Self {
            surroundings,
            driver,
            listeners,
        }
    }

    /// Runs until the node ends, which began with these settings.
    pub(super) async fn run(
        mut self,
        mut settings: Config,
        mut wishes: UnboundedReceiver<ConfigWork>,
    ) {
        while let Some(work) = wishes.recv().await {
            let outcome = match work {
                ConfigWork::Apply(config) => {
                    let outcome = self.apply(&settings, &config).await;
                    if matches!(outcome, ConfigOutcome::Done(_)) {
                        settings = *config;
                    }
                    outcome
                }
                ConfigWork::Rewrite(config, users) => self.rewrite(*config, users).await,
            };
            self.driver.send(Event::Config(outcome));
        }
    }

    /// Lives as the new settings say, or, where that is not possible, on as the old ones do.
    async fn apply(&mut self, old: &Config, new: &Config) -> ConfigOutcome {
        let failed = |directive, reason: &str| ConfigOutcome::Failed {
            directive,
            reason: reason.to_owned(),
        };
        if let Err(error) = self.listeners.replace(new).await {
            tracing::warn!("{error}");
            return if new.port == old.port {
                failed("bind", "Failed to bind to specified addresses.")
            } else {
                failed("port", "Unable to listen on this port. Check server logs.")
            };
        }
        let mut directory = None;
        if new.dir != old.dir {
            match self.enter(&new.dir) {
                Ok(entered) => directory = Some(entered),
                Err(error) => {
                    if let Err(error) = self.listeners.replace(old).await {
                        tracing::warn!("can't listen as before: {error}");
                    }
                    return failed("dir", &reason(&error));
                }
            }
        }
        log::set_level(new.loglevel);
        self.driver.set_accepted_keepalive(keepalive(new));
        ConfigOutcome::Done(directory)
    }

    /// Goes to that directory, if this is what the process is for.
    fn enter(&self, directory: &str) -> io::Result<String> {
        if !self.surroundings.is_program {
            return fs::read_dir(directory).map(|_| directory.to_owned());
        }
        std::env::set_current_dir(directory)?;
        Ok(std::env::current_dir()?.to_string_lossy().into_owned())
    }

    /// On a thread of its own, since the disk may be slow.
    async fn rewrite(&self, config: Config, users: Vec<String>) -> ConfigOutcome {
        let Some(path) = self.surroundings.config_file.clone() else {
            return ConfigOutcome::Failed {
                directive: "",
                reason: "there is no file".to_owned(),
            };
        };
        let writing = move || rewrite_file(&path, &config, &users);
        let written = tokio::task::spawn_blocking(writing).await;
        match written.map_err(io::Error::other).flatten() {
            Ok(()) => {
                tracing::warn!("CONFIG REWRITE executed with success.");
                ConfigOutcome::Done(None)
            }
            Err(error) => {
                let reason = reason(&error);
                tracing::warn!("CONFIG REWRITE failed: {reason}");
                ConfigOutcome::Failed {
                    directive: "",
                    reason,
                }
            }
        }
    }
}

/// After how long idle clients are probed; `None` leaves it to the kernel.
pub(super) fn keepalive(config: &Config) -> Option<Duration> {
    (config.tcp_keepalive > 0).then(|| Duration::from_secs(config.tcp_keepalive.into()))
}

fn rewrite_file(path: &Path, config: &Config, users: &[String]) -> io::Result<()> {
    let old = match fs::read(path) {
        Ok(old) => String::from_utf8_lossy(&old).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    replace(path, config.rewritten(&old, users).as_bytes())
}

/// Puts the content in the place of the old one in such a way that a crash leaves one of them.
/// Where no other file may be made in the folder, as in one of root's, the file itself is written.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_file_name(format!(
        "{}.{}",
        path.file_name().unwrap_or_default().to_string_lossy(),
        std::process::id()
    ));
    match write_beside(path, &temporary, content) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            write_in_place(path, content)
        }
        outcome => outcome.inspect_err(|_| {
            // It may not be there at all.
            let _ = fs::remove_file(&temporary);
        }),
    }
}

fn write_beside(path: &Path, temporary: &PathBuf, content: &[u8]) -> io::Result<()> {
    // Who may read it stays as it is: there may be passwords in it.
    let mut file = File::create(temporary)?;
    if let Ok(old) = fs::metadata(path) {
        file.set_permissions(old.permissions())?;
    }
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

fn write_in_place(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(content)?;
    file.set_len(content.len() as u64)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_keeps_its_mode_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("redis.conf");
        fs::write(&path, "port 1\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        replace(&path, b"port 2\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "port 2\n");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        write_in_place(&path, b"x\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "x\n");
    }
}
