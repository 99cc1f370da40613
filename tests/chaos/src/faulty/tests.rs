//! Each fault, seen from both ends of a connection through a link.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const LONG: Duration = Duration::from_secs(5);
const MOMENT: Duration = Duration::from_millis(100);

/// A link to a server, with one connection through it.
struct Scene {
    link: Rc<Link>,
    server: TcpListener,
    client: TcpStream,
    target: TcpStream,
}

impl Scene {
    async fn new() -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = server.local_addr().unwrap().to_string();
        let link = Link::start("127.0.0.1:0", &target).await.unwrap();
        let client = TcpStream::connect(link.address()).await.unwrap();
        let (target, _) = server.accept().await.unwrap();
        Self {
            link,
            server,
            client,
            target,
        }
    }

    fn change(&self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        self.link.change(words[0], &words[1..]).unwrap();
    }

    async fn up(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.client.write_all(bytes).await.unwrap();
        read(&mut self.target, bytes.len()).await
    }

    async fn down(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.target.write_all(bytes).await.unwrap();
        read(&mut self.client, bytes.len()).await
    }
}

async fn read(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    tokio::time::timeout(LONG, stream.read_exact(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    bytes
}

/// How a read ends: with bytes, the end, an error, or not at all.
async fn look(stream: &mut TcpStream) -> Option<io::Result<usize>> {
    let mut bytes = [0; 100];
    tokio::time::timeout(MOMENT, stream.read(&mut bytes))
        .await
        .ok()
}

fn is_reset(found: Option<io::Result<usize>>) -> bool {
    found.is_some_and(|read| read.is_err_and(|no| no.kind() == io::ErrorKind::ConnectionReset))
}

fn play<Playing: Future<Output = ()>>(scene: impl FnOnce(Scene) -> Playing) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let tasks = tokio::task::LocalSet::new();
    runtime.block_on(tasks.run_until(async { scene(Scene::new().await).await }));
}

#[test]
fn without_a_fault_everything_passes() {
    play(async |mut scene: Scene| {
        let long = vec![7; 300_000];
        assert_eq!(scene.down(b"hello").await, b"hello");
        let (up, wanted) = (
            scene.client.write_all(&long),
            read(&mut scene.target, long.len()),
        );
        assert_eq!(tokio::join!(up, wanted).1, long);
        scene.client.shutdown().await.unwrap();
        assert_eq!(look(&mut scene.target).await.unwrap().unwrap(), 0);
        assert_eq!(scene.down(b"still").await, b"still");
    });
}

#[test]
fn bytes_come_late() {
    play(async |mut scene: Scene| {
        scene.change("latency 150 20 down");
        let began = Instant::now();
        assert_eq!(scene.up(b"a").await, b"a");
        assert!(began.elapsed() < MOMENT, "only one way was meant");
        assert_eq!(scene.down(b"b").await, b"b");
        assert!(began.elapsed() >= Duration::from_millis(150));
        scene.change("pass");
        let began = Instant::now();
        assert_eq!(scene.down(b"b").await, b"b");
        assert!(began.elapsed() < MOMENT);
        scene.change("rate 1000");
        let began = Instant::now();
        scene.change("split 10 up");
        assert_eq!(scene.up(&[1; 200]).await, [1; 200]);
        assert!(began.elapsed() >= Duration::from_millis(150));
    });
}

#[test]
fn bytes_come_one_by_one() {
    play(async |mut scene: Scene| {
        scene.change("split 1 up");
        scene.change("rate 200 up");
        scene.client.write_all(b"abc").await.unwrap();
        assert_eq!(look(&mut scene.target).await.unwrap().unwrap(), 1);
    });
}

#[test]
fn a_stall_keeps_bytes_and_connections() {
    play(async |mut scene: Scene| {
        scene.change("stall down");
        assert_eq!(scene.up(b"a").await, b"a");
        scene.target.write_all(b"later").await.unwrap();
        assert!(look(&mut scene.client).await.is_none());
        scene.change("pass");
        assert_eq!(read(&mut scene.client, 5).await, b"later");
    });
}

#[test]
fn connections_are_reset() {
    play(async |mut scene: Scene| {
        scene.change("reset");
        assert!(is_reset(look(&mut scene.client).await));
        assert!(is_reset(look(&mut scene.target).await));
        scene.client = TcpStream::connect(scene.link.address()).await.unwrap();
        scene.target = scene.server.accept().await.unwrap().0;
        scene.change("cut 3 down");
        scene.target.write_all(b"abcdef").await.unwrap();
        assert_eq!(read(&mut scene.client, 3).await, b"abc");
        assert!(is_reset(look(&mut scene.client).await));
        assert_eq!(scene.link.count(), 2);
    });
}

#[test]
fn one_direction_ends() {
    play(async |mut scene: Scene| {
        scene.change("half-close down");
        assert_eq!(look(&mut scene.client).await.unwrap().unwrap(), 0);
        assert_eq!(scene.up(b"still").await, b"still");
    });
}

#[test]
fn one_byte_is_changed() {
    play(async |mut scene: Scene| {
        scene.change("corrupt 4 down");
        assert_eq!(scene.down(b"+OK").await, b"+OK");
        assert_eq!(scene.down(b"\r\n+OK").await, b"\r\x4a+OK");
        assert_eq!(scene.down(b"\r\n").await, b"\r\n");
    });
}

#[test]
fn nobody_answers_or_listens() {
    play(async |mut scene: Scene| {
        scene.change("blackhole");
        let mut unheard = TcpStream::connect(scene.link.address()).await.unwrap();
        unheard.write_all(b"hello").await.unwrap();
        assert!(look(&mut unheard).await.is_none());
        scene.change("refuse");
        assert!(is_reset(look(&mut unheard).await));
        assert!(is_reset(look(&mut scene.client).await));
        assert!(TcpStream::connect(scene.link.address()).await.is_err());
        scene.change("pass");
        tokio::time::sleep(MOMENT).await;
        scene.client = TcpStream::connect(scene.link.address()).await.unwrap();
        scene.target = scene.server.accept().await.unwrap().0;
        assert_eq!(scene.up(b"again").await, b"again");
    });
}

#[test]
fn what_is_not_understood_is_said() {
    play(async |scene: Scene| {
        for line in ["fly", "latency", "latency x", "half-close", "stall 1"] {
            let words: Vec<&str> = line.split(' ').collect();
            assert!(scene.link.change(words[0], &words[1..]).is_err(), "{line}");
        }
        let links: Links = Rc::new([("a".to_owned(), scene.link)].into());
        assert_eq!(command("a count", &links), Ok("ok 1".to_owned()));
        assert_eq!(command("* stall up", &links), Ok("ok".to_owned()));
        assert!(command("b stall", &links).is_err());
    });
}
