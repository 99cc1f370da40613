//! Connections: one that asks and waits, for the beginning and the end; and the sending and
//! reading of a client, whose replies come while more is sent.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::resp::{self, Reply};

const READ_BYTES: usize = 64 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the end of a run waits for the cluster to be whole again.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

pub(crate) async fn connect(target: &str) -> io::Result<TcpStream> {
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(target)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks one thing at a time.
#[derive(Debug)]
pub(crate) struct Asking {
    target: String,
    stream: Option<TcpStream>,
}

impl Asking {
    pub(crate) fn new(target: &str) -> Self {
        Self {
            target: target.to_owned(),
            stream: None,
        }
    }

    pub(crate) async fn ask(&mut self, words: &[&[u8]]) -> io::Result<Reply> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(&self.target).await?,
        };
        let asking = exchange(&mut stream, words);
        let reply = tokio::time::timeout(ANSWER_TIMEOUT, asking).await??;
        self.stream = Some(stream);
        Ok(reply)
    }

    /// An error is the end.
    pub(crate) async fn must(&mut self, words: &[&[u8]]) -> io::Result<()> {
        match self.patiently(words).await? {
            Reply::Error(text) => Err(io::Error::other(text)),
            _ => Ok(()),
        }
    }

    /// Again and again until the answer is no error; for what may be done twice.
    pub(crate) async fn patiently(&mut self, words: &[&[u8]]) -> io::Result<Reply> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.ask(words).await {
                Ok(Reply::Error(_)) | Err(_) if Instant::now() < end => {}
                answer => return answer,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn exchange(stream: &mut TcpStream, words: &[&[u8]]) -> io::Result<Reply> {
    let mut request = Vec::new();
    resp::request(words, &mut request);
    stream.write_all(&request).await?;
    let mut read = Vec::new();
    loop {
        if let Some((reply, _)) = resp::reply(&read).map_err(|no| io::Error::other(no.0))? {
            return Ok(reply);
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// What a client has to send and has read.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    pub(crate) output: Vec<u8>,
    sent: usize,
    input: Vec<u8>,
    taken: usize,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            output: Vec::new(),
            sent: 0,
            input: Vec::new(),
            taken: 0,
        }
    }

    /// Waits until `until` for bytes to come or to go; says when the connection is lost.
    pub(crate) async fn turn(&mut self, until: Instant) -> io::Result<()> {
        let writes = self.sent < self.output.len();
        tokio::select! {
            () = tokio::time::sleep_until(until.into()) => {}
            ready = self.stream.readable() => {
                ready?;
                self.read()?;
            }
            ready = self.stream.writable(), if writes => ready?,
        }
        self.write()
    }

    pub(crate) fn write(&mut self) -> io::Result<()> {
        while self.sent < self.output.len() {
            match self.stream.try_write(&self.output[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(())
    }

    fn read(&mut self) -> io::Result<()> {
        self.input.drain(..self.taken);
        self.taken = 0;
        loop {
            self.input.reserve(READ_BYTES);
            match self.stream.try_read_buf(&mut self.input) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next reply that is there.
    pub(crate) fn reply(&mut self) -> io::Result<Option<Reply>> {
        let found = resp::reply(&self.input[self.taken..]);
        let found = found.map_err(|malformed| io::Error::other(malformed.0))?;
        Ok(found.map(|(reply, len)| {
            self.taken += len;
            reply
        }))
    }
}
