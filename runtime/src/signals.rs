//! The signals a server lives with.

use std::future::Future;
use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// A signal that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: read the configuration again.
    Hangup,
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// How a drain came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    Completely,
    /// A second SIGINT or SIGTERM said that now is soon enough.
    CutShort,
}

/// Catches SIGHUP, SIGINT and SIGTERM from its creation on.
#[derive(Debug)]
pub struct Signals {
    hangup: Stream,
    interrupt: Stream,
    terminate: Stream,
}

impl Signals {
    /// # Errors
    /// When the system does not let us catch them.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next signal.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::Hangup,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }

    /// The next SIGINT or SIGTERM.
    pub async fn stop(&mut self) -> Signal {
        loop {
            match self.next().await {
                Signal::Hangup => {}
                signal => return signal,
            }
        }
    }

    /// Runs `drain` after a first SIGINT or SIGTERM; a second one cuts it short.
    pub async fn drain(&mut self, drain: impl Future<Output = ()>) -> Drained {
        tokio::select! {
            () = drain => Drained::Completely,
            _ = self.stop() => Drained::CutShort,
        }
    }
}
