//! The binary as a user meets it: exit statuses, messages, and what happens when an address, a
//! file or a cluster is not what it should be.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn help_and_version_go_to_the_standard_output() {
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(stdout(&help).contains("usage: slotway [OPTIONS]"));
    assert_eq!(stderr(&help), "");

    let version = run(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(
        stdout(&version),
        concat!("slotway ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn wrong_arguments_end_with_status_2() {
    for (arguments, message) in [
        (
            &["--sed", "a:1"][..],
            "slotway: unknown option '--sed'; did you mean '--seed'?\n",
        ),
        (
            &["--workers", "0"],
            "slotway: --workers must be between 1 and 256, got 0\n",
        ),
        (
            &["check"],
            "slotway: check needs the file to check: slotway check --config FILE\n",
        ),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        let expected = format!("{message}slotway --help lists the options\n");
        assert_eq!(stderr(&output), expected, "{arguments:?}");
    }
}

#[test]
fn the_shipped_configuration_passes_the_check() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/proxy.toml");
    let output = run(&["check", "--config", file]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output), format!("{file}: ok\n"));
}

#[test]
fn a_wrong_configuration_ends_with_status_1_and_all_its_mistakes() {
    let file = temporary("[proxy]\nworkers = 0\n[cluster]\nseedz = []\n");
    let name = file.0.to_string_lossy();
    let expected = format!(
        "{name}:2: 'workers' must be between 1 and 256, got 0\n\
         {name}:4: unknown key 'seedz' in [cluster]; did you mean 'seeds'?\n"
    );
    for arguments in [&["check", "--config", &name][..], &["--config", &name]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(stderr(&output), expected, "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
    }
}

#[test]
fn a_log_filter_that_is_not_understood_is_refused() {
    let file = temporary("[log]\nfilter = 'slotway=loud'\n");
    let output = run(&["check", "--config", &file.0.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("slotway=loud"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_configuration_that_is_not_there_ends_with_status_1() {
    let output = run(&["--config", "/nowhere/proxy.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "slotway: can't read /nowhere/proxy.toml: No such file or directory (os error 2)\n"
    );
}

#[test]
fn a_configuration_without_seeds_starts_no_nodes_by_itself() {
    let file = temporary("[proxy]\nworkers = 1\n");
    let name = file.0.to_string_lossy();
    let output = run(&["--config", &name]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        format!(
            "slotway: {name}: no seeds in [cluster]; add the address of a node, or pass \
             --embedded to start six nodes in this process\n"
        )
    );
}

#[test]
fn a_taken_address_is_named_with_the_option_that_changes_it() {
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken_address = holder.local_addr().unwrap().to_string();
    let free = || format!("127.0.0.1:{}", ports(1));
    for (arguments, option) in [
        (["--listen", &taken_address, "--admin", &free()], "--listen"),
        (["--listen", &free(), "--admin", &taken_address], "--admin"),
    ] {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--seed", "127.0.0.1:1"]);
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(1), "{option}");
        let message = stderr(&output);
        assert!(
            message.contains(&format!("address {taken_address} is in use")),
            "{message}"
        );
        assert!(
            message.contains(&format!("choose another with {option}")),
            "{message}"
        );
    }
}

#[test]
fn a_taken_port_of_an_embedded_node_is_named() {
    let first = ports(6);
    let _holder = TcpListener::bind((Ipv4Addr::LOCALHOST, first + 2)).unwrap();
    let output = Slotway::arguments(first).output();
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(
        message.contains(&format!("127.0.0.1:{}", first + 2)),
        "{message}"
    );
    assert!(message.contains("--node-port"), "{message}");
}

#[test]
fn without_a_cluster_it_brings_its_own_and_stops_cleanly() {
    let first = ports(6);
    let mut slotway = Slotway::arguments(first).start();
    slotway.wait_until_ready();
    let topology = slotway.admin("/topology").1;
    assert!(topology.contains("\"slots_covered\":16384"), "{topology}");
    assert_eq!(slotway.admin("/live").0, 200);
    // Keys of all three shards, in one request.
    let keys = ["foo", "bar", "hello"];
    let set = format!("mset {} 1 {} 2 {} 3\r\n", keys[0], keys[1], keys[2]);
    assert_eq!(slotway.request(&set, "+OK\r\n".len()), "+OK\r\n");
    let all = "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n";
    assert_eq!(slotway.request("mget foo bar hello\r\n", all.len()), all);

    let (status, metrics) = slotway.admin("/metrics");
    assert_eq!(status, 200);
    for line in [
        "slotway_requests_total{family=\"string\",outcome=\"ok\"} 2\n",
        "slotway_topology_slots_covered 16384\n",
        "slotway_clients_refused_total{reason=\"max_clients\"} 0\n",
        "slotway_clients_refused_total{reason=\"files\"} 0\n",
        "# TYPE process_cpu_seconds_total counter\n",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }

    // A client that expects nothing does not keep it from ending.
    let mut idle = connect(slotway.listen).unwrap();
    idle.write_all(b"PING\r\n").unwrap();
    let mut pong = [0; 7];
    idle.read_exact(&mut pong).unwrap();
    let status = slotway.stop();
    assert_eq!(status.code(), Some(0), "{}", slotway.log());
    assert!(slotway.log().contains("msg=drained"), "{}", slotway.log());
    assert_eq!(idle.read(&mut pong).unwrap(), 0);
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, first)).is_err());
}

#[test]
fn a_fresh_proxy_shows_every_documented_metric_and_no_other() {
    let first = ports(6);
    let slotway = Slotway::arguments(first).start();
    slotway.wait_until_ready();
    let (_, metrics) = slotway.admin("/metrics");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let page = &fs::read_to_string(file).unwrap();
    let nodes: Vec<String> = (first..first + 6)
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    let (documented, shown) = (documented(page, &nodes), shown(&metrics));
    for series in &documented {
        // Where nothing limits the files, there is no number to show.
        let is_optional = series.starts_with("process_max_fds");
        assert!(is_optional || shown.contains(series), "not shown: {series}");
    }
    for series in &shown {
        assert!(documented.contains(series), "not documented: {series}");
    }
    assert!(shown.len() > 200, "{shown:?}");
}

#[test]
fn the_nodes_in_this_process_show_their_metrics_on_one_page() {
    let first = ports(6);
    let slotway = Slotway::arguments(first).start();
    slotway.wait_until_ready();
    let page = || slotway.admin("/metrics/nodes");
    let (status, before) = page();
    assert_eq!(status, 200);
    for port in first..first + 6 {
        let series = format!("slotway_node_responding{{node=\"127.0.0.1:{port}\"}} 1\n");
        assert!(before.contains(&series), "{series} in {before}");
    }
    let families = before.lines().filter_map(|it| it.strip_prefix("# TYPE "));
    let names: Vec<_> = families.filter_map(|it| it.split(' ').next()).collect();
    let distinct: BTreeSet<_> = names.iter().collect();
    assert_eq!(names.len(), distinct.len(), "each family is there once");
    assert_eq!(slotway.request("set foo 1\r\n", 5), "+OK\r\n");
    let (_, after) = page();
    let of_all = |page: &str| -> f64 {
        let own = "slotway_node_keys{node=\"";
        let lines = page.lines().filter(|line| line.starts_with(own));
        let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        values.sum()
    };
    // The primary has it now, its replica now or soon.
    assert_eq!(of_all(&before), 0.0);
    assert!(of_all(&after) >= 1.0);

    let other = Slotway::seeds(&[first]).start();
    other.wait_until_ready();
    let (status, why) = other.admin("/metrics/nodes");
    assert_eq!(status, 404);
    assert!(why.contains("metrics-port"), "{why}");
}

/// The series that docs/metrics.md tells of, each as `name type label=value ...`.
fn documented(page: &str, nodes: &[String]) -> BTreeSet<String> {
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let series = rows.flat_map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, name, kind, labels, meaning, _] = cells[..] else {
            panic!("{row} has not four cells");
        };
        assert!(meaning.ends_with('.'), "{row}");
        let mut series = vec![format!("{} {kind}", name.trim_matches('`'))];
        for label in labels.split("; ").filter(|label| !label.is_empty()) {
            let (name, values) = label.split_once(": ").unwrap_or((label, ""));
            let name = name.trim_matches('`');
            let values: Vec<&str> = match name {
                "node" => nodes.iter().map(String::as_str).collect(),
                "version" => vec![env!("CARGO_PKG_VERSION")],
                _ => values.split(", ").collect(),
            };
            let with = |one: &String| {
                let all = values.iter().map(|value| format!("{one} {name}={value}"));
                all.collect::<Vec<_>>()
            };
            series = series.iter().flat_map(with).collect();
        }
        series
    });
    series.map(|series| in_order(&series)).collect()
}

