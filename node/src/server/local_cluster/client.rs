//! A client that asks a node one thing after the other.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use slotway_protocol::resp::value::{Token, TokenReader};
use slotway_protocol::resp::{ReplyScanner, encode};

use super::{LocalClusterError, PATIENCE, PAUSE};
use crate::server::settings::reason;

/// A connection to a node.
#[derive(Debug)]
pub(super) struct Client {
    node: SocketAddr,
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    pub(super) fn connect(node: SocketAddr, password: &str) -> Result<Self, LocalClusterError> {
        let connected = TcpStream::connect_timeout(&node, PATIENCE).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        let mut client = Self {
            node,
            stream: connected.map_err(|error| failed(node, &error))?,
            input: Vec::new(),
        };
        if !password.is_empty() {
            client.ask(&["AUTH", password])?;
        }
        Ok(client)
    }

    pub(super) fn node(&self) -> SocketAddr {
        self.node
    }

    /// Sends a request and returns its reply, which is a line or a text. An error of the node is
    /// one here, too, but that it gets its keys, from files or a primary, is waited for.
    pub(super) fn ask(&mut self, words: &[&str]) -> Result<String, LocalClusterError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.ask_once(words) {
                Err(LocalClusterError::Loading { .. }) if Instant::now() < deadline => {
                    std::thread::sleep(PAUSE);
                }
                outcome => return outcome,
            }
        }
    }

    fn ask_once(&mut self, words: &[&str]) -> Result<String, LocalClusterError> {
        let mut request = Vec::new();
        encode::request(&mut request, words);
        let node = self.node;
        let reply = self
            .exchange(&request)
            .map_err(|error| failed(node, &error))?;
        let asked = |reason: String| LocalClusterError::Asked { node, reason };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match TokenReader::new(&reply).next_token() {
            Ok(Some(Token::Simple(line))) => Ok(text(line)),
            Ok(Some(Token::Bulk(bytes))) => Ok(text(bytes)),
            Ok(Some(Token::Error(line))) if line.starts_with(b"LOADING") => {
                Err(LocalClusterError::Loading { node })
            }
            Ok(Some(Token::Error(line))) => {
                Err(asked(format!("{} says {}", words.join(" "), text(line))))
            }
            _ => Err(asked(format!("no answer to {}", words.join(" ")))),
        }
    }

    fn exchange(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.stream.write_all(request)?;
        let mut scanner = ReplyScanner::default();
        let mut bytes = [0; 16 * 1024];
        loop {
            let scanned = scanner.scan(&self.input).map_err(io::Error::other)?;
            if let Some(len) = scanned {
                return Ok(self.input.drain(..len).collect());
            }
            match self.stream.read(&mut bytes)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => self.input.extend_from_slice(&bytes[..len]),
            }
        }
    }
}

fn failed(node: SocketAddr, error: &io::Error) -> LocalClusterError {
    LocalClusterError::Asked {
        node,
        reason: reason(error),
    }
}
