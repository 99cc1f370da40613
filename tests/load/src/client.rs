//! One client: sends what its plan says and compares what comes back.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::workload::{Exchange, Plan};

/// How long a reply may take; a client that waits longer counts as wrong.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client whose connection broke waits before it tries again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);
const READ_BYTES: usize = 16 * 1024;
const SHOWN_BYTES: usize = 300;

/// What clients counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// How long each operation took, from its first byte out to its last byte in.
    pub(crate) micros: Vec<u32>,
    /// Operations with another reply than the expected one, and how the first of them began.
    pub(crate) wrong: u64,
    pub(crate) first_wrong: Vec<u8>,
    /// Connections that broke.
    pub(crate) lost: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.micros.extend(other.micros);
        self.wrong += other.wrong;
        self.lost += other.lost;
        if self.first_wrong.is_empty() {
            self.first_wrong = other.first_wrong;
        }
    }

    fn count_wrong(&mut self, got: &[u8]) {
        self.wrong += 1;
        if self.first_wrong.is_empty() {
            self.first_wrong = got[..got.len().min(SHOWN_BYTES)].to_vec();
        }
    }
}

pub(crate) struct Client {
    port: u16,
    stream: TcpStream,
    plan: Plan,
    pause: Duration,
    read: Vec<u8>,
    tally: Tally,
}

enum Outcome {
    Right,
    Wrong,
}

impl Client {
    pub(crate) async fn prepare(port: u16, plan: Plan, pause: Duration) -> io::Result<Self> {
        let mut client = Self {
            port,
            stream: connect(port).await?,
            plan,
            pause,
            read: Vec::with_capacity(READ_BYTES),
            tally: Tally::default(),
        };
        for one in client.plan.preparation() {
            if let Outcome::Wrong = client.exchange(&one).await? {
                let got = client.read.escape_ascii().to_string();
                return Err(io::Error::other(format!("while preparing: {got}")));
            }
        }
        Ok(client)
    }

    /// Until `end`, or until the first wrong reply of a plan that does not allow any.
    pub(crate) async fn run(mut self, end: Instant) -> Tally {
        let mut writes = Vec::new();
        let mut number = 0;
        // Clients that pause do not all do so at the same time.
        tokio::time::sleep(self.pause.mul_f64(self.plan.share())).await;
        while Instant::now() < end {
            number += 1;
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
            self.plan.operation(number, &mut writes);
            match self.operation(&writes).await {
                Ok(true) => {}
                Ok(false) if self.plan.strict() => break,
                Err(_) if self.plan.strict() => {
                    self.tally.lost += 1;
                    break;
                }
                Ok(false) | Err(_) => self.reconnect(end).await,
            }
        }
        self.tally
    }

    /// Whether all replies were as expected.
    async fn operation(&mut self, writes: &[Exchange]) -> io::Result<bool> {
        let started = Instant::now();
        if self.plan.reconnects() {
            self.stream = connect(self.port).await?;
        }
        for one in writes {
            if let Outcome::Wrong = self.exchange(one).await? {
                self.tally.count_wrong(&self.read);
                return Ok(false);
            }
        }
        let micros = started.elapsed().as_micros();
        self.tally
            .micros
            .push(u32::try_from(micros).unwrap_or(u32::MAX));
        Ok(true)
    }

    async fn exchange(&mut self, one: &Exchange) -> io::Result<Outcome> {
        self.read.clear();
        self.stream.write_all(&one.request).await?;
        while self.read.len() < one.reply.len() {
            let reading = self.stream.read_buf(&mut self.read);
            let got = tokio::time::timeout(REPLY_TIMEOUT, reading).await??;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if !one.reply.starts_with(&self.read) {
                return Ok(Outcome::Wrong);
            }
        }
        Ok(Outcome::Right)
    }

    /// After a wrong reply nobody knows where the next one begins, so the connection is new, too.
    async fn reconnect(&mut self, end: Instant) {
        self.tally.lost += 1;
        while Instant::now() < end {
            tokio::time::sleep(RECONNECT_PAUSE).await;
            if let Ok(stream) = connect(self.port).await {
                self.stream = stream;
                return;
            }
        }
    }
}

async fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
