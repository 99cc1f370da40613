//! What a program does with its process: into the background, a file with its number, and word to
//! whoever supervises it.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::config::{Config, Supervised};

/// The file with the number of this process, which goes when this is dropped.
#[derive(Debug)]
pub struct PidFile {
    path: String,
}

impl PidFile {
    /// Writes the file that the settings name, if they do. Where that is not possible there is
    /// none, as with redis-server.
    pub fn write(config: &Config) -> Option<Self> {
        let path = config.pidfile.clone();
        if path.is_empty() {
            return None;
        }
        let written = fs::write(&path, format!("{}\n", std::process::id()));
        if let Err(error) = written {
            tracing::warn!("can't write the pidfile {path}: {error}");
            return None;
        }
        Some(Self { path })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        tracing::info!("Removing the pid file.");
        // Somebody else may have removed it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Warns when the system lets fewer connections wait than `tcp-backlog` asks for.
pub fn check_backlog(config: &Config) {
    let most = fs::read_to_string(SOMAXCONN).ok();
    if let Some(most) = most.and_then(|text| text.trim().parse::<u32>().ok())
        && most < config.tcp_backlog
    {
        tracing::warn!(
            "WARNING: The TCP backlog setting of {} cannot be enforced because {SOMAXCONN} is set \
             to the lower value of {most}.",
            config.tcp_backlog
        );
    }
}

const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";

/// The file for processes in the background when no other is named.
pub const DEFAULT_PIDFILE: &str = "/var/run/redis.pid";

/// Whether to go to the background now: not where somebody supervises the process, nor when it is
/// there already.
pub fn goes_to_background(config: &Config) -> bool {
    config.daemonize && !is_supervised(config) && env::var_os(IN_BACKGROUND).is_none()
}

/// Starts this program once more, without a terminal, with the text that was its input. This
/// process is to end then.
pub fn start_in_background(input: &str) -> io::Result<()> {
    let mut child = Command::new(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env(IN_BACKGROUND, "yes")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    Ok(())
}

const IN_BACKGROUND: &str = "SLOTWAY_NODE_IN_BACKGROUND";

fn is_supervised(config: &Config) -> bool {
    match config.supervised {
        Supervised::Systemd => true,
        Supervised::Auto => env::var_os(NOTIFY_SOCKET).is_some(),
        Supervised::Upstart | Supervised::No => false,
    }
}

/// Tells systemd, if it wants to know, that clients are served.
pub fn tell_ready(config: &Config) {
    if !is_supervised(config) {
        return;
    }
    let told = match env::var(NOTIFY_SOCKET) {
        Ok(path) => tell(&path, b"STATUS=Ready to accept connections\nREADY=1\n"),
        Err(_) => Err(io::Error::other("NOTIFY_SOCKET not found!")),
    };
    if let Err(error) = told {
        tracing::warn!("systemd supervision error: {error}");
    }
}

fn tell(path: &str, text: &[u8]) -> io::Result<()> {
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.send_to_addr(text, &address)?;
    Ok(())
}

const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_hears_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        tell(&path.to_string_lossy(), b"READY=1\n").unwrap();
        let mut bytes = [0; 64];
        let len = socket.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..len], b"READY=1\n");
    }
}
