//! The admin server, spoken to byte by byte.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use slotway_runtime::admin::{AdminOptions, AdminResponse, AdminRoute, AdminRoutes, serve_admin};
use slotway_runtime::listener::bind;
use slotway_runtime::worker::local_runtime;
use tokio_util::sync::CancellationToken;

struct Routes;

impl AdminRoutes for Routes {
    fn routes(&self) -> &[AdminRoute] {
        const ROUTES: &[AdminRoute] = &[
            AdminRoute {
                method: "GET",
                path: "/metrics",
                about: "what Prometheus scrapes",
            },
            AdminRoute {
                method: "POST",
                path: "/drain",
                about: "stop in peace",
            },
        ];
        ROUTES
    }

    fn handle(&self, method: &str, path: &str, query: &str) -> AdminResponse {
        match (method, path) {
            ("GET", "/metrics") => AdminResponse::text(200, format!("up 1 {query}\n")),
            ("POST", "/drain") => AdminResponse::json(202, "{}"),
            other => panic!("asked for {other:?}"),
        }
    }
}

struct Admin {
    address: SocketAddr,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Admin {
    fn start(options: AdminOptions) -> Self {
        let listener = bind("127.0.0.1:0".parse().unwrap(), 128, "--admin").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let token = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = local_runtime().unwrap();
            let serve = serve_admin(listener, Routes, options, token);
            runtime.block_on(serve).unwrap();
        });
        Self {
            address,
            stop,
            thread: Some(thread),
        }
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        socket
    }

    /// The whole answer to a request that asks for the connection to end after it.
    fn ask(&self, line: &str) -> String {
        let mut socket = self.connect();
        let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

#[test]
fn answers_what_it_knows_and_lists_it_otherwise() {
    let admin = Admin::start(AdminOptions::default());
    let cases: [(&str, &str, &[&str]); 6] = [
        (
            "GET /metrics?a=b",
            "200 OK",
            &["\r\n\r\nup 1 a=b\n", "text/plain"],
        ),
        (
            "POST /drain",
            "202 Accepted",
            &["\r\n\r\n{}", "application/json"],
        ),
        (
            "GET /nowhere",
            "404 Not Found",
            &["no /nowhere here", "GET  /metrics", "POST /drain"],
        ),
        (
            "DELETE /metrics",
            "405 Method Not Allowed",
            &["allow: GET, HEAD\r\n", "/drain"],
        ),
        (
            "GET /drain",
            "405 Method Not Allowed",
            &["allow: POST\r\n", "GET is not for /drain"],
        ),
        ("HEAD /nowhere", "404 Not Found", &["content-length: "]),
    ];
    for (line, status, parts) in cases {
        let answer = admin.ask(line);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{line}: {answer}"
        );
        for part in parts {
            assert!(answer.contains(part), "{line}: no {part:?} in {answer}");
        }
    }
    let answer = admin.ask("HEAD /metrics");
    assert!(
        answer.contains("content-length: 6\r\n") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[test]
fn slow_and_idle_connections_make_room_for_others() {
    let admin = Admin::start(AdminOptions {
        connections_max: 2,
        header_timeout: Duration::from_millis(300),
    });
    let start = Instant::now();
    let mut slow = admin.connect();
    slow.write_all(b"GET /met").unwrap();
    let mut idle = admin.connect();
    idle.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut head = [0; 15];
    idle.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    assert!(start.elapsed() < Duration::from_millis(250));
    // Both places are taken until the timeout.
    let answer = admin.ask("GET /metrics");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let waited = start.elapsed().as_millis();
    assert!((250..3000).contains(&waited), "{waited} ms");
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).unwrap();
    slow.read_to_end(&mut rest).unwrap();
}

#[test]
fn a_connection_serves_several_requests() {
    let admin = Admin::start(AdminOptions::default());
    let mut socket = admin.connect();
    for _ in 0..3 {
        socket
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"up 1 \n") {
            let mut bytes = [0; 512];
            let count = socket.read(&mut bytes).unwrap();
            assert!(count > 0);
            answer.extend_from_slice(&bytes[..count]);
        }
    }
}
