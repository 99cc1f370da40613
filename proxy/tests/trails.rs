//! The access log and traces, with the binary and two nodes in it: lines in each format of the log,
//! and spans as a collector gets them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

#[test]
fn a_collector_is_given_the_proxys_part_and_that_of_the_nodes() {
    let collector = Collector::start(Answer::Ok);
    let traces = format!(
        "[traces]\nendpoint = '{}'\nsample = 1\ninterval_ms = 50\nservice_name = 'shop'\n\
         attributes = {{ 'deployment.environment.name' = 'test' }}\n",
        collector.endpoint()
    );
    let proxy = Proxy::start(&traces);
    let began = unix_nanos();
    proxy.ask("SET my-key my-value\r\n", "+OK\r\n");
    // One of them is a key of the first node, the other one of the second.
    proxy.ask("MGET foo bar\r\n", "*2\r\n$-1\r\n$-1\r\n");
    proxy.ask(
        "INCR my-key\r\n",
        "-ERR value is not an integer or out of range\r\n",
    );
    wait_until("three traces are there", || collector.parents().len() >= 3);
    let ended = unix_nanos();

    let spans = collector.spans();
    for (operation, parts, error) in [
        ("SET", 1, None),
        ("MGET", 2, None),
        ("INCR", 1, Some("ERR")),
    ] {
        let parent = spans
            .iter()
            .find(|span| span.name == operation && is_root(span));
        let parent = parent.expect(operation);
        assert_eq!(parent.kind, 2, "a server's");
        assert_eq!(
            text(parent, "db.operation.name").as_deref(),
            Some(operation)
        );
        assert_eq!(text(parent, "db.system.name").as_deref(), Some("redis"));
        assert_eq!(text(parent, "error.type").as_deref(), error);
        assert_eq!(number(parent, "server.port"), Some(i64::from(proxy.port)));
        assert!(began <= parent.start_time_unix_nano, "{parent:?}");
        assert!(parent.end_time_unix_nano <= ended, "{parent:?}");
        let children = spans
            .iter()
            .filter(|span| span.parent_span_id == parent.span_id);
        let children: Vec<_> = children.collect();
        assert_eq!(children.len(), parts, "{children:?}");
        for child in children {
            assert_eq!(child.trace_id, parent.trace_id);
            assert_eq!((child.kind, child.name.as_str()), (3, operation));
            assert!(parent.start_time_unix_nano <= child.start_time_unix_nano);
            assert!(
                child.start_time_unix_nano < child.end_time_unix_nano,
                "{child:?}"
            );
            assert!(child.end_time_unix_nano <= parent.end_time_unix_nano);
            let node = number(child, "server.port").unwrap();
            assert!((node - i64::from(proxy.node)).abs() <= 1, "{child:?}");
            assert_eq!(text(child, "server.address").as_deref(), Some("127.0.0.1"));
            assert_eq!(text(child, "error.type").as_deref(), error);
        }
    }
    assert!(collector.was_told("shop") && collector.was_told("deployment.environment.name"));
    for secret in ["my-key", "my-value"] {
        assert!(!collector.was_told(secret), "{secret} is nobody's business");
    }
    wait_until("they are counted", || {
        proxy.metric(SPANS, "exported") >= spans.len() as f64
    });
    assert_eq!(proxy.metric(SPANS, "dropped"), 0.0);
}

#[test]
fn a_collector_that_is_not_there_holds_up_nobody() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let endpoint = format!("http://{nobody}/v1/traces");
    let proxy = Proxy::start(&format!(
        "[traces]\nendpoint = '{endpoint}'\nsample = 1\ninterval_ms = 10\n"
    ));
    proxy.ask("SET a 1\r\n", "+OK\r\n");
    wait_until("it is counted", || proxy.metric(SPANS, "failed") >= 2.0);
    wait_until("it is said", || {
        proxy.log().contains("traces can't be exported")
    });
    proxy.ask("GET a\r\n", "$1\r\n1\r\n");
    assert_eq!(proxy.metric(SPANS, "exported"), 0.0);
}

