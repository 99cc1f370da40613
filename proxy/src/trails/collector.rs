//! Sends batches to a collector: HTTP without TLS, a connection for each.

use core::time::Duration;

use async_trait::async_trait;
use http::header::{HOST, HeaderValue};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

#[derive(Debug)]
pub(super) struct Collector {
    /// `host:port`
    authority: String,
    timeout: Duration,
}

impl Collector {
    pub(super) fn new(authority: &str, timeout: Duration) -> Self {
        Self {
            authority: authority.to_owned(),
            timeout,
        }
    }

    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.ok_or("the URL has no path")?.into();
        let host = HeaderValue::from_str(&self.authority)?;
        request.headers_mut().insert(HOST, host);
        let stream = TcpStream::connect(&self.authority).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // What goes wrong with the connection the answer tells.
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let response = sender.send_request(request.map(Full::new)).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = tokio::time::timeout(self.timeout, self.send(request));
        answer.await.map_err(|_| "no answer in time")?
    }
}

const ANSWER_BYTES_MAX: usize = 64 * 1024;