/// The series of an answer of `/metrics`, in the same form; of a histogram its count.
fn shown(metrics: &str) -> BTreeSet<String> {
    let kinds: BTreeMap<&str, &str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    let series = samples.filter_map(|sample| {
        let (series, _) = sample.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let (name, kind) = match kinds.get(name) {
            Some(kind) => (name, kind),
            None => {
                let name = name.strip_suffix("_count")?;
                (name, kinds.get(name)?)
            }
        };
        let labels = labels.trim_end_matches('}').replace("\",", "\" ");
        Some(format!("{name} {kind} {}", labels.replace('"', "")))
    });
    series.map(|series| in_order(&series)).collect()
}

/// The labels in the order of their names.
fn in_order(series: &str) -> String {
    let mut words: Vec<&str> = series.split_whitespace().collect();
    words[2..].sort_unstable();
    words.join(" ")
}

#[test]
fn a_seed_that_nobody_answers_is_waited_for() {
    let first = ports(6);
    let waiting = Slotway::seeds(&[first]).start();
    let unreachable = format!("127.0.0.1:{first}");
    waiting.wait_for_log(&unreachable);
    let (status, why) = waiting.admin("/ready");
    assert_eq!(
        (status, why.as_str()),
        (503, "not ready: no node has told the topology yet\n")
    );
    assert_eq!(waiting.admin("/live").0, 200);

    let nodes = Slotway::arguments(first).start();
    nodes.wait_until_ready();
    waiting.wait_until_ready();
    assert_eq!(waiting.request("set foo 1\r\n", 5), "+OK\r\n");
}