#[test]
fn a_collector_that_hangs_holds_up_nobody_and_what_has_no_room_is_counted() {
    let collector = Collector::start(Answer::Never);
    let mut proxy = Proxy::start(&format!(
        "[traces]\nendpoint = '{}'\nsample = 1\ninterval_ms = 10\nqueue_max = 4\n\
         timeout_ms = 60000\n",
        collector.endpoint()
    ));
    proxy.ask("SET a 1\r\n", "+OK\r\n");
    wait_until("it hangs", || !collector.bodies.lock().unwrap().is_empty());
    let began = Instant::now();
    for _ in 0..100 {
        proxy.ask("GET a\r\n", "$1\r\n1\r\n");
    }
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    // Of a hundred requests with two spans each four have room.
    assert_eq!(proxy.metric(SPANS, "dropped"), 2.0 * 96.0);
    let began = Instant::now();
    proxy.signal("TERM");
    wait_until("it ends", || proxy.process.try_wait().unwrap().is_some());
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_collector_that_refuses_is_counted() {
    let collector = Collector::start(Answer::Refused);
    let proxy = Proxy::start(&format!(
        "[traces]\nendpoint = '{}'\nsample = 1\ninterval_ms = 10\n",
        collector.endpoint()
    ));
    proxy.ask("SET a 1\r\n", "+OK\r\n");
    wait_until("it is counted", || proxy.metric(SPANS, "failed") >= 2.0);
}

#[test]
fn requests_have_lines_in_the_format_of_the_log() {
    for (format, expected) in [
        (
            "logfmt",
            &[
                "target=access msg=request client=127.0.0.1:",
                " command=set ",
                " outcome=ok ",
            ][..],
        ),
        (
            "json",
            &[
                "\"target\":\"access\",\"msg\":\"request\"",
                "\"command\":\"set\"",
                "\"outcome\":\"ok\"",
            ],
        ),
        (
            "human",
            &[
                "INFO  request client=127.0.0.1:",
                " command=set ",
                "(access)",
            ],
        ),
    ] {
        let proxy = Proxy::start(&format!(
            "[log]\nformat = '{format}'\n[access_log]\nsample = 1\n"
        ));
        proxy.ask("SET my-key my-value\r\n", "+OK\r\n");
        let is_it = |line: &&str| expected.iter().all(|part| line.contains(part));
        wait_until(format, || proxy.log().lines().any(|line| is_it(&line)));
        let log = proxy.log();
        let line = log.lines().find(is_it).unwrap();
        for field in [
            "slot",
            "node",
            "request_bytes",
            "reply_bytes",
            "total_us",
            "backend_us",
        ] {
            assert!(line.contains(field), "{field} in {line}");
        }
        assert!(
            !log.contains("my-key") && !log.contains("my-value"),
            "{log}"
        );
    }
}

#[test]
fn lines_have_a_bound_and_keys_are_escaped() {
    let proxy = Proxy::start("[access_log]\nsample = 1\nlines_max = 3\nkeys = true\n");
    let strange = "a\"b\nlevel=error\u{1}";
    let set = format!(
        "*3\r\n$3\r\nSET\r\n${}\r\n{strange}\r\n$1\r\nv\r\n",
        strange.len()
    );
    proxy.ask(&set, "+OK\r\n");
    wait_until("there is a line", || proxy.lines() >= 1);
    let log = proxy.log();
    let line = log
        .lines()
        .find(|line| line.contains("target=access"))
        .unwrap();
    assert!(
        line.contains(r#"keys="a\\\"b\\nlevel=error\\x01""#),
        "{line}"
    );
    for _ in 0..100 {
        proxy.ask("PING\r\n", "+PONG\r\n");
    }
    let dropped = || proxy.metric(LINES, "dropped");
    assert!(dropped() >= 90.0, "{}", dropped());
    assert_eq!(proxy.metric(LINES, "written") + dropped(), 101.0);
    let written = proxy.metric(LINES, "written") as usize;
    wait_until("all that were written are there", || {
        proxy.lines() == written
    });
}

#[test]
fn the_access_log_can_be_switched_on_and_off() {
    let proxy = Proxy::start("[access_log]\n");
    proxy.ask("SET a 1\r\n", "+OK\r\n");
    for (sample, expected) in [(1, 10.0), (0, 10.0)] {
        proxy.configure(&format!("[access_log]\nsample = {sample}\n"));
        proxy.signal("HUP");
        let said = format!("changed: access_log_sample = {sample}");
        wait_until(&said, || proxy.log().contains(&said));
        // The workers are told at the same time.
        wait_until("it is in force", || {
            let shown = proxy.say("CONFIG GET access_log_sample\r\n", 35);
            shown.ends_with(&format!("{sample}\r\n"))
        });
        let before = proxy.metric(LINES, "written");
        for _ in 0..10 {
            proxy.ask("GET a\r\n", "$1\r\n1\r\n");
        }
        let more = proxy.metric(LINES, "written") - before;
        assert_eq!(more, if sample == 1 { expected } else { 0.0 });
    }
}

// --- A collector ---

#[derive(Clone, Copy)]
enum Answer {
    Ok,
    Refused,
    Never,
}

/// Takes batches of spans over HTTP.
struct Collector {
    port: u16,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bodies);
        thread::spawn(move || {
            // Those that get no answer are kept open.
            let mut waiting = Vec::new();
            for mut socket in listener.incoming().map_while(Result::ok) {
                kept.lock().unwrap().push(body(&mut socket));
                let status = match answer {
                    Answer::Ok => "200 OK",
                    Answer::Refused => "400 Bad Request",
                    Answer::Never => {
                        waiting.push(socket);
                        continue;
                    }
                };
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                // Whoever asked may have gone.
                let _ = socket.write_all(head.as_bytes());
            }
        });
        Self { port, bodies }
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/v1/traces", self.port)
    }

    fn spans(&self) -> Vec<Span> {
        let bodies = self.bodies.lock().unwrap();
        let batches = bodies
            .iter()
            .map(|body| ExportTraceServiceRequest::decode(&body[..]).unwrap());
        let resources = batches.flat_map(|batch| batch.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// Whether that text is anywhere in what has come.
    fn was_told(&self, text: &str) -> bool {
        let bodies = self.bodies.lock().unwrap().concat();
        let mut windows = bodies.windows(text.len());
        windows.any(|window| window == text.as_bytes())
    }

    /// The spans of what the test has asked for.
    fn parents(&self) -> Vec<Span> {
        let mut spans = self.spans();
        spans.retain(|span| is_root(span) && ["SET", "MGET", "INCR"].contains(&&*span.name));
        spans
    }
}

/// The body of a request of HTTP.
fn body(socket: &mut TcpStream) -> Vec<u8> {
    let mut reader = BufReader::new(socket);
    let mut len = 0;
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    assert_eq!(first, "POST /v1/traces HTTP/1.1\r\n");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            len = value.parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).unwrap();
    body
}

fn is_root(span: &Span) -> bool {
    span.parent_span_id.is_empty()
}

fn attribute<'a>(span: &'a Span, key: &str) -> Option<&'a Value> {
    let found = span
        .attributes
        .iter()
        .find(|it: &&KeyValue| it.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

fn text(span: &Span, key: &str) -> Option<String> {
    match attribute(span, key)? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn number(span: &Span, key: &str) -> Option<i64> {
    match attribute(span, key)? {
        Value::IntValue(number) => Some(*number),
        _ => None,
    }
}

fn unix_nanos() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64
}

const SPANS: &str = "slotway_trace_spans_total";
const LINES: &str = "slotway_access_log_lines_total";

// --- The proxy ---

/// The binary with two nodes, killed when it is dropped.
struct Proxy {
    process: Child,
    port: u16,
    admin: u16,
    node: u16,
    file: PathBuf,
    log: Arc<Mutex<String>>,
}

impl Proxy {
    fn start(settings: &str) -> Self {
        let first = ports(4);
        let (port, admin, node) = (first, first + 1, first + 2);
        let name = format!("trails-{port}.toml");
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&file, whole(settings)).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_slotway"))
            .args([
                "--embedded",
                "--node-port",
                &node.to_string(),
                "--workers",
                "1",
            ])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--admin", &format!("127.0.0.1:{admin}")])
            .args(["--config".as_ref(), file.as_os_str()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let writer = Arc::clone(&log);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = writer.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let proxy = Self {
            process,
            port,
            admin,
            node,
            file,
            log,
        };
        wait_until("ready", || {
            proxy
                .admin("/ready")
                .is_some_and(|it| it.starts_with("HTTP/1.1 200"))
        });
        proxy
    }

    fn configure(&self, settings: &str) {
        fs::write(&self.file, whole(settings)).unwrap();
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let status = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status();
        assert!(status.unwrap().success());
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Lines of the access log.
    fn lines(&self) -> usize {
        self.log().matches("target=access").count()
    }

    fn ask(&self, request: &str, reply: &str) {
        assert_eq!(self.say(request, reply.len()), reply, "{request}");
    }

    /// What is replied, of so many bytes.
    fn say(&self, request: &str, reply_len: usize) -> String {
        let mut socket = connect(self.port).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut reply = vec![0; reply_len];
        socket.read_exact(&mut reply).unwrap();
        String::from_utf8(reply).unwrap()
    }

    fn admin(&self, path: &str) -> Option<String> {
        let mut socket = connect(self.admin)?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn metric(&self, name: &str, result: &str) -> f64 {
        let metrics = self.admin("/metrics").unwrap();
        let start = format!("{name}{{result=\"{result}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&start));
        line.expect(&start).parse().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.file);
    }
}

fn whole(settings: &str) -> String {
    format!("[embedded]\nprimaries = 2\nreplicas = 0\n{settings}")
}

fn connect(port: u16) -> Option<TcpStream> {
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    Some(socket)
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// So many free ports in a row, whose buses are free too, below those that the kernel gives out.
fn ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let range = FIRST_PORT + (std::process::id() % 40) as u16 * PORTS_EACH;
    loop {
        let offset = NEXT.fetch_add(count, Ordering::Relaxed);
        assert!(offset + count <= PORTS_EACH, "out of ports");
        let first = range + offset;
        let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if (first..first + count).all(|port| is_free(port) && is_free(port + 10_000)) {
            return first;
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
const FIRST_PORT: u16 = 19_700;
const PORTS_EACH: u16 = 64;
