//! Commands about all clients, with a binary of two workers: each of them serves every other
//! client, and all of them are listed, paused, shown and closed from one connection.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[test]
fn one_connection_reaches_the_clients_of_both_workers() {
    let proxy = Proxy::start();
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.connect()).collect();
    let ids: Vec<u64> = clients.iter_mut().map(Client::id).collect();
    let workers = |worker: u64| ids.iter().filter(|id| **id & 255 == worker).count();
    assert_eq!((workers(0), workers(1)), (2, 2), "{ids:?}");

    let list = clients[0].ask("CLIENT LIST\r\n", "\n\r\n");
    for id in &ids {
        assert!(list.contains(&format!("id={id} addr=127.0.0.1:")), "{list}");
    }

    assert_eq!(clients[0].ask("MONITOR\r\n", "\n"), "+OK\r\n");
    for (client, word) in [(1, "one"), (2, "two")] {
        clients[client].ask(&format!("ECHO {word}\r\n"), &format!("{word}\r\n"));
        let shown = clients[0].ask("", "\n");
        assert!(
            shown.ends_with(&format!(" \"ECHO\" \"{word}\"\r\n")),
            "{shown}"
        );
    }
    clients[0].ask("RESET\r\n", "+RESET\r\n");

    assert_eq!(clients[1].ask("CLIENT PAUSE 60000\r\n", "\n"), "+OK\r\n");
    clients[2].write("PING\r\n");
    clients[3].write("PING\r\n");
    clients[2].is_silent();
    clients[3].is_silent();
    assert_eq!(clients[1].ask("CLIENT UNPAUSE\r\n", "\n"), "+OK\r\n");
    assert_eq!(clients[2].ask("", "\n"), "+PONG\r\n");
    assert_eq!(clients[3].ask("", "\n"), "+PONG\r\n");

    assert_eq!(
        clients[1].ask("CLIENT KILL TYPE normal\r\n", "\n"),
        ":3\r\n"
    );
    for other in [0, 2, 3] {
        assert!(clients[other].is_closed(), "{other}");
    }
    assert_eq!(clients[1].ask("PING\r\n", "\n"), "+PONG\r\n");
}

/// The binary, which knows no cluster; none of this needs one.
struct Proxy {
    process: Child,
    port: u16,
    config: PathBuf,
}

impl Proxy {
    fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let config = std::env::temp_dir().join(format!("slotway-clients-{port}.toml"));
        let text = format!(
            "[proxy]\nlisten = '127.0.0.1:{port}'\nworkers = 2\nmonitor = true\n\
             [cluster]\nseeds = ['127.0.0.1:1']\n[admin]\nlisten = ''\n"
        );
        fs::write(&config, text).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_slotway"))
            .arg("--config")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let proxy = Self {
            process,
            port,
            config,
        };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < PATIENCE, "it does not listen");
            sleep(Duration::from_millis(20));
        }
        // The connection just made is to be gone before the workers are chosen by their clients.
        let mut probe = proxy.connect();
        while probe
            .ask("CLIENT LIST\r\n", "\n\r\n")
            .matches("id=")
            .count()
            > 1
        {
            assert!(start.elapsed() < PATIENCE, "a client stays");
        }
        probe.ask("QUIT\r\n", "\n");
        assert!(probe.is_closed());
        proxy
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        Client(stream)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.config);
    }
}

struct Client(TcpStream);

impl Client {
    fn write(&mut self, request: &str) {
        self.0.write_all(request.as_bytes()).unwrap();
    }

    /// Sends a request and reads until the reply ends so.
    fn ask(&mut self, request: &str, end: &str) -> String {
        self.write(request);
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut reply = String::new();
        while !reply.ends_with(end) {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect(request);
            reply.push(char::from(byte[0]));
        }
        reply
    }

    fn id(&mut self) -> u64 {
        let reply = self.ask("CLIENT ID\r\n", "\n");
        reply.trim_start_matches(':').trim_end().parse().unwrap()
    }

    fn is_silent(&self) {
        let short = Duration::from_millis(100);
        self.0.set_read_timeout(Some(short)).unwrap();
        assert!(self.0.peek(&mut [0]).is_err(), "it is to be paused");
    }

    fn is_closed(&mut self) -> bool {
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        match self.0.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
