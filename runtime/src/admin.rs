//! A small HTTP server for metrics, health and the like. Its routes answer from memory and at
//! once, or wait for others for a short while, so that it works when those do not.

mod asking;
mod events;

use std::convert::Infallible;
use std::fmt::Write;
use std::io;
use std::net::TcpListener as StdListener;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

pub use asking::{AskError, AskLimits, Asker};
pub use events::{Broadcaster, Events, event};

/// What the server answers.
pub trait AdminRoutes: 'static {
    /// Everything there is to ask; what is not in here is answered with this list.
    fn routes(&self) -> &[AdminRoute];

    /// Answers a request for one of the routes. `query` is what stands behind the question mark.
    /// HEAD arrives as GET.
    fn handle(&self, method: &str, path: &str, query: &str) -> AdminResponse;

    /// What belongs to a page and is not worth a line in the list.
    fn file(&self, _path: &str) -> Option<AdminResponse> {
        None
    }

    /// The answer to a route that has to ask somebody else first; `None` for one that has it here.
    /// Whoever makes it sees to it that it comes soon, whatever becomes of the other.
    fn later(&self, _path: &str) -> Option<LaterResponse> {
        None
    }

    /// The events that a route tells as they happen; `None` for one that has an answer instead.
    fn events(&self, _path: &str) -> Option<Events> {
        None
    }
}

/// An answer on its way.
pub type LaterResponse = Pin<Box<dyn Future<Output = AdminResponse>>>;

/// One thing to ask for.
#[derive(Debug, Clone, Copy)]
pub struct AdminRoute {
    /// GET or POST.
    pub method: &'static str,
    pub path: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct AdminResponse {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Bytes,
}

impl AdminResponse {
    pub fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
        }
    }

    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: "application/json",
            body: body.into(),
        }
    }
}

/// The server's limits.
#[derive(Debug, Clone)]
pub struct AdminOptions {
    /// How many connections are served at a time; more wait to be accepted. Default 64.
    pub connections_max: usize,
    /// How long a connection may take to send the head of its next request, so also how long it
    /// may be idle. Default 10 s, more than a usual scrape interval would gain nothing.
    pub header_timeout: Duration,
}

impl Default for AdminOptions {
    fn default() -> Self {
        Self {
            connections_max: 64,
            header_timeout: Duration::from_secs(10),
        }
    }
}

/// Serves until told to stop. Runs on a `LocalRuntime`.
///
/// # Errors
/// When the listener can't be watched, that is at once or never.
pub async fn serve_admin(
    listener: StdListener,
    routes: impl AdminRoutes,
    options: AdminOptions,
    stop: CancellationToken,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let routes = Rc::new(routes);
    let places = Arc::new(Semaphore::new(options.connections_max));
    let accept = async {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((socket, _)) => {
                    let routes = Rc::clone(&routes);
                    let timeout = options.header_timeout;
                    let stop = stop.clone();
                    tokio::task::spawn_local(serve(socket, routes, timeout, stop, place));
                }
                Err(error) => {
                    tracing::warn!(%error, "can't accept an admin connection");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = accept => {}
    }
    Ok(())
}

async fn serve(
    socket: TcpStream,
    routes: Rc<impl AdminRoutes>,
    header_timeout: Duration,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let routes = Rc::clone(&routes);
        async move { Ok::<_, Infallible>(answer(&*routes, &request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        outcome = &mut connection => outcome,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "an admin connection broke");
    }
}

type AnswerBody = Either<Full<Bytes>, Events>;

async fn answer<B>(routes: &impl AdminRoutes, request: &Request<B>) -> Response<AnswerBody> {
    let path = request.uri().path();
    // hyper itself leaves the body of an answer to HEAD away and keeps its length.
    let method = match request.method() {
        &Method::HEAD => "GET",
        method => method.as_str(),
    };
    if method == "GET"
        && let Some(file) = routes.file(path)
    {
        return response(file);
    }
    let known: Vec<_> = routes
        .routes()
        .iter()
        .filter(|route| route.path == path)
        .collect();
    if known.is_empty() {
        let text = format!("There is no {path} here.\n{}", list(routes));
        return response(AdminResponse::text(404, text));
    }
    if !known.iter().any(|route| route.method == method) {
        let text = format!("{method} is not for {path}.\n{}", list(routes));
        let mut response = response(AdminResponse::text(405, text));
        let allowed: Vec<_> = known.iter().flat_map(|route| allow(route.method)).collect();
        if let Ok(allowed) = HeaderValue::from_str(&allowed.join(", ")) {
            response.headers_mut().insert(ALLOW, allowed);
        }
        return response;
    }
    if request.method() == Method::GET
        && let Some(events) = routes.events(path)
    {
        return event_stream(events);
    }
    if let Some(later) = routes.later(path) {
        return response(later.await);
    }
    let query = request.uri().query().unwrap_or_default();
    response(routes.handle(method, path, query))
}

fn allow(method: &'static str) -> Vec<&'static str> {
    match method {
        "GET" => vec!["GET", "HEAD"],
        other => vec![other],
    }
}

fn list(routes: &impl AdminRoutes) -> String {
    let mut text = String::from("There is:\n");
    for route in routes.routes() {
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "{:<4} {:<16} {}",
            route.method, route.path, route.about
        );
    }
    text
}

fn event_stream(events: Events) -> Response<AnswerBody> {
    let mut response = Response::new(Either::Right(events));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn response(answer: AdminResponse) -> Response<AnswerBody> {
    let mut response = Response::new(Either::Left(Full::new(answer.body)));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = HeaderValue::from_static(answer.content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

const BACK_OFF: Duration = Duration::from_millis(100);

const HEAD_BYTES_MAX: usize = 16 * 1024;
