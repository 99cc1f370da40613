//! Answers each request with `+OK` by itself: what the driver costs without a proxy or a node.
//!
//! ```sh
//! cargo run --release -p slotway-runtime --example inline_ok -- 127.0.0.1:24200 &
//! redis-benchmark -p 24200 -c 50 -P 16 -n 2000000 -t get
//! strace -c -f -p "$(pgrep inline_ok)"
//! ```

use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use slotway_protocol::engine::{
    Action, CloseWhen, ConnectError, ConnectToken, ConnectionId, Engine, Instant, Now, Peer,
};
use slotway_protocol::output::Output;
use slotway_runtime::listener::{
    AcceptMetrics, AcceptOptions, BACKLOG, ConnectionsMax, accept_loop, bind,
};
use slotway_runtime::worker::local_runtime;
use slotway_runtime::{WorkerOptions, spawn_worker};
use tokio_util::sync::CancellationToken;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:24200").parse()?;
    slotway_runtime::logging::init("info")?;
    let listener = bind(address, BACKLOG, "the first argument")?;
    let worker = spawn_worker(
        "worker-0",
        WorkerOptions::default(),
        InlineOk::default,
        |()| {},
    )?;
    let accept = accept_loop(
        listener,
        vec![worker],
        AcceptOptions {
            connections_max: ConnectionsMax::new(100_000),
            ..AcceptOptions::default()
        },
        Arc::new(AcceptMetrics::default()),
        CancellationToken::new(),
    );
    local_runtime()?.block_on(accept)?;
    Ok(())
}

#[derive(Default)]
struct InlineOk {
    outputs: Vec<Output>,
    actions: VecDeque<Action<()>>,
}

impl Engine for InlineOk {
    type Event = ();
    type Notice = ();

    fn handle_open(&mut self, connection: ConnectionId, _peer: Peer, _now: Now) {
        let index = connection.index as usize;
        if self.outputs.len() <= index {
            self.outputs.resize_with(index + 1, Output::default);
        }
        self.outputs[index] = Output::default();
    }

    fn handle_input(&mut self, connection: ConnectionId, input: &mut BytesMut, _now: Now) {
        let output = &mut self.outputs[connection.index as usize];
        let was_empty = output.is_empty();
        while let Some(len) = request_len(input) {
            input.advance(len);
            output.push(b"+OK\r\n");
        }
        if was_empty && !output.is_empty() {
            self.actions.push_back(Action::Wake(connection));
        }
    }

    fn handle_end(&mut self, connection: ConnectionId, _now: Now) {
        self.actions.push_back(Action::Close {
            connection,
            when: CloseWhen::Flushed,
        });
    }

    fn handle_connect_failed(&mut self, _token: ConnectToken, _error: ConnectError, _now: Now) {}

    fn handle_close(&mut self, _connection: ConnectionId, _now: Now) {}

    fn handle_written(&mut self, connection: ConnectionId, _now: Now) {
        self.outputs[connection.index as usize].shrink();
    }

    fn handle_timeout(&mut self, _now: Now) {}

    fn handle_event(&mut self, _event: (), _now: Now) {}

    fn output(&mut self, connection: ConnectionId) -> &mut Output {
        &mut self.outputs[connection.index as usize]
    }

    fn poll_action(&mut self) -> Option<Action<()>> {
        self.actions.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// The length of the request at the front, if all of it is there.
fn request_len(input: &[u8]) -> Option<usize> {
    let (count, mut at) = number(input, 0)?;
    for _ in 0..count {
        let (len, start) = number(input, at)?;
        at = start + len + 2;
    }
    (at <= input.len()).then_some(at)
}

/// The number in the line at `from`, after its first byte, and where the next line begins.
fn number(input: &[u8], from: usize) -> Option<(usize, usize)> {
    let line = input.get(from + 1..)?;
    let end = line.iter().position(|&byte| byte == b'\n')?;
    let digits = line[..end].iter().filter(|byte| byte.is_ascii_digit());
    let number = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    Some((number, from + 1 + end + 1))
}