/// One look at the log is enough to know what is wrong, and a lasting fault does not fill the disk.
#[test]
fn a_seed_that_nobody_answers_is_said_seldom() {
    let waiting = Slotway::seeds(&[ports(1)]).start();
    waiting.wait_for_log("127.0.0.1");
    thread::sleep(Duration::from_secs(3));
    let log = waiting.log();
    // The other line says that the proxy is not ready.
    let others = log.matches("msg=\"something is wrong\"").count();
    assert!(others <= 1, "{log}");
    assert_eq!(log.matches("level=warn").count(), 1 + others, "{log}");
}

#[test]
fn a_seed_that_is_no_cluster_ends_the_start_with_status_1() {
    let port = ports(1);
    let redis = Command::new("redis-server")
        .args([
            "--port",
            &port.to_string(),
            "--save",
            "",
            "--loglevel",
            "warning",
        ])
        .stdout(Stdio::null())
        .spawn()
        .expect("this test needs redis-server; tests/run installs it");
    let _redis = Running(redis);
    wait_until("redis-server listens", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    let output = Slotway::seeds(&[port]).output();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let message = stderr(&output);
    let last = message.lines().last().unwrap();
    assert!(
        last.starts_with(&format!("slotway: 127.0.0.1:{port}")),
        "{message}"
    );
    assert!(last.contains("cluster support disabled"), "{message}");
    assert!(last.contains("cluster-enabled yes"), "{message}");
}

// --- The binary and its surroundings ---

fn run(arguments: &[&str]) -> Output {
    let child = Command::new(BINARY)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Running(child);
    let arguments = arguments.join(" ");
    wait_until(&format!("`slotway {arguments}` ends"), || {
        child.0.try_wait().unwrap().is_some()
    });
    let mut output = Output {
        status: child.0.wait().unwrap(),
        stdout: Vec::new(),
        stderr: Vec::new(),
    };
    child
        .0
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut output.stdout)
        .unwrap();
    child
        .0
        .stderr
        .take()
        .unwrap()
        .read_to_end(&mut output.stderr)
        .unwrap();
    output
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// How to start a proxy on free ports.
struct Start {
    arguments: Vec<String>,
    listen: u16,
    admin: u16,
}

/// A proxy that runs until it is dropped.
struct Slotway {
    process: Running,
    listen: u16,
    admin: u16,
    log: Arc<Mutex<String>>,
}

impl Slotway {
    /// With nodes of its own.
    fn arguments(first_node: u16) -> Start {
        Start::new(&["--node-port".to_owned(), first_node.to_string()])
    }

    fn seeds(ports: &[u16]) -> Start {
        let seeds = ports
            .iter()
            .flat_map(|port| ["--seed".to_owned(), format!("127.0.0.1:{port}")]);
        Start::new(&seeds.collect::<Vec<_>>())
    }

    fn wait_until_ready(&self) {
        wait_until("ready", || {
            self.try_admin("/ready")
                .is_some_and(|(status, _)| status == 200)
        });
    }

    fn wait_for_log(&self, text: &str) {
        wait_until(&format!("the log says {text}"), || {
            self.log().contains(text)
        });
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Status and body of an answer of the admin server.
    fn admin(&self, path: &str) -> (u16, String) {
        self.try_admin(path).expect("the admin server answers")
    }

    fn try_admin(&self, path: &str) -> Option<(u16, String)> {
        let mut socket = connect(self.admin)?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        Some((status, body.to_owned()))
    }

    /// Sends a request and reads that many bytes.
    fn request(&self, request: &str, reply_len: usize) -> String {
        let mut socket = connect(self.listen).expect("the proxy accepts");
        socket.write_all(request.as_bytes()).unwrap();
        let mut reply = vec![0; reply_len];
        socket.read_exact(&mut reply).unwrap();
        String::from_utf8(reply).unwrap()
    }

    /// Asks it to end, as service managers do.
    fn stop(&mut self) -> ExitStatus {
        let pid = self.process.0.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        wait_until("the proxy ends", || {
            self.process.0.try_wait().unwrap().is_some()
        });
        self.process.0.wait().unwrap()
    }
}

impl Start {
    fn new(cluster: &[String]) -> Self {
        let (listen, admin) = (ports(1), ports(1));
        let mut arguments = cluster.to_vec();
        for (option, port) in [("--listen", listen), ("--admin", admin)] {
            arguments.extend([option.to_owned(), format!("127.0.0.1:{port}")]);
        }
        Self {
            arguments,
            listen,
            admin,
        }
    }

    fn start(self) -> Slotway {
        let mut child = Command::new(BINARY)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let writer = Arc::clone(&log);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = writer.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Slotway {
            process: Running(child),
            listen: self.listen,
            admin: self.admin,
            log,
        }
    }

    /// Runs it to its end.
    fn output(self) -> Output {
        run(&self
            .arguments
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>())
    }
}

/// A process that is killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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

/// The first of so many free ports in a row. Each test process has a range of its own, since
/// tests run side by side, below the ports that the kernel gives to outgoing connections.
fn ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let range = FIRST_PORT + (std::process::id() % 60) as u16 * PORTS_EACH;
    loop {
        let offset = NEXT.fetch_add(count, Ordering::Relaxed);
        assert!(offset + count <= PORTS_EACH, "out of ports");
        let first = range + offset;
        let mut all = first..first + count;
        if all.all(|port| {
            let node = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
            let bus = TcpListener::bind((Ipv4Addr::LOCALHOST, port + 10_000));
            node.is_ok() && bus.is_ok()
        }) {
            return first;
        }
    }
}

/// A file that is removed when it is dropped.
struct Temporary(PathBuf);

fn temporary(text: &str) -> Temporary {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}-{number}.toml", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    Temporary(path)
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Left behind, it harms nobody.
        let _ = fs::remove_file(&self.0);
    }
}

const BINARY: &str = env!("CARGO_BIN_EXE_slotway");
const PATIENCE: Duration = Duration::from_secs(20);
const FIRST_PORT: u16 = 12_000;
const PORTS_EACH: u16 = 128;
