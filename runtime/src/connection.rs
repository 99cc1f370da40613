//! One socket of a driver: writes what the engine has for it, reads and hands the bytes over, and
//! does a bounded amount of both each time it is polled.

use std::io::{self, IoSlice, Read};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{BufMut, BytesMut};
use slotway_protocol::engine::{CloseWhen, ConnectionId, Engine, Interrupted};
use socket2::SockRef;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

use crate::driver::Driver;

/// An open connection. It is held once per idle client, so it holds nothing it can do without.
///
/// While reading is paused the socket is not watched for reading either: that the peer is gone is
/// then noticed when the engine resumes it or when a write fails.
pub(crate) struct Connection {
    socket: TcpStream,
    pub(crate) id: ConnectionId,
    pub(crate) is_accepted: bool,
    /// The peer has ended its side.
    ended: bool,
    /// The front of a frame whose rest has not arrived; without memory when empty.
    partial: BytesMut,
}

/// A connection and what wakes it up, as the driver keeps them.
pub(crate) struct Polled {
    pub(crate) connection: Connection,
    /// Puts the connection into the driver's list of ready ones.
    pub(crate) waker: Waker,
}

/// A connection while it is polled.
struct Turn<'a, E: Engine> {
    driver: &'a Rc<Driver<E>>,
    connection: &'a mut Connection,
}

impl Connection {
    pub(crate) fn new(socket: TcpStream, id: ConnectionId, is_accepted: bool) -> Self {
        Self {
            socket,
            id,
            is_accepted,
            ended: false,
            partial: BytesMut::new(),
        }
    }

    /// Reads and writes a bounded amount. Ready when the connection is over.
    pub(crate) fn poll<E: Engine + 'static>(
        &mut self,
        driver: &Rc<Driver<E>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let connection = self;
        Turn { driver, connection }.drive(cx)
    }
}

