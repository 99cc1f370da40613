//! The two that are compared: the node in this process, and a real redis-server in another one.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::BytesMut;
use slotway_node::{Node, NodeConfig};
use slotway_protocol::engine::{ConnectionId, Engine, Instant, Now, Origin, Peer};
use slotway_protocol::resp::{ReplyScanner, encode};

/// A node with one client.
pub(crate) struct Ours {
    node: Node,
}

const NOW: Now = Now {
    instant: Instant::from_micros(1),
    unix_ms: 1_700_000_000_000,
};

const CLIENT: ConnectionId = ConnectionId {
    index: 0,
    generation: 0,
};

impl Ours {
    pub(crate) fn new(seed: u64) -> Self {
        let config = NodeConfig {
            seed,
            ..NodeConfig::default()
        };
        let mut node = Node::new(config, NOW);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let peer = Peer {
            remote: address,
            local: address,
            origin: Origin::Accepted(0),
        };
        node.handle_open(CLIENT, peer, NOW);
        Self { node }
    }

    pub(crate) fn run(&mut self, line: &[Vec<u8>]) -> Vec<u8> {
        let mut request = Vec::new();
        encode::request(&mut request, line);
        let mut input = BytesMut::from(&request[..]);
        self.node.handle_input(CLIENT, &mut input, NOW);
        while self.node.poll_action().is_some() {}
        let output = self.node.output(CLIENT);
        let len = output.len();
        let mut reply = Vec::with_capacity(len);
        let mut slices = [std::io::IoSlice::new(&[]); 64];
        while reply.len() < len {
            let used = output.slices(&mut slices);
            let before = reply.len();
            slices[..used]
                .iter()
                .for_each(|slice| reply.extend_from_slice(slice));
            let written = reply.len() - before;
            slices = [std::io::IoSlice::new(&[]); 64];
            output.advance(written);
        }
        self.node.handle_written(CLIENT, NOW);
        self.node.check_invariants();
        reply
    }
}

/// A redis-server with one client.
pub(crate) struct Server {
    process: Process,
    stream: TcpStream,
}

impl Server {
    pub(crate) fn start(port: u16) -> Self {
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server 7.0 must be installed to compare with");
        let process = Process(process);
        let stream = connect(port);
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .and_then(|()| stream.set_nodelay(true))
            .expect("a socket takes options");
        let mut server = Self { process, stream };
        server.check_version(port);
        server
    }

    /// That it is the process that was started, and of the version that is the model.
    fn check_version(&mut self, port: u16) {
        let info = self.run(&[b"INFO".to_vec(), b"server".to_vec()]);
        let info = String::from_utf8_lossy(&info).into_owned();
        assert!(
            info.contains("redis_version:7.0."),
            "the model is redis-server 7.0: {info}"
        );
        let process = format!("process_id:{}\r\n", self.process.0.id());
        assert!(
            info.contains(&process),
            "another server listens on port {port}"
        );
    }

    pub(crate) fn run(&mut self, line: &[Vec<u8>]) -> Vec<u8> {
        let mut request = Vec::new();
        encode::request(&mut request, line);
        self.stream.write_all(&request).expect("redis-server reads");
        let mut scanner = ReplyScanner::default();
        let mut reply = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = self.stream.read(&mut buffer).expect("redis-server answers");
            assert!(count > 0, "redis-server closed the connection");
            reply.extend_from_slice(&buffer[..count]);
            if let Some(len) = scanner.scan(&reply).expect("redis-server speaks RESP") {
                assert_eq!(len, reply.len(), "there is just one reply");
                return reply;
            }
        }
    }
}

fn connect(port: u16) -> TcpStream {
    for _ in 0..100 {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            return stream;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("redis-server does not answer on port {port}");
}

/// A process that ends with this value, also when a test fails.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
