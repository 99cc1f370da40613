//! One direction of one connection: bytes are read, wait as long as the settings say, and go on.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::link::finish;
use super::settings::{Settings, Way};

const READ_BYTES: usize = 16 * 1024;
/// Pieces under way; with more the sender has to wait.
const PIECES_MAX: usize = 256;

/// Bytes and when they may go on.
#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    due: Instant,
}

/// Until the end of what is sent this way; what is `before` in the settings has happened to others
/// already. An error is to become a reset of the connection.
pub(super) async fn run(
    from: &TcpStream,
    to: &TcpStream,
    (settings, before): (watch::Receiver<Settings>, Settings),
    way: Way,
) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let reading = read(from, (settings.clone(), before), way, sender);
    let writing = Writer {
        to,
        settings,
        way,
        count: 0,
        changes: 0,
        corrupted: false,
    };
    tokio::try_join!(reading, writing.write(receiver))?;
    Ok(())
}

async fn read(
    from: &TcpStream,
    (mut settings, before): (watch::Receiver<Settings>, Settings),
    way: Way,
    sender: mpsc::Sender<Piece>,
) -> io::Result<()> {
    let half_closes = before.half_closes(way);
    let mut due = Instant::now();
    let mut jitter: u32 = 0;
    loop {
        let closed = settings.wait_for(|settings| settings.half_closes(way) > half_closes);
        tokio::select! {
            ready = from.readable() => ready?,
            _ = closed => return Ok(()),
        }
        let mut bytes = vec![0; READ_BYTES];
        let count = match from.try_read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        bytes.truncate(count);
        let flow = *settings.borrow().flow(way);
        // Spread evenly enough, and the same every time.
        jitter = jitter.wrapping_add(2_654_435_769);
        let more = flow.jitter.mul_f64(f64::from(jitter) / f64::from(u32::MAX));
        due = due.max(Instant::now() + flow.latency + more);
        if sender.send(Piece { bytes, due }).await.is_err() {
            return Ok(());
        }
    }
}

struct Writer<'relay> {
    to: &'relay TcpStream,
    settings: watch::Receiver<Settings>,
    way: Way,
    /// Bytes that have passed since the settings were made.
    count: u64,
    changes: u64,
    corrupted: bool,
}

impl Writer<'_> {
    async fn write(mut self, mut receiver: mpsc::Receiver<Piece>) -> io::Result<()> {
        while let Some(piece) = receiver.recv().await {
            // Timers are counted in milliseconds; what is due at once shall not wait for one.
            if piece.due > Instant::now() {
                tokio::time::sleep_until(piece.due).await;
            }
            let mut rest = piece.bytes.as_slice();
            while !rest.is_empty() {
                let way = self.way;
                let flowing = self
                    .settings
                    .wait_for(|settings| !settings.flow(way).stalled);
                let _ = flowing.await;
                let len = self.write_some(rest).await?;
                rest = &rest[len..];
            }
        }
        let way = self.way;
        let flowing = self
            .settings
            .wait_for(|settings| !settings.flow(way).stalled);
        let _ = flowing.await;
        finish(self.to)
    }

    /// Writes what may be written at once.
    async fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let flow = *self.settings.borrow().flow(self.way);
        if flow.changes != self.changes {
            (self.changes, self.count, self.corrupted) = (flow.changes, 0, false);
        }
        let mut len = bytes.len();
        if flow.piece > 0 {
            len = len.min(flow.piece);
        }
        if let Some(cut_after) = flow.cut_after {
            let left = cut_after.saturating_sub(self.count);
            if left == 0 {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            len = len.min(usize::try_from(left).unwrap_or(len));
        }
        let mut piece = bytes[..len].to_vec();
        self.corrupt(flow.corrupt_after, &mut piece);
        self.write_all(&piece).await?;
        self.count += len as u64;
        if flow.rate > 0 {
            let pause = Duration::from_secs_f64(len as f64 / flow.rate as f64);
            tokio::time::sleep(pause).await;
        } else if flow.piece > 0 {
            // So that the pieces are read one by one, too.
            tokio::task::yield_now().await;
        }
        Ok(len)
    }

    fn corrupt(&mut self, corrupt_after: Option<u64>, piece: &mut [u8]) {
        let Some(place) = corrupt_after.filter(|_| !self.corrupted) else {
            return;
        };
        let place = usize::try_from(place.saturating_sub(self.count)).unwrap_or(usize::MAX);
        if let Some(byte) = piece.get_mut(place) {
            *byte ^= 0x40;
            self.corrupted = true;
        }
    }

    async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.to.writable().await?;
            match self.to.try_write(bytes) {
                Ok(len) => bytes = &bytes[len..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