impl<E: Engine + 'static> Turn<'_, E> {
    /// Ready when the connection is over.
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.close_wish() == Some(CloseWhen::Now) {
            return Poll::Ready(Ok(()));
        }
        let mut writes = WRITES_PER_POLL;
        self.write(cx, &mut writes)?;
        self.read(cx, READS_PER_POLL)?;
        if self.close_wish() == Some(CloseWhen::Now) {
            return Poll::Ready(Ok(()));
        }
        self.write(cx, &mut writes)?;
        match self.close_wish() {
            None => Poll::Pending,
            Some(CloseWhen::Now) => Poll::Ready(Ok(())),
            Some(CloseWhen::Flushed) => {
                if !self
                    .driver
                    .with_output(self.connection.id, |output| output.is_empty())
                {
                    return Poll::Pending;
                }
                self.discard_input();
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Writes until the output is empty or the kernel takes no more. That a peer takes no more does
    /// not undo what it has said: before a failure ends the connection, its bytes are handed in.
    fn write(&mut self, cx: &mut Context<'_>, budget: &mut u32) -> io::Result<()> {
        let written = self.write_all(cx, budget);
        if written.is_err() {
            // The connection ends with the first failure, whatever this one is.
            let _ = self.read(cx, READS_AT_THE_END);
        }
        written
    }

    fn write_all(&mut self, cx: &mut Context<'_>, budget: &mut u32) -> io::Result<()> {
        while let Poll::Ready(written) = self.write_some(cx, budget)? {
            if !written {
                break;
            }
            let id = self.connection.id;
            let about = Interrupted::Connection(id);
            self.driver
                .call_within_turn(about, |engine, now| engine.handle_written(id, now));
        }
        Ok(())
    }

    /// One write; false when there is nothing to write.
    fn write_some(&mut self, cx: &mut Context<'_>, budget: &mut u32) -> Poll<io::Result<bool>> {
        let socket = Pin::new(&mut self.connection.socket);
        self.driver.with_output(self.connection.id, |output| {
            if output.is_empty() {
                return Poll::Ready(Ok(false));
            }
            if *budget == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            *budget -= 1;
            let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
            let written = match output.slices(&mut slices) {
                1 => ready!(socket.poll_write(cx, &slices[0]))?,
                used => ready!(socket.poll_write_vectored(cx, &slices[..used]))?,
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            output.advance(written);
            Poll::Ready(Ok(true))
        })
    }

    /// Reads until there is no more or `budget` reads are done.
    fn read(&mut self, cx: &mut Context<'_>, mut budget: u32) -> io::Result<()> {
        self.hand_in_resumed();
        let mut may_be_all = false;
        while !self.connection.ended && !self.driver.is_paused(self.connection.id) {
            if budget == 0 {
                cx.waker().wake_by_ref();
                break;
            }
            budget -= 1;
            let read = if self.connection.partial.len() < LARGE_PARTIAL_BYTES {
                self.read_shared(cx, may_be_all)
            } else {
                self.read_own(cx)
            };
            match read? {
                Poll::Pending => break,
                Poll::Ready(0) => self.end(),
                Poll::Ready(_) => may_be_all = true,
            }
        }
        Ok(())
    }

    /// Reads behind a small partial frame, both in the buffer that all connections share.
    fn read_shared(&mut self, cx: &mut Context<'_>, may_be_all: bool) -> io::Result<Poll<usize>> {
        // The partial is only moved, and the buffer made ready, when there is something to read.
        if (may_be_all || !self.connection.partial.is_empty())
            && self.connection.socket.poll_read_ready(cx)?.is_pending()
        {
            return Ok(Poll::Pending);
        }
        let driver = &self.driver;
        let mut buffer = driver.read_buffer.borrow_mut();
        buffer.clear();
        // The engine may have kept what it was given last, so the room is made anew.
        buffer.reserve(READ_BUFFER_BYTES);
        buffer.extend_from_slice(&self.connection.partial);
        let room = READ_BUFFER_BYTES - buffer.len();
        let socket = Pin::new(&mut self.connection.socket);
        let Poll::Ready(count) = poll_read_buf(socket, cx, &mut (&mut *buffer).limit(room))? else {
            return Ok(Poll::Pending);
        };
        if count > 0 {
            let id = self.connection.id;
            driver.call(Interrupted::Connection(id), |engine, now| {
                engine.handle_input(id, &mut buffer, now);
            });
            self.connection.partial = if buffer.capacity() > READ_BUFFER_BYTES {
                // It has room for a large frame now.
                std::mem::take(&mut *buffer)
            } else {
                unconsumed(&buffer)
            };
        }
        Ok(Poll::Ready(count))
    }

    /// Reads a large frame straight to where it grows, so that its cost stays linear.
    fn read_own(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<usize>> {
        let partial = &mut self.connection.partial;
        // An engine that knows how much is to come has made room for it and no more.
        if partial.capacity() == partial.len() {
            partial.reserve(partial.len().max(READ_BUFFER_BYTES));
        }
        let room = (partial.capacity() - partial.len()).min(LARGE_READ_BYTES);
        let socket = Pin::new(&mut self.connection.socket);
        let mut room = (&mut *partial).limit(room);
        let Poll::Ready(count) = poll_read_buf(socket, cx, &mut room)? else {
            return Ok(Poll::Pending);
        };
        if count > 0 {
            self.hand_in_partial();
        }
        Ok(Poll::Ready(count))
    }

    /// Gives the engine the partial frame with all that is behind it.
    fn hand_in_partial(&mut self) {
        let id = self.connection.id;
        let partial = &mut self.connection.partial;
        self.driver
            .call(Interrupted::Connection(id), |engine, now| {
                engine.handle_input(id, partial, now);
            });
        if self.connection.partial.len() < LARGE_PARTIAL_BYTES {
            self.connection.partial = unconsumed(&self.connection.partial);
        }
    }

    /// Gives the engine what it left, if it wants that now.
    fn hand_in_resumed(&mut self) {
        let id = self.connection.id;
        if self.driver.take_resumed(id)
            && !self.driver.is_paused(id)
            && !self.connection.partial.is_empty()
        {
            self.hand_in_partial();
        }
    }

    fn end(&mut self) {
        // The engine may have paused and resumed within one call and not yet seen the rest.
        self.hand_in_resumed();
        let id = self.connection.id;
        if self.driver.is_paused(id) {
            // The end is still there to be read when the engine goes on.
            return;
        }
        self.connection.ended = true;
        self.connection.partial = BytesMut::new();
        self.driver
            .call(Interrupted::Connection(id), |engine, now| {
                engine.handle_end(id, now);
            });
    }

    /// Reads and forgets what has arrived: a socket that is closed with unread bytes in it resets
    /// the connection, and the peer might lose the last reply.
    fn discard_input(&self) {
        let socket = SockRef::from(&self.connection.socket);
        let mut scrap = [0; 4096];
        for _ in 0..DISCARDS_ON_CLOSE {
            match (&*socket).read(&mut scrap) {
                Ok(count) if count > 0 => {}
                _ => break,
            }
        }
    }

    fn close_wish(&self) -> Option<CloseWhen> {
        self.driver.close_wish(self.connection.id)
    }
}

fn unconsumed(buffer: &BytesMut) -> BytesMut {
    if buffer.is_empty() {
        BytesMut::new()
    } else {
        BytesMut::from(&buffer[..])
    }
}

/// The size of the shared buffer, and so of a usual read.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// From here on a partial frame is read into directly instead of being moved with each read.
const LARGE_PARTIAL_BYTES: usize = 32 * 1024;

/// The most one read adds to a large partial frame.
const LARGE_READ_BYTES: usize = 256 * 1024;

/// How often one connection reads before the others have their turn.
const READS_PER_POLL: u32 = 4;

/// How often a connection reads that is about to end, times 64 KiB at least: more than the kernel
/// keeps for it.
const READS_AT_THE_END: u32 = 128;

/// How often one connection writes before the others have their turn.
const WRITES_PER_POLL: u32 = 4;

const SLICES_PER_WRITE: usize = 16;

/// Times 4 KiB is what a peer may have sent after the request that closes its connection.
const DISCARDS_ON_CLOSE: u32 = 64;
