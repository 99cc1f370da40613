//! Asking an admin server: GET over one connection, with a limit on how long all of it may take and
//! on what an answer may weigh.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use slotway_protocol::engine::Address;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// What is asked of whoever answers.
#[derive(Debug, Clone, Copy)]
pub struct AskLimits {
    /// For opening the connection and all questions on it. Default 5 s.
    pub timeout: Duration,
    /// Of one answer. Default 8 MiB, enough for thousands of nodes.
    pub body_bytes_max: usize,
}

impl Default for AskLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            body_bytes_max: 8 << 20,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("can't connect: {0}")]
    Connect(#[source] io::Error),
    #[error("no answer within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    #[error("the answer to {path} is longer than {bytes_max} bytes")]
    TooLong { path: String, bytes_max: usize },
    #[error("it does not speak HTTP, or has gone: {0}")]
    Http(String),
}

/// A connection to an admin server.
#[derive(Debug)]
pub struct Asker {
    host: String,
    sender: SendRequest<Empty<Bytes>>,
    connection: JoinHandle<()>,
    limits: AskLimits,
    deadline: Instant,
}

impl Asker {
    /// # Errors
    /// When nobody listens there, or not in time.
    pub async fn connect(address: &Address, limits: AskLimits) -> Result<Self, AskError> {
        let deadline = Instant::now() + limits.timeout;
        let late = |_| AskError::TimedOut(limits.timeout);
        let connect = TcpStream::connect((&*address.host, address.port));
        let socket = timeout_at(deadline, connect).await.map_err(late)?;
        let socket = TokioIo::new(socket.map_err(AskError::Connect)?);
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX);
        let (sender, connection) = timeout_at(deadline, builder.handshake(socket))
            .await
            .map_err(late)?
            .map_err(http)?;
        Ok(Self {
            host: address.to_string(),
            sender,
            // Whoever asks learns of a broken connection from his question.
            connection: tokio::spawn(async move { drop(connection.await) }),
            limits,
            deadline,
        })
    }

    /// The status and the body of the answer.
    ///
    /// # Errors
    /// When there is none, not in time, or too long a one.
    pub async fn get(&mut self, path: &str) -> Result<(u16, Bytes), AskError> {
        let (deadline, timeout) = (self.deadline, self.limits.timeout);
        timeout_at(deadline, self.ask(path))
            .await
            .map_err(|_| AskError::TimedOut(timeout))?
    }

    async fn ask(&mut self, path: &str) -> Result<(u16, Bytes), AskError> {
        let request = Request::get(path)
            .header(HOST, &self.host)
            .body(Empty::new())
            .map_err(|error| AskError::Http(error.to_string()))?;
        self.sender.ready().await.map_err(http)?;
        let response = self.sender.send_request(request).await.map_err(http)?;
        let status = response.status().as_u16();
        let bytes_max = self.limits.body_bytes_max;
        let body = Limited::new(response.into_body(), bytes_max).collect();
        let body = body.await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                let path = path.to_owned();
                AskError::TooLong { path, bytes_max }
            } else {
                AskError::Http(error.to_string())
            }
        })?;
        Ok((status, body.to_bytes()))
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn http(error: hyper::Error) -> AskError {
    AskError::Http(error.to_string())
}

const HEAD_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Asks a server that says the given and keeps the connection.
    async fn asked(says: &'static [u8]) -> Result<(u16, Bytes), AskError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = socket.read(&mut request);
            socket.write_all(says).unwrap();
            let _ = socket.read(&mut request);
        });
        let limits = AskLimits {
            timeout: Duration::from_millis(200),
            body_bytes_max: 10,
        };
        let mut asker = Asker::connect(&Address::new("127.0.0.1", port), limits).await?;
        asker.get("/status").await
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn an_answer_comes_with_its_status() {
        let says = b"HTTP/1.1 503 No\r\ncontent-length: 10\r\n\r\n0123456789";
        let (status, body) = block_on(asked(says)).unwrap();
        assert_eq!((status, &*body), (503, &b"0123456789"[..]));
    }

    #[test]
    fn what_is_late_too_long_or_no_http_is_an_error() {
        let long = b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n01234567890";
        let cases: [(&'static [u8], &str); 5] = [
            (long, "the answer to /status is longer than 10 bytes"),
            (b"HTTP/1.1 200 OK\r\n", "no answer within 0.2 s"),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n01",
                "no answer within 0.2 s",
            ),
            (b"+PONG\r\n", "it does not speak HTTP"),
            (b"", "no answer within 0.2 s"),
        ];
        for (says, expected) in cases {
            let error = block_on(asked(says)).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn nobody_there_is_an_error() {
        let refused = block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            drop(listener);
            Asker::connect(&Address::new("127.0.0.1", port), AskLimits::default()).await
        });
        assert!(matches!(refused, Err(AskError::Connect(_))), "{refused:?}");
    }
}
